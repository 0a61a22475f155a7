"""Make low-resolution images from high-resolution ones: y = D(x) + delta (Eq. 1, section 4.1).

D acts on the [0, 1]-scaled images; a chain of further degradations (section 4.3) may follow, each
named ``name:value``. Every image has its own random stream, so that its noise does not depend on
which other images are in the stack, nor on their order. With ``quantise: 8bit`` the result is put
on 256 levels of [0, 1], as Pillow left the article's images; what is stored is counts again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from rls.io import read_intensity, read_stack, write_stack
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import stream
from rls.search.forward import BORDERS, downscale

IMAGES_AT_ONCE = 256
LEVELS = 255.0


@dataclass(frozen=True)
class Settings:
    """How D and the chain act."""

    border: str = option("Rule of D at the border: renormalize (Pillow) or reflect (PULSE).", choices=BORDERS)  # fmt: skip  # noqa: E501
    quantise: str = option("8bit rounds to 256 levels of [0, 1]; none keeps floats.", choices=("8bit", "none"))  # fmt: skip  # noqa: E501
    seed: int = option("Seed of the degradations' random streams.")
    threads: int = option("CPU threads of torch.")


Degradation = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def gaussian_noise(image: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Add N(0, sigma^2) to every value of ``image`` (c, y, x); sigma on the scale of [0, 1]."""
    return image + sigma * random.standard_normal(image.shape)


def salt_and_pepper(image: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Set a share ``amount`` of all values to 0 or 1, either with equal chance."""
    hit = random.random(image.shape) < amount
    return np.where(hit, random.integers(0, 2, image.shape).astype(image.dtype), image)


def salt(image: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Set a share ``amount`` of all values to 1: what the released code calls salt and pepper."""
    return np.where(random.random(image.shape) < amount, 1.0, image)


def gaussian_blur(image: np.ndarray, radius: float, random: np.random.Generator) -> np.ndarray:
    """Blur each channel with a Gaussian of standard deviation ``radius`` low-resolution pixels."""
    return ndimage.gaussian_filter(image, (0.0, radius, radius), mode="nearest")


# value limits: a share lies in [0, 1], a standard deviation has no upper end
DEGRADATIONS: dict[str, tuple[Degradation, float]] = {
    "gaussian_noise": (gaussian_noise, np.inf),
    "salt_and_pepper": (salt_and_pepper, 1.0),
    "salt": (salt, 1.0),
    "gaussian_blur": (gaussian_blur, np.inf),
}


def parse_chain(entries: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Return (name, value) pairs of entries ``name:value``.

    Raises:
        InputError: Unknown or repeated name, or a value that is no number or out of range.
    """
    chain: list[tuple[str, float]] = []
    for entry in entries:
        name, _, text = entry.partition(":")
        if name not in DEGRADATIONS:
            raise InputError(
                f"Found the degradation '{entry}', expected name:value with a name of "
                f"{', '.join(DEGRADATIONS)}."
            )
        if name in dict(chain):
            # its noise would be the same twice: the stream is that of the image and the name
            raise InputError(f"The degradation {name} stands twice in the chain. Give it once.")
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"'{entry}' has no number behind the colon.") from None
        if not 0.0 <= value <= DEGRADATIONS[name][1]:
            raise InputError(f"The value of '{entry}' lies outside 0 to {DEGRADATIONS[name][1]}.")
        chain.append((name, value))
    return tuple(chain)


def degrade(
    unit: np.ndarray,
    image_ids: Sequence[str],
    factor: int,
    chain: Sequence[tuple[str, float]],
    settings: Settings,
) -> np.ndarray:
    """Return low-resolution images (n, c, y/factor, x/factor) float32 in [0, 1] units.

    Arguments:
        unit: Images (n, c, y, x) in [0, 1] units, not clipped.
        image_ids: n ids; with the seed they determine the noise.
    """
    operator = downscale(unit.shape[-2:], factor, settings.border)  # type: ignore[arg-type]  # a pair
    with torch.no_grad():
        low = operator(torch.as_tensor(unit, dtype=torch.float32)).numpy()
    for name, value in chain:
        apply = DEGRADATIONS[name][0]
        images = [
            apply(image, value, stream(settings.seed, image_id, f"degrade {name}"))
            for image, image_id in zip(low, image_ids, strict=True)
        ]
        low = np.stack(images).astype(np.float32)
    if settings.quantise == "8bit":
        low = np.clip(np.rint(low * LEVELS), 0.0, LEVELS).astype(np.float32) / np.float32(LEVELS)
    return low


def main(argv: Sequence[str] | None = None) -> None:
    """Read the high-resolution stack, write the low-resolution one beside its table."""
    parser = Parser(__doc__, Settings, "degrade")
    parser.add_argument("--high-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--factor", type=int, required=True, help="side of x over side of y")
    parser.add_argument("--degradation", required=True, help="name of the chain, for the table")
    parser.add_argument("--chain", nargs="*", default=[], help="name:value of each degradation")
    parser.add_argument("--output", type=Path, required=True, help="low-resolution stack to write")
    args, settings = parser.parse(argv)
    chain = parse_chain(args.chain)
    choose_device("cpu", settings.threads)  # D of a whole stack takes seconds on a CPU
    stack = read_stack(args.high_resolution)
    intensity = read_intensity(args.intensity)
    if stack.channels != intensity.channels:
        raise InputError(
            f"{args.high_resolution} has the channels {', '.join(stack.channels)} and "
            f"{args.intensity} has {', '.join(intensity.channels)}. Give the scale of this assay."
        )
    low: list[np.ndarray] = []
    with Progress(len(stack), "degrade", "img") as bar:
        for first in range(0, len(stack), IMAGES_AT_ONCE):
            rows = slice(first, first + IMAGES_AT_ONCE)
            unit = intensity.to_unit(stack.images[rows])
            ids = list(stack.table["image_id"][rows])
            low.append(degrade(unit, ids, args.factor, chain, settings))
            bar.advance(len(unit))
    table = stack.table.rename(columns={"image_digest": "high_resolution_digest"}).assign(
        factor=args.factor,
        degradation=args.degradation,
        chain=" ".join(args.chain),
        border=settings.border,  # every search takes its D from here
    )
    write_stack(
        args.output,
        intensity.to_counts(np.concatenate(low)),
        table,
        channels=stack.channels,
        pixel_size_um=stack.pixel_size_um * args.factor,
        written_by="degrade",
        description=f"reduced {args.factor}x by bicubic D ({settings.border}), "
        f"degradation {args.degradation}",
    )


if __name__ == "__main__":
    run(main)
