"""The sharpest test of a generator: a regression from y to features, from generated pairs alone.

The regression never saw a cell. On cells of split tune it is set beside the same regression trained
on cells of split gan. Where the generator couples what LR shows with what a feature measures as
cells do, both keep as much of the shift between treatments, and have the same r within them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.evaluation.images import Assay, Images
from analysis.evaluation.settings import NAME, Settings
from analysis.numbers.agreement import agreement, correlation_of
from analysis.numbers.statistics import Estimate
from rls.encoder.regression import Regression, Scale
from rls.encoder.regression_training import Schedule, examples_of, train
from rls.runtime.checkpoint import StateFolder
from rls.runtime.graphs import Recorder

HELD_OUT_OF_CELLS = 10  # One in so many cells of gan decides which epoch is kept.


@dataclass(frozen=True)
class Pairs:
    """Images to fit a regression on, and others whose loss decides which epoch is kept."""

    shown: Images
    held: Images


def of_cells(cells: Images) -> Pairs:
    """Return cells as pairs: every tenth is held out."""
    held = np.arange(len(cells)) % HELD_OUT_OF_CELLS == HELD_OUT_OF_CELLS - 1
    return Pairs(cells.select(np.flatnonzero(~held)), cells.select(np.flatnonzero(held)))


def predicted(
    pairs: Pairs,
    tune: Images,
    factor: int,
    assay: Assay,
    settings: Settings,
    folder: StateFolder,
    device: torch.device,
) -> np.ndarray:
    """Return E[h | y] (n, k) of the cells ``tune`` by a regression fitted to ``pairs``."""
    schedule = Schedule.of(settings, turned=assay.forward.keeps_turns)
    scale = Scale.of(assay.columns, pairs.shown.values)
    known, judged = (
        examples_of(assay.low(one.unit, one.ids, factor), one.values, scale)
        for one in (pairs.shown, pairs.held)
    )
    recorder = Recorder(device, settings.cuda_graphs)
    with recorder.stream():
        state = train(known, judged, schedule, device, folder, NAME, recorder)
    y = assay.low(tune.unit, tune.ids, factor)
    return Regression(state.net, scale, {}).predict(y, settings.pairs_per_step)[0]


def kept(
    found: np.ndarray, tune: Images, assay: Assay, controls: tuple[str, str], confidence: float
) -> dict[str, Any]:
    """Return by feature what predictions (n, k) keep of the cells: shift, sd ratio and r.

    r stands for both treatments together, each about its own mean, and for each alone.
    """
    rows = {}
    for j, name in enumerate(assay.columns):
        pairs = pd.DataFrame(
            {
                **{key: tune.table[key] for key in ("plate", "well", "site", "treatment")},
                "high_resolution": tune.values[:, j],
                "super_resolution": found[:, j],
            }
        )
        both = agreement(
            pairs, negative_control=controls[0], positive_control=controls[1], confidence=confidence
        )
        rows[name] = {
            "shift_kept": plain(both.shift_kept),
            "sd_ratio": plain(both.sd_ratio),
            "correlation": plain(both.correlation),
            "correlation_by_treatment": {
                one: plain(correlation_of(pairs, one, confidence=confidence)) for one in controls
            },
            "n_cells": both.n_cells,
        }
    return rows


def plain(found: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON can hold it: what is no number is left out."""
    facts = {key: value for key, value in asdict(found).items() if value == value}
    return {key: value for key, value in facts.items() if value != ""}
