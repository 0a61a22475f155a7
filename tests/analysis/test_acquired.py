"""An assay acquired in low resolution: what can be measured is, what needs HR says why not."""

from __future__ import annotations

import importlib
import json
import shlex

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis.cells.acquired import check_cells, choose_scale
from analysis.comparison.long_table import NO_HIGH_RESOLUTION
from analysis.run.checks import check
from rls.io import Intensity, Stack, read_intensity, read_stack
from rls.pretrained import trust
from rls.runtime.errors import InputError
from tests.analysis.run.test_configuration import load, merge
from tests.conftest import ROOT
from tests.program import Program

pytestmark = pytest.mark.workflow

MODEL = ROOT / "models" / "translocation_32px"
CHANNELS = ("dna", "nfkb")
WELLS, CELLS = 10, 6  # of a treatment; of a well
# What runs of the DAG in its order; all else of "all" draws or reports what these have made.
STAGES = ("import_crops", "select_cells", "low_resolution", "sample_styles", "super_resolve",
          "gather_shards", "train_low_resolution_classifier", "measure_without_reference",
          "classify_without_reference", "describe_assays", "table1", "table2", "table_features",
          "figure3", "figure5", "figure_scatter")  # fmt: skip
SMALL = {
    "device": "cpu", "threads": 1,
    "import_crops": {"treatment_by": "compound"},
    "sample_styles": {"n_styles": 400, "n_mean": 200, "batch_size": 200},
    "train_classifier": {"epochs": 2, "width": 4},
    "classify": {"forest_trees": 5},
    "figures": {"n_bootstrap": 20, "cells_per_treatment": 2},
    "methods": {"rls": {"steps": 2}},
    "super_resolve": {"batch_size": 24},
}  # fmt: skip


def acquired(rng):
    """(n, 2, 4, 4) counts on the model's scale and their table: the marker tells the treatments."""
    scale = read_intensity(MODEL / "intensity.json")
    rows = [
        ("P1", f"{row}{well + 1:02d}", 1, cell, name, 0.0)
        for row, name in (("B", "DMSO"), ("C", "TNF-alpha"))
        for well in range(WELLS)
        for cell in range(CELLS)
    ]
    labels = pd.DataFrame(
        rows,
        columns=["plate", "well", "site", "cell_number", "compound", "concentration"],
    )  # fmt: skip
    centre = np.zeros((4, 4))
    centre[1:3, 1:3] = 0.35
    treated = (labels["compound"] == "TNF-alpha").to_numpy()[:, None, None]
    nuclear = np.where(treated, 0.15 + centre, 0.45 - centre)
    unit = np.stack([np.broadcast_to(0.05 + centre, nuclear.shape), nuclear], axis=1)
    unit = unit + rng.normal(0, 0.02, unit.shape)
    return np.clip(np.rint(scale.to_counts(unit.astype(np.float32))), 0, 4095).astype(
        np.uint16
    ), labels


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    program = Program(tmp_path_factory.mktemp("acquired"))
    images, labels = acquired(np.random.default_rng(0))
    folder = program.root / "acquired"  # RLS_REAL_DATA is the program's folder
    folder.mkdir()
    tifffile.imwrite(folder / "cells.ome.tif", images, photometric="minisblack",
                     metadata={"axes": "TCYX"})  # fmt: skip
    labels.to_csv(folder / "cells.csv", index=False)
    assay = {"plates": ["P1"], "generator": str(MODEL)}
    program.overlay("small.yaml", SMALL | {"assays": {"acquired": assay}})
    return program


CONFIGS = ("config/config.yaml", "config/acquired.yaml", "small.yaml")


@pytest.fixture(scope="module")
def run(program):
    """The run folder after the stages, each run as the DAG plans it."""
    result = program.snakemake("--dry-run", configs=CONFIGS)
    assert result.returncode == 0, result.stderr + result.stdout
    jobs = commands(result.stdout + result.stderr)
    planned = {rule for rule, _ in jobs}
    assert planned >= set(STAGES) | {"report"}
    assert not planned & {"degrade", "high_resolution", "train_gan", "train_classifier", "measure",
                          "classify", "fit_flow"}  # fmt: skip
    program.run_folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(program.run_folder)
        for stage in STAGES:
            for rule, words in jobs:
                if rule == stage:
                    importlib.import_module(words[2]).main(words[3:])
    return program.run_folder / "results"


