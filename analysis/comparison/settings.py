"""The settings that the tables share: section 'tables' of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option


@dataclass(frozen=True)
class Settings:
    """Section 'tables'."""

    n_bootstrap: int = option("Draws of the bootstrap over wells.")
    confidence_level: float = option("Of every interval, such as 0.95.")
    seed: int = option("Seed of the bootstrap.")
