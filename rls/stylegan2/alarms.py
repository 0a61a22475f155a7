"""Recognise a failing training from its curves, and say what to try.

The rows of a curve have the keys kimg, loss_generator, loss_discriminator, r_t, augment_p, kd,
kd_floor and spread; each may be missing or NaN.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

RECENT_TICKS = 4
RISEN_EVALUATIONS = 3
R_T_LIMIT = 0.9  # ADA aims at 0.6
P_LIMIT = 0.8  # above, augmentations leak into the images (Karras et al. 2020, ADA, section 2.2)
KD_RISE = 2.0
SPREAD_LIMIT = 0.3
NO_LOSS = 0.05  # a discriminator's loss near 0; it is 2 log 2 = 1.39 where D knows nothing


def findings(rows: Sequence[Mapping[str, float]], known: Collection[str] = ()) -> dict[str, str]:
    """Return one sentence per kind of fault: what was observed, and what to try.

    A healthy training has none.

    Arguments:
        rows: Rows of the training curve.
        known: Kinds that were reported before and are left out.
    """
    found = {
        "overfitting": _overfitting(rows),
        "augmentation": _augmentation(rows),
        "distance": _distance(rows),
        "spread": _spread(rows),
        "discriminator": _discriminator(rows),
    }
    return {kind: text for kind, text in found.items() if text is not None and kind not in known}


def series(rows: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    """Return (kimg, value) for the rows where the value is finite."""
    pairs = ((row.get("kimg", math.nan), row.get(name, math.nan)) for row in rows)
    return [(kimg, value) for kimg, value in pairs if value is not None and math.isfinite(value)]


def _overfitting(rows: Sequence[Mapping[str, float]]) -> str | None:
    """Warn if r_t stays near 1 while p is not adapted."""
    recent = series(rows, "r_t")[-RECENT_TICKS:]
    adapts = len({p for _, p in series(rows, "augment_p")[-RECENT_TICKS:]}) > 1
    if adapts or len(recent) < RECENT_TICKS or min(r for _, r in recent) <= R_T_LIMIT:
        return None
    return (
        f"At {recent[-1][0]:g} kimg r_t is {recent[-1][1]:.2f}, above {R_T_LIMIT:g} since "
        f"{recent[0][0]:g} kimg: the discriminator knows nearly every training image, and the "
        "generator soon learns nothing more. Augment adaptively (augment_p: none), give more "
        "images, fewer parameters (channel_base, channel_max), or a larger r1_gamma (ten times)."
    )


def _augmentation(rows: Sequence[Mapping[str, float]]) -> str | None:
    """Warn if p is so large that augmentations leak."""
    values = series(rows, "augment_p")
    if not values or values[-1][1] <= P_LIMIT:
        return None
    kimg, p = values[-1]
    return (
        f"At {kimg:g} kimg augment_p is {p:.2f}, above {P_LIMIT:g}: there are too few images for "
        "this discriminator, and augmentations begin to leak into the generated images. Give more "
        "images, fewer parameters (channel_base, channel_max), or a larger r1_gamma."
    )


def _distance(rows: Sequence[Mapping[str, float]]) -> str | None:
    """Warn if the kernel distance stays far above its best."""
    values = series(rows, "kd")
    if len(values) <= RISEN_EVALUATIONS:
        return None
    before, recent = values[:-RISEN_EVALUATIONS], values[-RISEN_EVALUATIONS:]
    best_kimg, best = min(before, key=lambda pair: pair[1])
    # Differences below the floor are due to chance, and the best distance may be negative.
    floor = max((value for _, value in series(rows, "kd_floor")), default=0.0)
    if min(kd for _, kd in recent) <= KD_RISE * max(best, floor, 0.0):
        return None
    return (
        f"At {recent[-1][0]:g} kimg KD is {recent[-1][1]:.4g}, for {RISEN_EVALUATIONS} evaluations "
        f"more than {KD_RISE:g} times its best, {best:.4g} at {best_kimg:g} kimg: the training "
        f"collapses or diverges. Use the weights of about {best_kimg:g} kimg (a total_kimg of that "
        "makes them), and try a larger r1_gamma (ten times) or half the learning_rate."
    )


def _spread(rows: Sequence[Mapping[str, float]]) -> str | None:
    """Warn if the generated images have become alike."""
    values = series(rows, "spread")
    # The images of an untrained generator are all alike: only a spread that was larger before can
    # have collapsed.
    best = max((spread for _, spread in values), default=math.nan)
    if not values or values[-1][1] >= SPREAD_LIMIT or not best >= SPREAD_LIMIT:
        return None
    kimg, spread = values[-1]
    return (
        f"At {kimg:g} kimg generated images are {spread:.2f} times as diverse as real ones (under "
        f"{SPREAD_LIMIT:g}, best so far {best:.2f}): mode collapse, see the grids. Try a larger "
        "r1_gamma (ten times) or half the learning_rate, from an earlier length."
    )


def _discriminator(rows: Sequence[Mapping[str, float]]) -> str | None:
    """Warn if the discriminator tells all images apart while the generator's loss rises."""
    recent = series(rows, "loss_discriminator")[-RECENT_TICKS:]
    losses = [value for _, value in series(rows, "loss_generator")[-RECENT_TICKS:]]
    if len(recent) < RECENT_TICKS or len(losses) < RECENT_TICKS:
        return None
    half = RECENT_TICKS // 2
    rising = sum(losses[half:]) > sum(losses[:half])
    if max(loss for _, loss in recent) >= NO_LOSS or not rising:
        return None
    return (
        f"At {recent[-1][0]:g} kimg the discriminator's loss is {recent[-1][1]:.2g}, under "
        f"{NO_LOSS:g} since {recent[0][0]:g} kimg, and the generator's rises to {losses[-1]:.1f}: "
        "the discriminator tells all images apart and the generator has no gradient to follow. "
        "Try a larger r1_gamma (ten times), half the learning_rate, or more images."
    )
