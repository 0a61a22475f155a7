"""Settings of the regression from LR images of cells to features; section ``train_regression``."""

from __future__ import annotations

from dataclasses import dataclass

from rls.encoder.settings import RegressionSettings

NAME = "train_regression"  # The command and its section.
MAY_CHANGE = ("cuda_graphs", "device", "threads")  # Settings on which no result depends.


@dataclass(frozen=True, kw_only=True)
class Settings(RegressionSettings):
    """How the network is fitted; the ridge regression beside it has no setting."""
