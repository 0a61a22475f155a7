"""Make low-resolution images from high-resolution ones: y = D(x) + delta (Eq. 1, section 4.1).

D, which ``operator`` and the settings after it choose (rls/search/forward_model.py), acts on images
scaled to [0, 1]. A chain of further degradations (section 4.3) may follow, each
named ``name:value``. Every image has its own random stream, so that its noise depends neither on
the other images of the stack nor on their order. With ``quantise: 8bit`` the result is rounded to
256 levels of [0, 1], as Pillow left the article's images; the file again holds counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError
from rls.search.forward_model import OperatorSettings

IMAGES_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Settings(OperatorSettings):
    """Settings of D and of the chain."""

    quantise: str = option(
        "8bit rounds to 256 levels of [0, 1]; none keeps floats.", choices=("8bit", "none")
    )
    seed: int = option("Seed of the degradations' random streams.", least=0)
    threads: int = option("CPU threads of torch.", least=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the high-resolution stack, write the low-resolution one beside its table."""
    parser = Parser(__doc__, Settings, "degrade")
    parser.add_argument("--high-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    parser.add_argument("--degradation", required=True, help="name of the chain, for the table")
    parser.add_argument("--chain", nargs="*", default=[], help="name:value of each degradation")
    parser.add_argument("--output", type=Path, required=True, help="low-resolution stack to write")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    import numpy as np

    from rls.io import read_intensity, read_stack, write_stack
    from rls.runtime.device import choose_device
    from rls.runtime.progress import Progress
    from rls.search.degradation import degrade, parse_chain
    from rls.search.forward_model import columns_of, model_of

    chain, forward = parse_chain(args.chain), model_of(settings)
    choose_device("cpu", settings.threads)  # D of a whole stack takes seconds on a CPU.
    stack = read_stack(args.high_resolution)
    intensity = read_intensity(args.intensity)
    if stack.channels != intensity.channels:
        raise InputError(
            f"{args.high_resolution} has the channels {', '.join(stack.channels)} and "
            f"{args.intensity} has {', '.join(intensity.channels)}. Give the scale of this assay."
        )
    reduce = partial(
        degrade,
        forward=forward,
        pixel_size_um=stack.pixel_size_um,
        quantise=settings.quantise,
        seed=settings.seed,
    )
    low = []
    with Progress(len(stack), "degrade", "img") as bar:
        for first in range(0, len(stack), IMAGES_AT_ONCE):
            rows = slice(first, first + IMAGES_AT_ONCE)
            unit, ids = intensity.to_unit(stack.images[rows]), list(stack.table["image_id"][rows])
            low.append(reduce(unit, ids, args.factor, chain))
            bar.advance(len(unit))
    table = stack.table.rename(columns={"image_digest": "high_resolution_digest"}).assign(
        factor=args.factor,
        degradation=args.degradation,
        chain=" ".join(args.chain),
        **columns_of(forward),  # Every search takes its D from here.
    )
    write_stack(
        args.output,
        intensity.to_counts(np.concatenate(low)),
        table,
        channels=stack.channels,
        pixel_size_um=stack.pixel_size_um * args.factor,
        written_by="degrade",
        description=f"reduced {args.factor}x by D {forward.describe()}, "
        f"degradation {args.degradation}",
    )


if __name__ == "__main__":
    run(main)
