"""Texture and granularity of tubulin under drugs on microtubules, on real crops of BBBC021.

    RLS_REAL_DATA=... python -m benchmarks.tubulin_morphology          # half a minute

RLS_REAL_DATA names the folder that holds bbbc021_crops/. For nocodazole, all destabilisers and all
stabilisers of microtubules it prints the medians beside DMSO's (at most 25 cells a well) and the
AUC with its interval over wells, on HR. The settings are those of config/config.yaml.
"""

from __future__ import annotations

import lzma
import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.features.morphology import FeatureSettings, measure
from analysis.numbers.statistics import auc_interval
from analysis.run.keys import ROOT
from analysis.run.values import read_config
from rls.io.names import OK

CHANNELS = ("dna", "actin", "tubulin")
CELLS_A_WELL = 25
BORDER_PX = 2  # The crops are 68 px wide, the images 64 px.
GROUPS = {
    "nocodazole": lambda cells: cells["compound"] == "nocodazole",
    "destabilisers": lambda cells: cells["moa"] == "Microtubule destabilizers",
    "stabilisers": lambda cells: cells["moa"] == "Microtubule stabilizers",
}


def measured(folder: Path) -> pd.DataFrame:
    """Return morphology and labels of the cells in which it can be measured."""
    cells = pd.read_csv(folder / "labels.csv")
    on_microtubules = cells["moa"].str.startswith("Microtubule", na=False)
    few = cells.groupby(["plate", "well", "compound"]).cumcount() < CELLS_A_WELL
    shown = (on_microtubules | ((cells["compound"] == "DMSO") & few)).to_numpy()
    with lzma.open(folder / "crops_68px_delta.npy.xz") as file:
        crops = np.cumsum(np.load(file), axis=-1, dtype=np.int16).astype(np.uint16)[shown]
    section = read_config([ROOT / "config" / "config.yaml"])["measure"]
    values = {one.name: section[one.name] for one in fields(FeatureSettings)}
    inner = slice(BORDER_PX, -BORDER_PX)
    table = measure(
        crops[:, :, inner, inner].astype(np.float32),
        channels=CHANNELS,
        pixel_size_um=0.335,
        nucleus_channel="dna",
        marker_channel="tubulin",
        settings=FeatureSettings(**{**values, "nucleus_diameter_um": 11.0}),
    )
    table = pd.concat([cells[shown].reset_index(drop=True), table], axis=1)
    return table[table["status"] == OK].reset_index(drop=True)


def main() -> None:
    """Print the table."""
    table = measured(Path(os.environ["RLS_REAL_DATA"]) / "bbbc021_crops")
    columns = [c for c in table if c.endswith("_tubulin") and ("Text" in c or "Granul" in c)]
    control = (table["compound"] == "DMSO").to_numpy()
    for name, chosen in GROUPS.items():
        drug = chosen(table).to_numpy()
        both = table.assign(treatment=np.where(drug, name, "DMSO"))[drug | control]
        counts = both.groupby("treatment")[["plate", "well"]].apply(
            lambda part: f"{len(part)} cells, {part.groupby(['plate', 'well']).ngroups} wells"
        )
        print(f"{name}: {counts[name]}; DMSO: {counts['DMSO']}")
        for column in columns:
            found = auc_interval(
                both, column, negative_control="DMSO", positive_control=name, confidence=0.95
            )
            median = both.groupby("treatment")[column].median()
            print(
                f"  {column:33} DMSO {median['DMSO']:.3f}  drug {median[name]:.3f}  "
                f"AUC {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
            )


if __name__ == "__main__":
    main()
