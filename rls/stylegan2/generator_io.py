"""Generators as files: weights, and in the header all that using them needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rls.io import read_weights, write_weights
from rls.runtime.errors import InputError
from rls.stylegan2.networks import Architecture, Generator

FILE = "generator.safetensors"  # of a model folder


def write_generator(path: Path | str, generator: Generator, header: Mapping[str, Any]) -> None:
    """Write the weights; the header gains kind and architecture.

    header: channels, pixel_size_um, intensity (Intensity.as_dict), image_size, images_seen,
    settings, ...
    """
    content = {
        **header,
        "kind": "generator",
        "architecture": dataclasses.asdict(generator.architecture),
    }
    write_weights(path, generator.state_dict(), content)


def load_generator(
    path: Path | str,
    device: torch.device | str = "cpu",
    *,
    image_size: int | None = None,
    channels: Sequence[str] | int | None = None,
) -> Generator:
    """Generator of a file, frozen and in eval mode; :class:`Generator` says what it offers.

    path: generator.safetensors, or a model folder that holds it, such as
    models/translocation_32px. image_size (px) and channels (names, or only their number) are what
    the caller needs. Raises InputError if there is no such file, if it is damaged, or if it holds
    a generator of another size or of other channels.
    """
    path = generator_file(path)
    tensors, header = read_weights(path, kind="generator")
    architecture = read_architecture(path, header)
    _check(path, architecture, header, image_size, channels)
    generator = Generator(architecture)
    generator.load_state_dict(tensors)
    generator.header, generator.source = header, str(path)
    return generator.to(device).eval().requires_grad_(False)


def generator_file(path: Path | str) -> Path:
    """Weights at path, which is their file or a model folder.

    Raises InputError if the folder holds none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / FILE).is_file():
        raise InputError(
            f"Found no {FILE} in the folder {path}, expected a model folder such as "
            "models/translocation_32px. Give one, or the file of a generator."
        )
    return path / FILE


def read_architecture(path: Path | str, header: Mapping[str, Any]) -> Architecture:
    """Architecture in a header. Raises InputError if it is not one of this version."""
    try:
        return Architecture(**header["architecture"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"Found no usable architecture in the header of {path} ({error}), expected one "
            "written by train_gan of this version. Run train_gan again."
        ) from error


def _check(
    path: Path | str,
    architecture: Architecture,
    header: Mapping[str, Any],
    image_size: int | None,
    channels: Sequence[str] | int | None,
) -> None:
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
