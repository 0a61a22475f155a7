"""The settings of the table and figure of mechanisms of action: section 'mechanism'."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison.settings import IntervalSettings
from rls.runtime.command import option


@dataclass(frozen=True)
class Settings(IntervalSettings):
    """Section 'mechanism'."""

    batch: str = option(
        "Regular expression; its first group, found in the name of a plate, is the plate's batch."
    )
    min_cells: int = option("Fewest cells, of all folds together, that make a profile.", least=1)
    control_cells: int = option(
        "Fewest cells of the negative control in a batch that normalise it; with fewer, all cells "
        "of the batch do.",
        least=1,
    )
    within_folds: bool = option(
        "Normalise each fold separately within a batch, because each has its own networks."
    )
    sphering_floor: float = option(
        "Variance added to every direction when features are sphered on the negative control, in "
        "that of a normalised feature.",
        least=0,
    )
    n_compounds_drawn: int = option("Draws of the bootstrap over compounds.", least=1)
    n_shuffles: int = option("Times that mechanisms are shuffled among compounds.", least=1)
