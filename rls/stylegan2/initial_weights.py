"""Start a training from the weights of another one (``--init-from``)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rls.io import read_weights
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture, read_architecture
from rls.stylegan2.generator_io import FILE, TRAINING_FILE
from rls.stylegan2.growing import grown_discriminator, grown_generator
from rls.stylegan2.settings import Settings, fill_auto
from rls.stylegan2.trainer import Trainer


def initial_settings(settings: Settings, init_from: Path | None) -> Settings:
    """Return the settings with all numbers filled in and, for given weights, without a ramp-up.

    With a ramp-up the first step would replace the average that was loaded by the raw generator;
    NVlabs switches it off, too.

    Raises:
        InputError: Layers with random initial weights are to be frozen.
    """
    settings = fill_auto(settings)
    if init_from is None and settings.freeze_discriminator:
        raise InputError(
            f"Found freeze_discriminator {settings.freeze_discriminator} without weights to start "
            "from, expected 0. Give --init-from, or set freeze_discriminator: 0."
        )
    if init_from is None or settings.ema_rampup is None:
        return settings
    print(f"train_gan: no ema_rampup, since the average starts from {init_from}", flush=True)
    return dataclasses.replace(settings, ema_rampup=None)


def load_initial(trainer: Trainer, folder: Path) -> None:
    """Load the weights of another training; optimisers are new, the average is its average.

    Networks of smaller images grow, as in Karras et al. 2018 but without fading in: both begin as
    the smaller ones (:mod:`rls.stylegan2.growing`).

    Raises:
        InputError: A file is missing, or the networks have other sizes.
    """
    average, header = read_weights(folder / FILE, kind="generator")
    both, both_header = read_weights(folder / TRAINING_FILE, kind="discriminator")
    wanted = trainer.generator.architecture
    for name, found_in in ((FILE, header), (TRAINING_FILE, both_header)):
        found = read_architecture(folder / name, found_in)
        _check_fits(found, wanted, folder / name)
    parts = {
        prefix: {k.removeprefix(prefix): v for k, v in both.items() if k.startswith(prefix)}
        for prefix in ("generator.", "discriminator.")
    }
    if found.image_size < wanted.image_size:
        said = f"from {found.image_size} to {wanted.image_size} px"
        print(f"train_gan: the networks of {folder} grow {said}", flush=True)
        average = grown_generator(trainer.average, average)
        parts["generator."] = grown_generator(trainer.generator, parts["generator."])
        parts["discriminator."] = grown_discriminator(
            trainer.discriminator, parts["discriminator."], found
        )
    trainer.average.load_state_dict(average)
    trainer.generator.load_state_dict(parts["generator."])
    trainer.discriminator.load_state_dict(parts["discriminator."])
    trainer.start_path_mean()


def _check_fits(found: Architecture, wanted: Architecture, path: Path) -> None:
    """Refuse a network that is neither the wanted one nor one of smaller images.

    Raises:
        InputError: The networks have other sizes.
    """
    values = dataclasses.asdict(wanted)
    if found.image_size < wanted.image_size:
        values["image_size"] = found.image_size
    differing = [k for k, v in dataclasses.asdict(found).items() if v != values[k]]
    if differing:
        raise InputError(
            f"Found a network that differs in {', '.join(differing)} in {path} ({found}), expected "
            f"{wanted}. Set these to the same values, or leave out --init-from."
        )
