"""Read and write generators, and generator and discriminator together, as files of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rls.io import read_weights, write_weights
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture, read_architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.networks import Generator
from rls.stylegan2.operators import FILTER_TAPS, other_filter

FILE = "generator.safetensors"  # the averaged generator, in a model folder
TRAINING_FILE = "training.safetensors"  # generator and discriminator, beside it


def write_generator(path: Path | str, generator: Generator, header: Mapping[str, Any]) -> None:
    """Write the weights of a generator.

    Arguments:
        header: channels, pixel_size_um, intensity (``Intensity.as_dict``), image_size, images_seen,
            settings, ...; kind and architecture are added to it.
    """
    sizes = dataclasses.asdict(generator.architecture)
    content = {**header, "kind": "generator", "architecture": sizes}
    write_weights(path, generator.state_dict(), content)


def write_training_weights(
    path: Path, generator: Generator, discriminator: Discriminator, header: Mapping[str, Any]
) -> None:
    """Write both networks for a later ``--init-from``; the header is as for ``write_generator``."""
    tensors = {f"generator.{k}": v for k, v in generator.state_dict().items()}
    tensors |= {f"discriminator.{k}": v for k, v in discriminator.state_dict().items()}
    sizes = dataclasses.asdict(generator.architecture)
    write_weights(path, tensors, {**header, "architecture": sizes, "kind": "discriminator"})


def load_generator(
    path: Path | str,
    device: torch.device | str = "cpu",
    *,
    image_size: int | None = None,
    channels: Sequence[str] | int | None = None,
) -> Generator:
    """Return the generator of a file, frozen and in eval mode; see :class:`Generator` for its use.

    Arguments:
        path: generator.safetensors, or a model folder that holds it, such as
            models/translocation_32px.
        image_size: Size in px that the caller needs.
        channels: Names of the channels that the caller needs, or only their number.

    Raises:
        InputError: There is no such file, it is damaged, or it holds a generator of another size or
            of other channels.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / FILE).is_file():
            raise InputError(
                f"Found no {FILE} in the folder {path}, expected a model folder such as "
                "models/translocation_32px. Give one, or the file of a generator."
            )
        path = path / FILE
    tensors, header = read_weights(path, kind="generator")
    architecture = read_architecture(path, header)
    _check(path, architecture, header, image_size, channels)
    if (name := other_filter(tensors)) is not None:
        raise InputError(
            f"Found another resampling filter as {name} in {path}, expected the outer product of "
            f"{FILTER_TAPS}. Give a generator written by train_gan or import_nvlabs."
        )
    generator = Generator(architecture)
    generator.load_state_dict(tensors)
    generator.header, generator.source = header, str(path)
    return generator.to(device).eval().requires_grad_(False)


def _check(
    path: Path | str,
    architecture: Architecture,
    header: Mapping[str, Any],
    image_size: int | None,
    channels: Sequence[str] | int | None,
) -> None:
    """Raise InputError if a generator has another size or other channels than are needed."""
    if image_size is not None and architecture.image_size != image_size:
        raise InputError(
            f"Found a generator of {architecture.image_size} px in {path}, expected {image_size} "
            f"px. Give a generator of that size, or set image_size to {architecture.image_size}."
        )
    if channels is None:
        return
    wanted = channels if isinstance(channels, int) else len(channels)
    names = tuple(header.get("channels", ()))
    differs = not isinstance(channels, int) and names and names != tuple(channels)
    if architecture.n_channels != wanted or differs:
        asked = wanted if isinstance(channels, int) else f"{wanted} ({', '.join(channels)})"
        raise InputError(
            f"Found a generator of {architecture.n_channels} channels ({', '.join(names)}) in "
            f"{path}, expected {asked}. Give a generator trained on these channels, in this order."
        )
