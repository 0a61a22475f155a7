"""How many nuclei of a low-resolution field are found, and what their cuts are worth to a search.

Four simulated fields of the demonstration, two a treatment, are reduced as a whole. Nuclei are
found in the reduced fields and counted against those found in the fields themselves. Then 40 cells
of each field are super-resolved three times: cut from the field before it is reduced (what a model
is trained and measured on), cut from the reduced field between its pixels, and cut there to the
nearest whole pixels. For each stand the share of the shift of the nucleocytoplasmic ratio that is
kept, r within treatments, and the share of cells whose trust is under 0.05.

    python -m benchmarks.low_resolution_fields --factor 8      # some minutes on a core
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from scipy.spatial import cKDTree
from snakemake.utils import update_config

from analysis.cells.geometry import cut, find_cells, share_outside
from analysis.cells.low_resolution_cut import are_inside, corners, cut_cells, find_nuclei
from analysis.cells.segment import segment_nuclei
from analysis.features import nucleocytoplasmic_ratio as ratio
from analysis.numbers.agreement import correlation_within
from analysis.run.keys import ROOT
from analysis.run.values import section_values
from analysis.simulation.field import simulate_field
from analysis.simulation.settings import Settings
from rls import super_resolve_files
from rls.io import read_intensity, read_stack, write_stack
from rls.runtime.command import Parser
from rls.search.forward import downscale

MODEL, ASSAY, SIZE = ROOT / "models" / "translocation_32px", "translocation", 32
NUCLEUS_PX, NEAR_PX, PIXEL_UM = 15.0, 5.0, 1.0
FIELDS, CELLS = 4, 40


def configuration() -> dict:
    """config.yaml under demo.yaml."""
    config, demo = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
        for name in ("config", "demo")
    )
    update_config(config, demo)
    return config


def settings_of(kind: type, values: dict, folder: Path) -> object:
    """Settings of a dataclass from a mapping, as a command reads them."""
    names = {field.name for field in dataclasses.fields(kind)}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"section": {k: v for k, v in values.items() if k in names}}))
    return Parser(__doc__, kind, "section").parse(["--config", str(path)])[1]


def simulate(config: dict, factor: int, folder: Path) -> list[tuple[str, np.ndarray]]:
    """(treatment, counts (c, y, x)) of each field, evenly lit, whose sides the factor divides."""
    assay = config["assays"][ASSAY]
    values = {**{k: assay[k] for k in ("channels", "treatments", "pixel_size_um", "bit_depth")},
              "seed": 1, **section_values(config, "simulate_plate", ASSAY)}  # fmt: skip
    plain = settings_of(Settings, values, folder)
    shape = [side // factor * factor for side in (plain.field_height_px, plain.field_width_px)]
    settings = dataclasses.replace(plain, field_height_px=shape[0], field_width_px=shape[1])
    even = np.ones((len(settings.channels), *shape))
    fields = []
    for number in range(FIELDS):
        treatment = settings.treatments[number % 2]
        rng = np.random.default_rng(1000 + number)
        field = simulate_field(settings, treatment, even, even[:, 0, 0], rng, empty=False)
        fields.append((treatment, field.counts.astype(np.float32)))
    return fields


def super_resolved(cells: np.ndarray, factor: int, folder: Path) -> tuple[np.ndarray, pd.Series]:
    """Images (n, c, y, x) in counts and trust of cells, by the model's own method."""
    ids = pd.DataFrame({"image_id": [f"c{i}" for i in range(len(cells))]})
    write_stack(folder / "low.ome.tif", cells.astype(np.float32), ids, channels=("dna", "nfkb"),
                pixel_size_um=PIXEL_UM * factor, written_by="benchmark")  # fmt: skip
    super_resolve_files.main([str(folder / "low.ome.tif"), "--model", str(MODEL), "--factor",
                              str(factor), "--out", str(folder / "high.ome.tif"), "--overwrite",
                              "--threads", str(torch.get_num_threads())])  # fmt: skip
    stack = read_stack(folder / "high.ome.tif")
    return stack.images, stack.table["trust"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--factor", type=int, default=8)
    factor = parser.parse_args().factor
    side, config = SIZE // factor, configuration()
    counts, squares, treatments = [], [], []
    cuts: dict[str, list[np.ndarray]] = {"before": [], "between pixels": [], "whole pixels": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        features = settings_of(ratio.FeatureSettings, config["measure"], folder)
        for number, (treatment, field) in enumerate(simulate(config, factor, folder)):
            low = downscale(field.shape[1:], factor, "renormalize")(torch.as_tensor(field[None]))
            low = low[0].numpy()
            nuclei = find_cells(segment_nuclei(field[0], NUCLEUS_PX))
            true = nuclei[["y_px", "x_px"]].to_numpy(float)
            found = (find_nuclei(low[0], NUCLEUS_PX / factor, factor) + 0.5) * factor - 0.5
            near, right = (cKDTree(a).query(b)[0] for a, b in ((found, true), (true, found)))
            counts.append((len(true), (near < NEAR_PX).sum(), len(found), (right < NEAR_PX).sum()))
            places = (true + 0.5) / factor - 0.5
            whole = are_inside(low.shape[1:], places, side, factor)
            whole &= share_outside(field.shape[1:], nuclei, SIZE) == 0
            some = np.random.default_rng(number).permutation(np.flatnonzero(whole))[:CELLS]
            squares.append(cut(field, nuclei.iloc[some], SIZE))
            treatments += [treatment] * len(some)
            D = downscale(SIZE, factor, "renormalize")
            cuts["before"].append(D(torch.as_tensor(squares[-1])).numpy())
            cuts["between pixels"].append(cut_cells(low, places[some], side, factor))
            first = np.rint(corners(places[some], side, factor)).astype(int)
            cuts["whole pixels"].append(
                np.stack([low[:, y : y + side, x : x + side] for y, x in first])
            )
        n, hit, n_found, n_right = np.sum(counts, axis=0)
        print(f"{n} nuclei: {hit / n:.1%} found; of {n_found} found {n_right / n_found:.1%} right")
        scale, treated = read_intensity(MODEL / "intensity.json"), np.array(treatments) != "DMSO"

        def measured(images: np.ndarray) -> np.ndarray:
            return ratio.measure(
                scale.to_unit(images), channels=("dna", "nfkb"), pixel_size_um=PIXEL_UM,
                nucleus_channel="dna", marker_channel="nfkb", settings=features,
            )["nucleocytoplasmic_ratio"].to_numpy()  # fmt: skip

        truth = measured(np.concatenate(squares))
        for how, parts in cuts.items():
            images, trust = super_resolved(np.concatenate(parts), factor, folder)
            value = measured(images)
            ok = np.isfinite(truth) & np.isfinite(value)
            shift = [
                np.median(v[ok & treated]) - np.median(v[ok & ~treated]) for v in (value, truth)
            ]
            r = correlation_within(truth[ok], value[ok], treated[ok])
            print(
                f"cut {how}: n {ok.sum()}, shift kept {shift[0] / shift[1]:.2f}, r within "
                f"{r:.2f}, trust under 0.05: {(trust < 0.05).mean():.1%}"
            )


if __name__ == "__main__":
    main()
