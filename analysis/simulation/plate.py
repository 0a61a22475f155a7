"""Simulate a plate: layout, gains, files with BBBC021's names, image.csv and the truth."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from analysis.plates.bbbc021 import COMPOUND, DOSE, DOSE_UNIT, PLATE, WELL
from analysis.simulation.field import simulate_field
from analysis.simulation.optics import illumination_profile
from analysis.simulation.phenotypes import find_phenotype
from analysis.simulation.settings import Settings
from rls.io import write_table
from rls.io.names import OK
from rls.runtime.streams import stream

ROWS, COLUMNS = "BCDEFG", range(2, 12)  # The interior wells, which BBBC021 uses.
EMPTY = "empty"
BREAKAGES = ("truncated", "noise")
NAMED_DOSE = re.compile(rf"(.+)_([0-9.]+){DOSE_UNIT}")  # Such as taxol_0.3uM.
NOISE_COUNTS = (0.0, 0.9)  # The share of the range of counts that camera noise fills.


@dataclass(frozen=True)
class Well:
    """One well: its name, treatment and replicate number within the treatment, from 1."""

    name: str
    treatment: str
    replicate: int


def lay_out(settings: Settings) -> list[Well]:
    """Return the wells: treatments alternate over rows and columns, empty wells come last."""
    kinds = list(settings.treatments)
    filled = dict.fromkeys(kinds, 0)
    wells: list[Well] = []
    left_over: list[str] = []
    for r, row in enumerate(ROWS):
        for c, column in enumerate(COLUMNS):
            name, kind = f"{row}{column:02d}", kinds[(r + c) % len(kinds)]
            if filled[kind] < settings.wells_per_treatment:
                filled[kind] += 1
                wells.append(Well(name, kind, filled[kind]))
            else:
                left_over.append(name)
    for kind in kinds:  # Needed only when a plate is nearly full.
        while filled[kind] < settings.wells_per_treatment:
            filled[kind] += 1
            wells.append(Well(left_over.pop(0), kind, filled[kind]))
    wells += [Well(left_over[i], EMPTY, i + 1) for i in range(settings.empty_wells)]
    return wells


def well_gains(settings: Settings, plate: str, replicate: int) -> np.ndarray:
    """Return the gain (c,) of a replicate, the same in every treatment so that it reveals none."""
    rng = stream(settings.seed, f"{plate}/{replicate}", "well_gain")
    return np.exp(rng.normal(0, settings.well_gain_log_sd, len(settings.channels)))


def plate_profiles(settings: Settings, plate: str) -> np.ndarray:
    """Return the illumination (c, y, x) of a plate, mean 1, one profile per channel."""
    shape = (settings.field_height_px, settings.field_width_px)
    return np.stack(
        [
            illumination_profile(
                shape,
                settings.illumination_depth,
                stream(settings.seed, f"{plate}/{channel}", "illumination"),
            )
            for channel in settings.channels
        ]
    )


def compound_and_dose(treatment: str) -> tuple[str, float]:
    """Return compound and dose for image.csv: taxol_0.3uM is taxol at 0.3, DMSO is DMSO at 0."""
    match = NAMED_DOSE.fullmatch(treatment)
    return (match[1], float(match[2])) if match else (treatment, 0.0)


def mechanisms(settings: Settings) -> pd.DataFrame | None:
    """Return moa.csv in BBBC021's form; None for a phenotype without mechanisms of action."""
    mechanism_of = find_phenotype(settings).mechanism_of
    if mechanism_of is None:
        return None
    rows = [
        (*compound_and_dose(name), mechanism_of(settings, name)) for name in settings.treatments
    ]
    table = pd.DataFrame(rows, columns=["compound", "concentration", "moa"])
    return table[table["moa"] != ""]


