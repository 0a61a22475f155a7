"""Fig. 7: a block per assay and factor, images of the ablations left, their numbers right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from analysis.comparison.image_metrics import FIDELITY, KERNEL_DISTANCE, mean_fact
from analysis.comparison.kept_features import triple_rows
from analysis.comparison.labels import feature_label
from analysis.comparison.long_table import (
    NO_HIGH_RESOLUTION,
    Rows,
    estimate_of,
    long_row,
    long_table,
    rows_at,
    rows_of,
)
from analysis.comparison.measured import KEYS, read_evaluation, same_cells
from analysis.drawing.dots import draw_dots, sentence_figure
from analysis.drawing.example_cells import evaluation_table, show_cells
from analysis.drawing.grids import Grid, choose_treatments, draw_grid, grid_height
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    DOUBLE_COLUMN,
    MM,
    axes_at,
    in_style,
    method_colours,
    new_stack,
)
from analysis.run.description import Comparison, Run
from rls.io import read_table, read_weights, table_path
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION
from rls.search.objective import mean_distance

FROM_TABLE1 = ("psnr_db", "ms_ssim", FIDELITY, KERNEL_DISTANCE)
PAIR_DISTANCE = "mean_pair_distance"
LOG_PRIOR = "log_prior"
NO_STYLES = "the method has no styles"
IMAGES_WIDTH = 97 * MM
PANEL_HEIGHT = 29 * MM


class Panel(NamedTuple):
    """One metric on the right: its title, factor, digits, and the value that is right."""

    metric: str
    title: str
    scale: float
    digits: int
    right: float | None = None
    feature: str = ""


PANELS = (
    Panel("psnr_db", "PSNR, dB ↑", 1.0, 1),
    Panel("ms_ssim", "MS-SSIM ↑", 1.0, 2),
    Panel(KERNEL_DISTANCE, "KD random conv., x1e3 ↓", 1.0, 1),
    Panel(FIDELITY, "|D(SR) − LR|, x1e3 ↓", 1000.0, 1),
    Panel(LOG_PRIOR, "mean log p_F, nats", 1.0, 0),
    Panel(PAIR_DISTANCE, "pair distance of styles", 1.0, 1),
)


@dataclass(frozen=True)
class Block:
    """One block of the figure: an assay and factor; ``numbers`` has a column ``feature``."""

    at: Comparison
    methods: Sequence[str]
    grid: Grid
    numbers: pd.DataFrame


def draw(
    run: Run, settings: Settings, table1: pd.DataFrame, features: pd.DataFrame
) -> tuple[Figure, Rows]:
    """Return the figure and its numbers, one block per assay and factor, clean LR alone.

    Arguments:
        table1, features: Table 1 and the table of features.
    """
    blocks: list[Block] = []
    rows: Rows = []
    for at in run.comparisons(clean_only=True):
        methods = [name for name in settings.ablations if name in at.methods_with_images]
        reason = _why_not(at, methods)
        if reason:
            rows.append({**long_row(at, "", "psnr_db", reason=reason), "feature": ""})
            continue
        numbers = numbers_of(at, methods, table1, features, settings)
        columns = (HIGH_RESOLUTION, LOW_RESOLUTION, *methods)
        treatments = choose_treatments(evaluation_table(at), at.assay.treatments, 2)
        grid, _ = show_cells(at, columns, treatments, settings, IMAGES_WIDTH)
        blocks.append(Block(at, methods, grid, long_table(numbers)))
        rows += numbers
    if not blocks:
        text = (
            f"Fig. 7 is empty: of figures.ablations ({', '.join(settings.ablations)}) fewer than "
            f"two are among the methods of this run, or no assay has high resolution."
        )
        return sentence_figure(text), rows
    with in_style():
        return _draw_blocks(blocks), rows


def _why_not(at: Comparison, methods: Sequence[str]) -> str:
    """Return why a comparison has no block; '' where it has one."""
    if not at.assay.has_high_resolution:
        return NO_HIGH_RESOLUTION
    few = len(methods) < 2
    return f"of figures.ablations only {', '.join(methods) or 'none'} ran" if few else ""


def numbers_of(
    at: Comparison,
    methods: Sequence[str],
    table1: pd.DataFrame,
    features: pd.DataFrame,
    settings: Settings,
) -> Rows:
    """Return every number of an assay and factor."""
    cells = read_evaluation(table_path(at.stack(HIGH_RESOLUTION)))[list(KEYS)]
    quality = rows_at(table1, at, "table1")
    rows: Rows = []
    for method in methods:
        rows += rows_of(quality, method, FROM_TABLE1)
        rows += style_rows(at, method, cells, settings)
    rows += triple_rows(features, at, methods)
    return [{"feature": "", **row} for row in rows]


def style_rows(at: Comparison, method: str, cells: pd.DataFrame, settings: Settings) -> Rows:
    """Return the means of log prior and pair distance over the ``cells`` of evaluation."""
    styles = same_cells(cells, read_styles(at, method), at.stack(method))
    table = pd.concat([cells, styles[[LOG_PRIOR, PAIR_DISTANCE]]], axis=1)
    facts = [mean_fact(table, name, settings) for name in (LOG_PRIOR, PAIR_DISTANCE)]
    told = (fact if "value" in fact else {**fact, "reason": NO_STYLES} for fact in facts)
    return [long_row(at, method, **fact) for fact in told]


def read_styles(at: Comparison, method: str) -> pd.DataFrame:
    """Return per image the log prior and the mean distance of its styles, NaN without styles."""
    table = read_table(table_path(at.stack(method)), columns=["image_id"])
    if LOG_PRIOR not in table.columns:
        table = table.assign(**{LOG_PRIOR: np.nan})
    tensors, header = read_weights(at.latents(method), kind="latents")
    styles = tensors["w"].float()
    found = np.full(len(styles), np.nan)
    if styles.ndim == 3 and styles.shape[1] > 1:
        with torch.no_grad():
            found = mean_distance(styles).numpy()
    distance = pd.Series(found, index=header["image_ids"])
    return table.assign(**{PAIR_DISTANCE: distance.loc[table["image_id"]].to_numpy()})


# Drawing -----------------------------------------------------------------------------------------


def panels_of(numbers: pd.DataFrame) -> list[Panel]:
    """Return the panels of the numbers: the fixed ones, and two per feature."""
    panels = list(PANELS)
    for name in filter(None, dict.fromkeys(numbers["feature"])):
        for metric, title in (
            ("shift_kept", "shift kept"),
            ("correlation_within_treatment", "r within treatment"),
        ):
            panels.append(Panel(metric, f"{title},\n{feature_label(name)}", 1.0, 2, 1.0, name))
    return panels


def _draw_blocks(blocks: Sequence[Block]) -> Figure:
    heights = []
    for block in blocks:
        right = math.ceil(len(panels_of(block.numbers)) / 2) * PANEL_HEIGHT + 6 * MM
        heights.append(max(grid_height(block.grid, IMAGES_WIDTH), right))
    figure, tops = new_stack(DOUBLE_COLUMN, heights)
    for block, top, height in zip(blocks, tops, heights, strict=True):
        draw_grid(figure, block.grid, top, IMAGES_WIDTH)
        _draw_panels(figure, block, top, height)
    return figure


def _draw_panels(figure: Figure, block: Block, top: float, height: float) -> None:
    """Draw the numbers in two columns at the right of the images."""
    colours = method_colours(list(block.at.methods))
    panels = panels_of(block.numbers)
    step = min((height - 6 * MM) / math.ceil(len(panels) / 2), 1.25 * PANEL_HEIGHT)
    for index, panel in enumerate(panels):
        left = IMAGES_WIDTH + (19 + 34 * (index % 2)) * MM
        bottom = top - 6 * MM - (index // 2 + 1) * step + 8 * MM
        found = {
            method: estimate_of(block.numbers, method, panel.metric, feature=panel.feature)
            for method in block.methods
        }
        draw_dots(
            axes_at(figure, left, bottom, 30 * MM, step - 13 * MM),
            found,
            colours,
            panel.title,
            scale=panel.scale,
            digits=panel.digits,
            right=panel.right,
            named=index % 2 == 0,
        )
