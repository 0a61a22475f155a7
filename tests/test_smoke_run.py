"""The smoke configuration from plates to report, and what reruns after a change."""

import ast
import re
import shutil

import pandas as pd
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.workflow


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
