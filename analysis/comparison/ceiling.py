"""What LR can know of a feature, beside what a method has of it.

c is the correlation of the row ``regression`` with HR, on the very cells that the method is judged
on. A method's r is set against what exact draws from the posterior would have: c^2 for one image,
the formula of :mod:`analysis.numbers.ceiling` for a mean over K, c itself for a regression. r and c
are computed on the same wells, so each well is left out of both at once, and the interval of their
ratio holds what they share. c is that of a regression from so many cells; a better one would have
more, so a share of the ceiling may be too high and is never too low but by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.comparison.feature_values import FeatureValues
from analysis.comparison.long_table import Rows, estimate_facts
from analysis.comparison.settings import IntervalSettings
from analysis.numbers.agreement import CELLS_NEEDED, SMALLEST
from analysis.numbers.ceiling import against_ceiling
from analysis.numbers.statistics import Estimate
from rls.io.names import HIGH_RESOLUTION, REGRESSION, WITHOUT_IMAGES

CEILING, ONE_DRAW = "ceiling_c", "ceiling_one_draw"
OWED, SHARE = "ceiling_of_n_solutions", "correlation_over_ceiling"
IN_TREATMENT = "correlation_in_treatment"
CEILINGS = (CEILING, ONE_DRAW, OWED, SHARE)
IN_TABLES = (*CEILINGS, IN_TREATMENT)  # every metric of this module
NO_GAN = "there is no cell of split gan, on which the regression from LR to features is trained"
NO_ROW = "the row regression does not run here: name it in run.methods"
NOTHING_KNOWN = "c cannot be told from 0 with these wells, so no share of it can be given"


def ceiling_facts(feature: FeatureValues, method: str, settings: IntervalSettings) -> Rows:
    """Return r in each treatment, c, c^2, what K solutions owe, and the share of it that r is.

    All are given for both treatments together, as the correlation within treatments is, and for
    each alone.
    """
    if REGRESSION not in feature.values:
        reason = NO_ROW if feature.at.assay.has_gan else NO_GAN
        rows: Rows = [{"metric": CEILING, "reason": reason}]
    else:
        rows = _against_ceiling(feature, method, feature.controls, settings)
    for treatment in feature.controls:
        rows += [
            {**row, "treatment": treatment}
            for row in _against_ceiling(feature, method, (treatment,), settings, own=True)
        ]
    return rows


def _against_ceiling(
    feature: FeatureValues,
    method: str,
    treatments: Sequence[str],
    settings: IntervalSettings,
    *,
    own: bool = False,
) -> Rows:
    """Return the facts of some treatments; ``own``: with r, which the table else has already."""
    names = [HIGH_RESOLUTION, method]
    if known := REGRESSION in feature.values:
        names.append(REGRESSION)
    values = np.stack([feature.values[name] for name in names])
    here = np.isfinite(values).all(axis=0) & feature.cells["treatment"].isin(treatments).to_numpy()
    table, values = feature.cells[here].reset_index(drop=True), values[:, here]
    metrics = [IN_TREATMENT, *(CEILINGS if known else ())][0 if own else 1 :]
    counts = [int((table["treatment"] == name).sum()) for name in treatments]
    if min(counts) < CELLS_NEEDED:
        reason = f"only {min(counts)} cells of a treatment were measured in all images"
        return [{"metric": metric, "reason": reason} for metric in metrics]
    k = math.inf if method in WITHOUT_IMAGES else feature.n_solutions.get(method, 1)
    found = against_ceiling(
        table,
        values[0],
        values[1],
        values[2] if known else None,
        k,
        confidence=settings.confidence_level,
    )
    if known:
        found[-1] = _share(found, method)
    wanted = found if own else found[1:]
    return [
        {"metric": metric, **estimate_facts(_with_reason(estimate))}
        for metric, estimate in zip(metrics, wanted, strict=True)
    ]


def _share(found: Sequence[Estimate], method: str) -> Estimate:
    """Return the share of the ceiling, or why there is none."""
    c, share = found[1], found[-1]
    if method == REGRESSION:
        return Estimate.empty("the row that the ceiling is taken from", c.n, c.unit)
    if not c.low > SMALLEST:
        return Estimate.empty(NOTHING_KNOWN, c.n, c.unit)
    return share


def _with_reason(found: Estimate) -> Estimate:
    if math.isnan(found.value) and not found.reason:
        return Estimate.empty("one of the two is constant", found.n, found.unit)
    return found
