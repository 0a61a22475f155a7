"""Simulated plates: whole fields with their truth, read by the same stages as real ones."""

from __future__ import annotations

from types import ModuleType

from analysis.simulation import cytoskeleton, golgi, translocation

# A phenotype is one module with CHANNELS, VALUES (the setting with a number a treatment),
# draw_cells, paint, measure and levels. It may have check (of its settings), outline (of its
# nuclei) and mechanism_of (a treatment, for moa.csv).
PHENOTYPES: dict[str, ModuleType] = {
    "translocation": translocation,
    "golgi": golgi,
    "cytoskeleton": cytoskeleton,
}
