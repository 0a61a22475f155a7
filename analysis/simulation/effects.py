"""The effect of a treatment on the cytoskeleton of a cell: one per mechanism, scaled by the dose.

The effects are caricatures of what BBBC021 shows: nocodazole and the vinca alkaloids leave tubulin
without fibres, rounder cells, and many cells in mitosis; taxol gathers microtubules into bundles
and breaks nuclei up; cytochalasins collapse actin into clumps, shrink cells to ragged bodies and
leave two nuclei in one cell. ``enlarge`` is small on purpose: only the distribution over many cells
shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True)
class Effect:
    """The state of a cell, untreated (the defaults) or at dose 1 of a mechanism.

    Attributes:
        fibre_share: Share of a cell's tubulin in microtubules.
        bundle_size: Number of microtubules that run together.
        vacuoles: Mean number of dark vesicles in a cell.
        cortex_share: Share of a cell's actin along its border.
        stress_fibre_share: Share of a cell's actin in straight fibres.
        clump_share: Share of a cell's actin in clumps.
        mitotic: Probability of a round cell with condensed DNA.
        fragmented: Probability of a nucleus in pieces.
        binucleate: Probability of two nuclei.
        body_scale: Factor of the body's diameter.
        body_lobes: Relative amplitude of a ragged outline.
        roundness: How far aspect and lobes go towards a disc, 0 to 1.
        nucleus_scale: Factor of the nucleus' diameter.
        tubulin_scale: Factor of a cell's total tubulin.
        actin_scale: Factor of a cell's total actin.
    """

    fibre_share: float = 0.45
    bundle_size: float = 1.0
    vacuoles: float = 0.0
    cortex_share: float = 0.06
    stress_fibre_share: float = 0.05
    clump_share: float = 0.0
    mitotic: float = 0.03
    fragmented: float = 0.0
    binucleate: float = 0.02
    body_scale: float = 1.0
    body_lobes: float = 0.0
    roundness: float = 0.0
    nucleus_scale: float = 1.0
    tubulin_scale: float = 1.0
    actin_scale: float = 1.0


UNTREATED = Effect()
# (state at dose 1, mechanism of action as BBBC021's moa.csv calls it) of each effect.
MECHANISMS: dict[str, tuple[Effect, str]] = {
    "none": (UNTREATED, "DMSO"),
    "depolymerise": (
        replace(
            UNTREATED,
            fibre_share=0.03,
            vacuoles=10.0,
            mitotic=0.30,
            fragmented=0.25,
            body_scale=0.88,
            roundness=0.6,
            tubulin_scale=0.7,
        ),
        "Microtubule destabilizers",
    ),
    "bundle": (
        replace(
            UNTREATED,
            fibre_share=0.6,
            bundle_size=12.0,
            mitotic=0.18,
            fragmented=0.60,
            body_scale=0.85,
            tubulin_scale=2.6,
            actin_scale=1.6,
        ),
        "Microtubule stabilizers",
    ),
    "collapse": (
        replace(
            UNTREATED,
            cortex_share=0.03,
            stress_fibre_share=0.0,
            clump_share=0.5,
            binucleate=0.4,
            body_scale=0.68,
            body_lobes=0.10,
            tubulin_scale=1.6,
        ),
        "Actin disruptors",
    ),
    "enlarge": (replace(UNTREATED, nucleus_scale=1.06, tubulin_scale=1.10), ""),
}


def states(mechanism: str, response: np.ndarray) -> dict[str, np.ndarray]:
    """Return each field of :class:`Effect` (n,) for cells of ``response`` (n,), 0 to 1.

    Shares and probabilities are interpolated linearly from untreated to the mechanism's own value,
    scales and the size of bundles geometrically.
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
