"""Accuracies of nearest neighbours and mean average precisions, with intervals over compounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.mechanism.matching import (
    RULES,
    Labels,
    average_precisions,
    hits,
    ranked,
    similarity,
)
from analysis.numbers.statistics import Estimate
from rls.runtime.streams import stream

ACCURACY, PRECISION = "accuracy", "mean_average_precision"
UNIT = "compound"
Scores = dict[str, np.ndarray]  # metric -> (n,) score of each profile; NaN where none is judged


@dataclass(frozen=True)
class Draws:
    """Compounds drawn with replacement, the same for all methods.

    Attributes:
        weights: (draws, n) how often each profile's compound was drawn.
    """

    weights: np.ndarray
    compounds: np.ndarray

    @staticmethod
    def of(labels: Labels, n: int, seed: int) -> Draws:
        """Return ``n`` draws of as many compounds as there are."""
        names, position = np.unique(labels.compounds, return_inverse=True)
        drawn = stream(seed, "compounds", "mechanism").integers(len(names), size=(n, len(names)))
        counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
        return Draws(counts[:, position].astype(np.float64), labels.compounds)

    def mean(self, scores: np.ndarray, confidence: float) -> Estimate:
        """Return the mean of the judged profiles' scores, with its interval over compounds.

        The neighbours stay those of all compounds: only who is asked varies.

        Arguments:
            scores: (n,), or differences of scores; NaN where a profile is not judged.
        """
        known = np.isfinite(scores)
        if not known.any():
            return Estimate.empty("no profile has a neighbour of its mechanism", unit=UNIT)
        n = len(set(self.compounds[known]))
        value = float(scores[known].mean())
        if n < 2:
            nan = float("nan")
            return Estimate(value, nan, nan, n, UNIT, "one compound has no interval")
        weights = self.weights[:, known]
        total = weights.sum(axis=1)
        means = (weights @ scores[known])[total > 0] / total[total > 0]
        tail = 50 * (1 - confidence)
        low, high = np.percentile(means, [tail, 100 - tail])
        return Estimate(value, float(low), float(high), n, UNIT)


def score(profiles: np.ndarray, labels: Labels) -> Scores:
    """Return the scores of each profile by rule and metric; NaN where no neighbour can be right."""
    cosines = similarity(profiles)
    found = {}
    for rule in RULES:
        neighbours = ranked(cosines, labels.allowed(rule))
        judged = labels.judged(rule)
        for metric, scores in (
            (ACCURACY, hits(neighbours, labels.mechanisms)),
            (PRECISION, average_precisions(neighbours, labels.mechanisms)),
        ):
            found[f"{rule}_{metric}"] = np.where(judged, scores, np.nan)
    return found


def shuffled(
    profiles: np.ndarray, labels: Labels, n: int, confidence: float, seed: int
) -> Iterator[tuple[str, Estimate]]:
    """Yield for each metric what neighbours reach by chance: its mean and range over shuffles.

    Mechanisms are shuffled among compounds, so that the doses of a compound stay together.
    """
    cosines = similarity(profiles)
    names, first, position = np.unique(labels.compounds, return_index=True, return_inverse=True)
    own = labels.mechanisms[first]
    rng = stream(seed, "shuffled", "mechanism")
    orders = [own[rng.permutation(len(names))][position] for _ in range(n)]
    for rule in RULES:
        neighbours = ranked(cosines, labels.allowed(rule))
        judged = [labels.judged(rule, mechanisms) for mechanisms in orders]
        for metric, by in ((ACCURACY, hits), (PRECISION, average_precisions)):
            means = [
                float(by(neighbours, mechanisms)[here].mean())
                for mechanisms, here in zip(orders, judged, strict=True)
                if here.any()
            ]
            name = f"{rule}_{metric}"
            if not means:
                yield name, Estimate.empty("no profile has a neighbour of its mechanism")
                continue
            tail = 50 * (1 - confidence)
            low, high = np.percentile(means, [tail, 100 - tail])
            reason = f"mean and range of {len(means)} shuffles of mechanisms among compounds"
            value = float(np.mean(means))
            yield name, Estimate(value, float(low), float(high), len(means), "shuffle", reason)


def left_out(labels: Labels, rule: str) -> tuple[int, str]:
    """Return how many profiles a rule does not judge, and which they are and why, as text."""
    without = ~labels.judged(rule)
    texts = []
    for mechanism in sorted(set(labels.mechanisms[without])):
        here = without & (labels.mechanisms == mechanism)
        rows = np.flatnonzero(here)
        batches = sorted(set().union(*(labels.batches[row] for row in rows)))
        whole = (labels.mechanisms == mechanism).sum() == len(rows)
        named = sorted(set(labels.compounds[here])) if whole else [labels.names[r] for r in rows]
        where = ", ".join(batches) if len(batches) <= 3 else f"{len(batches)} batches"
        texts.append(f"{mechanism} ({', '.join(named)}; {where})")
    return int(without.sum()), "; ".join(texts)
