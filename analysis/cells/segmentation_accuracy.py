"""Compare segmented nuclei with true masks: F1 at an intersection over union, by gap.

F1 = 2 TP / (2 TP + FP + FN). A nucleus and a true one match if the intersection of their masks is
more than the given share, at least one half, of their union: then no other can match either.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.cells.segment import relabel

TOUCHING_PX = 1.5  # Nuclei at most this far apart touch: their pixels are neighbours.
GAPS_ND = (0.1, 0.3)  # Upper ends of the classes between touching and separate.
REACH_ND = 1.0  # Gaps are measured up to this distance.
GAP_CLASSES = (
    "touching",
    f"up to {GAPS_ND[0]} nd",
    f"{GAPS_ND[0]} to {GAPS_ND[1]} nd",
    f"over {GAPS_ND[1]} nd",
)


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


def count_matches(
    true: np.ndarray, found: np.ndarray, nucleus_diameter_px: float, min_iou: float
) -> pd.DataFrame:
    """Return ``tp``, ``fp``, ``fn`` by gap class (index) of one field.

    Nuclei cut by the border are left out on both sides. A false positive belongs to the class of
    the true nucleus nearest to its centre.

    Raises:
        ValueError: ``min_iou`` is under one half.
    """
    if min_iou < 0.5:
        raise ValueError(f"min_iou {min_iou}, expected at least 0.5: matches are unique there")
    gaps = nearest_gaps(true, nucleus_diameter_px)
    narrow = (gaps <= TOUCHING_PX, *(gaps / nucleus_diameter_px <= end for end in GAPS_ND))
    names = np.select(narrow, GAP_CLASSES[:3], GAP_CLASSES[3])
    inner = drop_cut(true)
    names = names[np.unique(true[inner > 0]) - 1]
    true, found = inner, drop_cut(found)
    n, m = int(true.max()) + 1, int(found.max()) + 1
    both = np.bincount(true.ravel().astype(np.int64) * m + found.ravel(), minlength=n * m)
    both = both.reshape(n, m)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    match = both[1:, 1:] > min_iou * union[1:, 1:]
    tp, fp, fn = (dict.fromkeys(GAP_CLASSES, 0) for _ in range(3))
    for name, hit in zip(names, match.any(axis=1), strict=True):
        (tp if hit else fn)[name] += 1
    false = 1 + np.flatnonzero(~match.any(axis=0))
    if len(false) and n > 1:
        centres = np.array(ndimage.center_of_mass(true > 0, true, np.arange(1, n)))
        for y, x in ndimage.center_of_mass(found > 0, found, false):
            fp[names[int(np.hypot(centres[:, 0] - y, centres[:, 1] - x).argmin())]] += 1
    else:
        fp[GAP_CLASSES[-1]] += len(false)
    return pd.DataFrame({"tp": tp, "fp": fp, "fn": fn})


def f1_by_gap(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], nucleus_diameter_px: float, min_iou: float
) -> pd.DataFrame:
    """Return ``tp``, ``fp``, ``fn``, ``n_nuclei``, ``f1`` pooled over (true, found) label images.

    The table has one row a gap class and one for ``all``; F1 is NaN where there is no nucleus.

    Raises:
        ValueError: There is no pair.
    """
    total = sum(count_matches(true, found, nucleus_diameter_px, min_iou) for true, found in pairs)
    if isinstance(total, int):
        raise ValueError("no field to score")
    total = pd.concat([total, total.sum().rename("all").to_frame().T])
    total["n_nuclei"] = total["tp"] + total["fn"]
    seen = 2 * total["tp"] + total["fp"] + total["fn"]
    return total.assign(f1=2 * total["tp"] / seen.where(seen > 0))
