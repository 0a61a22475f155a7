"""The phenotypes that can be simulated: a new one is a module, and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.simulation import cytoskeleton, golgi, translocation
from analysis.simulation.cells import Cell, Masks, Window, nucleus_radius
from analysis.simulation.nucleus import marker_levels
from analysis.simulation.settings import Settings
from rls.runtime.errors import InputError


@dataclass(frozen=True)
class Phenotype:
    """The channels and functions that define a phenotype.

    Attributes:
        channels: Number of channels that it paints.
        values: Name of the setting with one number per treatment.
        draw_cells: Returns the table of cells with the response of each cell to a treatment.
        paint: Returns the light of the channels before the optics, (c, y, x) float32 in counts.
        measure: Returns the truth of n cells, measured on the blurred light (c, y, x).
        levels: Returns the typical signal (c,) of the channels, in counts.
        outline: Returns the relative radius of a nucleus.
        check: Raises :class:`InputError` on settings that it cannot paint.
        mechanism_of: Returns the mechanism of action of a treatment, for moa.csv.
    """

    channels: int
    values: str
    draw_cells: Callable[[pd.DataFrame, str, Settings, np.random.Generator], pd.DataFrame]
    paint: Callable[[Masks, pd.DataFrame, Settings, np.random.Generator], np.ndarray]
    measure: Callable[[np.ndarray, Masks, int], pd.DataFrame]
    levels: Callable[[Settings], np.ndarray]
    outline: Callable[[Window, Cell], np.ndarray] = nucleus_radius
    check: Callable[[Settings], None] | None = None
    mechanism_of: Callable[[Settings, str], str] | None = None


PHENOTYPES = {
    "translocation": Phenotype(
        channels=2,
        values=translocation.VALUES,
        draw_cells=translocation.draw_cells,
        paint=translocation.paint,
        measure=translocation.measure,
        levels=marker_levels,
    ),
    "golgi": Phenotype(
        channels=2,
        values=golgi.VALUES,
        draw_cells=golgi.draw_cells,
        paint=golgi.paint,
        measure=golgi.measure,
        levels=marker_levels,
    ),
    "cytoskeleton": Phenotype(
        channels=3,
        values=cytoskeleton.VALUES,
        draw_cells=cytoskeleton.draw_cells,
        paint=cytoskeleton.paint,
        measure=cytoskeleton.measure,
        levels=cytoskeleton.levels,
        outline=cytoskeleton.outline,
        check=cytoskeleton.check,
        mechanism_of=cytoskeleton.mechanism_of,
    ),
}


def find_phenotype(settings: Settings) -> Phenotype:
    """Return the phenotype that the settings name.

    Raises:
        InputError: There is no such phenotype, it paints another number of channels, or its setting
            has another number of values than there are treatments.
    """
    name, channels = settings.phenotype, settings.channels
    if name not in PHENOTYPES:
        raise InputError(
            f"Found phenotype '{name}', expected one of: {', '.join(PHENOTYPES)}. "
            "Correct simulate_plate.phenotype."
        )
    phenotype = PHENOTYPES[name]
    if len(channels) != phenotype.channels:
        raise InputError(
            f"Found {len(channels)} channels ({', '.join(channels)}), but phenotype '{name}' "
            f"paints {phenotype.channels}. Correct simulate_plate.channels."
        )
    for treatment in settings.treatments:
        settings.of_treatment(phenotype.values, treatment)
    if phenotype.check is not None:
        phenotype.check(settings)
    return phenotype
