"""The settings that the figures share: section 'figures' of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison.settings import StyleSettings
from analysis.comparison.solutions_settings import Settings as SolutionsSettings
from rls.runtime.command import option


@dataclass(frozen=True)
class Settings(StyleSettings):
    """Section 'figures'."""

    cells_per_treatment: int = option("Cells shown per treatment in Fig. 2 and 3.", least=1)
    treatments_shown: int = option("Most treatments shown in Fig. 2; controls come first.", least=1)
    treatments_named: tuple[str, ...] = option(
        "Treatments shown in Fig. 2 after the controls, as far as they were evaluated. None: at "
        "even steps of their alphabetical list."
    )
    palette: str = option(
        "Colours of the composites: nucleus blue and marker green, or magenta and green.",
        choices=("article", "colour_blind"),
    )
    super_resolution: str = option("Method in the middle column of Fig. 3.")
    ablations: tuple[str, ...] = option("Methods of Fig. 7, in order, as far as they run.")
    norms_shown: int = option(
        "Style vectors whose squared norms Fig. 1 shows (section 3.2).", least=1
    )
    norms_assay: str | None = option(
        "Assay whose generator Fig. 1 shows; null: the first that runs."
    )
    lettered_first: tuple[str, ...] = option(
        "Assays whose blocks come first in Fig. 5, with the letters (a), (b) and so on, as far as "
        "they run. None: blocks are in the order in which assays run."
    )
    seed: int = option("Seed of choices, samples and bootstrap.", least=0)


@dataclass(frozen=True)
class Figure8Settings(SolutionsSettings, Settings):
    """Sections 'figures' and 'solutions' together."""
