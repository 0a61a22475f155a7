"""What names the state of a training, and the refusal of states of earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rls.io import file_digest
from rls.runtime.checkpoint import identity, identity_digest
from rls.runtime.errors import InputError
from rls.runtime.siblings import differences, progress, read_identity
from rls.stylegan2.generator_io import FILE, TRAINING_FILE
from rls.stylegan2.settings import MAY_CHANGE, Settings
from rls.stylegan2.step_inputs import DRAWS

# What an earlier version kept in the identity, or held otherwise: a resolved precision.
NOT_COMPARED = (*MAY_CHANGE, "precision", "draws")


def training_identity(
    settings: Settings, data_digest: str, init_from: Path | None
) -> dict[str, object]:
    """Return what names the state of a training.

    The setting ``precision`` belongs to it, and what ``auto`` gives on a machine does not, so that
    a training can go on on a machine that is fast at something else.
    """
    initial = None
    if init_from is not None:
        initial = [file_digest(init_from / name) for name in (FILE, TRAINING_FILE)]
    return identity(settings, MAY_CHANGE, data=data_digest, initial=initial, draws=DRAWS)


def unlike(old: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Return how the training that ``old`` names differs from the one that ``known`` names.

    Settings that ``old`` does not have are newer than it, and count as equal.
    """
    kept = {key: value for key, value in old.items() if key not in NOT_COMPARED}
    return differences(kept, {key: known[key] for key in kept if key in known})


def refuse_earlier(root: Path, name: str, known: Mapping[str, object]) -> None:
    """Raise InputError if the only state of this training was made with other random draws."""
    if progress(root / f"{name}-{identity_digest(known)}"):
        return
    for folder in sorted(root.glob(f"{name}-*")):
        old, _ = read_identity(folder)
        held = progress(folder)
        if old and held and old.get("draws", 1) != DRAWS and not unlike(old, known):
            raise InputError(
                f"Found a state of this training ({held}) in {folder}, made by an earlier version "
                "of the program, in which a step drew its random numbers in another order; "
                "expected one of this version. To go on with it, though not bit-equal, run 'python "
                f"-m rls.pack_training --state {folder} --output FOLDER' and give --continue-from "
                "FOLDER. To start from finished weights, give --init-from. To train anew, remove "
                f"{folder}."
            )
