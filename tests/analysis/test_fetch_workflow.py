"""The DAG from archives to cells: a plate is fetched once, cropped, and deleted before the next."""

from __future__ import annotations

import io
import zipfile

import pandas as pd
import pytest

from rls.io import read_table
from tests.analysis.odd_server import odd_server
from tests.analysis.small_plate import simulate
from tests.program import Program

pytestmark = pytest.mark.workflow

PLATES = ("P1", "P2")


def test_bbbc021_is_fetched_plate_by_plate(tmp_path):
    program = Program(tmp_path)
    assay = {"archives": "http://127.0.0.1:9/none", "plates": ["Week1_22123", "Week1_22141"]}
    program.overlay("change.yaml", {"run": {"assays": ["bbbc021"]}, "assays": {"bbbc021": assay}})
    configs = ("config/config.yaml", "change.yaml")
    planned = program.planned("results/bbbc021/cells.ome.tif", configs=configs)
    expected = {"fetch_metadata": 1, "fetch_plate": 2, "list_plate": 2, "crop_cells": 2}
    assert planned == {**expected, "select_cells": 1}


def serve_plates(server, folder):
    """Serve simulated plates as BBBC021's: the two CSVs, and an archive a plate."""
    tables = []
    for plate in PLATES:
        simulate(folder, plate, wells_per_treatment=4)
        raw = folder / "data" / plate
        tables.append(pd.read_csv(raw / "image.csv"))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for path in raw.glob("*.tif"):
                file.write(path, f"Week1/{plate}/{path.name}")
        server.serve(f"BBBC021_v1_images_{plate}.zip", buffer.getvalue())
    server.serve("BBBC021_v1_image.csv", pd.concat(tables).to_csv(index=False).encode())
    server.serve("BBBC021_v1_moa.csv", b"compound,concentration,moa\n")


def test_plates_come_over_a_bad_line_and_only_their_cells_stay(tmp_path):
    program = Program(tmp_path)
    with odd_server() as fresh:
        server = fresh()
        serve_plates(server, tmp_path)
        server.plan.extend([503, None, None, ("cut", 50_000), 503])
        assay = {
            "archives": server.address, "plates": list(PLATES), "channels": ["dna", "nfkb"],
            "marker_channel": "nfkb", "treatments": ["DMSO", "TNF-alpha"], "image_size": 16,
            "positive_control": "TNF-alpha", "crop_size": 30, "pixel_size_um": 1.5,
            "factors": [4],
            "settings": {
                "list_plate": {"treatment_by": "compound"},
                "crop_cells": {"nucleus_diameter_um": 15.0, "camera_offset_counts": 20.0},
                "select_cells": {"split_by": "well", "on_few_cells": "take_all"},
            },
        }  # fmt: skip
        few = {"first_pause_s": 0.01, "longest_pause_s": 0.05, "free_disk_mb": 1.0}
        change = {"run": {"assays": ["bbbc021"]}, "assays": {"bbbc021": assay}, "fetch_plate": few}
        program.overlay("change.yaml", change)
        result = program.snakemake(
            "results/bbbc021/cells.ome.tif", configs=("config/smoke.yaml", "change.yaml")
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        asked = [path for path, _, _ in server.requests if path.endswith(".zip")]
    # One after the other: all that is asked of a plate stands together.
    assert len(set(asked)) == 2 and asked == sorted(asked, key=asked.index)
    cells = read_table(program.run_folder / "results" / "bbbc021" / "cells.parquet")
    assert set(cells["plate"]) == set(PLATES)
    left = [path.name for path in program.run_folder.rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith((".zip", ".tif", ".part"))
                and name not in ("cells.ome.tif", "flagged.ome.tif")]  # fmt: skip
    said = (program.run_folder / "logs" / "fetch_plate" / "bbbc021_P1.log").read_text()
    assert "MB of disk" in said and "all 2 plates of this assay" in said
