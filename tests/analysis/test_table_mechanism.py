"""The table of mechanisms over two folds of made-up cells, whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.long_table import long_table, read_long
from analysis.drawing.mechanism import ceiling, draw, numbers_of
from analysis.drawing.settings import Settings as FigureSettings
from analysis.features.morphology import columns
from analysis.mechanism.rows import mechanism_rows
from analysis.mechanism.settings import Settings
from analysis.run.description import Run
from analysis.tables import mechanism
from rls.io import write_stack, write_table
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.flags import as_flags

SETTINGS = Settings(
    confidence_level=0.95, seed=0, batch=r"^(Week\d+)_", min_cells=3, control_cells=20,
    within_folds=False, sphering_floor=1.0, n_compounds_drawn=200, n_shuffles=50,
)  # fmt: skip
FIGURE = FigureSettings(
    confidence_level=0.95, seed=0, n_bootstrap=10, cells_per_treatment=1, treatments_shown=2,
    treatments_named=(),
    palette="article", super_resolution="rls", ablations=(), norms_shown=1,
    norms_assay=None, lettered_first=(),
)  # fmt: skip
METHODS = ("bicubic", "good", "blind")
FOLDS = ("fold_1", "fold_2")
COLUMNS = list(columns(made_up.CHANNELS))
# Compound -> mechanism and week; z has too few cells, and q's mechanism lies in one week.
COMPOUNDS = {
    **{"a": ("m", 1), "b": ("m", 2), "c": ("n", 1), "d": ("n", 2), "e": ("o", 1), "f": ("o", 2)},
    **{"p": ("q", 3), "q": ("q", 3), "z": ("m", 3)},
}
DIRECTIONS = {name: i for i, name in enumerate("mnoq")}


def made_up_cells(fold: int) -> pd.DataFrame:
    """Two cells a fold of each compound at two doses, and 25 of DMSO in each week."""
    rows = [("DMSO", "DMSO", "DMSO", week) for week in (1, 2, 3) for _ in range(25)]
    for compound, (moa, week) in COMPOUNDS.items():
        doses, cells = ((1,), 1) if compound == "z" else ((1, 2), 2)
        rows += [
            (f"{compound}_{dose}", compound, moa, week) for dose in doses for _ in range(cells)
        ]
    table = pd.DataFrame(rows, columns=["treatment", "compound", "moa", "week"])
    table["plate"] = [f"Week{week}_7" for week in table["week"]]
    table["well"] = [f"{name[0].upper()}0{fold}" for name in table["compound"]]
    table["image_id"] = [f"F{fold}_{i:03d}" for i in range(len(table))]
    return table.assign(site=1, split="evaluation").drop(columns="week")


def morphology_of(table: pd.DataFrame, noise: float, strength: float) -> pd.DataFrame:
    """Features that move along one direction a mechanism, and with the week."""
    random = np.random.default_rng(len(table))
    values = random.normal(0, noise, (len(table), len(COLUMNS)))
    values += 5.0 * table["plate"].str.extract(r"(\d+)_")[0].astype(int).to_numpy()[:, None]
    for mechanism_name, direction in DIRECTIONS.items():
        values[table["moa"] == mechanism_name, direction::5] += strength
    return table.assign(**dict(zip(COLUMNS, values.T, strict=True)), status="ok")


@pytest.fixture
def run(tmp_path) -> Run:
    described = made_up.run_of(tmp_path, METHODS, *FOLDS)
    assays = tuple(replace(assay, features=("morphology",)) for assay in described.assays)
    for fold, name in enumerate(FOLDS, start=1):
        folder = tmp_path / name / f"{made_up.FACTOR}x" / made_up.DEGRADATION
        table = made_up_cells(fold)
        for method, strength in (
            ("high_resolution", 9.0), ("bicubic", 0.0), ("good", 9.0), ("blind", 0.0),
            ("low_resolution", 0.0),
        ):  # fmt: skip
            path = folder / f"{method}.features.parquet"
            write_table(path, morphology_of(table, 1.0, strength), written_by="test")
        facts = {"channels": made_up.CHANNELS, "written_by": "test", "pixel_size_um": 10.0}
        mixed = table.sample(frac=1, random_state=0)
        for method, size in (("low_resolution", 4), *((name, 16) for name in METHODS)):
            images = np.random.default_rng(fold).integers(100, 900, (len(table), 2, size, size))
            write_stack(folder / f"{method}.ome.tif", images.astype(np.uint16), mixed, **facts)
        images = np.random.default_rng(fold).integers(100, 900, (len(table), 2, 16, 16))
        path = folder.parent.parent / "high_resolution.ome.tif"
        write_stack(path, images.astype(np.uint16), mixed, **facts)
    return replace(described, assays=assays)


def table_of(run: Run, settings: Settings = SETTINGS) -> pd.DataFrame:
    return long_table(list(mechanism_rows(run, settings)))


def row(table: pd.DataFrame, method: str, metric: str, feature: str = "morphology") -> pd.Series:
    here = (table["method"] == method) & (table["metric"] == metric)
    found = table[here & (table["feature"] == feature)]
    assert len(found) == 1
    return found.iloc[0]


def test_methods_that_keep_the_mechanism_find_it_and_others_do_not(run):
    table = table_of(run)
    for method in ("high_resolution", "good"):
        assert row(table, method, "nsc_accuracy")["value"] == 1
        assert row(table, method, "nscb_accuracy")["value"] == 1
        assert row(table, method, "nscb_mean_average_precision")["value"] == pytest.approx(1)
    for method in ("blind", "bicubic"):
        assert row(table, method, "nsc_accuracy")["value"] < 0.7
    gain = row(table, "good", "nsc_accuracy_minus_bicubic")
    assert 0 < gain["low"] <= gain["value"] <= gain["high"]
    room = row(table, "high_resolution", "nsc_accuracy_minus_bicubic")
    assert room["value"] == gain["value"]
    same = row(table, "good", "nsc_accuracy_minus_high_resolution")
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)


def test_every_number_says_what_it_rests_on(run):
    table = table_of(run)
    # Two doses of eight compounds, four cells each over both folds; z has two cells and no profile.
    nsc, nscb = (row(table, "good", f"{rule}_accuracy") for rule in ("nsc", "nscb"))
    assert (nsc["n_profiles"], nsc["n_compounds"], nsc["n_cells"]) == (16, 8, 64)
    assert (nscb["n_profiles"], nscb["n_compounds"], nscb["n"]) == (12, 6, 6)
    out = row(table, "high_resolution", "nscb_profiles_left_out")
    assert out["value"] == 4 and out["reason"] == "q (p, q; Week3)"
    assert set(table["assay"]) == {"fold_1+fold_2"}


def test_low_resolution_has_pixels_and_no_morphology(run):
    table = table_of(run)
    kinds = set(table.loc[table["method"] == "low_resolution", "feature"])
    plain = {"pixels", "sorted_pixels", "channel_means"}
    assert kinds == plain | {f"{kind}_sphered" for kind in plain}
    for kind in kinds:
        assert row(table, "low_resolution", "nsc_accuracy", kind)["value"] < 0.7


def test_pixels_follow_their_cell_and_not_their_row(run):
    """LR images whose brightness is the mechanism, in another order than the features."""
    for at in run.comparisons():
        path = at.stack("low_resolution")
        table = pd.read_parquet(path.with_name("low_resolution.parquet"))
        level = table["moa"].map({"m": 200, "n": 400, "o": 900, "q": 100, "DMSO": 300}).to_numpy()
        noise = np.random.default_rng(3).integers(0, 9, (len(table), 2, 4, 4))
        shade = np.stack([level, 1000 - (level - 300) ** 2 // 400], axis=1)[:, :, None, None]
        images = (noise + shade).astype(np.uint16)
        facts = {"channels": made_up.CHANNELS, "written_by": "test", "pixel_size_um": 10.0}
        write_stack(path, images, table, **facts)
    assert row(table_of(run), "low_resolution", "nsc_accuracy", "channel_means")["value"] == 1


def test_chance_lies_below_what_is_found(run):
    table = table_of(run)
    chance = row(table, "shuffled_labels", "nsc_accuracy")
    assert chance["high"] < 1 and chance["n"] == 50
    assert chance["unit_of_replication"] == "shuffle"


def test_folds_can_be_normalised_by_themselves(run):
    """A network that moves every feature of its fold costs nothing where folds are apart."""
    for at in run.comparisons():
        if at.assay.name == "fold_2":
            path = at.measured("good", "features")
            table = pd.read_parquet(path)
            write_table(path, table.assign(**{c: table[c] * 9 for c in COLUMNS}), written_by="test")
    apart = table_of(run, replace(SETTINGS, within_folds=True))
    assert row(apart, "good", "nsc_accuracy")["value"] == 1


def test_a_cell_that_is_not_measured_takes_no_part(run):
    for at in run.comparisons():
        path = at.measured("good", "features")
        table = pd.read_parquet(path)
        lost = table["treatment"] == "a_1"
        table.loc[lost, COLUMNS], table.loc[lost, "status"] = 1e9, "not_measurable:no_nucleus"
        write_table(path, table, written_by="test")
    table = table_of(run)
    assert row(table, "good", "profiles_without_a_measured_cell")["value"] == 1
    assert row(table, "good", "nsc_accuracy")["value"] == 15 / 16


def test_cells_that_two_folds_evaluate_are_refused(run):
    twice = run.assays[0]
    with pytest.raises(InputError, match="cells in several assays"):
        table_of(replace(run, assays=(twice, twice)))


def test_assays_of_other_features_are_refused(run):
    first, second = run.assays
    other = replace(second, features=("nucleocytoplasmic_ratio",))
    with pytest.raises(InputError, match="with other features"):
        table_of(replace(run, assays=(first, other)))


def test_few_profiles_are_refused(run):
    with pytest.raises(InputError, match=r"0 treatments of a known mechanism with 99 cells"):
        table_of(run, replace(SETTINGS, min_cells=99))


def test_the_command_writes_what_can_be_read_back(run, tmp_path: Path):
    described = tmp_path / "run.json"
    described.write_text(run.to_json())
    output = tmp_path / "mechanism.csv"
    mechanism.main(["--run", str(described), "--output-csv", str(output), *as_flags(SETTINGS)])
    pd.testing.assert_series_equal(
        read_long(output)["value"], table_of(run)["value"], check_exact=True
    )


def test_the_figure_shows_every_row_and_the_best_of_low_resolution(run):
    table = table_of(run)
    figure, rows = draw(run, FIGURE, table)
    assert len(figure.axes) == 4
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [
        *("HR", "LR pixels", "LR sorted pixels", "LR channel means", "Bicubic"),
        *("good", "blind", "shuffled labels"),
    ]
    found = {(row["method"], row["metric"]): row["value"] for row in rows}
    assert found["good", "nsc_accuracy"] == row(table, "good", "nsc_accuracy")["value"]
    numbers = numbers_of(next(run.comparisons()), table, "nsc_accuracy")
    low = [name for name in numbers if name.startswith("LR") or name == "bicubic"]
    assert ceiling(numbers) == max(numbers[name].value for name in low)
    with pytest.raises(InputError, match="no row at 8x"):
        draw(run, FIGURE, table[table["factor"] == 99])
