"""Styles w = G_m(z), z ~ N(0, I), drawn from a generator (article, sections 2.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rls.io import read_weights, write_weights
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import torch_stream
from rls.runtime.transfer import Gathered, upload
from rls.stylegan2.networks import Generator


@torch.no_grad()
def draw_styles(
    generator: Generator, n: int, random: torch.Generator, batch_size: int, bar: Progress
) -> Tensor:
    """Return n styles (n, w_dim), float32 on the CPU.

    Every batch is filled, so that a style does not depend on where the last batch ends.

    Arguments:
        generator: Its mapping network makes the styles, on its own device.
        n: Number of styles.
        random: Stream of z, on the CPU.
        batch_size: Styles that are mapped at a time.
        bar: Advances by every style.
    """
    device = generator.mapping.w_avg.device
    z = torch.randn((n, generator.z_dim), generator=random)
    found = Gathered(n)
    for part in z.split(batch_size):
        filled = torch.cat([part, part.new_zeros(batch_size - len(part), part.shape[1])])
        bar.advance(found.add(generator.mapping(upload(filled, device))[:, 0]))
    return found.result()


def styles_and_mean(
    generator: Generator, n_styles: int, n_mean: int, *, seed: int, batch_size: int, label: str
) -> tuple[Tensor, Tensor]:
    """Return styles (n_styles, w_dim) and the mean (w_dim,) of n_mean other styles.

    Both are float32 on the CPU. The mean is taken in double precision.

    Arguments:
        generator: See :func:`draw_styles`, as for ``batch_size``.
        n_styles: Styles to return.
        n_mean: Other styles, whose mean is returned.
        seed: Seed of z.
        batch_size: Styles that are mapped at a time.
        label: Name of the work on the progress bar.
    """
    with Progress(n_styles + n_mean, label, "w") as bar:
        styles, others = (
            draw_styles(generator, n, torch_stream(seed, key, "sample_styles"), batch_size, bar)
            for key, n in (("styles", n_styles), ("mean", n_mean))
        )
    return styles, others.double().mean(dim=0).float()


def write_styles(
    path: Path | str,
    styles: Tensor,
    mean: Tensor,
    generator: Generator,
    settings: Mapping[str, object],
) -> None:
    """Write styles, their standard deviation per dimension and the mean of other styles.

    Arguments:
        path: ``styles.safetensors``.
        styles: w (n, w_dim).
        mean: Mean (w_dim,) of other styles.
        generator: The generator they come from, which the header names.
        settings: Settings of ``sample_styles``, for the header.
    """
    tensors = {"w": styles, "w_mean": mean, "w_sd": styles.double().std(dim=0).float()}
    header = {
        "kind": "styles",
        "z_seed": settings["seed"],
        "generator_digest": generator.header["digest"],
        "channels": generator.header.get("channels"),
        "image_size": generator.image_size,
        "num_ws": generator.num_ws,
        "settings": dict(settings),
    }
    write_weights(path, tensors, header)


def read_styles(path: Path | str, generator: Generator) -> tuple[Tensor, str]:
    """Return the styles w (n, w_dim) of a file, on the generator's device, and its digest.

    Raises:
        InputError: They were drawn from another generator.
    """
    tensors, header = read_weights(path, kind="styles")
    made_with, given = header.get("generator_digest"), generator.header["digest"]
    if made_with != given:
        raise InputError(
            f"{path} was made with the generator {str(made_with)[:12]}, and the generator given "
            f"here is {given[:12]}. Run sample_styles again with this one."
        )
    return tensors["w"].float().to(generator.mapping.w_avg.device), str(header["digest"])
