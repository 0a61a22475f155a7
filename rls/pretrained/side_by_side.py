"""A picture for a first look: low resolution beside what was made of it, the least trusted too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rls.io import atomic_path
from rls.pretrained.trust import FLAGGED
from rls.stylegan2.grid import composite

CELLS = 12
LEAST_TRUSTED = 4  # of these: a look at the typical ones alone would be flattery
TILE = 96  # px, the least side of one image
GAP, TEXT, TITLE = 4, 250, 34  # px
WARNING, PLAIN = (255, 150, 60), (235, 235, 235)


def choose_rows(trust: np.ndarray, most: int = CELLS) -> np.ndarray:
    """Return the cells to show, most trusted first: spread over all, and the least trusted.

    Arguments:
        trust: (n,), or NaN where unknown: then the cells are spread over the stack.
    """
    order = np.argsort(-np.where(np.isfinite(trust), trust, 0.0), kind="stable")
    if len(order) <= most:
        return order
    spread = np.linspace(0, len(order) - LEAST_TRUSTED - 1, most - LEAST_TRUSTED)
    return np.concatenate([order[np.round(spread).astype(int)], order[-LEAST_TRUSTED:]])


def write_side_by_side(
    path: Path,
    low: np.ndarray,
    high: np.ndarray,
    channels: Sequence[str],
    ids: Sequence[str],
    trust: np.ndarray,
    why: Sequence[str],
    title: str,
) -> None:
    """Write a PNG, a cell a row: all channels in colour, then each in grey; LR left of SR.

    Arguments:
        low, high: (n, c, m, m) and (n, c, f m, f m) in [0, 1] units, shown clipped.
        trust: (n,), NaN where unknown; ``why`` names the fact that lies farthest out.
    """
    rows = choose_rows(trust)
    side = high.shape[-1] * max(1, -(-TILE // high.shape[-1]))
    pictures: list[tuple[Callable[[np.ndarray], np.ndarray], str]] = []
    if len(channels) > 1:
        pictures.append((_colour, "all channels"))
    pictures += [(_grey(i), name) for i, name in enumerate(channels)]
    width = TEXT + len(pictures) * (2 * (side + GAP) + 2 * GAP)
    sheet = Image.new("RGB", (width, 2 * TITLE + len(rows) * (side + GAP)), "black")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((6, TITLE // 2), title, font=font, fill=PLAIN, anchor="lm")
    for column, (_, name) in enumerate(pictures):
        left = TEXT + column * (2 * (side + GAP) + 2 * GAP)
        draw.text((left, TITLE * 3 // 2), f"{name}: low | super-resolved", font=font, fill=PLAIN,
                  anchor="lm")  # fmt: skip
    for line, row in enumerate(rows):
        top = 2 * TITLE + line * (side + GAP)
        flagged = bool(trust[row] < FLAGGED)
        draw.multiline_text((6, top), _label(ids[row], trust[row], why[row]), font=font,
                            fill=WARNING if flagged else PLAIN)  # fmt: skip
        for column, (paint, _) in enumerate(pictures):
            for place, image in enumerate((low[row], high[row])):
                left = TEXT + column * (2 * (side + GAP) + 2 * GAP) + place * (side + GAP)
                picture = Image.fromarray(paint(image)).resize((side, side), Image.Resampling.NEAREST)  # fmt: skip  # noqa: E501
                sheet.paste(picture, (left, top))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _colour(image: np.ndarray) -> np.ndarray:
    """Return (y, x, 3) uint8 of an image (c, y, x) in [0, 1]."""
    return composite(image[None])[0]


def _grey(channel: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: composite(image[None, channel : channel + 1])[0]


def _label(name: str, trust: float, why: str) -> str:
    words = f"trust {trust:.3f}" if np.isfinite(trust) else "trust unknown"
    if trust < FLAGGED:
        words += "  unlike the model's cells"
    fact, _, rest = why.partition(" (")
    lines = [name if len(name) < 34 else "..." + name[-30:], words, fact]
    return "\n".join([*lines, f"({rest}"] if rest else lines)
