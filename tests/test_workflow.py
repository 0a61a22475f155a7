"""The DAG as its users plan it: targets, configurations of the program, faults of configuration."""

import importlib
import re
import shlex

import pandas as pd
import pytest

from tests.analysis import made_up
from tests.conftest import ROOT

pytestmark = pytest.mark.workflow


def test_an_added_method_is_planned_from_its_search_to_every_result(program, tmp_path, monkeypatch):
    """Without a run: the planned commands of tables and figures, given made-up measured files."""
    change = {
        "run": {
            "factors": [made_up.FACTOR],
            "degradations": [made_up.DEGRADATION],
            "degraded_factors": [made_up.FACTOR],
        },
        "assays": {
            "translocation": {
                "factors": [made_up.FACTOR],
                "image_size": made_up.SIZE,
                "crop_size": made_up.SIZE,
            }
        },
        "degradations": {made_up.DEGRADATION: []},
    }
    program.overlay("made_up.yaml", change)
    configs = ("config/smoke.yaml", "added.yaml", "made_up.yaml")
    result = program.snakemake("--dry-run", configs=configs, run_folder=tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    jobs = re.findall(
        r"^ *rule (\w+):\n.*?^Shell command: (.*?)$", result.stdout + result.stderr, re.S | re.M
    )
    cheap = ("table1", "table2", "table_features", "figure2", "figure5", "figure_scatter")
    searches = [command for rule, command in jobs if rule == "super_resolve"]
    assert sum("nearest" in command.split(" 2>&1")[0].split() for command in searches) == 2
    for rule in ("gather_shards", "measure", "classify"):
        assert any("/nearest." in command for name, command in jobs if name == rule), rule

    methods = ("bicubic", "rls_unregularized", "rls", "nearest")
    made_up.write_results(tmp_path / "results", methods)
    quality = {"high_resolution": 1.0, "low_resolution": 0.1, **dict.fromkeys(methods, 0.5)}
    made_up.write_metrics(tmp_path / "results", quality)
    judged = {**quality, "low_resolution_all_cells": 0.6}
    made_up.write_classification(tmp_path / "results", judged)
    monkeypatch.chdir(tmp_path)
    for rule in ("describe_assays", *cheap):
        words = shlex.split(dict(jobs)[rule].split(" 2>&1")[0])
        assert words[:2] == ["python", "-m"]
        importlib.import_module(words[2]).main(words[3:])
        if rule == "describe_assays":
            continue
        numbers = pd.read_csv(words[words.index("--output-csv") + 1])
        assert set(numbers.loc[numbers["value"].notna(), "method"]) >= {"rls", "nearest"}, rule


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("table1", "table1"),
        ("table2", "table2"),
        ("figure5", "figure5"),
        ("table_features", "table_features"),
        ("translocation", "classify"),
    ],
)
def test_one_table_one_figure_and_one_assay_are_targets(program, tmp_path, target, last):
    planned = program.planned(target, run_folder=tmp_path)
    assert {"train_gan", "super_resolve", last} <= set(planned)
    assert "report" not in planned


def test_an_assay_that_does_not_run_is_a_target_all_the_same(program, tmp_path):
    planned = program.planned("golgi", configs=("config/config.yaml",), run_folder=tmp_path)
    assert {"simulate_plate", "train_gan", "super_resolve", "classify"} <= set(planned)
    assert planned["train_gan"] == 1 and not {"table1", "report"} & set(planned)
    # Under the smoke configuration it has no factor.
    result = program.snakemake("golgi", run_folder=tmp_path)
    said = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in said
    assert "No factor of run.factors is among assays.golgi.factors" in said


def test_figure_4_without_the_golgi_is_refused_when_the_workflow_starts(program, tmp_path):
    for target in ("figure4", "results/figures/figure4.png"):
        result = program.snakemake(target, run_folder=tmp_path)
        said = result.stdout + result.stderr
        assert result.returncode == 1 and "Traceback" not in said
        assert "Found no assay that measures the feature 'golgi' in run.assays" in said
    assert not (tmp_path / "results").exists()


def test_the_truth_of_a_plate_is_a_target_that_one_rule_makes(program, tmp_path):
    planned = program.planned("results/translocation/plates/P1.truth.parquet", run_folder=tmp_path)
    assert set(planned) == {"simulate_plate"}


