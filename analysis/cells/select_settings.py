"""Settings of ``select_cells``."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.cells.quality_settings import FLAGS
from rls.io.names import SPLITS
from rls.runtime.command import option


@dataclass(frozen=True)
class Settings:
    """Settings of section ``select_cells``."""

    split_by: str = option(
        "Units that no two splits share.", choices=("plate", "well", "field", "tile")
    )
    share_gan: float = option("Share of the units for the generator.", least=0, most=1)
    share_tune: float = option("Share of the units for choosing settings.", least=0, most=1)
    share_calibration: float = option(
        "Share of the units for calibrating the intervals of Fig. 8; 0: no such intervals.",
        least=0,
        most=1,
    )
    share_classifier: float = option("Share of the units for the classifiers.", least=0, most=1)
    share_evaluation: float = option("Share of the units for the evaluation.", least=0, most=1)
    cells_gan: int = option("Cells per treatment for the generator.", least=0)
    cells_tune: int = option("Cells per treatment for choosing settings.", least=0)
    cells_calibration: int = option("Cells per treatment for calibrating intervals.", least=0)
    cells_classifier: int = option("Cells per treatment for the classifiers.", least=0)
    cells_evaluation: int = option("Cells per treatment for the evaluation.", least=0)
    on_few_cells: str = option(
        "What to do when a treatment has fewer cells.", choices=("stop", "take_all")
    )
    exclude_flags: tuple[str, ...] = option(
        f"Quality flags that exclude a cell: {', '.join(FLAGS)}."
    )
    tile_px: int = option("Side of a tile of a field, for split_by tile, in px.", least=1)
    black_percentile: float = option(
        "Percentile of the gan split (of tune where share_gan is 0, or prevalence_gan is set) that "
        "becomes 0.",
        least=0,
        most=100,
    )
    white_percentile: float = option(
        "Percentile of the same split that becomes 1.", least=0, most=100
    )
    seed: int = option("Seed of the splits and of the draw.", least=0)
    prevalence_gan: float | None = option(
        "Share of the positive control among the gan cells of the two controls, whose number stays "
        "twice cells_gan. null: cells_gan of each treatment.",
        default=None,
        least=0,
        most=1,
    )
    measured_plates: tuple[str, ...] = option(
        "Plates of the splits classifier and evaluation; cells of other plates go to gan and tune. "
        "None: all.",
        default=(),
    )
    measured_treatments: tuple[str, ...] = option(
        "Treatments of those two splits, in the same way. None: all.", default=()
    )
    unmeasured_units: tuple[str, ...] = option(
        "Units of split_by (a well is PLATE_WELL) that serve gan and tune alone, as cells of other "
        "than the measured plates and treatments do.",
        default=(),
    )
    folds: int = option(
        "Folds over which the units of each measured treatment are dealt: those of the assay's own "
        "fold are of split evaluation, the others of gan. 0: none, the shares divide all units.",
        default=0,
        least=0,
    )
    fold: int = option(
        "The assay's own fold, from 1 to folds; not used without folds.", default=1, least=1
    )
    plates_gan: tuple[str, ...] = option(
        "Plates of split gan. None: those that no split names.", default=()
    )
    plates_tune: tuple[str, ...] = option(
        "Plates of split tune; plates_classifier may name the same plates, which split_by then "
        "divides in the proportion of the shares. None: those that no split names.",
        default=(),
    )
    plates_calibration: tuple[str, ...] = option(
        "Plates of split calibration. None: those that no split names.", default=()
    )
    plates_classifier: tuple[str, ...] = option(
        "Plates of split classifier. None: those that no split names.", default=()
    )
    plates_evaluation: tuple[str, ...] = option(
        "Plates of split evaluation, which serve no other. None: those that no split names.",
        default=(),
    )

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Named plates, by split."""
        return {split: getattr(self, f"plates_{split}") for split in SPLITS}

    @property
    def shares(self) -> dict[str, float]:
        """Share of the units, by split."""
        return {split: getattr(self, f"share_{split}") for split in SPLITS}

    @property
    def counts(self) -> dict[str, int]:
        """Cells per treatment, by split."""
        return {split: getattr(self, f"cells_{split}") for split in SPLITS}
