"""Read the evaluation cells of all folds of a run, and their features by method.

Every assay of a run is a fold of the same cells: a cell is evaluated in one alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.comparison.image_quality import embedding
from analysis.comparison.measured import KEYS, check_same_settings, read_evaluation, same_cells
from analysis.features.registry import columns_of
from analysis.mechanism.bands import band_features
from analysis.mechanism.matching import Labels
from analysis.mechanism.profiles import batch_of
from analysis.mechanism.settings import Settings
from analysis.run.description import Comparison, Run
from rls.io import read_stack
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, OK
from rls.runtime.errors import InputError

NEEDED = (*KEYS, "compound", "moa")
RANDOM, BANDS = "random", "bands"
PIXELS, SORTED, MEANS = "pixels", "sorted_pixels", "channel_means"


@dataclass(frozen=True)
class Folds:
    """The evaluation cells of all folds at one factor.

    Attributes:
        ats: The clean comparison of each fold.
        cells: One row per cell, fold after fold, each sorted by image_id.
        high: The table of HR features of each fold, in the order of ``ats``.
        batches: Batch of each cell, by its plate.
        controls: (n,) bool, the cells of the negative control.
    """

    ats: tuple[Comparison, ...]
    cells: pd.DataFrame
    high: tuple[pd.DataFrame, ...]
    batches: pd.Series
    controls: np.ndarray

    @property
    def interpretable(self) -> str:
        """Name of the assays' own features, such as ``morphology``."""
        return "+".join(self.ats[0].assay.features)

    def normalised_by(self, settings: Settings) -> pd.Series:
        """Return what each cell is normalised with: its batch, or its batch in its fold alone."""
        return self.batches + " " + self.cells["fold"] if settings.within_folds else self.batches


def read_folds(run: Run, settings: Settings) -> Iterator[Folds]:
    """Yield the folds of the run at each factor.

    Raises:
        InputError: A cell is evaluated in two folds, folds differ in features, methods or negative
            control, or a table has no mechanisms.
    """
    ats = [at for at in run.comparisons(clean_only=True) if at.assay.has_high_resolution]
    for factor in dict.fromkeys(at.factor for at in ats):
        here = tuple(at for at in ats if at.factor == factor)
        _check_alike(here)
        high = tuple(read_evaluation(_features(at, HIGH_RESOLUTION)) for at in here)
        cells = pd.concat(
            [_facts(table, at) for table, at in zip(high, here, strict=True)], ignore_index=True
        )
        twice = cells["image_id"][cells["image_id"].duplicated()]
        if len(twice):
            raise InputError(
                f"Found {len(twice)} cells in several assays of the run (first: {twice.iloc[0]}), "
                "expected folds, which evaluate each cell once. Take an assay out of run.assays."
            )
        batches = batch_of(cells["plate"], settings.batch)
        controls = (cells["treatment"] == here[0].assay.negative_control).to_numpy()
        yield Folds(here, cells, high, batches, controls)


def _features(at: Comparison, method: str) -> Path:
    return at.measured(method, "features")


def _facts(table: pd.DataFrame, at: Comparison) -> pd.DataFrame:
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise InputError(
            f"{at.measured(HIGH_RESOLUTION, 'features')} has no column {', '.join(missing)}; "
            "mechanisms are judged where the cells' table names them. Give a sheet with compound "
            "and moa."
        )
    return table[list(NEEDED)].assign(fold=at.assay.name)


def _check_alike(ats: Sequence[Comparison]) -> None:
    first = ats[0]
    for at in ats[1:]:
        for what in ("features", "channels", "negative_control"):
            if getattr(at.assay, what) != getattr(first.assay, what):
                raise InputError(
                    f"Found assays {first.assay.name} and {at.assay.name} with other {what}, "
                    "expected folds of one assay. Take one out of run.assays."
                )


def labels_of(folds: Folds, settings: Settings) -> Labels:
    """Return what is known of every profile: treatments with enough cells, but no control.

    A treatment without a mechanism has no profile.

    Raises:
        InputError: There are fewer than two profiles.
    """
    cells = folds.cells.assign(batch=folds.batches)
    cells = cells[~folds.controls & cells["moa"].notna() & (cells["moa"] != "")]
    groups = [
        (str(name), part)
        for name, part in cells.groupby("treatment", sort=True)
        if len(part) >= settings.min_cells
    ]
    if len(groups) < 2:
        raise InputError(
            f"Found {len(groups)} treatments of a known mechanism with {settings.min_cells} cells "
            "or more, expected two at least. Lower mechanism.min_cells, or evaluate more cells."
        )
    return Labels(
        tuple(name for name, _ in groups),
        np.array([str(part["compound"].iloc[0]) for _, part in groups]),
        np.array([str(part["moa"].iloc[0]) for _, part in groups]),
        tuple(frozenset(part["batch"]) for _, part in groups),
        np.array([len(part) for _, part in groups]),
    )


def features_of(folds: Folds, method: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and values (n, d) of every kind of features of a method, NaN where not measured.

    LR has no morphology, and instead its pixels: as they are, sorted within each channel, which no
    turn of the cell changes, and the means of the channels.
    """
    tables = [
        same_cells(high, read_evaluation(_features(at, method)), _features(at, method))
        for at, high in zip(folds.ats, folds.high, strict=True)
    ]
    if method == LOW_RESOLUTION:
        yield from _pixels(folds)
    else:
        parts = [
            _interpretable(at, high, table, method)
            for at, high, table in zip(folds.ats, folds.high, tables, strict=True)
        ]
        yield folds.interpretable, np.concatenate(parts)
        yield BANDS, band_features(_images(folds, method))
    found = [embedding(table, RANDOM) for table in tables]
    known = [values for values in found if values is not None]
    if len(known) == len(found):
        yield RANDOM, np.concatenate(known)


def _interpretable(
    at: Comparison, high: pd.DataFrame, table: pd.DataFrame, method: str
) -> np.ndarray:
    """Return the assay's own features, NaN for a cell of which they could not be measured."""
    check_same_settings(high, table, at.measured(method, "features"))
    names = [name for one in at.assay.features for name in columns_of(one, at.assay.channels)]
    values = table[list(dict.fromkeys(names))].to_numpy(dtype=np.float64, copy=True)
    values[(table["status"] != OK).to_numpy()] = np.nan
    return values


def _pixels(folds: Folds) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the pixels of LR in counts, which folds share whatever their intensity scales."""
    images = _images(folds, LOW_RESOLUTION)
    by_channel = images.reshape(*images.shape[:2], -1)
    yield PIXELS, by_channel.reshape(len(images), -1)
    yield SORTED, np.sort(by_channel, axis=2).reshape(len(images), -1)
    yield MEANS, by_channel.mean(axis=2)


def _images(folds: Folds, method: str) -> np.ndarray:
    """Return the images of a method, (n, c, y, x) float64 counts, in the order of the cells.

    Raises:
        InputError: An image is missing.
    """
    parts = []
    for at, high in zip(folds.ats, folds.high, strict=True):
        stack = read_stack(at.stack(method))
        rows = pd.Index(stack.table["image_id"]).get_indexer(pd.Index(high["image_id"]))
        if (rows < 0).any():
            raise InputError(
                f"Found no image of {(rows < 0).sum()} measured cells in {at.stack(method)}, "
                "expected one of each. Run the stages from degrade on again."
            )
        parts.append(stack.images[rows].astype(np.float64))
    return np.concatenate(parts)
