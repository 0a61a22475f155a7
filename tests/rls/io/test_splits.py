"""Every use of cells refuses every split that it does not name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rls.io.names import EVALUATION, GAN, HELD_OUT, SPLITS
from rls.io.splits import CHOOSE, REPORT, TRAIN, USES, Use, check, rows_for, serves
from rls.runtime.errors import InputError

ROOT = Path(__file__).parents[3]
TABLE = pd.DataFrame({"split": [*SPLITS, *SPLITS[::-1]], "image_id": [f"c{i}" for i in range(10)]})


@pytest.mark.parametrize("use", USES, ids=lambda use: use.doing)
@pytest.mark.parametrize("split", SPLITS)
def test_a_use_takes_its_splits_alone(use: Use, split: str) -> None:
    if split in use.splits:
        check(use, [split, split])
        assert set(TABLE["split"].iloc[rows_for(use, TABLE, "t", split=split)]) == {split}
        return
    for refused in (lambda: check(use, [*use.splits, split]),
                    lambda: rows_for(use, TABLE, "t", split=split)):  # fmt: skip
        with pytest.raises(InputError, match=f"split {split} to {use.doing}"):
            refused()


def test_no_cell_is_reported_that_anything_was_fitted_to() -> None:
    assert REPORT.splits == (EVALUATION,)
    assert not any(EVALUATION in use.splits for use in USES if use is not REPORT)
    assert TRAIN.splits == (GAN,) and GAN not in HELD_OUT
    assert {split for use in USES for split in use.splits} == set(SPLITS)


def test_the_page_on_splits_says_what_the_program_does() -> None:
    lines = (ROOT / "docs" / "splits.md").read_text("utf-8").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert [tuple(row) for row in cells[2:]] == [(u.doing, ", ".join(u.splits)) for u in USES]
    assert serves("calibration") == "calibrate intervals"


def test_rows_keep_their_order_and_none_is_an_error() -> None:
    assert rows_for(CHOOSE, TABLE, "t").tolist() == [1, 8]
    with pytest.raises(InputError, match=r"low.tif has no cell of split 'tune' .*share_tune"):
        rows_for(CHOOSE, TABLE[TABLE["split"] != "tune"], "low.tif")
    with pytest.raises(InputError, match="no column 'split'. Run the rule degrade again"):
        rows_for(CHOOSE, TABLE.drop(columns="split"), "low.tif", stage="degrade")
    check(CHOOSE, np.array([], dtype=object))


def test_nothing_but_this_module_and_the_counting_of_cells_compares_splits() -> None:
    """A new comparison with the column ``split`` is a way round the checks."""
    allowed = {
        "rls/io/splits.py",
        "analysis/cells/split.py",  # makes the splits
        "analysis/select_cells.py",  # counts them
        "analysis/comparison/design.py",  # says which wells they share
        "analysis/comparison/image_quality.py",  # draws its other cells from splits of a use
        "analysis/report/facts.py",  # counts them
        "rls/stylegan2/held_out.py",  # counts them
        "analysis/high_resolution.py",  # cuts the cells of all splits but gan
        "analysis/low_resolution.py",
    }
    found = set()
    for folder in ("rls", "analysis"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text("utf-8")
            if any(f'["split"]{by}' in text for by in (" ==", " !=", ".isin(", ".eq(")):
                found.add(str(path.relative_to(ROOT)))
    assert found <= allowed, sorted(found - allowed)
