"""The report's section on quality: the number of crops with each flag, and examples."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.cells.flagged_cells import UNFLAGGED
from analysis.cells.quality_settings import FLAGS
from analysis.drawing.grids import channel_colours, composite
from analysis.report import html
from analysis.run.description import Assay
from rls.io import read_intensity, read_stack, read_table

LEAST_PX = 64  # crops are enlarged to at least this side
GAP_PX = 3
MOST_TREATMENTS = 6  # with more, the table has no column a treatment
MOST_CHANNELS = 3  # in a composite: nucleus, marker and a third
MEANING = {
    "saturated": "a channel has too many pixels at the camera's limit",
    "blank": "a channel has no contrast",
    "out_of_focus": "the edge of the nucleus is blurred",
    "noise": "a channel holds little but pixel noise",
    "border": "the crop reaches beyond the border of the field (filled with 0)",
    "overlapping": "much of the nucleus' outline touches other nuclei",
    "debris": "a bright speck lies beside the nuclei",
    UNFLAGGED: "no flag: examples of all other crops",
}


def section(results: Path, assay: Assay) -> str:
    """Return counts and examples of an assay as HTML."""
    folder = results / assay.name
    counts = read_table(folder / "flags.csv")
    total = counts.groupby("flag", sort=False)[["n_flagged", "n_cells"]].sum()
    excludes = counts.groupby("flag")["excludes"].any()
    wide = counts.pivot(index="flag", columns="treatment", values="n_flagged")
    shown = wide.reindex([*FLAGS, UNFLAGGED]).reset_index()
    shown.insert(1, "meaning", shown["flag"].map(MEANING))
    shown.insert(2, "left out", ["yes" if excludes[name] else "" for name in shown["flag"]])
    shown["flag"] = shown["flag"].str.replace("_", " ")
    if len(wide.columns) > MOST_TREATMENTS:
        shown = shown[["flag", "meaning", "left out"]]
    shown["all"] = list(total["n_flagged"].reindex([*FLAGS, UNFLAGGED]))
    numbers = [name for name in shown.columns if name not in ("flag", "meaning", "left out")]
    cells = int(total["n_cells"].iloc[0])
    caption = f"Quality flags of {cells:,} crops; a crop may have several flags"
    return html.table(shown.astype(str), caption=caption, numbers=numbers) + _examples(
        folder, assay
    )


def _examples(folder: Path, assay: Assay) -> str:
    """Return a strip of crops a flag, and one of crops without a flag."""
    stack = read_stack(folder / "flagged.ome.tif")
    unit = read_intensity(folder / "intensity.json").to_unit(stack.images)
    first = [assay.nucleus_channel, assay.marker_channel]
    ordered = list(dict.fromkeys([*first, *stack.channels]))[:MOST_CHANNELS]
    colours = channel_colours(ordered, assay.nucleus_channel, assay.marker_channel, "colour_blind")
    places = [stack.channels.index(name) for name in ordered]
    rows = []
    for name in (*FLAGS, UNFLAGGED):
        chosen = np.flatnonzero(stack.table["shown_for"] == name)
        if not len(chosen):
            continue
        panels = [composite(unit[i][places], ordered, colours) for i in chosen]
        text = f"{name.replace('_', ' ')}: {MEANING[name]}"
        picture = html.image(_strip(panels), text, "flagged")
        rows.append(html.figure(picture, escape(text)))
    return "".join(rows)


def _strip(panels: list[np.ndarray]) -> bytes:
    """Return panels (y, x, 3) in [0, 1] side by side on white, as the bytes of a PNG."""
    times = max(-(-LEAST_PX // panels[0].shape[0]), 1)
    large = [panel.repeat(times, axis=0).repeat(times, axis=1) for panel in panels]
    gap = np.ones((len(large[0]), GAP_PX, 3))
    strip = np.concatenate([part for panel in large for part in (gap, panel)][1:], axis=1)
    canvas = np.rint(255 * strip).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
