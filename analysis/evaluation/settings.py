"""Settings of the evaluation of a generator; section ``evaluate_generator``."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass

from analysis.comparison.settings import IntervalSettings
from analysis.features.settings import MeasureSettings, settings_class
from rls.encoder.settings import RegressionSettings
from rls.runtime.command import need_at_least, option
from rls.runtime.errors import InputError

NAME = "evaluate_generator"  # The command, its section, and the purpose of its pairs.
MAY_CHANGE = ("cuda_graphs", "device", "threads")  # Settings on which no result depends.
OF_IMAGES = (
    "n_images",
    "n_held_out",
    "image_batch_size",
    "n_inverted",
    "inversion_choose",
    "inversion_rates",
    "inversion_steps",
    "inversion_batch_size",
    "confidence_level",
)  # Nothing about cells depends on these.


@dataclass(frozen=True, kw_only=True)
class Settings(RegressionSettings, IntervalSettings):
    """How many images are drawn, and how the two regressions are fitted."""

    n_images: int = option("Generated images to measure and to train the regression on.", least=10)
    n_cells: int = option("Most cells of split gan, the same number of each treatment.", least=20)
    n_held_out: int = option(
        "Other generated images, whose loss decides which epoch is kept.", least=2
    )
    image_batch_size: int = option("Images that are generated and measured at a time.", least=1)
    n_inverted: int = option(
        "Cells of tune whose HR image a search reproduces; 0 for none.", least=0
    )
    inversion_choose: int = option(
        "Other cells of tune, which choose the rate of that search.", least=1
    )
    inversion_rates: tuple[float, ...] = option("Learning rates to choose from.", above=0)
    inversion_steps: int = option("Steps of that search.", least=1)
    inversion_batch_size: int = option("Cells that are searched at a time.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("image_batch_size", "inversion_choose", "inversion_steps", "inversion_batch_size")
        least = dict.fromkeys(sizes, 1)
        need_at_least(self, n_images=10, n_cells=20, n_held_out=2, n_inverted=0, **least)
        if not self.inversion_rates or min(self.inversion_rates) <= 0:
            raise InputError(
                f"Found inversion_rates {list(self.inversion_rates)}, expected one or more above 0."
            )


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
