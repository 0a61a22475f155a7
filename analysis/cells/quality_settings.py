"""The quality flags of a crop, and the limits above or below which each one is raised."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option

FLAGS = ("saturated", "blank", "out_of_focus", "noise", "border", "overlapping", "debris")


@dataclass(frozen=True)
class QualityLimits:
    """The settings that crop_cells and import_crops share, in a section of their own."""

    SECTION = "quality_flags"
    saturated_share_max: float = option(
        "Flag 'saturated' above this share of pixels.", least=0, most=1
    )
    contrast_min: float = option("Flag 'blank' below this (p99 - p1) / p1.", least=0)
    blur_max_nd: float = option("Flag 'out_of_focus' above this edge blur, in diameters.", least=0)
    noise_share_max: float = option(
        "Flag 'noise' above this share of pixel noise.", least=0, most=1
    )
    outside_share_max: float = option(
        "Flag 'border' above this share of the crop off the field.", least=0, most=1
    )
    touching_share_max: float = option(
        "Flag 'overlapping' above this share of a nucleus' outline that touches other nuclei.",
        least=0,
        most=1,
    )
    debris_height_max: float = option(
        "Flag 'debris' above this height of a speck beside the nuclei, in heights of the nucleus.",
        least=0,
    )
