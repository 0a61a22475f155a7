"""A picture for a first look: low-resolution cells beside results, with the least trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rls.io import atomic_path
from rls.pretrained.trust import FLAGGED
from rls.stylegan2.grid import composite

CELLS = 12
LEAST_TRUSTED = 4  # The least trusted cells among those shown; without them the picture flatters.
TILE = 96  # Smallest side of one image, in px.
GAP, TEXT, TITLE = 4, 250, 34  # px
WARNING, PLAIN = (255, 150, 60), (235, 235, 235)


def choose_rows(trust: np.ndarray, most: int = CELLS) -> np.ndarray:
    """Return the cells to show, most trusted first: some spread over all, and the least trusted.

    Where trust (n,) is NaN, because it is not known, the cells are spread over the stack.
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
    """Write a PNG with a row for each cell: all channels in colour, then each channel in grey.

    In every column the low-resolution image stands left of the super-resolved one.

    Arguments:
        low, high: (n, c, m, m) and (n, c, f m, f m) in [0, 1] units, shown clipped.
        trust: (n,), NaN where unknown; ``why`` names the fact that lies farthest out.
    """
    rows = choose_rows(trust)
    side = high.shape[-1] * max(1, -(-TILE // high.shape[-1]))
    shown = [(slice(i, i + 1), name) for i, name in enumerate(channels)]
    if len(channels) > 1:
        shown.insert(0, (slice(None), "all channels"))
    stride = 2 * (side + GAP) + 2 * GAP
    size = (TEXT + len(shown) * stride, 2 * TITLE + len(rows) * (side + GAP))
    sheet = Image.new("RGB", size, "black")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((6, TITLE // 2), title, font=font, fill=PLAIN, anchor="lm")
    for line, row in enumerate(rows):
        label, colour = _label(ids[row], trust[row], why[row])
        draw.multiline_text((6, 2 * TITLE + line * (side + GAP)), label, font=font, fill=colour)
    for column, (part, name) in enumerate(shown):
        left, head = TEXT + column * stride, f"{name}: low | super-resolved"
        draw.text((left, TITLE * 3 // 2), head, font=font, fill=PLAIN, anchor="lm")
        for line, row in enumerate(rows):
            top = 2 * TITLE + line * (side + GAP)
            for place, image in enumerate((low[row], high[row])):
                picture = Image.fromarray(composite(image[None, part])[0])
                picture = picture.resize((side, side), Image.Resampling.NEAREST)
                sheet.paste(picture, (left + place * (side + GAP), top))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _label(name: str, trust: float, why: str) -> tuple[str, tuple[int, int, int]]:
    """Return the text beside a cell, and its colour."""
    flagged = bool(trust < FLAGGED)
    words = f"trust {trust:.3f}" if np.isfinite(trust) else "trust unknown"
    words += "  unlike the model's cells" if flagged else ""
    fact, _, rest = why.partition(" (")
    lines = [name if len(name) < 34 else "..." + name[-30:], words, fact]
    return "\n".join([*lines, f"({rest}"] if rest else lines), WARNING if flagged else PLAIN
