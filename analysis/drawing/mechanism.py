"""The figure of mechanisms of action: accuracies and mean average precisions, a row a method."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.long_table import Rows, estimate_facts, estimate_of, long_row
from analysis.drawing.dots import draw_dots
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    COLOURS,
    DOUBLE_COLUMN,
    MM,
    axes_at,
    in_style,
    method_colours,
    new_stack,
)
from analysis.mechanism.judging import ACCURACY, PRECISION
from analysis.mechanism.matching import NOR_SAME_BATCH, NOT_SAME_COMPOUND
from analysis.mechanism.reading import MEANS, PIXELS, SORTED
from analysis.mechanism.rows import SHUFFLED
from analysis.numbers.statistics import Estimate
from analysis.run.description import Comparison, Run
from rls.io.names import BICUBIC, HIGH_RESOLUTION, LOW_RESOLUTION
from rls.runtime.errors import InputError

ROW, HEADING, FOOT = 5.2 * MM, 11 * MM, 8 * MM
LEFT, ACROSS, WIDE = 30 * MM, 39 * MM, 31 * MM
# Rows of LR, by the kind of features.
KINDS = {PIXELS: "LR pixels", SORTED: "LR sorted pixels", MEANS: "LR channel means"}
PANELS = {
    f"{NOT_SAME_COMPOUND}_{ACCURACY}": "NSC, % right",
    f"{NOR_SAME_BATCH}_{ACCURACY}": "NSCB, % right",
    f"{NOT_SAME_COMPOUND}_{PRECISION}": "NSC, mAP, %",
    f"{NOR_SAME_BATCH}_{PRECISION}": "NSCB, mAP, %",
}
PERCENT = 100.0


def draw(run: Run, settings: Settings, table: pd.DataFrame) -> tuple[Figure, Rows]:
    """Return the figure, one block a factor, and its numbers.

    Arguments:
        table: The long table of mechanisms.

    Raises:
        InputError: The table has no row of a factor of the run.
    """
    ats = {at.factor: at for at in reversed([*run.comparisons(clean_only=True)])}
    blocks = []
    for factor in run.factors:
        here = table[table["factor"] == factor]
        if here.empty:
            raise InputError(
                f"The table of rule mechanism has no row at {factor}x. Run that rule again."
            )
        blocks.append((ats[factor], here))
    rows: Rows = []
    n_rows = 2 + len(KINDS) + len(run.methods_with_images)
    with in_style():
        height = HEADING + n_rows * ROW + FOOT
        figure, tops = new_stack(DOUBLE_COLUMN, [height] * len(blocks))
        for (at, here), top in zip(blocks, tops, strict=True):
            rows += _draw_block(figure, at, here, top, n_rows * ROW)
    return figure, rows


def numbers_of(at: Comparison, table: pd.DataFrame, metric: str) -> dict[str, Estimate]:
    """Return the number of every row of the figure: HR, LR, the methods, and chance.

    Methods are judged by the assay's own features, LR by its pixels.
    """
    own = "+".join(at.assay.features)
    found = {HIGH_RESOLUTION: estimate_of(table, HIGH_RESOLUTION, metric, feature=own)}
    for kind, name in KINDS.items():
        found[name] = estimate_of(table, LOW_RESOLUTION, metric, feature=kind)
    for method in at.methods_with_images:
        found[method] = estimate_of(table, method, metric, feature=own)
    found[SHUFFLED] = estimate_of(table, SHUFFLED, metric, feature=own)
    return found


def ceiling(numbers: dict[str, Estimate]) -> float:
    """Return the best of what LR has without a model of cells: its pixels, and bicubic."""
    names = [*KINDS.values(), *([BICUBIC] if BICUBIC in numbers else [])]
    return max(numbers[name].value for name in names)


def _draw_block(
    figure: Figure, at: Comparison, table: pd.DataFrame, top: float, height: float
) -> Rows:
    """Draw one factor, whose upper edge is ``top`` inches above the bottom; return its numbers."""
    width, total = figure.get_size_inches()
    rows: Rows = []
    texts = []
    for place, (metric, title) in enumerate(PANELS.items()):
        numbers = numbers_of(at, table, metric)
        names = [*KINDS.values(), SHUFFLED]
        colours = method_colours([name for name in numbers if name not in names])
        colours |= dict.fromkeys(names, COLOURS[LOW_RESOLUTION])
        bottom = top - HEADING - height
        axes = axes_at(figure, LEFT + place * ACROSS, bottom, WIDE, height)
        high = numbers[HIGH_RESOLUTION].value * PERCENT
        draw_dots(
            axes, numbers, colours, title, scale=PERCENT, digits=0, right=high, named=place == 0
        )
        axes.axvline(ceiling(numbers) * PERCENT, color="black", linestyle=":", linewidth=0.7)
        axes.set_xlim(0, 100)
        for method, one in numbers.items():
            rows.append(long_row(at, method, metric, **estimate_facts(one)))
        own = table[(table["method"] == HIGH_RESOLUTION) & (table["metric"] == metric)].iloc[0]
        rule = metric.split("_", 1)[0].upper()
        texts.append(f"{rule} {own['n_profiles']} profiles of {own['n_compounds']} compounds")
    y = (top - 1.5 * MM) / total
    title = f"{at.factor}x: {'; '.join(dict.fromkeys(texts))}"
    figure.text(2 * MM / width, y, title, fontsize=8, weight="bold", va="top")
    return rows
