"""A small simulated plate for the tests: nuclei of 10 px, two treatments, a second to make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from analysis import crop_cells, list_plate, select_cells, simulate_plate
from analysis.cells.quality_settings import FLAGS
from analysis.simulation.field import Field, simulate_field
from analysis.simulation.optics import illumination_profile
from analysis.simulation.settings import Settings

CHANNELS = ("dna", "nfkb")
TREATMENTS = ("DMSO", "TNF-alpha")
SETTINGS = Settings(
    phenotype="translocation", channels=CHANNELS, treatments=TREATMENTS,
    ratio_medians=(0.9, 2.35), ratio_log_sd=0.13, fragment_counts=(2.5, 14.0),
    fragment_count_log_sd=0.15, golgi_area_nd2=0.37, golgi_area_log_sd=0.15,
    golgi_angle_sd_deg=50.0, golgi_distance_nd=(0.55, 0.9), golgi_haze=0.3,
    effects=("none", "depolymerise"), effect_doses=(0.0, 1.0), effect_log_sd=0.2,
    actin_counts=220.0, tubulin_counts=110.0,
    wells_per_treatment=4, sites_per_well=1,
    field_height_px=150, field_width_px=160, nucleus_diameter_px=10.0, pixel_size_um=1.5,
    bit_depth=12, neighbours=8.0, colony_share=0.7, nearest_centres_nd=1.05,
    body_diameter_nd=(1.9, 2.3), body_aspect_max=1.9, nucleus_area_cv=0.2,
    nucleus_offset_sd_nd=0.25, radial_falloff=0.15, expression_log_sd=0.4, psf_sd_nd=0.05,
    out_of_focus_share=0.1, out_of_focus_sd_nd=0.8, dna_counts=350.0, marker_counts=300.0,
    background_counts=40.0, camera_offset_counts=20.0, electrons_per_count=12.0,
    read_noise_counts=1.2, illumination_depth=0.3, well_gain_log_sd=0.1, debris_per_field=0.0,
    empty_wells=0, empty_fields=0, broken_fields=0, seed=5,
)  # fmt: skip
LIST = {"source": "simulate", "treatment_by": "compound", "pixel_size_um": 1.5, "bit_depth": 12}
CROP = {
    "crop_size": 30, "nucleus_diameter_um": 15.0, "cells_per_field": 30, "segmenter": "threshold",
    "segmenter_weights": None, "flow_threshold": 0.4,
    "illumination": "plate", "camera_offset_counts": 20.0, "saturated_share_max": 0.01,
    "contrast_min": 0.4, "blur_max_nd": 0.15, "noise_share_max": 0.5, "outside_share_max": 0.0,
    "touching_share_max": 0.2, "debris_height_max": 0.5, "on_broken_field": "stop",
    "seed": 0,
}  # fmt: skip
SELECT = {
    "split_by": "well", "share_gan": 0.25, "share_tune": 0.25, "share_calibration": 0.0,
    "share_classifier": 0.25, "share_evaluation": 0.25, "cells_gan": 12, "cells_tune": 4,
    "cells_calibration": 0, "cells_classifier": 6, "cells_evaluation": 5, "on_few_cells": "stop",
    "exclude_flags": ["noise", "blank", "border"], "tile_px": 50, "black_percentile": 0.1,
    "white_percentile": 99.9, "seed": 0,
}  # fmt: skip


def field(treatment: str = "DMSO", seed: int = 0, empty: bool = False, **changes) -> Field:
    """Simulate one field of a plate whose settings differ by ``changes``."""
    settings = replace(SETTINGS, **changes)
    rng = np.random.default_rng(seed)
    shape = (settings.field_height_px, settings.field_width_px)
    profile = illumination_profile(shape, settings.illumination_depth, rng)
    n = len(settings.channels)
    profiles = np.stack([profile] * n)
    return simulate_field(settings, treatment, profiles, np.ones(n), rng, empty=empty)


def write_config(folder: Path, simulate: dict | None = None) -> Path:
    """Write the configuration of the small plate; return its path."""
    values = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    values |= simulate or {}
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    path = folder / "config.yaml"
    sections = {"simulate_plate": values, "list_plate": LIST, "crop_cells": CROP,
                "select_cells": SELECT, "high_resolution": {"image_size": 20}}  # fmt: skip
    path.write_text(yaml.safe_dump(sections))
    return path


def simulate(folder: Path, plate: str = "P1", **changes) -> Path:
    """Simulate a plate below ``folder``; return the path of its checked sheet."""
    config = write_config(folder, changes)
    raw = folder / "data" / plate
    simulate_plate.main(
        ["--config", str(config), "--plate", plate, "--output", str(raw),
         "--truth", str(folder / f"{plate}.truth.parquet")]
    )  # fmt: skip
    return list_it(folder, plate)


def list_it(folder: Path, plate: str = "P1", *more: str) -> Path:
    """Run list_plate on a simulated plate."""
    sheet = folder / f"{plate}.sheet.csv"
    list_plate.main(
        ["--config", str(folder / "config.yaml"), "--plate", plate, "--plates", plate, "--folder",
         str(folder / "data" / plate), "--channels", *CHANNELS, "--output", str(sheet), *more]
    )  # fmt: skip
    return sheet


def crop(folder: Path, sheet: Path, *more: str) -> Path:
    """Run crop_cells on a sheet; return the path of the stack."""
    plate = sheet.name.split(".")[0]
    stack = folder / f"{plate}.ome.tif"
    crop_cells.main(
        ["--config", str(folder / "config.yaml"), "--sheet", str(sheet), "--channels", *CHANNELS,
         "--nucleus-channel", "dna", "--output", str(stack), "--fields",
         str(folder / f"{plate}.fields.csv"), *more]
    )  # fmt: skip
    return stack


def select(folder: Path, plates: list[str], *more: str) -> Path:
    """Run select_cells; return the path of the stack."""
    output = folder / "cells.ome.tif"
    select_cells.main(
        ["--config", str(folder / "config.yaml"), "--plates",
         *(str(folder / f"{plate}.ome.tif") for plate in plates), "--fields",
         *(str(folder / f"{plate}.fields.csv") for plate in plates), "--treatments", *TREATMENTS,
         "--output", str(output), "--intensity", str(folder / "intensity.json"),
         "--selection", str(folder / "selection.csv"), "--flags", str(folder / "flags.csv"),
         "--flagged", str(folder / "flagged.ome.tif"), *more]
    )  # fmt: skip
    return output


def left_behind(folder: Path) -> list[str]:
    """Names of temporary files and folders below ``folder``."""
    return [path.name for path in folder.rglob(".tmp-*")]


def made_up_cells(
    treatments: tuple[str, ...] = TREATMENTS, plates: int = 2, wells: int = 4, cells: int = 25
) -> pd.DataFrame:
    """Return a table as crop_cells writes it: ``wells`` a treatment and plate, one field each."""
    rng = np.random.default_rng(0)
    rows = []
    for plate in range(plates):
        for t, treatment in enumerate(treatments):
            for well in range(wells):
                name = f"{'BCDEFG'[t]}{well + 2:02d}"
                for y, x in rng.integers(20, 480, (cells, 2)):
                    rows.append((f"P{plate}", name, 1, treatment, y, x))
    table = pd.DataFrame(rows, columns=["plate", "well", "site", "treatment", "y_px", "x_px"])
    ids = [f"{r.plate}_{r.well}_s1_y{r.y_px}_x{r.x_px}" for r in table.itertuples()]
    table.insert(0, "image_id", ids)
    table = table.drop_duplicates("image_id", ignore_index=True)
    return table.assign(crop_size_px=30, **dict.fromkeys(FLAGS, False))
