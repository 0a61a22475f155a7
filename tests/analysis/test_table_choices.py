"""The table of choices: planted errors come back, and the least of each search is chosen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.choices import ERROR, choice_rows, chosen_lines, errors
from analysis.comparison.settings import Settings
from analysis.tables import choices as command
from rls.io import read_table, write_table
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.analysis.test_figures import FEATURE, SETTINGS
from tests.flags import as_flags

SEARCH = {"rls": "rls", "rls_fast": "rls", "pulse": "pulse", "pulse_exact": "pulse"}
PLANTED = {"rls": 0.4, "rls_fast": 0.2, "pulse": 0.1, "pulse_exact": 0.3}  # |SR - HR|


def planted(root, split="tune", errors_of=PLANTED):
    """Write one trace a method at 4 and at its own 9 steps; at 4 steps each is right."""
    cells = made_up.cells_table(6, 10).assign(split=split).rename(columns={"image_id": "cell_id"})
    random = np.random.default_rng(0)
    high = 1.0 + (cells["treatment"] == made_up.CONTROLS[1]) + random.normal(0, 0.1, len(cells))
    signs = np.where(np.arange(len(cells)) % 2, 1, -1)
    for method, search in SEARCH.items():
        parts = [
            cells.assign(
                image_id=cells["cell_id"] + f"_{steps}", search=search, steps=steps,
                own=steps == 9, fidelity_l1=0.1, psnr_db=20.0, ms_ssim=0.5, log_prior=np.nan,
                seconds_per_cell=0.1, processor_seconds_per_cell=0.1,
                random_feature_0=random.normal(0, 1, len(cells)),
                random_feature_0_high_resolution=random.normal(0, 1, len(cells)),
                **{FEATURE: high + error * signs, f"{FEATURE}_high_resolution": high},
            )
            for steps, error in ((4, 0.0), (9, errors_of[method]))
        ]  # fmt: skip
        table = pd.concat(parts, ignore_index=True)
        if search == "pulse":  # measure writes no log_prior for a search without a prior
            table = table.drop(columns="log_prior")
        path = root / "translocation" / "8x" / "trace" / f"{method}.metrics.parquet"
        write_table(path, table, written_by="measure_sweep")
    return made_up.run_of(root, tuple(SEARCH))


def test_planted_errors_come_back_and_the_least_of_each_search_is_chosen(tmp_path):
    rows = choice_rows(planted(tmp_path), list(SEARCH), SETTINGS)
    table = pd.DataFrame(rows).set_index(["method", "metric"]).sort_index()
    values = table.xs(ERROR, level="metric")["value"]
    within = 0.4 / values["rls"]  # sd of HR within treatments
    assert within == pytest.approx(0.1, rel=0.25)
    for method, error in PLANTED.items():
        assert values[method] * within == pytest.approx(error)
        assert table.loc[(method, ERROR), "n_cells"] == 60
    chosen = set(table[table["chosen"]].index.get_level_values("method"))
    assert chosen == {"rls_fast", "pulse"}
    assert table.loc[("pulse", "shift_kept"), "value"] == pytest.approx(1, abs=0.1)
    assert chosen_lines(rows) == [
        f"choices: translocation, 8x, rls: rls_fast, error {0.2 / within:.3f} of 60 cells",
        f"choices: translocation, 8x, pulse: pulse, error {0.1 / within:.3f} of 60 cells",
    ]


def test_an_error_is_in_standard_deviations_of_hr_within_a_treatment():
    table = pd.DataFrame(
        {
            "treatment": ["a", "a", "b", "b"],
            "x": [1.0, 3.5, 11.0, 13.0],
            "x_high_resolution": [1.0, 3.0, 11.0, 13.0],  # sd 1 within, 5 between
        }
    )
    np.testing.assert_allclose(errors(table, "x"), [0, 0.5, 0, 0])


def test_a_search_whose_feature_was_never_measured_has_no_choice(tmp_path):
    run = planted(tmp_path, errors_of={**PLANTED, "pulse": np.nan, "pulse_exact": np.nan})
    rows = choice_rows(run, list(SEARCH), SETTINGS)
    assert {row["method"] for row in rows if row["chosen"]} == {"rls_fast"}


def test_evaluation_cells_may_not_choose(tmp_path):
    run = planted(tmp_path, split="evaluation")
    with pytest.raises(InputError, match="evaluation"):
        choice_rows(run, list(SEARCH), SETTINGS)


def test_the_command_writes_the_table_and_says_what_was_chosen(tmp_path, capsys):
    planted(tmp_path)
    out = tmp_path / "choices.csv"
    files = ["--run", str(made_up.write_run(tmp_path, tuple(SEARCH))), "--output-csv", str(out)]
    command.main([*files, "--methods", *SEARCH, *as_flags(Settings(confidence_level=0.95, seed=1))])
    assert set(read_table(out)["method"]) == set(SEARCH)
    assert "translocation, 8x, rls: rls_fast" in capsys.readouterr().out
