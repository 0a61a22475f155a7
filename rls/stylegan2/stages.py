"""The stages of a training: cells at a smaller size first, if the settings say so, then at theirs.

A small image holds the layout of a cell and its neighbours, and a step at half the side is
quicker (docs/generators.md), so that most of the training can be done there. The networks then grow
(:func:`rls.stylegan2.initial_weights.load_initial`). This is the progressive growing of Karras et
al. 2018 in two steps and without fading in, with StyleGAN2's networks.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from rls.runtime.checkpoint import identity_digest
from rls.runtime.errors import InputError
from rls.stylegan2.generator_io import FILE, TRAINING_FILE
from rls.stylegan2.settings import Settings, auto_rules, fill_auto
from rls.stylegan2.training_identity import training_identity

# In the state folder, the weights of a first stage: a folder for each training that has one, since
# the trainings of a run share their state folder.
FOLDER = "first_stage"


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        init_from: Folder of the weights that it starts from.
        output: The averaged generator that it writes.
        output_training: Both networks, None for none.
        binning: Pixels of the cells, each way, that are averaged into one.
    """

    settings: Settings
    init_from: Path | None
    output: Path
    output_training: Path | None
    binning: int = 1


def stages_of(
    last: Stage, state: Path, data_digest: str, continued: Path | None = None
) -> list[Stage]:
    """Return the stages that lead to ``last``, itself the last one.

    Arguments:
        state: The state folder, which gets the weights of a first stage.
        data_digest: That of the cells (:attr:`TrainingImages.digest`).
        continued: Folder of pack_training, None for none.

    Raises:
        InputError: A first stage was asked for beside frozen layers or a packed training.
    """
    settings, small = last.settings, last.settings.grow_from
    if small is None:
        return [last]
    if settings.freeze_discriminator:
        raise InputError(
            f"Found freeze_discriminator {settings.freeze_discriminator} beside grow_from {small}: "
            "the first layers of a network that grows are new. Set one of them to 0 or null."
        )
    if continued is not None:
        raise InputError(
            f"Found --continue-from beside grow_from {small}, expected one of them: a packed "
            "training lacks the weights that its first stage led to. Copy the other machine's "
            f"state folder to {state} as a whole, and leave out --continue-from."
        )
    base = auto_rules(settings.image_size, settings.batch_size)["channel_base"]
    own = dataclasses.replace(
        settings,
        image_size=small,
        total_kimg=settings.grow_kimg,
        channel_base=settings.channel_base or base,
        grow_from=None,
    )
    known = training_identity(fill_auto(own), data_digest, last.init_from)
    folder = state / f"{FOLDER}-{identity_digest(known)}"
    first = Stage(
        own,
        last.init_from,
        folder / FILE,
        folder / TRAINING_FILE,
        binning=settings.image_size // small,
    )
    return [first, dataclasses.replace(last, init_from=folder)]
