"""What jobs ask of a machine: from one place, from the sizes in the configuration, and enough."""

import re
import subprocess
import sys

import pytest
import yaml

from analysis.run.rates import Machine, predict
from analysis.run.requests import LONGEST, MARGIN, SHORTEST, Requests
from analysis.run.sizes import Sizes
from analysis.run.values import lay_over, read_config
from tests.conftest import ROOT

RULES = ROOT / "workflow" / "rules"


def asks(change=None):
    """What jobs ask for under the article's configuration with a change."""
    config = read_config()
    lay_over(config, {"run": {"assays": ["translocation", "golgi", "bbbc021"]}})
    lay_over(config, change or {})
    return Requests(config, Sizes(config), Machine.read(device=config["device"]))


def job(assay="translocation", method="rls", factor="32"):
    return {"assay": assay, "method": method, "factor": factor, "degradation": "clean"}


def megabytes(found, rule, attempt=1, **wildcards):
    return found(rule)["mem_mb"](job(**wildcards), attempt)


def runtime(found, rule, attempt=1, **wildcards):
    return found(rule)["runtime"](job(**wildcards), attempt)


def blocks():
    """Name and text of every rule; those that a loop makes are called by its table of rules."""
    for path in sorted(RULES.glob("*.smk")):
        for block in re.split(r"^ *rule(?= \w+:|:)", path.read_text(), flags=re.M)[1:]:
            yield block.split(":")[0].strip() or f"loop of {path.name}", block


def test_every_rule_asks_for_memory_and_time_by_its_own_name():
    found = 0
    for name, block in blocks():
        text = re.search(r"^ +resources:\n((?: +.*\n)+?)(?=\s*\w+:)", block, re.M)
        assert text, name
        asked = re.findall(r"\*\*asks\((.*?)\)", text.group(1))
        assert asked in ([f'"{name}"'], ["rule_name"]), f"rule {name}: {asked}"
        for threads in re.findall(r"^ +threads: (.*)$", block, re.M):
            assert threads == f'asks.threads("{name}")', f"rule {name}"
        assert not re.search(r"^ +retries:", block, re.M), f"rule {name}: they are the profile's"
        found += 1
    assert found > 25


@pytest.mark.parametrize(
    "rule", ["select_cells", "measure", "super_resolve", "train_gan", "crop_cells", "table1"]
)
def test_every_attempt_asks_for_twice_the_memory(rule):
    first, second, third = (megabytes(asks(), rule, attempt) for attempt in (1, 2, 3))
    assert second == pytest.approx(2 * first, abs=2) and third == pytest.approx(4 * first, abs=4)


def test_every_attempt_asks_for_more_time_and_none_for_more_than_partitions_allow():
    found = asks({"device": "cpu"})
    once, twice = (runtime(found, "super_resolve", attempt) for attempt in (1, 2))
    assert twice == pytest.approx(2 * once, abs=2) and once > SHORTEST
    assert runtime(found, "train_gan", 3) == LONGEST == 7 * 24 * 60
    assert runtime(found, "list_plate") == SHORTEST


def test_what_is_asked_for_grows_with_cells_pixels_and_steps():
    cpu = {"device": "cpu"}
    small, plain = asks(cpu | {"assays": {"translocation": {"image_size": 64}}}), asks(cpu)
    assert runtime(small, "super_resolve") < runtime(plain, "super_resolve")
    assert megabytes(small, "train_gan") < megabytes(plain, "train_gan")
    assert megabytes(plain, "select_cells", assay="bbbc021") > megabytes(plain, "select_cells")
    longer = asks(cpu | {"methods": {"rls": {"steps": 400}}})
    halves = asks(cpu | {"run": {"shards": 2}})
    for found in (longer, halves):
        twice = 2 * runtime(plain, "super_resolve")
        assert runtime(found, "super_resolve") == pytest.approx(twice, rel=0.05)


def test_time_comes_from_the_rates_and_sizes_of_a_plan():
    found = asks({"device": "cpu"})
    units = found.sizes.units("super_resolve", job())
    seconds, basis = found.machine.processor.processor_seconds("super_resolve rls", units)
    wanted = MARGIN * seconds / found.heavy / 60
    assert basis == "measured" and runtime(found, "super_resolve") == int(wanted)


