"""Start a training from the weights of another one (``--init-from``)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rls.io import read_weights
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import read_architecture
from rls.stylegan2.generator_io import FILE, TRAINING_FILE
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

    Raises:
        InputError: A file is missing, or the networks have other sizes.
    """
    average, header = read_weights(folder / FILE, kind="generator")
    both, both_header = read_weights(folder / TRAINING_FILE, kind="discriminator")
    wanted = trainer.generator.architecture
    for name, found_in in ((FILE, header), (TRAINING_FILE, both_header)):
        found = read_architecture(folder / name, found_in)
        if found != wanted:
            values = dataclasses.asdict(wanted)
            differing = [k for k, v in dataclasses.asdict(found).items() if v != values[k]]
            raise InputError(
                f"Found a network that differs in {', '.join(differing)} in {folder / name} "
                f"({found}), expected {wanted}. Set these to the same values, or leave out "
                "--init-from."
            )
    trainer.average.load_state_dict(average)
    for prefix, network in (
        ("generator.", trainer.generator),
        ("discriminator.", trainer.discriminator),
    ):
        network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in both.items() if k.startswith(prefix)}
        )
    trainer.start_path_mean()
