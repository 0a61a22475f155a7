"""What a treatment does to a cell with a cytoskeleton: one entry a mechanism, scaled by its dose.

Caricatures after what BBBC021 shows: nocodazole and the vinca alkaloids leave tubulin without
fibres, rounder cells and many in mitosis; taxol gathers microtubules into bundles and breaks
nuclei up; cytochalasins collapse actin into clumps, shrink cells to ragged bodies and leave two
nuclei in one. ``enlarge`` is small on purpose: only the distribution over many cells shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True)
class Effect:
    """A cell's state; of an untreated cell, or at dose 1 of a mechanism.

    Shares are of a cell's own tubulin or actin, probabilities those of a cell, scales factors.
    """

    fibre_share: float = 0.45  # of tubulin in microtubules
    bundle_size: float = 1.0  # microtubules that run together
    vacuoles: float = 0.0  # mean number of dark vesicles in a cell
    cortex_share: float = 0.06  # of actin along the border of the cell
    stress_fibre_share: float = 0.05  # of actin in straight fibres
    clump_share: float = 0.0  # of actin in clumps
    mitotic: float = 0.03  # probability of a round cell with condensed DNA
    fragmented: float = 0.0  # probability of a nucleus in pieces
    binucleate: float = 0.02  # probability of two nuclei
    body_scale: float = 1.0  # of the body's diameter
    body_lobes: float = 0.0  # relative amplitude of a ragged outline
    roundness: float = 0.0  # how far aspect and lobes go towards a disc, 0 to 1
    nucleus_scale: float = 1.0  # of the nucleus' diameter
    tubulin_scale: float = 1.0  # of a cell's total tubulin
    actin_scale: float = 1.0  # of a cell's total actin


UNTREATED = Effect()
# The words of moa.csv are BBBC021's.
MECHANISMS: dict[str, tuple[Effect, str]] = {
    "none": (UNTREATED, "DMSO"),
    "depolymerise": (
        replace(UNTREATED, fibre_share=0.03, vacuoles=10.0, mitotic=0.30, fragmented=0.25,
                body_scale=0.88, roundness=0.6, tubulin_scale=0.7),
        "Microtubule destabilizers",
    ),
    "bundle": (
        replace(UNTREATED, fibre_share=0.6, bundle_size=12.0, mitotic=0.18, fragmented=0.60,
                body_scale=0.85, tubulin_scale=2.6, actin_scale=1.6),
        "Microtubule stabilizers",
    ),
    "collapse": (
        replace(UNTREATED, cortex_share=0.03, stress_fibre_share=0.0, clump_share=0.5,
                binucleate=0.4, body_scale=0.68, body_lobes=0.10, tubulin_scale=1.6),
        "Actin disruptors",
    ),
    "enlarge": (replace(UNTREATED, nucleus_scale=1.06, tubulin_scale=1.10), ""),
}  # fmt: skip


def states(mechanism: str, response: np.ndarray) -> dict[str, np.ndarray]:
    """Return each field of :class:`Effect` for cells of ``response`` (n,), 0 to 1.

    Shares and probabilities move in a straight line from untreated to the mechanism's own,
    scales and the size of bundles by equal factors.
    """
    full = MECHANISMS[mechanism][0]
    response = np.clip(response, 0.0, 1.0)
    result = {}
    for field in fields(Effect):
        start, end = getattr(UNTREATED, field.name), getattr(full, field.name)
        if field.name.endswith("_scale") or field.name == "bundle_size":
            result[field.name] = start * (end / start) ** response
        else:
            result[field.name] = start + (end - start) * response
    return result