def commands(text):
    """(rule, words of its command) of every job that a dry run prints."""
    found, rule = [], ""
    for line in map(str.strip, text.splitlines()):  # jobs of a group are indented
        if line.startswith("rule "):
            rule = line.removeprefix("rule ").rstrip(":")
        elif line.startswith("Shell command: python -m"):
            command = line.split("Shell command: ")[1].split(" 2>&1")[0]
            found.append((rule, shlex.split(command)))
    return found


def test_the_cells_stay_as_they_are(run, program):
    images, labels = acquired(np.random.default_rng(0))
    stack = read_stack(run / "acquired" / "8x" / "clean" / "low_resolution.ome.tif")
    assert stack.images.dtype == np.uint16 and stack.pixel_size_um == 8.0
    ids = labels.apply(lambda r: f"P1_{r.well}_s1_c{r.cell_number}", axis=1)
    rows = pd.Index(ids).get_indexer(stack.table["image_id"])
    np.testing.assert_array_equal(stack.images, images[rows])
    assert set(stack.table["split"]) == {"tune", "classifier", "evaluation"}
    assert not (run / "acquired" / "high_resolution.ome.tif").exists()
    own = read_intensity(run / "acquired" / "8x" / "clean" / "intensity.json")
    assert own == read_intensity(MODEL / "intensity.json")


def test_what_is_searched_is_of_the_models_size_and_keeps_trust(run):
    folder = run / "acquired" / "8x" / "clean"
    for method in ("bicubic", "rls"):
        stack = read_stack(folder / f"{method}.ome.tif")
        assert stack.images.shape[1:] == (2, 32, 32) and stack.pixel_size_um == 1.0
        assert stack.table["trust"].between(0, 1).all(), method


def test_features_are_measured_on_sr_and_empty_on_hr(run):
    folder = run / "acquired" / "8x" / "clean"
    column = "nucleocytoplasmic_ratio"
    high = pd.read_parquet(folder / "high_resolution.features.parquet")
    low = pd.read_parquet(folder / "low_resolution.features.parquet")
    assert high[column].isna().all() and low[column].isna().all()
    assert set(high["status"]) == {"not_measurable:no_high_resolution"}
    super_ = pd.read_parquet(folder / "bicubic.features.parquet")
    assert super_[column].notna().any() and set(super_["split"]) == {"evaluation"}
    metrics = pd.read_parquet(folder / "rls.metrics.parquet")
    assert metrics["psnr_db"].isna().all() and metrics["fidelity_l1"].between(0, 1).all()


def test_every_empty_number_of_the_tables_says_why(run):
    for name in ("tables/table1", "tables/table2", "tables/features", "figures/figure3"):
        table = pd.read_csv(run / f"{name}.csv")
        empty = table[table["value"].isna()]
        assert len(empty) and empty["reason"].notna().all(), name
    numbers = pd.read_csv(run / "tables" / "table1.csv")
    known = numbers[numbers["value"].notna()]
    assert set(known["metric"]) == {"fidelity_l1"} and set(known["method"]) == {"bicubic", "rls"}
    features = pd.read_csv(run / "tables" / "features.csv")
    features = features[features["feature"] == "nucleocytoplasmic_ratio"]
    features = features.set_index(["method", "metric"]).sort_index()
    for metric in ("shift_kept", "triple_above_zero", "bland_altman_bias"):
        method = "rls"
        row = features.loc[(method, metric)]
        assert np.isnan(row["value"]) and row["reason"] == NO_HIGH_RESOLUTION
    assert features.loc["high_resolution", "value"].isna().all()
    assert features.loc[("bicubic", "cells_measured"), "value"] > 0


def test_controls_are_told_apart_on_lr_and_sr_says_why_not(run):
    rows = pd.read_csv(run / "tables" / "table2.csv").set_index(["method", "metric"])
    assert rows.loc[("low_resolution", "accuracy_chosen"), "value"] > 0.9
    for method in ("rls", "bicubic"):
        row = rows.loc[(method, "accuracy_chosen")]
        assert np.isnan(row["value"])
        assert "no high resolution to train a classifier on" in row["reason"]
        assert "no high resolution" in rows.loc[(method, "accuracy_features"), "reason"]


