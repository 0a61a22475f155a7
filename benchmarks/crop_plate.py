"""Time, memory and fields a second of crop_cells on a whole simulated plate, over a textbook form.

The plate is as one of BBBC021: 60 wells of four fields, three channels of 1024 x 1280 px, nuclei
of 33 px. ``--different`` fields are simulated; the others are names for the same files (hard
links), so that the plate takes little disk: reading them comes from memory, as from a fast disk.
The third channel is the second turned upside down: time does not depend on what it shows.

The textbook form does one field as a tutorial would: each channel divided by the plate's mean image
smoothed by a wide Gaussian, Otsu's threshold, distance transform, watershed, regionprops, a loop
that cuts. It has no quality measures, no table and writes nothing. It runs on some of the fields,
before and after the plate; its CPU time a field is set beside that of crop_cells.

    python -m benchmarks.crop_plate                                # a plate
    python -m benchmarks.crop_plate --wells 6 --different 4        # a tenth
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import yaml
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops
from skimage.segmentation import watershed

from analysis.plates.sheet import COLUMNS
from analysis.run.keys import ROOT
from analysis.run.values import section_values
from analysis.simulation.field import simulate_field
from analysis.simulation.optics import illumination_profile
from analysis.simulation.settings import Settings
from rls.runtime.command import convert, flags, make_settings

CHANNELS = ("dna", "actin", "tubulin")
ROWS, COLUMNS_OF_PLATE = "BCDEFG", range(2, 12)
SITES = 4
NUCLEUS_PX, PIXEL_UM = 33.0, 0.335
SMOOTH_PX = 200.0  # of the mean image, in the textbook form


def simulation(config: dict) -> Settings:
    """The simulated plate of config.yaml at BBBC021's size of a nucleus."""
    hints = Settings.__annotations__
    kinds = {"int": int, "float": float, "str": str}
    values = {
        **config["simulate_plate"], "channels": ("dna", "nfkb"), "bit_depth": 12,
        "treatments": config["assays"]["translocation"]["treatments"], "pixel_size_um": PIXEL_UM,
        "nucleus_diameter_px": NUCLEUS_PX, "seed": 1,
    }  # fmt: skip
    tuples = {"tuple[str, ...]": tuple[str, ...], "tuple[float, ...]": tuple[float, ...]}
    values = {k: convert(v, (kinds | tuples)[hints[k]], k) for k, v in values.items()}
    return make_settings(Settings, values, "simulate_plate")


def write_plate(folder: Path, config: dict, wells: int, different: int) -> Path:
    """Write the plate's TIFFs and its sheet; return the sheet."""
    settings = simulation(config)
    shape = (settings.field_height_px, settings.field_width_px)
    rng = np.random.default_rng(0)
    profiles = np.stack([illumination_profile(shape, settings.illumination_depth, rng)] * 2)
    names = [f"{row}{column:02d}" for row in ROWS for column in COLUMNS_OF_PLATE][:wells]
    rows = []
    for number, (well, site) in enumerate((w, s) for w in names for s in range(1, SITES + 1)):
        paths = [folder / f"{well}_s{site}_{channel}.tif" for channel in CHANNELS]
        if number < different:
            treatment = settings.treatments[number % 2]
            counts = simulate_field(settings, treatment, profiles, np.ones(2), rng).counts
            for path, image in zip(paths, [*counts, counts[1, ::-1]], strict=True):
                tifffile.imwrite(path, image)
        else:
            for path, channel in zip(paths, CHANNELS, strict=True):
                first = rows[number % different]
                os.link(folder / first[f"path_{channel}"], path)
        rows.append({
            "plate": "P1", "well": well, "site": site, "treatment": "DMSO", "compound": "DMSO",
            "dose": 0.0, "dose_unit": "uM", "moa": "", "pixel_size_um": PIXEL_UM, "bit_depth": 12,
            **{f"path_{c}": path.name for c, path in zip(CHANNELS, paths, strict=True)},
        })  # fmt: skip
    table = pd.DataFrame(rows)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise SystemExit(f"The benchmark's sheet lacks {', '.join(missing)}.")
    table.to_csv(folder / "sheet.csv", index=False)
    return folder / "sheet.csv"


