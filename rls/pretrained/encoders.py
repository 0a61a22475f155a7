"""The encoders of a model folder, from which searches may start: one for each factor and D.

A folder of its own has ``encoder_8x.safetensors``. The results of an assay have
``8x/DEGRADATION/encoder.safetensors``; where several degradations have one, the folder's trust
names by its digest the one that it was measured with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rls.encoder.settings import ENCODER
from rls.io import read_weights
from rls.pretrained.files import TRUST, read_json
from rls.runtime.errors import InputError
from rls.search.forward_model import ForwardModel
from rls.search.start_settings import by_encoder

if TYPE_CHECKING:
    from rls.search.methods import ChosenMethod

KIND = "encoder"
IN_MODEL, IN_RESULTS = "encoder_*x.safetensors", f"*x/*/{ENCODER}"
LARGEST_MB = 2.0  # for an encoder that comes with a model
WITHOUT = "Choose a method that starts at the mean style (--method rls)"


def needs_encoder(method: ChosenMethod) -> bool:
    """Return whether a method asks the encoder where to start."""
    return by_encoder(method.identity())


def find_encoders(folder: Path) -> dict[int, Path]:
    """Return the encoder of each factor for which a model folder has one.

    Raises:
        InputError: The results of an assay have several of one factor, and trust names none.
    """
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.glob(IN_RESULTS)):
        if number := re.fullmatch(r"(\d+)x", path.parent.parent.name):
            found.setdefault(int(number[1]), []).append(path)
    chosen = {factor: _measured(folder, factor, paths) for factor, paths in found.items()}
    for path in folder.glob(IN_MODEL):
        if number := re.fullmatch(r"encoder_(\d+)x\.safetensors", path.name):
            chosen[int(number[1])] = path
    return dict(sorted(chosen.items()))


def _measured(folder: Path, factor: int, paths: list[Path]) -> Path:
    """Return the only one of several encoders, or the one with which trust was measured."""
    if len(paths) == 1:
        return paths[0]
    methods = read_json(folder / TRUST).get("factors", {}).get(str(factor), {})
    digests = {entry.get("encoder_digest") for entry in methods.values()}
    named = [path for path in paths if read_weights(path, kind=KIND)[1]["digest"] in digests]
    if len(named) != 1:
        raise InputError(
            f"{folder} has {len(paths)} encoders for factor {factor} "
            f"({', '.join(path.parent.name for path in paths)}), and its trust names "
            f"{len(named)} of them. Give the one that you mean as --encoder, or run measure_trust "
            "with it."
        )
    return named[0]


def encoder_of(folder: Path, factor: int) -> Path:
    """Return the encoder of a model folder for a factor.

    Raises:
        InputError: The folder has none.
    """
    found = find_encoders(folder)
    if factor not in found:
        has = ", ".join(f"{other}x" for other in found) or "none at all"
        raise InputError(
            f"{folder} has no encoder for factor {factor}, which this search starts from; it has "
            f"{has}. {WITHOUT}, or train one with python -m rls.train_encoder."
        )
    return found[factor]


def check_generator(path: Path, generator: str) -> None:
    """Refuse an encoder that was not trained with the generator of this digest.

    Raises:
        InputError: It was trained with another one.
    """
    found = str(read_weights(path, kind=KIND)[1]["generator_digest"])
    if found != generator:
        raise InputError(
            f"{path} was trained with the generator {found[:12]}, and that of the folder is "
            f"{generator[:12]}. Run train_encoder again."
        )


def check_forward(path: Path, header: Mapping[str, Any], searched: ForwardModel) -> None:
    """Refuse an encoder whose pairs were made by another D than the one in the search.

    Raises:
        InputError: The sentence names both.
    """
    trained = ForwardModel.from_text(str(header["forward"]))
    if trained != searched:
        raise InputError(
            f"{path} was trained on images made by {trained.describe()}, and D in this search is "
            f"{searched.describe()}. {WITHOUT}, or train an encoder for this D "
            "(python -m rls.train_encoder) and give it as --encoder."
        )


def by_factor(paths: Sequence[Path]) -> dict[int, Path]:
    """Return encoder files by the factor that each was trained for.

    Raises:
        InputError: Two are of one factor.
    """
    found: dict[int, Path] = {}
    for path in paths:
        factor = int(read_weights(path, kind=KIND)[1]["factor"])
        if factor in found:
            raise InputError(
                f"{found[factor]} and {path} are both of factor {factor}. Give one of them."
            )
        found[factor] = path
    return found
