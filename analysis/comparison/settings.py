"""The settings of every interval, and those of the tables: section 'tables'."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option


@dataclass(frozen=True)
class IntervalSettings:
    """The settings of the intervals in tables and figures."""

    SECTION = "intervals"
    confidence_level: float = option(
        "Confidence level of every interval, such as 0.95.", above=0, below=1
    )
    seed: int = option("Seed of what is drawn at random.", least=0)


@dataclass(frozen=True)
class StyleSettings(IntervalSettings):
    """The settings of intervals over style vectors, which are drawn and have no wells."""

    n_bootstrap: int = option(
        "Draws of the bootstrap over style vectors (Fig. 1, path lengths, priors).", least=1
    )


@dataclass(frozen=True)
class Settings(IntervalSettings):
    """Section 'tables'."""
