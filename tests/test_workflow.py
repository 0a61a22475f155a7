"""The DAG as its users run it: the smoke configuration, reruns, targets, faults of configuration.

The program runs from a copy to which one method was added, as a file and a block: what the
documentation promises is what is tested.
"""

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.analysis import made_up
from tests.conftest import ROOT

pytestmark = pytest.mark.workflow

PROGRAM = ("Snakefile", "config", "workflow", "rls", "analysis", "environment.yml", "models")
METHOD = '''"""Nearest neighbour: each low-resolution pixel becomes a square."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option
from rls.search.problem import BatchProgress, Problem, Reconstruction

NEEDS_GENERATOR = False


@dataclass(frozen=True)
class Settings:
    """What the block in the configuration may hold."""

    gain: float = option("Factor on the intensities.")


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Repeat every pixel."""
    images = (problem.y * settings.gain).repeat_interleave(problem.factor, 2)
    return Reconstruction(images.repeat_interleave(problem.factor, 3), None, {})
'''


class Program:
    """A copy of the program and one run folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "program"
        self.run_folder = folder / "run"
        self.root.mkdir()
        ignore = shutil.ignore_patterns("__pycache__", "runs")
        for name in PROGRAM:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=ignore)
            elif source.is_file():
                shutil.copy(source, self.root / name)
        (self.root / "rls" / "search" / "nearest.py").write_text(METHOD)
        added = {
            "run": {"methods": ["bicubic", "rls_unregularized", "rls", "nearest"]},
            "methods": {"nearest": {"search": "nearest", "gain": 1.0}},
        }
        self.overlay("added.yaml", added)

    def overlay(self, name, content):
        path = self.root / name
        path.write_text(yaml.safe_dump(content))
        return path

    def snakemake(self, *arguments, configs=("config/smoke.yaml", "added.yaml"), run_folder=None):
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.root / "Snakefile")),
            *("--workflow-profile", str(self.root / "workflow/profiles/local")),
            *("--cores", "2", "--directory", str(run_folder or self.run_folder)),
            *("--configfile", *(str(self.root / config) for config in configs)),
            *(argument for argument in arguments if argument.startswith("-")),
            *("--", *(argument for argument in arguments if not argument.startswith("-"))),
        ]
        environment = {**os.environ, "RLS_REAL_DATA": str(self.root), "COLUMNS": "200"}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self.root
        )

    def planned(self, *arguments, **options):
        """Rules that a dry run would run, with the number of jobs."""
        result = self.snakemake("--dry-run", *arguments, **options)
        assert result.returncode == 0, result.stderr + result.stdout
        text = result.stdout + result.stderr
        if "Nothing to be done" in text:
            return {}
        table = re.search(r"^job\s+count\n[-\s]+\n(.*?)^total", text, re.S | re.M)
        assert table, text
        pairs = (line.rsplit(maxsplit=1) for line in table.group(1).strip().splitlines())
        return {name: int(count) for name, count in pairs}


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return Program(tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="session")
def smoke(program):
    """The program after a whole run of the smoke configuration."""
    result = program.snakemake()
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-8000:]
    return program


def test_the_smoke_run_ends_with_a_report_tables_and_figures(smoke):
    results = smoke.run_folder / "results"
    assert (results / "report.html").stat().st_size > 50_000
    for name in ("figure1", "figure2", "figure3", "figure5", "figure6", "figure7", "scatter"):
        for suffix in ("pdf", "png", "csv"):
            assert (results / "figures" / f"{name}.{suffix}").stat().st_size > 100
    assert not (results / "figures" / "figure4.png").exists()  # no assay measures the Golgi
    for name in ("table1", "table2", "features"):
        assert len(pd.read_csv(results / "tables" / f"{name}.csv")) > 10


def test_every_metric_and_column_of_the_tables_stands_on_the_page_of_columns(smoke):
    page = (ROOT / "docs" / "reference" / "columns.md").read_text(encoding="utf-8")
    parts = re.compile(
        r"^one_image_|_cells_as_units$|_extrapolated$|_against_other_cells$|_minus_\w+$"
    )
    for name in ("table1", "table2", "features"):
        table = pd.read_csv(smoke.run_folder / "results" / "tables" / f"{name}.csv")
        named = {parts.sub("", metric) for metric in table["metric"]} | set(table.columns)
        assert len(named) > 15
        assert {word for word in named if f"`{word}" not in page} == set(), name


def test_a_method_added_as_a_file_and_a_block_is_in_every_table_and_figure(smoke):
    results = smoke.run_folder / "results"
    names = ("tables/table1", "tables/table2", "tables/features", "figures/figure2")
    for name in (*names, "figures/figure5", "figures/scatter"):
        assert "nearest" in set(pd.read_csv(results / f"{name}.csv")["method"]), name


def test_after_the_first_degradation_only_the_methods_named_run(smoke):
    results = smoke.run_folder / "results"
    folder = results / "translocation" / "4x" / "gaussian_noise"
    stacks = {path.name.split(".")[0] for path in folder.glob("*.ome.tif")}
    assert stacks == {"low_resolution", "bicubic"}
    for name in ("tables/table1", "figures/figure6"):
        numbers = pd.read_csv(results / f"{name}.csv").set_index("degradation")
        assert set(numbers.index) == {"clean", "gaussian_noise"}, name
        assert not {"rls", "nearest"} & set(numbers.loc["gaussian_noise", "method"])
    assert set(pd.read_csv(results / "tables/table2.csv")["degradation"]) == {"clean"}


def test_the_sweep_is_a_target_of_its_own_and_searches_tune_alone(smoke):
    planned = smoke.planned("sweep", "tradeoff")
    assert planned["sweep_lambdas"] == 1 and planned["measure_sweep"] == 1
    assert set(planned) == {"sweep_lambdas", "measure_sweep", "sweep", "tradeoff"}
    result = smoke.snakemake("sweep", "tradeoff")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    for name in ("sweep", "tradeoff"):
        numbers = pd.read_csv(smoke.run_folder / "results" / "figures" / f"{name}.csv")
        assert set(numbers["swept"].dropna()) == {"lambda_w", "lambda_c"}
    folder = smoke.run_folder / "results" / "translocation" / "4x" / "sweep"
    assert set(pd.read_parquet(folder / "rls.metrics.parquet")["split"]) == {"tune"}


def test_path_lengths_are_a_target_of_their_own(smoke):
    assert smoke.planned("figure_path_lengths") == {"path_lengths": 1, "figure_path_lengths": 1}
    result = smoke.snakemake("figure_path_lengths")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    numbers = pd.read_csv(smoke.run_folder / "results" / "figures" / "path_lengths.csv")
    assert set(numbers["generator"]) == {"NF-kB translocation (simulated)"}
    assert {"step_length", "half_log_det", "log_p_flow"} <= set(numbers["quantity"])


def test_traces_are_a_target_of_their_own_and_search_tune_alone(smoke):
    planned = smoke.planned("starts")
    # The run itself has no row that starts from the encoder.
    assert planned == {"train_encoder": 1, "trace_search": 2, "measure_trace": 2, "starts": 1}
    result = smoke.snakemake("starts")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    numbers = pd.read_csv(smoke.run_folder / "results" / "figures" / "starts.csv")
    assert set(numbers["method"]) == {"rls", "rls_encoder"}
    assert set(numbers["steps"]) == {0, 1, 2} and set(numbers["n_cells"]) == {8}
    timed = numbers[numbers["metric"] == "processor_seconds_per_cell"]
    assert (timed["value"] > 0).all() and set(timed["n"]) == {2}  # the second batch is of two cells
    folder = smoke.run_folder / "results" / "translocation" / "4x" / "trace"
    assert set(pd.read_parquet(folder / "rls.metrics.parquet")["split"]) == {"tune"}


def test_the_priors_are_compared_by_a_target_of_its_own(smoke):
    planned = smoke.planned("priors")
    parts = {"fit_prior": 2, "search_with_prior": 2, "measure_prior": 2, "priors": 1}
    assert planned == parts
    result = smoke.snakemake("priors")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    numbers = pd.read_csv(smoke.run_folder / "results" / "figures" / "priors.csv")
    assert {"maf", "realnvp", "gaussian_full", "mapping"} <= set(numbers["method"])
    assert set(numbers["split"].dropna()) == {"tune"}


def test_rows_from_the_encoder_and_the_row_without_images_are_in_the_table(smoke, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(smoke.run_folder, folder)
    table = "results/tables/features.csv"
    result = smoke.snakemake(table, configs=("config/smoke.yaml",), run_folder=folder)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    features = pd.read_csv(folder / table)
    assert {"rls_encoder", "rls_mean", "amortised"} <= set(features["method"])
    several = features[features["method"] == "rls_mean"]
    of_one = several["metric"].str.startswith("one_image_")
    assert set(several.loc[~of_one, "n_solutions"]) == {2}
    assert set(several.loc[of_one, "n_solutions"]) == {1}
    at = folder / "results" / "translocation" / "4x" / "clean"
    assert not (at / "amortised.ome.tif").exists() and (at / "rls_mean.ome.tif").is_file()
    searched = pd.read_parquet(at / "rls_encoder.parquet")
    assert (searched["start_distance"] > 0).all()


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


def test_every_job_left_a_log_and_a_benchmark(smoke):
    for kind in ("logs", "benchmarks"):
        found = {path.name.split("/")[0] for path in (smoke.run_folder / kind).iterdir()}
        assert {"train_gan", "super_resolve", "measure", "classify"} <= found


def test_no_state_is_named_by_the_machine(smoke):
    """A run that goes on elsewhere finds every state again."""
    found = [path.read_text() for path in (smoke.run_folder / "state").glob("*/identity.json")]
    assert len(found) > 5
    assert not [text for text in found if '"threads"' in text or '"device"' in text]


def test_no_job_of_a_first_run_says_that_it_begins_anew(smoke):
    logs = [path for path in (smoke.run_folder / "logs").rglob("*") if path.is_file()]
    assert [path for path in logs if "begins anew" in path.read_text()] == []


def test_every_job_used_less_memory_than_it_asked_for(smoke):
    paths = list((smoke.run_folder / "benchmarks").rglob("*.tsv"))
    assert len(paths) > 40
    for path in paths:
        row = pd.read_csv(path, sep="\t", na_values=["-"]).iloc[0]
        asked = ast.literal_eval(row["resources"])
        assert asked["runtime"] >= 20 and not asked.get("gpu")  # the smoke run's device is cpu
        if pd.notna(row["max_rss"]):
            assert row["max_rss"] < asked["mem_mb"], path


def test_raw_plates_do_not_stay_on_the_disk(smoke):
    assert not list((smoke.run_folder / "data").rglob("*.tif"))


def test_a_second_run_does_nothing(smoke):
    assert smoke.planned() == {}


def test_another_way_to_compute_the_same_reruns_nothing(smoke):
    smoke.overlay("otherwise.yaml", {"cuda_graphs": "off", "compile": "off"})
    assert smoke.planned(configs=("config/smoke.yaml", "added.yaml", "otherwise.yaml")) == {}


FIGURES = {"figure2", "figure3", "figure5", "figure6", "figure7", "figure_scatter"}
TABLES = {"table1", "table2", "table_features"}
RESULTS = {*TABLES, *FIGURES, "report", "all"}
SEARCHED = {"super_resolve", "gather_shards", "measure", "classify"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"intervals": {"confidence_level": 0.9}}, {"figure1", *RESULTS}),
        ({"figures": {"cells_per_treatment": 1}}, {"figure1", *RESULTS} - TABLES),
        ({"methods": {"rls": {"steps": 3}}}, {*SEARCHED, *RESULTS}),
        (
            {"classify": {"forest_trees": 7}},
            {"classify", "classify_all_cells", *RESULTS} - {"figure2", "figure3"},
        ),
        ({"fit_flow": {"hidden": 16}}, {"fit_flow", "figure1", *SEARCHED, *RESULTS}),
        (
            {"assays": {"translocation": {"title": "Other"}}},
            {"describe_assays", "figure1", *RESULTS},
        ),
    ],
)
def test_a_changed_section_reruns_its_stage_and_what_depends_on_it(smoke, change, expected):
    smoke.overlay("change.yaml", change)
    planned = smoke.planned(configs=("config/smoke.yaml", "added.yaml", "change.yaml"))
    assert set(planned) == expected


def test_a_change_of_one_method_leaves_the_others(smoke):
    smoke.overlay("change.yaml", {"methods": {"rls": {"steps": 3}}})
    planned = smoke.planned(configs=("config/smoke.yaml", "added.yaml", "change.yaml"))
    assert planned["gather_shards"] == 1 and planned["super_resolve"] == 2


def test_edited_code_reruns_the_cheap_rules_that_use_it(smoke):
    path = smoke.root / "analysis" / "numbers" / "metrics.py"
    content = path.read_text()
    path.write_text(content + "\n# edited\n")
    try:
        assert {"measure", "table1"} <= set(smoke.planned())
        assert not {"train_gan", "super_resolve", "crop_cells"} & set(smoke.planned())
    finally:
        path.write_text(content)


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
