"""The numbers of the table of mechanisms of action: every method, and its difference to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from analysis.comparison.long_table import Row, Rows, estimate_facts, long_row
from analysis.mechanism.judging import Draws, Scores, left_out, score, shuffled
from analysis.mechanism.matching import RULES, Labels
from analysis.mechanism.profiles import aggregate, normalise, sphere
from analysis.mechanism.reading import Folds, features_of, labels_of, read_folds
from analysis.mechanism.settings import Settings
from analysis.run.description import Run
from rls.io.names import BICUBIC, HIGH_RESOLUTION, LOW_RESOLUTION

SPHERED = "_sphered"  # ending of a kind of features
SHUFFLED = "shuffled_labels"
MINUS = "_minus_"  # between a metric and the row that is subtracted
LEFT_OUT, WITHOUT_PROFILE = "_profiles_left_out", "profiles_without_a_measured_cell"
COMPARED = (HIGH_RESOLUTION, BICUBIC)  # the rows that are subtracted, of the same kind of features


def mechanism_rows(run: Run, settings: Settings) -> Rows:
    """Return every row of the table, methods in the order of the configuration."""
    return [row for folds in read_folds(run, settings) for row in rows_of_factor(folds, settings)]


def rows_of_factor(folds: Folds, settings: Settings) -> Iterator[Row]:
    """Yield the rows of one factor: HR, LR, the methods, and what is reached by chance."""
    labels = labels_of(folds, settings)
    draws = Draws.of(labels, settings.n_compounds_drawn, settings.seed)
    methods = dict.fromkeys((HIGH_RESOLUTION, LOW_RESOLUTION, *folds.ats[0].methods_with_images))
    profiles = {
        (method, kind + ending): found
        for method in methods
        for kind, values in features_of(folds, method)
        for ending, found in profiles_of(values, folds, labels, settings).items()
    }
    known = {row: score(found, labels) for row, found in profiles.items()}
    for row, found in profiles.items():
        without = float(np.isnan(found).all(axis=1).sum())
        facts: Row = {"value": without, "n": len(labels.names), "unit": "profile"}
        yield _row(folds, labels, *row, WITHOUT_PROFILE, facts)
        yield from method_rows(folds, labels, known, row, draws, settings)
    own = profiles[HIGH_RESOLUTION, folds.interpretable]
    yield from chance_rows(folds, labels, own, settings)


def profiles_of(
    values: np.ndarray, folds: Folds, labels: Labels, settings: Settings
) -> dict[str, np.ndarray]:
    """Return the profiles of all treatments, (profiles, d), by the ending of their kind's name.

    They are of the normalised features, and of these sphered.

    Arguments:
        values: (n, d) features of all cells.
    """
    scaled = normalise(
        values, folds.normalised_by(settings), folds.controls, settings.control_cells
    )
    sphered = sphere(scaled, folds.controls, settings.sphering_floor)
    names = list(labels.names)
    return {
        ending: aggregate(found, folds.cells["treatment"], names)
        for ending, found in (("", scaled), (SPHERED, sphered))
    }


def method_rows(
    folds: Folds,
    labels: Labels,
    known: Mapping[tuple[str, str], Scores],
    row: tuple[str, str],
    draws: Draws,
    settings: Settings,
) -> Iterator[Row]:
    """Yield the scores of a method, and their differences to HR and bicubic but for its own.

    LR's own features are compared with the interpretable ones of HR and bicubic.

    Arguments:
        known: Scores by method and kind of features, those of ``row`` and of the compared included.
        row: Method and kind of features.
    """
    method, kind = row
    for metric, scores in known[row].items():
        found = draws.mean(scores, settings.confidence_level)
        yield _row(folds, labels, method, kind, metric, estimate_facts(found))
    for other in COMPARED:
        base = known.get((other, kind)) or known.get((other, folds.interpretable))
        if other == method or base is None:
            continue
        for metric, scores in known[row].items():
            found = draws.mean(scores - base[metric], settings.confidence_level)
            name = f"{metric}{MINUS}{other}"
            yield _row(folds, labels, method, kind, name, estimate_facts(found))


def chance_rows(
    folds: Folds, labels: Labels, profiles: np.ndarray, settings: Settings
) -> Iterator[Row]:
    """Yield what shuffled mechanisms reach, and the profiles that each rule leaves out."""
    kind = folds.interpretable
    found = shuffled(
        profiles, labels, settings.n_shuffles, settings.confidence_level, settings.seed
    )
    for metric, estimate in found:
        yield _row(folds, labels, SHUFFLED, kind, metric, estimate_facts(estimate))
    for rule in RULES:
        count, text = left_out(labels, rule)
        facts: Row = {"value": float(count), "n": len(labels.names), "unit": "profile"}
        name = f"{rule}{LEFT_OUT}"
        yield _row(folds, labels, HIGH_RESOLUTION, kind, name, {**facts, "reason": text})


def _row(folds: Folds, labels: Labels, method: str, kind: str, metric: str, facts: Row) -> Row:
    """Return a row of the table, whose assay is all folds together.

    Arguments:
        facts: Keyword arguments of :func:`long_row`.
    """
    rule = next((rule for rule in RULES if metric.startswith(f"{rule}_")), None)
    here = np.ones(len(labels.names), bool) if rule is None else labels.judged(rule)
    return {
        **long_row(folds.ats[0], method, metric, **facts),
        "assay": "+".join(at.assay.name for at in folds.ats),
        "feature": kind,
        "n_profiles": int(here.sum()),
        "n_compounds": len(set(labels.compounds[here])),
        "n_cells": int(labels.n_cells[here].sum()),
    }
