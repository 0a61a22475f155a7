"""The settings of the table of solutions and of Fig. 8: section 'solutions'."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison.settings import IntervalSettings
from rls.runtime.command import option


@dataclass(frozen=True)
class Settings(IntervalSettings):
    """Section 'solutions': what is sampled, and how it is judged."""

    method: str = option("RLS row whose objective the solutions share.")
    kinds: tuple[str, ...] = option("Kinds compared: article, variational, restarts.")
    kind_shown: str = option("Kind whose images Fig. 8 shows.")
    level: float = option(
        "Probability with which an interval should contain a cell's HR value.", above=0, below=1
    )
    interval_shown: str = option(
        "Calibrated interval drawn in Fig. 8.", choices=("normalised", "quantile", "constant")
    )
    spread_floor: float = option(
        "Least spread of a cell's solutions, as a share of the HR range.", least=0
    )
