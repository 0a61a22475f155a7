"""The intensity scale of a user's own cells: the counts of black and white."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rls.io import Intensity, read_intensity
from rls.pretrained.user_cells import Cells
from rls.runtime.errors import InputError


def choose_scale(
    cells: Cells,
    model: Intensity,
    path: Path | None,
    percentiles: Sequence[float] | None,
    pixels: Mapping[str, Sequence[float]],
) -> Intensity:
    """Return the scale of the cells' counts, and print which it is.

    The scale comes from the file ``path``, from :func:`percentile_scale`, or else from the model.

    Raises:
        InputError: The file lacks a channel, or a channel is constant.
    """
    if path and percentiles:
        raise InputError("Found both --intensity and --scale percentiles. Give one of them.")
    if percentiles:
        return percentile_scale(cells.images, model.channels, pixels, percentiles)
    if path:
        own = read_intensity(path)
        missing = [channel for channel in model.channels if channel not in own.channels]
        if missing:
            raise InputError(
                f"{path} has no level for {', '.join(missing)}; it has "
                f"{', '.join(own.channels)}. Give black and white of each of the model's channels."
            )
        print(f"intensity: scale of {path}", flush=True)
        places = [own.channels.index(channel) for channel in model.channels]
        black, white = (tuple(levels[i] for i in places) for levels in (own.black, own.white))
        return Intensity(model.channels, black, white)
    print(f"intensity: the model's scale, {_levels(model)}", flush=True)
    scaled = cells.images.max() <= 1 < max(model.white)  # As skimage.util.img_as_float does it.
    if scaled or (cells.eight_bit and max(model.white) > 255):
        what = "hold no value above 1" if scaled else "are 8-bit"
        print(
            f"warning: the images {what}, and the model's scale reaches {max(model.white):g} "
            "counts. If they were rescaled when they were saved, give the raw images, "
            "--intensity, or --scale percentiles.",
            flush=True,
        )
    return model


def percentile_scale(
    images: np.ndarray,
    channels: Sequence[str],
    pixels: Mapping[str, Sequence[float]],
    percentiles: Sequence[float],
) -> Intensity:
    """Return the scale that puts two percentiles of ``images`` (n, c, y, x) on the reference's.

    The percentiles are those of each channel over all images, never of a single cell.

    Arguments:
        pixels: 101 quantiles of the reference's low-resolution pixels, by channel; a channel
            without them gets 0 and 1.

    Raises:
        InputError: The percentiles are not two of 0 to 100, or a channel is constant.
    """
    low, high = percentiles
    if not 0 <= low < high <= 100:
        raise InputError(f"Found --percentiles {low:g} {high:g}, expected two of 0 to 100.")
    black, white = [], []
    for i, channel in enumerate(channels):
        dark, bright = np.percentile(images[:, i], [low, high])
        if not bright > dark:
            raise InputError(
                f"Channel {channel} is {dark:g} nearly everywhere, so it has no scale. Is it blank?"
            )
        first, last = 0.0, 1.0
        if channel in pixels:
            # Percentile k of the reference is entry k of its 101 quantiles.
            grid = np.linspace(0, 100, len(pixels[channel]))
            first, last = np.interp([low, high], grid, pixels[channel])
        span = (bright - dark) / (last - first)
        black.append(float(dark - first * span))
        white.append(float(dark - first * span + span))
    scale = Intensity(tuple(channels), tuple(black), tuple(white))
    print(
        f"intensity: percentiles {low:g} and {high:g} of the whole input were put on those of "
        f"{'the reference cells' if pixels else '0 and 1'}, {_levels(scale)}. Counts of other "
        "runs do not compare, and trust cannot see a wrong brightness.",
        flush=True,
    )
    return scale


def _levels(scale: Intensity) -> str:
    levels = zip(scale.channels, scale.black, scale.white, strict=True)
    return ", ".join(f"{c} {black:.6g} to {white:.6g} counts" for c, black, white in levels)