def test_an_assay_of_the_same_controls_lends_its_classifier(program, tmp_path):
    """Where the generator is another assay's, its HR classifier judges SR."""
    other = {"image_size": 32, "crop_size": 46, "factors": [8]}
    lent = {"acquired": {"generator": "translocation"}, "translocation": other}
    change = {"assays": lent}
    program.overlay("lend.yaml", change)
    target = "results/acquired/8x/clean/rls.classification.parquet"
    configs = (*CONFIGS, "lend.yaml")
    result = program.snakemake("--dry-run", target, configs=configs, run_folder=tmp_path)
    assert result.returncode == 0, result.stderr
    jobs = commands(result.stdout + result.stderr)
    words = next(w for rule, w in jobs if rule == "classify_without_reference")
    place = words.index("--classifier")
    assert words[place + 1 : place + 4] == [
        "results/translocation/classifier.safetensors", "--trained-on", "translocation"
    ]  # fmt: skip
    assert {"train_gan", "train_classifier"} <= {rule for rule, _ in jobs}


def test_fields_of_low_resolution_are_cropped_for_the_models_images(program):
    (program.root / "acquired" / "fields.csv").touch()
    sheet = {"source": "sheet", "sheet": str(program.root / "acquired" / "fields.csv")}
    program.overlay("fields.yaml", {"assays": {"acquired": sheet}})
    result = program.snakemake("--dry-run", configs=(*CONFIGS, "fields.yaml"))
    assert result.returncode == 0, result.stderr + result.stdout
    jobs = commands(result.stdout + result.stderr)
    assert "import_crops" not in {rule for rule, _ in jobs}
    for words in (words for rule, words in jobs if rule == "crop_cells"):
        for flag, value in (("factor", "8"), ("crop-size", "4")):
            assert words[words.index(f"--{flag}") + 1] == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": "train"}, "generator 'train': name an assay of high resolution"),
        ({"source": "bbbc014"}, "source 'bbbc014', expected crops or sheet or ome_zarr"),
        ({"crop_size": 8}, "crop_size 8 and image_size 32, which is not 8 times as large"),
        ({"factors": [4]}, "0 factors of run.factors, expected one"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change, message):
    check(load("acquired.yaml"))
    config = merge(load("acquired.yaml"), {"assays": {"acquired": change}})
    with pytest.raises(InputError, match=message):
        check(config)


def test_a_method_that_would_train_on_high_resolution_is_refused():
    config = merge(load("acquired.yaml"), {"run": {"methods": ["bicubic", "rls", "pix2pix"]}})
    with pytest.raises(InputError, match="methods.pix2pix cannot train on it"):
        check(config)
    merge(config, {"assays": {"acquired": {"generator": "translocation"}}})
    check(config)


def cells(**changes):
    values = {
        "images": np.zeros((3, 2, 4, 4), np.uint16), "channels": CHANNELS, "pixel_size_um": 8.0,
        "table": pd.DataFrame({"image_id": ["a", "b", "c"]}),
    }  # fmt: skip
    return Stack(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("nfkb", "dna")}, "channels nfkb, dna, and the generator makes dna, nfkb"),
        ({"images": np.zeros((3, 2, 8, 8), np.uint16)}, "cells of 8 px, and .* takes 4 px"),
        ({"pixel_size_um": 4.0}, "4 um a pixel, and .* takes 8"),
    ],
)
def test_cells_that_do_not_fit_the_generator_are_refused(changes, message):
    header = {"channels": list(CHANNELS), "image_size": [32, 32], "pixel_size_um": 1.0}
    check_cells(cells(), header, 8, "cells")
    with pytest.raises(InputError, match=message):
        check_cells(cells(**changes), header, 8, "cells")


def test_percentiles_undo_another_camera():
    rng = np.random.default_rng(0)
    unit = rng.gamma(2.0, 0.15, (200, 1, 4, 4))
    reference = {"pixels": {"dna": list(np.percentile(unit, np.linspace(0, 100, 101)))}}
    model = Intensity(("dna",), (50.0,), (650.0,))
    other = Intensity(("dna",), (200.0,), (1700.0,))
    counts = np.rint(other.to_counts(unit.astype(np.float32)))
    found = choose_scale(counts, model, reference, (1.0, 99.0))
    assert abs(found.black[0] - 200) < 5 and abs(found.white[0] - 1700) < 20
    assert choose_scale(counts, model, reference, None) is model
    with pytest.raises(InputError, match="no trust.json of the model"):
        choose_scale(counts, model, None, (1.0, 99.0))


def test_trust_is_small_for_what_is_no_cell(run):
    entry = json.loads((MODEL / "trust.json").read_text())["factors"]["8"]["rls"]
    noise = np.random.default_rng(0).uniform(0, 1, (50, 2, 4, 4))
    values, _ = trust.judge(trust.image_facts(noise, CHANNELS), trust.Reference.from_dict(entry))
    assert np.median(values) < trust.FLAGGED
