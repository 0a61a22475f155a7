"""Look at the features' thresholds on HR controls of split tune: how firm each of them stands.

Thresholds are constants of the configuration, fixed on HR and the same for HR, LR and every method;
nothing is fitted here and no evaluation cell is looked at. For each feature of the assay one row
says what the constants give, and two rows a constant what a quarter more and a quarter less would:
the cells measured, the medians of both controls, the AUC between them, and how far the cells'
values move. A constant is firm where these stay; one that moves the AUC decides the result and
should be argued for. ``feature_settings`` is the digest that measure writes into every table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.features import OK, find_feature
from analysis.measure import FEATURE_SETTINGS, feature_digest, settings_class
from analysis.numbers.statistics import auc
from rls.io import Stack, read_intensity, read_stack, write_table
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress

SPLIT = "tune"
STEP = 1.25  # a constant is tried times and over this
CELLS = 100  # of each control at most, at even steps over the wells
MOVED_AUC, MOVED_SHARE = 0.02, 0.05  # what the last line names
COLUMNS = (
    "feature", "column", "setting", "value", "tried", "cells", "wells", "measured",
    "median_negative", "median_positive", "auc", "median_change", "rank_correlation", "reason",
    FEATURE_SETTINGS,
)  # fmt: skip


def controls_of_tune(stack: Stack, controls: tuple[str, str]) -> Stack:
    """Return at most ``CELLS`` cells of each control from split tune.

    Raises:
        InputError: A control has none.
    """
    chosen = []
    for name in controls:
        table = stack.table
        rows = np.flatnonzero((table["split"] == SPLIT) & (table["treatment"] == name))
        if len(rows) == 0:
            raise InputError(
                f"The high-resolution stack has no cell of {name} in split {SPLIT}, on which "
                f"thresholds are looked at. Give select_cells a share_tune and cells_tune."
            )
        steps = np.linspace(0, len(rows) - 1, min(CELLS, len(rows))).round().astype(int)
        chosen.append(rows[steps])
    return stack.select(np.concatenate(chosen))


def tried_values(settings: Any, feature: str) -> Iterator[tuple[str, float, float]]:  # noqa: ANN401
    """Yield name, value and tried value of every number among the settings of a feature."""
    for field in fields(find_feature(feature).FeatureSettings):
        value = getattr(settings, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        for factor in (1 / STEP, STEP):
            tried = value * factor
            if field.name.endswith("_percentile") and value > 50.0:
                tried = 100.0 - (100.0 - value) * factor  # a quarter of the tail beyond it
            yield field.name, value, round(tried) if isinstance(value, int) else tried


def compare(
    frozen: np.ndarray, values: np.ndarray, positive: np.ndarray
) -> dict[str, float | int | str]:
    """Return what is seen of the controls with ``values``, and how they differ from ``frozen``.

    Arguments:
        frozen, values: (n,), NaN where a cell was not measured.
        positive: (n,) bool, the positive control.
    """
    here = np.isfinite(values)
    both = here & np.isfinite(frozen)
    sides = [values[here & side] for side in (~positive, positive)]
    change = rank = math.nan
    if both.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            change = float(np.median(values[both] / frozen[both])) - 1.0
        if np.ptp(values[both]) > 0 and np.ptp(frozen[both]) > 0:
            rank = float(stats.spearmanr(frozen[both], values[both]).statistic)
    medians = [float(np.median(side)) if len(side) else math.nan for side in sides]
    return {
        "measured": int(here.sum()), "median_negative": medians[0], "median_positive": medians[1],
        "auc": auc(*sides), "median_change": change, "rank_correlation": rank,
        "reason": "" if all(map(len, sides)) else "a control has no measured cell",
    }  # fmt: skip


def check_feature(
    feature: str,
    stack: Stack,
    counts: np.ndarray,
    roles: tuple[str, str],
    positive: np.ndarray,
    settings: Any,  # noqa: ANN401  # of settings_class()
) -> list[dict[str, Any]]:
    """Return the rows of one feature: its constants, then each changed alone.

    Arguments:
        counts: (n, c, y, x) above the black level.
        roles: Nucleus and marker channel.
        positive: (n,) bool.
    """
    module = find_feature(feature)

    def values_with(used: Any) -> np.ndarray:  # noqa: ANN401
        found = module.measure(
            counts, channels=stack.channels, pixel_size_um=stack.pixel_size_um,
            nucleus_channel=roles[0], marker_channel=roles[1], settings=used,
        )  # fmt: skip
        return found[module.PRIMARY].where(found["status"] == OK).to_numpy(dtype=float)

    common = {
        "feature": feature, "column": module.PRIMARY, "cells": len(counts),
        "wells": stack.table.groupby(["plate", "well"]).ngroups,
        FEATURE_SETTINGS: feature_digest(settings),
    }  # fmt: skip
    frozen = values_with(settings)
    rows = [{**common, "setting": "", **compare(frozen, frozen, positive)}]
    trials = list(tried_values(settings, feature))
    with Progress(len(trials), f"thresholds of {feature}", "trials") as bar:
        for name, value, tried in trials:
            found = compare(frozen, values_with(replace(settings, **{name: tried})), positive)
            rows.append({**common, "setting": name, "value": value, "tried": tried, **found})
            bar.advance(1)
    return rows


def decisive(table: pd.DataFrame) -> list[str]:
    """Return the constants that a quarter more or less of moves AUC or measured cells."""
    moved: dict[str, None] = {}
    for _, part in table.groupby("feature", sort=False):
        first, others = part.iloc[0], part.iloc[1:]
        away = (others["auc"] - first["auc"]).abs() > MOVED_AUC
        away |= (others["measured"] - first["measured"]).abs() > MOVED_SHARE * first["cells"]
        moved |= dict.fromkeys(others.loc[away, "setting"])
    return list(moved)


def main(argv: Sequence[str] | None = None) -> None:
    """Write how firm the thresholds stand."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--high-resolution", type=Path, required=True, help="HR stack, all splits")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--marker-channel", required=True, help="channel that is measured")
    parser.add_argument("--negative-control", required=True, help="a treatment")
    parser.add_argument("--positive-control", required=True, help="a treatment")
    parser.add_argument("--features", nargs="*", default=[], help="names in analysis/features")
    parser.add_argument("--output-csv", type=Path, required=True, help="one row a trial")
    args, settings = parser.parse(argv)
    controls = (args.negative_control, args.positive_control)
    stack = controls_of_tune(read_stack(args.high_resolution), controls)
    black = np.asarray(read_intensity(args.intensity).black, dtype=np.float32)
    counts = stack.images.astype(np.float32) - black[:, None, None]
    positive = (stack.table["treatment"] == controls[1]).to_numpy()
    roles = (args.nucleus_channel, args.marker_channel)
    rows = [
        row
        for feature in args.features
        for row in check_feature(feature, stack, counts, roles, positive, settings)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_table(args.output_csv, table, written_by="check_thresholds")
    named = ", ".join(decisive(table)) or "none"
    print(
        f"check_thresholds: {len(stack)} HR cells of split {SPLIT}; a quarter more or less moves "
        f"AUC by over {MOVED_AUC} or the cells measured by over {MOVED_SHARE:.0%} for: {named}"
    )


if __name__ == "__main__":
    run(main)
