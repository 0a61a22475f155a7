"""Settings of ``list_plate``."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.plates.projections import NONE, PROJECTIONS
from rls.runtime.command import option


@dataclass(frozen=True)
class Settings:
    """Settings of section ``list_plate``."""

    source: str = option(
        "Where the plate comes from.",
        choices=("simulate", "bbbc021", "bbbc014", "sheet", "ome_zarr"),
    )
    treatment_by: str = option(
        "Columns of image.csv that define a treatment.", choices=("compound", "compound_dose")
    )
    pixel_size_um: float | None = option("Pixel size in um; none: the sheet says it.", above=0)
    bit_depth: int | None = option(
        "Bits of the camera, e.g. 12; none: the sheet says it.", choices=(8, 10, 12, 14, 16)
    )
    on_unlisted_treatment: str = option(
        "What to do with a treatment of a user's sheet or plate map that the assay does not list.",
        choices=("stop", "leave_out"),
        default="stop",
    )
    channel_labels: tuple[str, ...] = option(
        "What the files of a sheet or an OME-Zarr plate call the assay's channels, in their order, "
        "or their positions from 0; none: the same names.",
        default=(),
    )
    acquisition: int | None = option(
        "Number of the acquisition of an OME-Zarr plate; none: it has one alone.",
        default=None,
        least=0,
    )
    projection: str = option(
        "What becomes of several planes in z: none refuses them, max takes the greatest count of "
        "each pixel, mean their mean, rounded. A sheet may say it in a column projection.",
        choices=PROJECTIONS,
        default=NONE,
    )
    finest_pixel_size_um: float | None = option(
        "Pixel size of the finest level of an OME-Zarr plate, in um; none: its metadata say it.",
        default=None,
        above=0,
    )
