"""Example plates as a laboratory has them: one OME-TIFF a field, whose channels are called by dyes.

They are simulated with the effect of assay ``translocation``, at the size of the generator
``models/translocation_32px``, which has not seen them: it was trained on plates of other names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from analysis.run.values import read_config, settings_of
from analysis.simulation.plate import lay_out, simulate_plate
from analysis.simulation.settings import Settings

ASSAY = "translocation"
PLATES = ("MyPlate1", "MyPlate2")
DYES = ("DAPI", "FITC")  # What the files call the nuclear stain and the marker.
SIZES = {
    "wells_per_treatment": 6,
    "sites_per_well": 1,
    "field_height_px": 360,
    "field_width_px": 360,
    "nucleus_diameter_px": 15.0,
    "pixel_size_um": 1.0,
    "empty_wells": 0,
    "empty_fields": 0,
    "broken_fields": 0,
}


def example_settings(**changes: int | float) -> Settings:
    """Return the settings of the example plates; ``changes`` make them smaller, for tests."""
    config = read_config()
    config["assays"][ASSAY]["settings"] = {"simulate_plate": {**SIZES, **changes}}
    return settings_of(Settings, config, "simulate_plate", ASSAY)


def n_fields(settings: Settings) -> int:
    """Return the number of fields of all example plates."""
    return len(PLATES) * len(lay_out(settings)) * settings.sites_per_well


def write_plates(folder: Path, settings: Settings, advance: Callable[[int], None]) -> pd.DataFrame:
    """Write the example plates into ``folder``, one folder a plate; return their sheet.

    Arguments:
        advance: Called with 1 after each field.

    Returns:
        One row a field: plate, well, site, treatment and path, relative to ``folder``.
    """
    rows = []
    for plate in PLATES:
        (folder / plate).mkdir()
        with tempfile.TemporaryDirectory(dir=folder) as raw:
            truth = simulate_plate(settings, plate, Path(raw), advance)
            fields = truth[["well", "site", "treatment"]].drop_duplicates()
            for well, site, treatment in fields.itertuples(index=False):
                names = sorted(Path(raw).glob(f"{well}_s{site}_w*.tif"))
                path = f"{plate}/{well}_s{site}.ome.tif"
                _write_field(folder / path, np.stack([tifffile.imread(n) for n in names]), settings)
                rows.append((plate, well, site, treatment, path))
    return pd.DataFrame(rows, columns=["plate", "well", "site", "treatment", "path"])


def _write_field(path: Path, counts: np.ndarray, settings: Settings) -> None:
    """Write counts (c, y, x) with the names of the channels and the size of a pixel."""
    facts: dict[str, object] = {"axes": "CYX", "Channel": {"Name": list(DYES)}}
    for axis in "XY":
        facts |= {f"PhysicalSize{axis}": settings.pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
    tifffile.imwrite(path, counts, metadata=facts, photometric="minisblack", compression="zlib")
