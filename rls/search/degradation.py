"""Make low-resolution images: y = D(x) + delta (Eq. 1), and a chain of degradations (section 4.3).

Every image has its own random stream for each degradation, so that its noise depends neither on
the other images of the stack nor on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage

from rls.runtime.errors import InputError
from rls.runtime.streams import stream
from rls.search.forward import forward_operator
from rls.search.forward_model import ForwardModel

LEVELS = 255.0

Degradation = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
Chain = Sequence[tuple[str, float]]


def gaussian_noise(image: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Add N(0, sigma^2) to every value of ``image`` (c, y, x); sigma on the scale of [0, 1]."""
    return image + sigma * random.standard_normal(image.shape)


def salt_and_pepper(image: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Set a share ``amount`` of all values to 0 or 1, each with equal probability."""
    hit = random.random(image.shape) < amount
    return np.where(hit, random.integers(0, 2, image.shape).astype(image.dtype), image)


def salt(image: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Set a share ``amount`` of all values to 1; the released code calls it salt and pepper."""
    return np.where(random.random(image.shape) < amount, 1.0, image)


def gaussian_blur(image: np.ndarray, radius: float, random: np.random.Generator) -> np.ndarray:
    """Blur each channel with a Gaussian of standard deviation ``radius`` low-resolution pixels."""
    return ndimage.gaussian_filter(image, (0.0, radius, radius), mode="nearest")


# The number is the greatest value: a share is at most 1, a standard deviation is not limited.
DEGRADATIONS: dict[str, tuple[Degradation, float]] = {
    "gaussian_noise": (gaussian_noise, np.inf),
    "salt_and_pepper": (salt_and_pepper, 1.0),
    "salt": (salt, 1.0),
    "gaussian_blur": (gaussian_blur, np.inf),
}


def parse_chain(entries: Sequence[str]) -> Chain:
    """Return the (name, value) pairs of entries ``name:value``.

    Raises:
        InputError: A name is unknown or repeated, or a value is not a number or is out of range.
    """
    chain: dict[str, float] = {}
    for entry in entries:
        name, _, text = entry.partition(":")
        if name not in DEGRADATIONS:
            raise InputError(
                f"Found the degradation '{entry}', expected name:value with a name of "
                f"{', '.join(DEGRADATIONS)}."
            )
        if name in chain:
            # Random streams are keyed by image and name, so a repetition would reuse the noise.
            raise InputError(f"The degradation {name} stands twice in the chain. Give it once.")
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"'{entry}' has no number after the colon.") from None
        if not 0.0 <= value <= DEGRADATIONS[name][1]:
            raise InputError(f"The value of '{entry}' lies outside 0 to {DEGRADATIONS[name][1]}.")
        chain[name] = value
    return tuple(chain.items())


def degrade(
    unit: np.ndarray,
    image_ids: Sequence[str],
    factor: int,
    chain: Chain,
    *,
    forward: ForwardModel,
    pixel_size_um: float,
    quantise: str,
    seed: int,
) -> np.ndarray:
    """Return low-resolution images (n, c, y/factor, x/factor) float32 in [0, 1] units.

    Arguments:
        unit: Images (n, c, y, x) in [0, 1] units, not clipped.
        image_ids: n ids, which with the seed determine the noise.
        forward: The choice of D.
        pixel_size_um: Side of a pixel of ``unit``.
        quantise: ``8bit`` clips and rounds to 256 levels of [0, 1]; ``none`` keeps floats.
    """
    size = (unit.shape[2], unit.shape[3])
    operator = forward_operator(forward, size, factor, pixel_size_um)
    with torch.no_grad():
        low = operator(torch.as_tensor(unit, dtype=torch.float32)).numpy()
    return degrade_low(low, image_ids, chain, quantise=quantise, seed=seed)


def degrade_low(
    low: np.ndarray, image_ids: Sequence[str], chain: Chain, *, quantise: str, seed: int
) -> np.ndarray:
    """Return what the chain and the quantisation make of D(x); see :func:`degrade`.

    Arguments:
        low: Images D(x), (n, c, y, x) float32 in [0, 1] units.
    """
    for name, value in chain:
        apply = DEGRADATIONS[name][0]
        images = [
            apply(image, value, stream(seed, image_id, f"degrade {name}"))
            for image, image_id in zip(low, image_ids, strict=True)
        ]
        low = np.stack(images).astype(np.float32)
    if quantise == "8bit":
        low = np.clip(np.rint(low * LEVELS), 0.0, LEVELS).astype(np.float32) / np.float32(LEVELS)
    return low