def crop(sheet: Path, config: dict) -> tuple[float, float, float]:
    """Run crop_cells in a process of its own; return wall s, CPU s and peak memory in GB."""
    values = section_values(config, "crop_cells", "bbbc021") | {"illumination": "plate"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "analysis.crop_cells", "--sheet", str(sheet), "--channels",
         *CHANNELS, "--nucleus-channel", "dna", "--output", str(sheet.with_name("P1.ome.tif")),
         "--fields", str(sheet.with_name("P1.fields.csv")), *flags(values)], check=True,
    )  # fmt: skip
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss * 1024 / 1e9


def textbook(rows: list[dict], folder: Path, size: int) -> float:
    """Crop some fields as a tutorial would; return the CPU seconds of a field."""
    started = time.process_time()
    fields = []
    for row in rows:
        fields.append(np.stack([tifffile.imread(folder / row[f"path_{c}"]) for c in CHANNELS]))
    mean = np.mean(fields, axis=0)
    profile = np.stack([ndimage.gaussian_filter(channel, SMOOTH_PX) for channel in mean])
    profile_s = time.process_time() - started  # once a plate: what reading took is counted below
    started = time.process_time()
    for row in rows:
        field = np.stack([tifffile.imread(folder / row[f"path_{c}"]) for c in CHANNELS])
        even = field / profile * profile.mean(axis=(1, 2), keepdims=True)
        smooth = ndimage.gaussian_filter(even[0], 2.0)
        mask = smooth > threshold_otsu(smooth)
        distance = ndimage.distance_transform_edt(mask)
        peaks = peak_local_max(distance, min_distance=int(NUCLEUS_PX / 3), labels=label(mask))
        seeds = np.zeros(mask.shape, int)
        seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        half = size // 2
        cut = []
        for region in regionprops(watershed(-distance, seeds, mask=mask)):
            y, x = (int(round(value)) for value in region.centroid)
            part = even[:, y - half : y + half, x - half : x + half]
            if y >= half and x >= half and part.shape[1:] == (size, size):
                cut.append(part)
    # Reading for the mean is once a field too.
    return (time.process_time() - started + profile_s) / len(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wells", type=int, default=60, help="of four fields")
    parser.add_argument("--different", type=int, default=24, help="fields that are simulated")
    parser.add_argument("--textbook-fields", type=int, default=12)
    args = parser.parse_args()
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    size = config["assays"]["bbbc021"]["crop_size"]
    with tempfile.TemporaryDirectory(prefix="crop_plate_") as name:
        folder = Path(name)
        sheet = write_plate(folder, config, args.wells, min(args.different, SITES * args.wells))
        rows = pd.read_csv(sheet).to_dict("records")
        some = rows[: args.textbook_fields]
        slow = [textbook(some, folder, size)]
        wall, cpu, memory = crop(sheet, config)
        slow.append(textbook(some, folder, size))
        n_cells = pd.read_csv(folder / "P1.fields.csv", comment="#")["n_cells"].sum()
        written = (folder / "P1.ome.tif").stat().st_size / 1e9
    n = len(rows)
    print(f"crop_cells: {n} fields, {n_cells} crops of 3 x {size} x {size} px ({written:.2f} GB): "
          f"{wall:.0f} s wall, {cpu:.0f} s CPU, {memory:.2f} GB peak, {n / wall:.2f} fields/s, "
          f"{n / cpu:.2f} fields/s of one core")  # fmt: skip
    print(f"textbook form: {slow[0]:.2f} and {slow[1]:.2f} s CPU a field before and after "
          f"({len(some)} fields each); crop_cells {cpu / n:.2f} s: ratio textbook / crop_cells "
          f"{sum(slow) / 2 / (cpu / n):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
