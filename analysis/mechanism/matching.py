"""Judge profiles by their neighbours: does the nearest share the mechanism of action?

A neighbour may never be of the same compound (NSC, not same compound), and in the stricter form of
no batch that the profile has cells of (NSCB, nor same batch). Similarity is the cosine.

Source: Ljosa et al. 2013, doi:10.1177/1087057113503553 (NSC), Ando et al. 2017,
doi:10.1101/161422 (NSCB), Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2 (mean average
precision). Average precision is that of copairs 0.5, whose numbers a test holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NOT_SAME_COMPOUND, NOR_SAME_BATCH = "nsc", "nscb"
RULES = (NOT_SAME_COMPOUND, NOR_SAME_BATCH)


@dataclass(frozen=True)
class Labels:
    """What is known of n profiles.

    Attributes:
        names: Treatment of each: compound and concentration.
        compounds: (n,) compound of each.
        mechanisms: (n,) mechanism of each.
        batches: The batches that each has cells of.
        n_cells: (n,) cells of each.
    """

    names: tuple[str, ...]
    compounds: np.ndarray
    mechanisms: np.ndarray
    batches: tuple[frozenset[str], ...]
    n_cells: np.ndarray

    def allowed(self, rule: str) -> np.ndarray:
        """Return which profiles may be neighbours of which, (n, n) bool."""
        allowed = self.compounds[:, None] != self.compounds[None, :]
        if rule == NOR_SAME_BATCH:
            apart = [[not one & other for other in self.batches] for one in self.batches]
            allowed &= np.array(apart, dtype=bool).reshape(allowed.shape)
        return allowed

    def judged(self, rule: str, mechanisms: np.ndarray | None = None) -> np.ndarray:
        """Return the profiles that have a right neighbour at all, (n,) bool; no other is judged.

        Arguments:
            mechanisms: Other mechanisms than those of the profiles, such as shuffled ones.
        """
        found = self.mechanisms if mechanisms is None else mechanisms
        return np.asarray((self.allowed(rule) & (found[:, None] == found[None, :])).any(axis=1))


def similarity(profiles: np.ndarray) -> np.ndarray:
    """Return the cosine between profiles, (n, n); NaN with one that is NaN or 0 throughout."""
    length = np.sqrt((profiles**2).sum(axis=1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where(length > 0, profiles / length, np.nan)
    return np.asarray(unit @ unit.T)


def ranked(cosines: np.ndarray, allowed: np.ndarray) -> list[np.ndarray]:
    """Return for each profile its allowed neighbours, the nearest first; of equals by position.

    A neighbour without a profile comes last, and a profile that is none has no neighbour.
    """
    found = []
    for row, may in zip(cosines, allowed, strict=True):
        order = np.argsort(-np.nan_to_num(row, nan=-2.0), kind="stable")
        found.append(order[may[order]] if np.isfinite(row).any() else order[:0])
    return found


def hits(neighbours: Sequence[np.ndarray], mechanisms: np.ndarray) -> np.ndarray:
    """Return for each profile whether its nearest neighbour shares its mechanism, (n,) 0 or 1.

    A profile without a neighbour counts as wrong: the method gave nothing to find one by.
    """
    return np.array(
        [
            float(len(order) > 0 and mechanisms[order[0]] == own)
            for order, own in zip(neighbours, mechanisms, strict=True)
        ]
    )


def average_precisions(neighbours: Sequence[np.ndarray], mechanisms: np.ndarray) -> np.ndarray:
    """Return the average precision of each profile's ranked neighbours, (n,).

    It is the mean, over the neighbours of the same mechanism, of the share of such neighbours among
    all up to there; 0 where none is found.
    """
    result = np.zeros(len(mechanisms))
    for row, (order, own) in enumerate(zip(neighbours, mechanisms, strict=True)):
        right = mechanisms[order] == own
        if right.any():
            places = np.flatnonzero(right) + 1
            result[row] = float(np.mean(np.arange(1, len(places) + 1) / places))
    return result
