"""What the wells let an accuracy mean: counted, and warned of where they are too few."""

from __future__ import annotations

import pandas as pd

from analysis.comparison.design import (
    PLATES_SHARED,
    POSITION_CONFOUNDED,
    WELL_CONFOUNDED,
    WELLS,
    design_facts,
)

CONTROLS = ("DMSO", "TNF-alpha")


def cells(*wells):
    """Ten cells of each (plate, well, treatment, split)."""
    table = pd.DataFrame(
        [well for well in wells for _ in range(10)], columns=["plate", "well", "treatment", "split"]
    )
    return table.assign(image_id=[f"c{i}" for i in range(len(table))])


def facts(table):
    found = list(design_facts(table, CONTROLS))
    return {fact["metric"]: fact for fact in found}, found


def plate(name, splits, layout):
    """The wells of one plate: ``layout`` maps a treatment to its wells, one split a well."""
    return [
        (name, well, treatment, split)
        for treatment, wells in layout.items()
        for well, split in zip(wells, splits, strict=True)
    ]


ONE_A_CLASS = {"DMSO": ["B02"], "TNF-alpha": ["B03"]}


def test_one_well_a_control_at_the_same_positions_is_warned_of_twice_and_the_wells_are_named():
    found, rows = facts(
        cells(*plate("P1", ["classifier"], ONE_A_CLASS), *plate("P2", ["evaluation"], ONE_A_CLASS))
    )
    assert [row["value"] for row in rows if row["metric"] in WELLS] == [1.0, 1.0]
    assert [row["reason"] for row in rows if row["metric"] in WELLS] == ["P2/B02", "P2/B03"]
    for name in (WELL_CONFOUNDED, POSITION_CONFOUNDED):
        assert found[name]["value"] == 1.0
    text = found[WELL_CONFOUNDED]["reason"]
    assert "training and choice DMSO has 1 well (P1/B02)" in text and "no biological" in text
    assert "DMSO in B02, TNF-alpha in B03" in found[POSITION_CONFOUNDED]["reason"]
    assert found[PLATES_SHARED]["value"] == 0.0 and "no classifier was trained" in str(found)


def test_many_wells_at_other_positions_are_not_warned_of():
    splits = ["classifier", "classifier", "tune"]
    first = {"DMSO": ["B02", "C05", "D08"], "TNF-alpha": ["B03", "C06", "D09"]}
    second = {"DMSO": ["B03", "C07", "D02"], "TNF-alpha": ["B02", "C05", "D03"]}
    found, _ = facts(cells(*plate("P1", splits, first), *plate("P2", ["evaluation"] * 3, second)))
    assert found[WELL_CONFOUNDED]["value"] == found[POSITION_CONFOUNDED]["value"] == 0.0


def test_many_wells_at_one_layout_are_warned_of_for_their_position_alone():
    layout = {"DMSO": ["B02", "C05", "D08"], "TNF-alpha": ["B03", "C06", "D09"]}
    found, _ = facts(
        cells(*plate("P1", ["classifier"] * 3, layout), *plate("P2", ["evaluation"] * 3, layout))
    )
    assert found[WELL_CONFOUNDED]["value"] == 0.0
    assert found[POSITION_CONFOUNDED]["value"] == 1.0


def test_wells_of_one_plate_divided_share_it_and_other_treatments_count_for_nothing():
    splits = ["classifier"] * 3 + ["evaluation"] * 3
    rows = [f"B{i:02d}" for i in range(6)], [f"C{i:02d}" for i in range(6)]
    layout = dict(zip(CONTROLS, rows, strict=True))
    other = ("P9", "E01", "taxol", "evaluation")
    found, _ = facts(cells(*plate("P1", splits, layout), other))
    assert found[PLATES_SHARED]["value"] == 1.0 and found[PLATES_SHARED]["n"] == 1
    assert found[WELL_CONFOUNDED]["value"] == found[POSITION_CONFOUNDED]["value"] == 0.0