def simulate_plate(
    settings: Settings, plate: str, folder: Path, advance: Callable[[int], None]
) -> pd.DataFrame:
    """Write the TIFFs, image.csv and moa.csv of ``plate`` into ``folder``.

    moa.csv is written where treatments have known mechanisms.

    Arguments:
        advance: Called with 1 after each field.

    Returns:
        The truth, one row per cell.
    """
    wells = lay_out(settings)
    profiles = plate_profiles(settings, plate)
    special = _special_fields(settings, plate, wells)
    rows: list[dict[str, str | int | float]] = []
    truths = []
    for well in wells:
        gains = well_gains(settings, plate, well.replicate)
        for site in range(1, settings.sites_per_well + 1):
            status = special.get((well.name, site), OK)
            empty = well.treatment == EMPTY or status == "empty"
            treatment = settings.treatments[0] if well.treatment == EMPTY else well.treatment
            rng = stream(settings.seed, f"{plate}_{well.name}_s{site}", "simulate_plate")
            field = simulate_field(settings, treatment, profiles, gains, rng, empty=empty)
            names = _write_field(folder, settings, plate, well.name, site, field.counts)
            if status in BREAKAGES:
                _break_file(folder / names[0], status, settings, rng)
            rows.append(_image_row(len(rows) + 1, settings, plate, well, names))
            about = {"plate": plate, "well": well.name, "treatment": treatment}
            truths.append(field.truth.assign(**about, site=site, field_status=status))
            advance(1)
    write_table(folder / "image.csv", pd.DataFrame(rows), written_by="simulate_plate")
    if (moa := mechanisms(settings)) is not None:
        write_table(folder / "moa.csv", moa, written_by="simulate_plate")
    truth = pd.concat(truths, ignore_index=True)
    first = ["plate", "well", "site", "treatment", "field_status"]
    return truth[first + [name for name in truth if name not in first]]


def _special_fields(
    settings: Settings, plate: str, wells: list[Well]
) -> dict[tuple[str, int], str]:
    """Return {(well, site): 'empty' | 'truncated' | 'noise'}, drawn without repeats."""
    fields = [
        (well.name, site)
        for well in wells
        if well.treatment != EMPTY
        for site in range(1, settings.sites_per_well + 1)
    ]
    kinds = ["empty"] * settings.empty_fields
    kinds += [BREAKAGES[i % len(BREAKAGES)] for i in range(settings.broken_fields)]
    picks = stream(settings.seed, plate, "special_fields").permutation(len(fields))
    return {fields[pick]: kind for pick, kind in zip(picks, kinds, strict=False)}


def _write_field(
    folder: Path, settings: Settings, plate: str, well: str, site: int, counts: np.ndarray
) -> list[str]:
    """Write one TIFF per channel, and return names in BBBC021's form: B02_s1_w16E3A90C1.tif."""
    names = []
    for index, (channel, image) in enumerate(zip(settings.channels, counts, strict=True), start=1):
        key = hashlib.blake2b(f"{plate}/{well}/{site}/{channel}".encode(), digest_size=4)
        names.append(f"{well}_s{site}_w{index}{key.hexdigest().upper()}.tif")
        tifffile.imwrite(folder / names[-1], image)
    return names


def _break_file(path: Path, kind: str, settings: Settings, rng: np.random.Generator) -> None:
    """Cut a TIFF short, or fill it with the noise of a failing camera."""
    if kind == "truncated":
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        return
    low, high = (share * (2**settings.bit_depth - 1) for share in NOISE_COUNTS)
    shape = (settings.field_height_px, settings.field_width_px)
    tifffile.imwrite(path, rng.uniform(low, high, shape).astype(np.uint16))


def _image_row(
    number: int, settings: Settings, plate: str, well: Well, names: list[str]
) -> dict[str, str | int | float]:
    """Return one row of image.csv in BBBC021's columns."""
    compound, dose = compound_and_dose(well.treatment)
    row: dict[str, str | int | float] = {"TableNumber": 1, "ImageNumber": number}
    for channel, name in zip(settings.channels, names, strict=True):
        dye = "DAPI" if channel.lower() == "dna" else channel.upper()  # BBBC021 names dyes.
        row |= {f"Image_FileName_{dye}": name, f"Image_PathName_{dye}": plate}
    return row | {
        PLATE: plate,
        WELL: well.name,
        "Replicate": well.replicate,
        COMPOUND: compound,
        DOSE: dose,
    }
