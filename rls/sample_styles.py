"""Draw styles w = G_m(z), z ~ N(0, I), from a generator (article, sections 2.1 and 3.2).

Writes the styles that the flow is fitted on, their standard deviation per dimension, and the mean
of other samples, where a search starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rls.io import write_weights
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import torch_stream
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.networks import Generator

NAME = "sample_styles"


@dataclass(frozen=True)
class Settings:
    """Numbers of samples; section sample_styles of the configuration."""

    n_styles: int = option("Styles to write, for the flow (article: 100,000).")
    n_mean: int = option("Other samples, for the mean style (article: 10,000).")
    batch_size: int = option("Styles mapped at a time.")
    seed: int = option("Seed of z.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads.")

    def __post_init__(self) -> None:
        for name, least in (("n_styles", 2), ("n_mean", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(
                    f"Found {name} {getattr(self, name)}, expected {least} or more. Set it higher."
                )


@torch.no_grad()
def draw_styles(
    generator: Generator, n: int, random: torch.Generator, batch_size: int, bar: Progress
) -> Tensor:
    """w of n draws: (n, w_dim) float32 on the CPU. random: a CPU stream.

    Every batch is filled, so that a style does not depend on where the last batch ends.
    """
    device = generator.mapping.w_avg.device
    z = torch.randn((n, generator.z_dim), generator=random)
    parts = []
    for part in z.split(batch_size):
        filled = torch.cat([part, part.new_zeros(batch_size - len(part), part.shape[1])])
        w = generator.mapping(filled.to(device))[: len(part), 0]
        parts.append(w.cpu())
        bar.advance(len(part))
    return torch.cat(parts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--output", type=Path, required=True, help="styles.safetensors to write")
    args, settings = parser.parse(argv)
    device = choose_device(settings.device, settings.threads)
    generator = load_generator(args.generator, device)
    with Progress(settings.n_styles + settings.n_mean, NAME, "w") as bar:
        styles, others = (
            draw_styles(
                generator, n, torch_stream(settings.seed, key, NAME), settings.batch_size, bar
            )
            for key, n in (("styles", settings.n_styles), ("mean", settings.n_mean))
        )
    tensors = {
        "w": styles,
        "w_mean": others.double().mean(dim=0).float(),
        "w_sd": styles.double().std(dim=0).float(),
    }
    header = {
        "kind": "styles",
        "z_seed": settings.seed,
        "generator_digest": generator.header["digest"],
        "channels": generator.header.get("channels"),
        "image_size": generator.image_size,
        "num_ws": generator.num_ws,
        "settings": dataclasses.asdict(settings),
    }
    write_weights(args.output, tensors, header)


if __name__ == "__main__":
    run(main)
