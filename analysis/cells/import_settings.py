"""Settings of ``import_crops``."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.cells.quality_settings import QualityLimits
from rls.runtime.command import option


@dataclass(frozen=True)
class Settings(QualityLimits):
    """Settings of section ``import_crops``."""

    stored_as: str = option(
        "Form in which the file stores the images.", choices=("counts", "horizontal_differences")
    )
    treatment_by: str = option(
        "Columns of the table that define a treatment.", choices=("compound", "compound_dose")
    )
    crop_size: int = option("Side of a crop in px: image_size with a margin.", least=2)
    pixel_size_um: float = option("Side of a pixel, in um.", above=0)
    bit_depth: int = option("Bits of the camera.", choices=(8, 10, 12, 14, 16))
    nucleus_diameter_um: float = option("Typical diameter of a nucleus, in um.", above=0)
    saturation_counts: int | None = option(
        "Counts from which a pixel is saturated; none: the greatest that bit_depth allows.", least=1
    )
    resolution: str = option(
        "Resolution of the cells; in low resolution neither focus nor noise can be seen.",
        choices=("high", "low"),
        default="high",
    )
    class_treatments: tuple[str, ...] = option(
        "Treatment of class 0, 1, ... of a zip of PNG; none: its CSV names compounds.", default=()
    )
    rgb_channels: tuple[str, ...] = option(
        "Channels that red, green and blue of a zip of PNG hold, 'none' for an unused one; none: "
        "the assay's in their order.",
        default=(),
    )
    unlisted_plates: str = option(
        "What to do with plates of the table that the assay does not list.",
        choices=("stop", "leave_out"),
        default="stop",
    )
    axes: str = option(
        "Order of the pages of a TIFF that does not say it: TCYX all channels of a crop behind one "
        "another, CTYX all crops of a channel, file what the file says.",
        choices=("file", "TCYX", "CTYX"),
        default="file",
    )
