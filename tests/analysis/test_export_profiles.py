"""export_profiles: what pycytominer and AnnData make of the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import export_profiles
from analysis.profiles.profiles import feature
from rls.io import write_table
from rls.runtime.errors import InputError
from tests.analysis import made_up

anndata, pycytominer = map(pytest.importorskip, ("anndata", "pycytominer"))
infer_cp_features = pycytominer.cyto_utils.infer_cp_features
COLUMNS = (
    *("nucleocytoplasmic_ratio", "nucleus_area_um2", "ring_area_um2", "nucleus_mean_counts"),
    *("ring_counts", "marker_background_counts"),
)
METHODS = ("bicubic", "rls")
STRATA = ["Metadata_method", "Metadata_split", "Metadata_Plate", "Metadata_Well"]


def features_of(table, seed):
    random = np.random.default_rng(seed)
    return {name: random.normal(10, 2, len(table)) for name in COLUMNS}


def write(root, **changes):
    """A run of two methods; ``changes`` are columns of the features of rls."""
    path = made_up.write_run(root, METHODS)
    cells = made_up.cells_table(wells=4, cells=5)
    # A plate map of its own: numbers that are names, a treatment that looks like a missing value.
    cells = cells.assign(plate="00123", dose=np.nan, moa="", feature_settings="abc", status="ok")
    cells["treatment"] = cells["treatment"].replace("TNF-alpha", "None")
    folder = root / "translocation" / f"{made_up.FACTOR}x" / made_up.DEGRADATION
    for seed, name in enumerate(("high_resolution", "low_resolution", *METHODS)):
        table = cells.assign(**features_of(cells, seed))
        if name == "high_resolution":  # it alone has cells of other splits, in the same wells
            other = table.assign(split="tune", image_id=table["image_id"] + "_tune")
            table = pd.concat([table, other], ignore_index=True)
        if name == "low_resolution":
            table[list(COLUMNS)] = np.nan
            table["status"] = "not_measurable:pixels_too_coarse"
        if name == "rls":
            table = table.assign(**changes)
        write_table(folder / f"{name}.features.parquet", table, written_by="measure")
    return path


def export(root, suffix=".parquet", assay="translocation"):
    paths = [root / "out" / f"{name}{suffix}" for name in ("cells", "wells")]
    export_profiles.main(
        ["--run", str(root / "run.json"), "--assay", assay,
         "--output-cells", str(paths[0]), "--output-wells", str(paths[1])]
    )  # fmt: skip
    return paths


@pytest.fixture
def profiles(tmp_path):
    write(tmp_path)
    return tuple(map(pd.read_parquet, export(tmp_path)))


def test_pycytominer_finds_the_features_and_the_metadata(profiles):
    for table in profiles:
        features = infer_cp_features(table)
        assert features == [feature(name) for name in COLUMNS]
        assert set(infer_cp_features(table, metadata=True)) == set(table) - set(features)


def test_pycytominer_aggregates_the_cells_to_our_wells(profiles):
    cells, wells = profiles
    theirs = pycytominer.aggregate(cells, strata=STRATA, compute_object_count=True)
    both = wells.merge(theirs, on=STRATA, suffixes=("", "_theirs"), validate="1:1")
    assert len(both) == len(wells) == len(theirs) == 4 * 5  # HR has two splits
    for name in (*infer_cp_features(wells), "Metadata_Object_Count"):
        np.testing.assert_array_equal(both[name], both[f"{name}_theirs"])


def test_pycytominer_normalises_wells_by_the_negative_control(profiles):
    wells = profiles[1].query("Metadata_method == 'rls'")
    samples = "Metadata_treatment == 'DMSO'"
    done = pycytominer.normalize(wells, samples=samples, method="standardize")
    controls = done[done["Metadata_treatment"] == "DMSO"]
    for name in infer_cp_features(wells):
        raw = wells.loc[wells["Metadata_treatment"] == "DMSO", name]
        np.testing.assert_allclose(controls[name], (raw - raw.mean()) / raw.std(ddof=0))


def test_text_stays_text_and_no_method_or_split_is_mixed_into_another(profiles):
    cells, wells = profiles
    assert set(cells["Metadata_Plate"]) == set(wells["Metadata_Plate"]) == {"00123"}
    assert set(wells["Metadata_treatment"]) == {"DMSO", "None"}
    high = cells[cells["Metadata_method"] == "high_resolution"]
    assert set(high["Metadata_factor"]) == {1} and set(high["Metadata_degradation"]) == {"none"}
    assert set(cells["Metadata_factor"]) == {1, made_up.FACTOR}
    assert set(high["Metadata_split"]) == {"evaluation", "tune"}
    keys = [*STRATA, "Metadata_ObjectNumber", "Metadata_Site"]
    assert not cells.duplicated(keys).any() and not wells.duplicated(STRATA).any()


def test_values_are_those_that_were_measured(tmp_path, profiles):
    folder = tmp_path / "translocation" / f"{made_up.FACTOR}x" / made_up.DEGRADATION
    measured = pd.read_parquet(folder / "rls.features.parquet").set_index("image_id")
    cells = profiles[0].query("Metadata_method == 'rls'").set_index("Metadata_image_id")
    for name in COLUMNS:
        np.testing.assert_array_equal(cells[feature(name)], measured.loc[cells.index, name])


def test_a_well_without_a_measured_cell_stays_and_says_so(tmp_path):
    values = np.arange(20.0)
    values[:5] = np.nan  # all cells of the first well
    values[5] = np.nan
    write(tmp_path, **dict.fromkeys(COLUMNS, values))
    wells = pd.read_parquet(export(tmp_path)[1]).query("Metadata_method == 'rls'")
    assert list(wells["Metadata_Object_Count"]) == [5] * 4
    assert list(wells["Metadata_measured_count"]) == [0, 4, 5, 5]
    assert list(wells[feature(COLUMNS[0])].fillna(-1)) == [-1, 7.5, 12, 17]


def test_anndata_opens_the_same_tables(tmp_path):
    write(tmp_path)
    tables = map(pd.read_parquet, export(tmp_path))
    for path, table in zip(export(tmp_path, ".h5ad"), tables, strict=True):
        read = anndata.read_h5ad(path)
        np.testing.assert_array_equal(read.X, table[infer_cp_features(table)])
        assert list(read.var_names) == infer_cp_features(table)
        assert list(read.var["column"]) == list(COLUMNS)
        assert list(read.obs) == infer_cp_features(table, metadata=True)
        for name in read.obs:
            assert list(read.obs[name].astype(str)) == list(table[name].astype(str)), name


def test_without_anndata_a_sentence_names_it_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="no package anndata.*pip install anndata"):
        export(tmp_path, ".h5ad")  # there is no run.json
    assert not (tmp_path / "out").exists()


def test_methods_that_were_measured_with_other_settings_are_refused(tmp_path):
    write(tmp_path, feature_settings="other")
    with pytest.raises(InputError, match="with 2 different settings"):
        export(tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_feature_that_was_not_measured_is_named(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"nucleocytoplasmic_ratio"', '"golgi"'))
    with pytest.raises(InputError, match="high_resolution.features.parquet has no column"):
        export(tmp_path)


def test_unknown_formats_and_assays_are_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match="cells.csv, expected .*parquet or .h5ad"):
        export(tmp_path, ".csv")
    with pytest.raises(InputError, match="'golgi' does not run"):
        export(tmp_path, assay="golgi")
