"""Settings of the regression from y to features; section ``train_amortised``."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass

from analysis.features.settings import MeasureSettings, settings_class
from rls.encoder.settings import PairSettings, RegressionSettings

NAME = "train_amortised"  # The command, its section, and the purpose of its pairs.
MAY_CHANGE = ("cuda_graphs", "device", "threads")  # Settings on which no result depends.


@dataclass(frozen=True, kw_only=True)
class Settings(PairSettings, RegressionSettings):
    """How many pairs are generated, and how the regression is fitted to them."""


@dataclass(frozen=True, kw_only=True)
class CommandSettings(Settings, MeasureSettings):
    """Settings with those of ``measure``, since the command measures what it generates."""

    @property
    def own(self) -> Settings:
        """The settings of this section."""
        return Settings(**{field.name: getattr(self, field.name) for field in fields(Settings)})


def command_settings() -> type[CommandSettings]:
    """Return CommandSettings with the fields of every feature found."""
    return make_dataclass("Settings", [], bases=(CommandSettings, settings_class()), frozen=True)