def test_a_gpu_has_its_own_time_where_the_configuration_may_use_one():
    found, units = asks(), asks().sizes.units("train_gan", job())
    start = found.machine.processor.processor_seconds("train_gan", {})[0]
    rate, basis = found.machine.gpu.gpu_rate("train_gan")
    assert basis == "measured (GPU)"
    assert found.seconds("train_gan", job()) == pytest.approx(start + predict(rate, units))
    assert asks({"device": "cpu"}).machine.gpu is None


def test_selecting_cells_of_104_treatments_asks_for_one_copy_of_them_and_two_of_a_plate():
    pixels_mb = 104 * 640 * 3 * 196**2 * 2 / 2**20  # 14.3 GiB: the file that it writes
    assert pixels_mb < megabytes(asks(), "select_cells", assay="bbbc021") < 32_000


def test_no_gpu_is_asked_for_on_a_cpu_nor_by_methods_without_a_network():
    assert asks({"device": "cpu"})("train_gan")["gpu"](job()) == 0
    found = asks()
    gpu = found("super_resolve")["gpu"]
    assert found("train_gan")["gpu"](job()) == 1
    assert gpu(job(method="rls")) == 1 and gpu(job(method="pix2pix")) == 1
    assert gpu(job(method="bicubic")) == 0
    assert found.threads("super_resolve")(job(method="bicubic")) == 1
    assert found.threads("super_resolve")(job()) == 8
    assert found.group(job(method="bicubic")) == "gathered" and found.group(job()) is None
    assert "gpu" not in found("measure")


def test_cellpose_asks_for_threads_memory_and_time_that_the_threshold_does_not():
    plain, cellpose = asks(), asks({"crop_cells": {"segmenter": "cellpose"}})
    assert plain.threads("crop_cells")(job()) == 1 and cellpose.threads("crop_cells")(job()) == 8
    assert megabytes(cellpose, "crop_cells") == megabytes(plain, "crop_cells") + 1000
    assert cellpose.seconds("crop_cells", job()) * 8 > 10 * plain.seconds("crop_cells", job())


def dry_run(tmp_path, *arguments):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("run: {assays: [translocation, golgi, bbbc021]}\n")
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run"),
        *("--workflow-profile", str(ROOT / "workflow/profiles/slurm")),
        *("--configfile", str(ROOT / "config/config.yaml"), str(overlay)),
        *("--directory", str(tmp_path), *arguments),
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    table = re.search(r"^job\s+count\n[-\s]+\n(.*?)^total", result.stdout, re.S | re.M)
    assert table, result.stdout
    lines = (line.rsplit(maxsplit=1) for line in table.group(1).strip().splitlines())
    return {name: int(count) for name, count in lines}, result.stdout


def test_the_whole_article_is_planned_for_the_cluster_in_1500_jobs(tmp_path):
    counts, text = dry_run(tmp_path)
    assert sum(counts.values()) <= 1500
    shards = yaml.safe_load((ROOT / "config/config.yaml").read_text())["run"]["shards"]
    assert counts["super_resolve"] == shards * (
        counts["gather_shards"] + counts["gather_solutions"]
    )
    assert counts["crop_cells"] == 61 and counts["train_gan"] == 3
    for rule, line in re.findall(r"^rule (\w+):\n.*?^    resources: (.*?)$", text, re.S | re.M):
        asked = dict(pair.split("=", 1) for pair in line.split(", ") if "=" in pair)
        assert asked["mem_mb"].isdigit() and asked["runtime"].isdigit(), rule
        if rule in ("train_gan", "fit_flow", "train_encoder", "train_pix2pix", "train_classifier"):
            assert asked["gpu"] == "1", rule


def test_what_needs_the_network_runs_where_snakemake_runs():
    local = (ROOT / "Snakefile").read_text().split("localrules:")[1].split("\n\n")[0]
    named = {name.strip() for name in local.split(",")}
    fetching = {name for name, block in blocks() if re.search(r"^        downloads=", block, re.M)}
    assert len(fetching) >= 2 and fetching <= named


def test_what_needs_the_network_is_one_target(tmp_path):
    counts, _ = dry_run(tmp_path, "fetch")
    assert counts["fetch_plate"] == 55 and counts["select_cells"] == 1
    assert not {"train_gan", "simulate_plate"} & set(counts)


def test_every_line_of_the_cluster_profile_is_explained():
    for line in (ROOT / "workflow/profiles/slurm/config.yaml").read_text().splitlines():
        assert "#" in line or not line.strip(), line


def test_retries_are_the_profiles():
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    assert profile["retries"] >= 2 and profile["rerun-incomplete"] is True
    assert profile["latency-wait"] >= 30
