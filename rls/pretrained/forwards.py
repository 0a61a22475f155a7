"""D of a user's own cells: what the flags say, checked against what the files say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.forward_model import (
    BICUBIC,
    ForwardModel,
    OperatorSettings,
    model_of,
    model_of_table,
)
from rls.search.methods import AnySettings
from rls.search.settings import AS_DEGRADED, PLAIN, SHARED, WITH_BLUR, forward_choice
from rls.search.settings import Settings as SearchSettings

AS_TOLD = "as_told"


@dataclass(frozen=True, kw_only=True)
class Settings(SearchSettings, OperatorSettings):
    """Settings that all searches share, and D: how microscope and camera made the cells."""

    forward: str = option(
        "D in the search: as_degraded, the D of the flags, which files of this program must "
        "confirm; as_told, the same whatever they say; bicubic, whatever made the cells.",
        choices=(AS_DEGRADED, AS_TOLD, PLAIN),
        default=AS_DEGRADED,
    )


def made_by(files: Sequence[Path], settings: Settings) -> ForwardModel:
    """Return the D that made the cells, by the flags.

    Raises:
        InputError: The table beside a file names another D, and ``forward`` is ``as_degraded``.
    """
    # pandas and tifffile take a second to import, for which --help need not wait.
    from rls.io import read_table, table_path

    told = model_of(settings)
    stacks = [f for path in files for f in (path.glob("*.ome.tif") if path.is_dir() else [path])]
    for file in sorted(stacks) if settings.forward == AS_DEGRADED else ():
        table = table_path(file) if file.name.endswith(".ome.tif") else None
        if table is None or not table.is_file():
            continue
        found = read_table(table)
        if {"forward", "border"} & set(found.columns) and model_of_table(found, file) != told:
            raise InputError(
                f"{file} was made by {model_of_table(found, file).describe()}, and the search is "
                f"told {told.describe()}. Give the flags of that D (--operator and those after "
                f"it), or --forward as_told to search with this one."
            )
    return told


def searched_by(told: ForwardModel, shared: str, method: AnySettings) -> ForwardModel:
    """Return the D in the search.

    Arguments:
        told: The D that made the cells.
        shared: The setting ``forward``, which the method's own ``forward_op`` overrides.

    Raises:
        InputError: The blur of a chain is asked for, and a user's cells have no chain.
    """
    choice = forward_choice(getattr(method, "forward_op", SHARED), shared)
    if choice == WITH_BLUR:
        raise InputError(
            "Found forward with_blur, which takes a blur from the chain of degraded images; these "
            "have none. Give the blur as --operator psf_binning with --psf-sd-um."
        )
    return ForwardModel(BICUBIC, told.border) if choice == PLAIN else told
