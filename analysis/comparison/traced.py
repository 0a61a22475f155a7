"""The numbers of traces: loss, realism and features of a search against its steps and its time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.comparison.image_metrics import FIDELITY, mean_fact
from analysis.comparison.kept_features import triple_facts
from analysis.comparison.long_table import Row, Rows, long_row
from analysis.comparison.settings import IntervalSettings
from analysis.comparison.swept import agreements, high_resolution_of, kernel_fact
from analysis.run.description import Comparison
from rls.io import read_table
from rls.io.splits import CHOOSE, check

OF_IMAGES = (FIDELITY, "psnr_db", "log_prior")
SECONDS, PROCESSOR = "seconds_per_cell", "processor_seconds_per_cell"
NOT_TIMED = "no batch was timed: a second one, which needs n_cells above batch_size, or a CPU"


def read_trace(path: Path, *more: str) -> pd.DataFrame:
    """Return a measured trace, whose column ``steps`` counts those in W too, sorted by cell.

    ``log_prior`` is NaN for a search that has no prior.

    Arguments:
        more: Further columns that it must have.

    Raises:
        InputError: The file is no measured trace, or holds cells that may not serve a choice.
    """
    columns = ["cell_id", "split", "steps", "own", SECONDS, PROCESSOR, FIDELITY, "psnr_db", *more]
    table = read_table(path, columns=columns)
    if "log_prior" not in table:
        table = table.assign(log_prior=math.nan)
    check(CHOOSE, table["split"])
    if "steps_w" in table.columns:
        table = table.assign(steps=table["steps"] + table["steps_w"])
    return table.sort_values(["steps", "cell_id"]).reset_index(drop=True)


def trace_rows(at: Comparison, method: str, settings: IntervalSettings, column: str = "") -> Rows:
    """Return all numbers of a trace, with the columns steps, own, n_cells and feature.

    The time of a checkpoint is the median over its batches but the first, in seconds a cell.

    Arguments:
        column: A column of a feature, beside those that the assay's features are named for.
    """
    rows: Rows = []
    more = [column] if column else []
    for steps, part in read_trace(at.trace(method)).groupby("steps"):
        here = part.reset_index(drop=True)
        facts: Rows = [time_fact(here, name) for name in (SECONDS, PROCESSOR)]
        facts += [mean_fact(here, name, settings) for name in OF_IMAGES]
        facts.append(kernel_fact(here, high_resolution_of(here), settings))
        found = [{"feature": "", **long_row(at, method, **fact)} for fact in facts]
        for name, agreement in agreements(at, here, settings, *more).items():
            kept = triple_facts(agreement)
            found += [{"feature": name, **long_row(at, method, **fact)} for fact in kept]
        point = {"steps": int(str(steps)), "own": bool(here["own"].all()), "n_cells": len(here)}
        rows += [{**row, **point} for row in found]
    return rows


def time_fact(table: pd.DataFrame, name: str) -> Row:
    """Return the median time of a cell over the batches that were timed, or why there is none."""
    values = table[name].to_numpy(dtype=float)
    timed = values[np.isfinite(values)]
    value = float(np.median(timed)) if len(timed) else math.nan
    reason = "" if len(timed) else NOT_TIMED
    return {"metric": name, "value": value, "n": len(timed), "unit": "cell", "reason": reason}
