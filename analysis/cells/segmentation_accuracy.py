"""Hold segmented nuclei against true masks: F1 at an intersection over union, by gap.

F1 = 2 TP / (2 TP + FP + FN). A nucleus and a true one match if the intersection of their masks is
more than the given share, at least one half, of their union: then no other can match either.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.cells.segment import relabel

TOUCHING_PX = 1.5  # nuclei no farther apart touch: their pixels are neighbours
GAPS_ND = (0.1, 0.3)  # upper ends of the classes between touching and separate
REACH_ND = 1.0  # gaps are measured up to here


def drop_cut(labels: np.ndarray) -> np.ndarray:
    """Return labels (y, x) without those that touch the border, numbered anew."""
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return relabel(labels, ~np.isin(np.arange(1, labels.max() + 1), edge))


def nearest_gaps(labels: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
    """Return the distance in px (n,) of each nucleus to the nearest other; inf beyond reach."""
    reach = int(np.ceil(REACH_ND * nucleus_diameter_px))
    gaps = np.full(labels.max(), np.inf)
    for i, window in enumerate(ndimage.find_objects(labels)):
        if window is None:
            continue
        part = labels[tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in window)]
        others = (part > 0) & (part != i + 1)
        if others.any():
            gaps[i] = ndimage.distance_transform_edt(~others)[part == i + 1].min()
    return gaps


def gap_names(gaps_px: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
    """Return the class of each gap (n,), from ``touching`` to the widest."""
    first, second = GAPS_ND
    nd = gaps_px / nucleus_diameter_px
    return np.select(
        [gaps_px <= TOUCHING_PX, nd <= first, nd <= second],
        GAP_CLASSES[:3],
        GAP_CLASSES[3],
    )


GAP_CLASSES = (
    "touching",
    f"up to {GAPS_ND[0]} nd",
    f"{GAPS_ND[0]} to {GAPS_ND[1]} nd",
    f"over {GAPS_ND[1]} nd",
)


def count_matches(
    true: np.ndarray, found: np.ndarray, nucleus_diameter_px: float, least_iou: float
) -> pd.DataFrame:
    """Return ``tp``, ``fp``, ``fn`` by gap class (index) of one field.

    Nuclei that the border cuts are left out on both sides. A false nucleus belongs to the class of
    the true one nearest to its middle.

    Raises:
        ValueError: ``least_iou`` is under one half.
    """
    if least_iou < 0.5:
        raise ValueError(f"least_iou {least_iou}, expected at least 0.5: matches are unique there")
    names = gap_names(nearest_gaps(true, nucleus_diameter_px), nucleus_diameter_px)
    inner = drop_cut(true)
    names = names[np.unique(true[inner > 0]) - 1]
    true, found = inner, drop_cut(found)
    n, m = int(true.max()) + 1, int(found.max()) + 1
    both = np.bincount(true.ravel().astype(np.int64) * m + found.ravel(), minlength=n * m)
    both = both.reshape(n, m)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    match = both[1:, 1:] > least_iou * union[1:, 1:]
    counts = pd.DataFrame(0, index=list(GAP_CLASSES), columns=["tp", "fp", "fn"])
    for name, hit in zip(names, match.any(axis=1), strict=True):
        counts.loc[name, "tp" if hit else "fn"] += 1
    false = 1 + np.flatnonzero(~match.any(axis=0))
    if len(false) and n > 1:
        centres = np.array(ndimage.center_of_mass(true > 0, true, np.arange(1, n)))
        for y, x in ndimage.center_of_mass(found > 0, found, false):
            nearest = int(np.hypot(centres[:, 0] - y, centres[:, 1] - x).argmin())
            counts.loc[names[nearest], "fp"] += 1
    elif len(false):
        counts.loc[GAP_CLASSES[-1], "fp"] += len(false)
    return counts


def f1_by_gap(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], nucleus_diameter_px: float, least_iou: float
) -> pd.DataFrame:
    """Return ``tp``, ``fp``, ``fn``, ``n_nuclei``, ``f1`` pooled over (true, found) label images.

    One row a gap class and one for ``all``; F1 is NaN where there is no nucleus.
    """
    total = sum(count_matches(true, found, nucleus_diameter_px, least_iou) for true, found in pairs)
    if isinstance(total, int):
        raise ValueError("no field to score")
    total = pd.concat([total, total.sum().rename("all").to_frame().T])
    total["n_nuclei"] = total["tp"] + total["fn"]
    seen = 2 * total["tp"] + total["fp"] + total["fn"]
    return total.assign(f1=2 * total["tp"] / seen.where(seen > 0))
