"""Settings of ``crop_cells``."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.cells.quality_settings import QualityLimits
from rls.runtime.command import option


@dataclass(frozen=True)
class Settings(QualityLimits):
    """Settings of section ``crop_cells``."""

    crop_size: int = option("Side of a crop in px: image_size with a margin for rotation.", least=2)
    nucleus_diameter_um: float = option("Typical diameter of a nucleus, in um.", above=0)
    cells_per_field: int = option("Maximum number of cells per field, drawn at random.", least=1)
    segmenter: str = option("Method that finds the nuclei.", choices=("threshold", "cellpose"))
    segmenter_weights: str | None = option(
        "Cellpose: file of its weights; train: from scratch, by train_segmenter. Else none."
    )
    flow_threshold: float = option(
        "Cellpose: maximum flow error of a nucleus; 0 keeps all.", least=0
    )
    illumination: str = option(
        "Correct the illumination: one profile per plate and channel.", choices=("plate", "none")
    )
    camera_offset_counts: float = option("Counts of the camera without light.", least=0)
    on_broken_field: str = option(
        "What to do with a field that cannot be used.", choices=("skip", "stop")
    )
    seed: int = option("Seed of the draw of cells_per_field.", least=0)
    device: str = option(
        "Where Cellpose runs: auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), default="auto"
    )
    threads: int = option("CPU threads of Cellpose.", default=1, least=1)
