"""Draw styles w = G_m(z), z ~ N(0, I), from a generator (article, sections 2.1 and 3.2).

It writes the styles that the flow is fitted on, their standard deviation per dimension, and the
mean of other samples, where a search starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rls.runtime.command import Parser, need_at_least, option, run

NAME = "sample_styles"


@dataclass(frozen=True)
class Settings:
    """Numbers of samples; section sample_styles of the configuration."""

    n_styles: int = option("Styles to write, for the flow (article: 100,000).", least=2)
    n_mean: int = option("Other samples, for the mean style (article: 10,000).", least=1)
    batch_size: int = option("Styles mapped at a time.", least=1)
    seed: int = option("Seed of z.", least=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads.", least=1)

    def __post_init__(self) -> None:
        need_at_least(self, n_styles=2, n_mean=1, batch_size=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the generator, write styles."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--output", type=Path, required=True, help="styles.safetensors to write")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from rls.prior.styles import styles_and_mean, write_styles
    from rls.runtime.device import choose_device
    from rls.stylegan2.generator_io import load_generator

    device = choose_device(settings.device, settings.threads)
    generator = load_generator(args.generator, device)
    styles, mean = styles_and_mean(
        generator,
        settings.n_styles,
        settings.n_mean,
        seed=settings.seed,
        batch_size=settings.batch_size,
        label=NAME,
    )
    write_styles(args.output, styles, mean, generator, asdict(settings))


if __name__ == "__main__":
    run(main)
