"""The DAG from archives to cells: a plate is fetched once, before it is listed and cropped."""

from __future__ import annotations

import pytest

from tests.test_workflow import Program

pytestmark = pytest.mark.workflow


def test_bbbc021_is_fetched_plate_by_plate(tmp_path):
    program = Program(tmp_path)
    assay = {"archives": "http://127.0.0.1:9/none", "plates": ["Week1_22123", "Week1_22141"]}
    program.overlay("change.yaml", {"run": {"assays": ["bbbc021"]}, "assays": {"bbbc021": assay}})
    configs = ("config/config.yaml", "change.yaml")
    planned = program.planned("results/bbbc021/cells.ome.tif", configs=configs)
    expected = {"fetch_metadata": 1, "fetch_plate": 2, "list_plate": 2, "crop_cells": 2}
    assert planned == {**expected, "select_cells": 1}
