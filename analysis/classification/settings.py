"""Settings of the commands that tell the controls apart."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option


@dataclass(frozen=True)
class Settings:
    """How the controls are told apart."""

    feature_columns: tuple[str, ...] = option("Columns of features that are classified on.")
    forest_trees: int = option("Number of trees in a forest.", least=1)
    forest_leaf: int = option("Smallest number of cells in a leaf.", least=1)
    logistic_c: float = option(
        "Inverse strength of the L2 penalty, on standardised inputs.", above=0
    )
    batch_size: int = option("Number of images given to a network at once.", least=1)
    seed: int = option("Seed of the forests.", least=0)
    device: str = option("Where the networks compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of the networks and the forests.", least=1)
