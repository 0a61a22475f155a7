"""The settings of every bootstrap, and those of the tables: section 'tables'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from rls.runtime.command import option


class Draws(TypedDict):
    """The arguments that every interval of :mod:`analysis.numbers` takes."""

    n_resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class BootstrapSettings:
    """The settings of the intervals in tables and figures."""

    SECTION = "bootstrap"
    n_bootstrap: int = option("Draws of the bootstrap over wells.")
    confidence_level: float = option("Confidence level of every interval, such as 0.95.")
    seed: int = option("Seed of the bootstrap.")

    @property
    def draws(self) -> Draws:
        """The settings as keyword arguments of :mod:`analysis.numbers`."""
        return {
            "n_resamples": self.n_bootstrap,
            "confidence": self.confidence_level,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Settings(BootstrapSettings):
    """Section 'tables'."""
