"""Settings of the command that measures how constant a generator's Jacobian is.

This module imports nothing heavy, so that the command can show its help at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import need_at_least, option
from rls.runtime.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Settings of ``path_lengths``."""

    n_styles: int = option("Styles w, for both lengths and log p_F.", default=500, least=2)
    n_draws: int = option("Noise images y, and directions u, for each style.", default=4, least=1)
    n_jacobians: int = option(
        "Styles whose whole Jacobian is computed; 0 for none.", default=50, least=0
    )
    batch_size: int = option("Images differentiated at a time.", default=32, least=1)
    seed: int = option("Seed of styles, noise images and directions.", default=0, least=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), default="auto")
    threads: int = option("CPU threads of torch.", default=1, least=1)

    def __post_init__(self) -> None:
        need_at_least(self, n_styles=2, n_draws=1, n_jacobians=0, batch_size=1, threads=1)
        if self.n_jacobians > self.n_styles:
            raise InputError(
                f"Found n_jacobians {self.n_jacobians}, expected at most n_styles, "
                f"{self.n_styles}: they are the first of these. Set n_styles higher."
            )