@pytest.mark.parametrize(
    ("configs", "trained"),
    [
        ((), 1),
        (("auto",), 1),
        (("demo", "demo_train"), 2),
        (("demo", "demo_from_scratch"), 2),
        (("demo", "all_methods"), 0),
        (("bbbc014",), 1),
    ],
)
def test_the_configurations_of_the_program_can_be_planned(program, tmp_path, configs, trained):
    for number in ("01-A-01-00", "12-A-12-00"):
        for channel in (1, 2):
            path = program.root / "bbbc014_fields" / f"Channel {channel}-{number}.tif"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    names = [f"config/{name}.yaml" for name in configs or ("config",)]
    planned = program.planned(configs=names, run_folder=tmp_path)
    assert planned["all"] == 1 and planned.get("train_gan", 0) == trained
    # A generator that is trained has no flow yet; a folder that comes with the program has one.
    assert planned.get("fit_flow", 0) == trained


def test_the_demo_takes_generators_flows_and_encoders_as_they_are(program, tmp_path):
    planned = program.planned(configs=["config/demo.yaml"], run_folder=tmp_path)
    assert not {"train_gan", "fit_flow", "train_pix2pix"} & set(planned)
    used = ("translocation_32px/encoder_8x", "golgi_64px/encoder_16x")
    there = [(ROOT / "models" / f"{name}.safetensors").is_file() for name in used]
    assert planned.get("train_encoder", 0) == there.count(False)
    # What cells decide is fitted all the same: classifiers of HR and of LR.
    assert planned["train_classifier"] == planned["train_low_resolution_classifier"] == 2
    assert planned["figure3"] == planned["figure4"] == planned["report"] == 1


def test_cells_that_are_cropped_already_are_imported_and_no_field_is_cropped(program, tmp_path):
    folder = program.root / "bbbc021_crops"
    folder.mkdir(exist_ok=True)
    for name in ("labels.csv", "crops_68px_delta.npy.xz"):
        (folder / name).touch()
    planned = program.planned(configs=("config/bbbc021_crops.yaml",), run_folder=tmp_path)
    assert planned["import_crops"] == 1 and planned["train_gan"] == 1
    assert not {"crop_cells", "list_plate", "simulate_plate"} & set(planned)


def test_the_demonstration_across_real_plates_plans_classifiers_and_no_generator(program, tmp_path):
    folder = program.root / "bbbc021_crops"
    folder.mkdir(exist_ok=True)
    for name in ("labels.csv", "crops_68px_delta.npy.xz"):
        (folder / name).touch()
    configs = ("config/bbbc021_demonstration.yaml",)
    planned = program.planned(configs=configs, run_folder=tmp_path)
    assert planned["import_crops"] == 2 and planned["table2"] == planned["report"] == 1
    # one network on HR and one on LR for each of the two doses
    assert planned["train_classifier"] == planned["train_low_resolution_classifier"] == 2
    assert not {"train_gan", "sample_styles", "fit_flow", "figure1", "figure7"} & set(planned)
    assert planned["classify"] == 2 * 3  # HR, LR, bicubic


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_gna": {}}, "Unknown key 'train_gna'"),
        ({"methods": {"rls": {"lambda_w": "5e-5"}}}, "write 5.0e-5, not 5e-5"),
        (
            {"run": {"factors": [5]}, "assays": {"translocation": {"factors": [5]}}},
            "does not divide the image size",
        ),
    ],
)
def test_a_faulty_configuration_ends_in_one_sentence_and_writes_nothing(
    program, tmp_path, change, message
):
    program.overlay("change.yaml", change)
    result = program.snakemake(
        configs=("config/smoke.yaml", "added.yaml", "change.yaml"), run_folder=tmp_path
    )
    assert result.returncode == 1
    assert message in result.stderr + result.stdout
    assert not (tmp_path / "results").exists()


def test_every_rule_has_a_log_a_benchmark_resources_and_an_environment():
    rules = {}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for block in re.split(r"^ *rule(?= \w+:|:)", path.read_text(), flags=re.M)[1:]:
            name = block.split(":")[0].strip() or f"loop of {path.name}, {len(rules)}"
            rules[name] = re.split(r"\n(?=\S)", block)[0]
    assert len(rules) > 15 and sum("loop" in name for name in rules) == 3
    for name, block in rules.items():
        for directive in ("output", "log", "benchmark", "conda", "resources", "shell"):
            assert re.search(rf"^ +{directive}:", block, re.M), f"rule {name} has no {directive}"
