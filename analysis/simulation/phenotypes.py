"""The phenotypes that can be simulated, each one module, and what such a module provides."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd

from analysis.simulation import cytoskeleton, golgi, translocation
from analysis.simulation.cells import Masks
from analysis.simulation.settings import Settings
from rls.runtime.errors import InputError


class Phenotype(Protocol):
    """What the module of a phenotype provides.

    It may also have ``check`` (of its settings), ``outline`` (of its nuclei) and ``mechanism_of``
    (the mechanism of action of a treatment, for moa.csv).

    Attributes:
        CHANNELS: Number of channels that it paints.
        VALUES: Name of the setting with one number a treatment.
    """

    CHANNELS: int
    VALUES: str

    def draw_cells(
        self, table: pd.DataFrame, treatment: str, settings: Settings, rng: np.random.Generator
    ) -> pd.DataFrame:
        """Return ``table`` with what each cell of ``treatment`` expresses."""

    def paint(
        self, masks: Masks, table: pd.DataFrame, settings: Settings, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the light of the channels before the optics: (c, y, x) float32 in counts."""

    def measure(self, light: np.ndarray, masks: Masks, n: int) -> pd.DataFrame:
        """Return the truth of n cells, measured on the blurred ``light`` (c, y, x)."""

    def levels(self, settings: Settings) -> np.ndarray:
        """Return the typical signal (c,) of the channels, in counts."""


PHENOTYPES: dict[str, Phenotype] = {
    "translocation": translocation,
    "golgi": golgi,
    "cytoskeleton": cytoskeleton,
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
    if len(channels) != phenotype.CHANNELS:
        raise InputError(
            f"Found {len(channels)} channels ({', '.join(channels)}), but phenotype '{name}' "
            f"paints {phenotype.CHANNELS}. Correct simulate_plate.channels."
        )
    for treatment in settings.treatments:
        settings.of_treatment(phenotype.VALUES, treatment)
    if hasattr(phenotype, "check"):
        phenotype.check(settings)
    return phenotype
