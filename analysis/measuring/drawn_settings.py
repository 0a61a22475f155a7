"""Settings of the measurement of a generator's images; section ``describe_generator``."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass

from analysis.features.settings import MeasureSettings, settings_class
from rls.runtime.command import need_at_least, option


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How many images are generated."""

    n_images: int = option("Generated images whose features are measured.", least=1)
    seed: int = option("Seed of the images, and of the features of the kernel distance.", least=0)

    def __post_init__(self) -> None:
        need_at_least(self, n_images=1)


@dataclass(frozen=True, kw_only=True)
class CommandSettings(Settings, MeasureSettings):
    """Settings with those of ``measure``, whose features are measured."""


def command_settings() -> type[CommandSettings]:
    """Return CommandSettings with the fields of every feature found."""
    return make_dataclass("Settings", [], bases=(CommandSettings, settings_class()), frozen=True)
