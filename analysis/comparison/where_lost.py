"""Where a feature's shift or its cells are lost: real, generated and reconstructed cells compared.

Three things can go wrong between a real cell and its reconstruction, and each shows at another
place. Where images that the generator makes from nothing lie elsewhere than real cells of its
training, the generator has not learnt the feature. Where the two agree but a regression from
generated pairs (row ``amortised``) says less of real cells than one from real pairs (row
``regression``), it has not learnt how the feature shows in LR. Where both are right and
reconstructions still lie elsewhere, the search, its start or its regularisation has lost it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison.feature_values import FeatureValues, read_features
from analysis.comparison.kept_features import OF_ONE_IMAGE, TRIPLE, feature_part
from analysis.comparison.labels import method_label
from analysis.comparison.long_table import Rows, estimate_facts, estimate_of, long_row
from analysis.comparison.measured import primary_column
from analysis.numbers.statistics import Estimate, finite
from analysis.run.description import Comparison
from rls.io import read_table
from rls.io.names import GAN, HIGH_RESOLUTION, LOW_RESOLUTION

GENERATED, DRAWN = "generated", "drawn"  # the row, and the table of its features
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DISTANCE = "wasserstein_over_sd"
NO_REFERENCE = "no high-resolution cell to compare with"


class Strip(NamedTuple):
    """The values of a feature on one kind of cells.

    Attributes:
        method: Row of the tables, or ``gan`` and ``generated``.
        label: What people read.
        treatment: '' for cells of all treatments.
        values: (n,) finite.
        reference: (m,) the values on real cells that these are compared with.
        image: Whether these are of one image, where the method has several solutions.
    """

    method: str
    label: str
    treatment: str
    values: np.ndarray
    reference: np.ndarray
    image: bool = False


class Block(NamedTuple):
    """The strips of one feature of one comparison, and its rows of the table of features."""

    feature: FeatureValues
    strips: list[Strip]
    rows: pd.DataFrame


def blocks_of(at: Comparison, table: pd.DataFrame) -> list[Block]:
    """Return a block for each feature of an assay.

    Arguments:
        table: The table of features.
    """
    columns = [primary_column(feature) for feature in at.assay.features]
    found = []
    for feature in read_features(at, columns, at.methods):
        strips = [*_unconditional(feature), *_by_treatment(feature)]
        found.append(Block(feature, strips, feature_part(table, at, feature.column)))
    return found


def _unconditional(feature: FeatureValues) -> Iterator[Strip]:
    """Yield real cells of all treatments and those that the generator makes from nothing."""
    high = finite(feature.values[HIGH_RESOLUTION])
    folder = feature.at.folder.parent.parent
    known = _column(folder, GAN, feature.column)
    reference = high if known is None else known
    if known is not None:
        yield Strip(GAN, "HR, generator's cells", "", known, reference)
    yield Strip(HIGH_RESOLUTION, "HR, evaluation", "", high, reference)
    made = _column(folder, DRAWN, feature.column)
    if made is not None:
        yield Strip(GENERATED, "generated from nothing", "", made, reference)


def _column(folder: Path, name: str, column: str) -> np.ndarray | None:
    """Return the finite values of a table beside the assay; None where no rule makes it.

    An assay without a generator has no generated images, and one without split gan no such cells.
    """
    path = folder / f"{name}.features.parquet"
    if not path.is_file():
        return None
    return finite(read_table(path, columns=[column])[column].to_numpy(dtype=float))


def _by_treatment(feature: FeatureValues) -> Iterator[Strip]:
    """Yield HR and every method in each control; of several solutions one image and the mean."""
    for treatment in feature.controls:
        high = feature.of(HIGH_RESOLUTION, treatment)
        yield Strip(HIGH_RESOLUTION, method_label(HIGH_RESOLUTION), treatment, high, high)
        for method in (m for m in feature.methods if m != LOW_RESOLUTION):
            if method in feature.of_image:
                own = feature.with_image(method).of(method, treatment)
                label = f"{method_label(method)} (one image)"
                yield Strip(method, label, treatment, own, high, image=True)
            label = method_label(method, feature.n_solutions.get(method, 1))
            yield Strip(method, label, treatment, feature.of(method, treatment), high)


def kept_of(block: Block, strip: Strip) -> tuple[Estimate, Estimate]:
    """Return shift kept and r within treatments of a method; NaN for what is no method."""
    prefix = OF_ONE_IMAGE if strip.image else ""
    names = (TRIPLE["shift_kept"], TRIPLE["correlation"])
    found = [estimate_of(block.rows, strip.method, prefix + name) for name in names]
    return found[0], found[1]


def distance(strip: Strip) -> float:
    """Return the mean difference of quantiles from the real cells, in their sd; NaN if undefined.

    It is the Wasserstein distance of order 1 over the sd of the reference.
    """
    spread = float(strip.reference.std()) if len(strip.reference) else 0.0
    if not len(strip.values) or spread == 0:
        return float("nan")
    return float(stats.wasserstein_distance(strip.values, strip.reference)) / spread


def numbers_of(block: Block) -> Rows:
    """Return quantiles, sd, distance to real cells, shift kept and r of every strip."""
    rows: Rows = []
    for strip in block.strips:
        facts: Rows = [
            {"metric": f"quantile_{q:g}", "value": float(np.quantile(strip.values, q))}
            for q in QUANTILES
            if len(strip.values)
        ]
        if len(strip.values):
            facts.append({"metric": "sd", "value": float(strip.values.std())})
        apart = distance(strip)
        reason = "" if np.isfinite(apart) else NO_REFERENCE
        facts.append({"metric": DISTANCE, "value": apart, "reason": reason})
        common = {"n": len(strip.values), "unit": "cell", "treatment": strip.treatment}
        facts = [{**fact, **common} for fact in facts]
        if strip.treatment and strip.method != HIGH_RESOLUTION:
            both = zip(("shift_kept", "correlation"), kept_of(block, strip), strict=True)
            kept = ({"metric": TRIPLE[name], **estimate_facts(one)} for name, one in both)
            facts += [{**fact, "treatment": strip.treatment} for fact in kept]
        own = {"feature": block.feature.column, "strip": strip.label}
        rows += [{**long_row(block.feature.at, strip.method, **fact), **own} for fact in facts]
    return rows
