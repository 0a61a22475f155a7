"""What jobs ask of a machine: from one place, from the sizes in the configuration, and enough."""

import copy
import re
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from analysis import configuration
from tests.conftest import ROOT

RULES = ROOT / "workflow" / "rules"
# `downloads` is counted over jobs, and `connection` is a string that no result depends on.
STATED = {"gpu", "mem_mb", "runtime", "downloads", "connection"}


def merged(base, change):
    result = copy.deepcopy(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def resources(change=None):
    """The functions of resources.smk, under the article's configuration with a change."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config = merged(config, {"run": {"assays": ["translocation", "golgi", "bbbc021"]}})
    config = merged(config, change or {})
    names = {
        "config": config,
        "RUN": config["run"],
        "ASSAYS": config["assays"],
        "FIRST_ASSAY": config["run"]["assays"][0],
        "settings": configuration,
        "search_model": lambda w: w.method not in ("bicubic", "pix2pix", "unet_l1"),
        "search_network": lambda w: w.method in ("pix2pix", "unet_l1"),
        "conditions": lambda assay: [(16, "clean", config["run"]["methods"])],
    }
    exec(compile((RULES / "resources.smk").read_text(), "resources.smk", "exec"), names)
    return SimpleNamespace(**{key: value for key, value in names.items() if key != "config"})


def job(assay="translocation", method="rls"):
    return SimpleNamespace(assay=assay, method=method)


def blocks():
    for path in sorted(RULES.glob("*.smk")):
        for block in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            yield block.split(":")[0], block


def test_rules_state_gpu_memory_and_time_through_named_functions_of_one_file():
    defined = set(re.findall(r"^def (\w+)\(wildcards", (RULES / "resources.smk").read_text(), re.M))
    found = 0
    for name, block in blocks():
        text = re.search(r"^    resources:\n((?:        .*\n)+)", block, re.M)
        assert text, name
        stated = dict(re.findall(r"^        (\w+)=(\w+),$", text.group(1), re.M))
        assert set(stated) <= STATED and {"mem_mb", "runtime"} <= set(stated), name
        for key in {"gpu", "mem_mb", "runtime"} & set(stated):
            assert stated[key] in defined, f"rule {name}: {key}={stated[key]}"
        threads = re.search(r"^    threads: (.*)$", block, re.M)
        assert not threads or threads.group(1) in {"HEAVY"} | defined, name
        assert not re.search(r"^    retries:", block, re.M), (
            f"rule {name}: they belong to a profile"
        )
        found += 1
    assert found > 25


@pytest.mark.parametrize("name", ["select_mb", "stack_mb", "search_mb", "network_mb", "plate_mb"])
def test_every_attempt_asks_for_twice_the_memory(name):
    function = getattr(resources(), name)
    first, second, third = (function(job(), attempt) for attempt in (1, 2, 3))
    assert second == pytest.approx(2 * first, abs=2) and third == pytest.approx(4 * first, abs=4)


def test_every_attempt_asks_for_more_time_and_none_for_more_than_partitions_allow():
    found = resources()
    assert found.search_runtime(job(), 2) == pytest.approx(
        2 * found.search_runtime(job(), 1), abs=2
    )
    assert found.train_gan_runtime(job(), 3) == found.LONGEST == 7 * 24 * 60
    assert found.short_runtime(job(), 1) == found.SHORTEST


def test_what_is_asked_for_grows_with_cells_pixels_and_steps():
    small, plain = resources({"assays": {"translocation": {"image_size": 64}}}), resources()
    assert small.search_runtime(job(), 1) < plain.search_runtime(job(), 1)
    assert small.network_mb(job(), 1) < plain.network_mb(job(), 1)
    assert plain.select_mb(job("bbbc021"), 1) > plain.select_mb(job(), 1)
    longer = resources({"methods": {"rls": {"steps": 400}}})
    assert longer.search_runtime(job(), 1) == pytest.approx(
        2 * plain.search_runtime(job(), 1), 0.01
    )
    halves = resources({"run": {"shards": 2}})
    assert halves.search_runtime(job(), 1) == pytest.approx(
        2 * plain.search_runtime(job(), 1), 0.01
    )


def test_selecting_cells_of_104_treatments_asks_for_one_copy_of_them_and_two_of_a_plate():
    found = resources()
    megabytes = found.select_mb(job("bbbc021"), 1)
    pixels_mb = 104 * 640 * 3 * 196**2 * 2 / 2**20  # 14.3 GiB: the file that it writes
    assert pixels_mb < megabytes < 32_000


def test_no_gpu_is_asked_for_on_a_cpu_nor_by_methods_without_a_network():
    assert resources({"device": "cpu"}).gpu(job()) == 0
    found = resources()
    assert found.gpu(job()) == 1
    assert found.search_gpu(job(method="rls")) == 1 and found.search_gpu(job(method="pix2pix")) == 1
    assert found.search_gpu(job(method="bicubic")) == 0
    assert found.search_threads(job(method="bicubic")) == 1
    assert found.gathered(job(method="bicubic")) == "gathered"
    assert found.gathered(job(method="rls")) is None


def dry_run(tmp_path, *arguments):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("run: {assays: [translocation, golgi, bbbc021]}\n")
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run"),
        *("--workflow-profile", str(ROOT / "workflow/profiles/slurm")),
        *("--configfile", str(ROOT / "config/config.yaml"), str(overlay)),
        *("--directory", str(tmp_path), *arguments),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    table = re.search(r"^job\s+count\n[-\s]+\n(.*?)^total", result.stdout, re.S | re.M)
    assert table, result.stdout
    lines = (line.rsplit(maxsplit=1) for line in table.group(1).strip().splitlines())
    return {name: int(count) for name, count in lines}, seconds, result.stdout


def test_the_whole_article_is_planned_for_the_cluster_in_ten_seconds_and_1500_jobs(tmp_path):
    counts, seconds, text = dry_run(tmp_path)
    assert sum(counts.values()) <= 1500
    assert seconds < 10  # of the processor: others may use this machine
    shards = yaml.safe_load((ROOT / "config/config.yaml").read_text())["run"]["shards"]
    assert counts["super_resolve"] == shards * counts["gather_shards"]
    assert counts["crop_cells"] == 61 and counts["train_gan"] == 3
    for rule, line in re.findall(r"^rule (\w+):\n.*?^    resources: (.*?)$", text, re.S | re.M):
        asked = dict(pair.split("=", 1) for pair in line.split(", ") if "=" in pair)
        assert asked["mem_mb"].isdigit() and asked["runtime"].isdigit(), rule
        if rule in ("train_gan", "fit_flow", "train_pix2pix", "train_classifier"):
            assert asked["gpu"] == "1", rule


def test_what_needs_the_network_runs_where_snakemake_runs():
    local = (ROOT / "Snakefile").read_text().split("localrules:")[1].split("\n\n")[0]
    named = {name.strip() for name in local.split(",")}
    fetching = {name for name, block in blocks() if re.search(r"^        downloads=", block, re.M)}
    assert len(fetching) >= 2 and fetching <= named


def test_what_needs_the_network_is_one_target(tmp_path):
    counts, _, text = dry_run(tmp_path, "fetch")
    assert counts["fetch_plate"] == 55 and counts["select_cells"] == 1
    assert not {"train_gan", "simulate_plate"} & set(counts)


def test_every_line_of_the_cluster_profile_is_explained():
    for line in (ROOT / "workflow/profiles/slurm/config.yaml").read_text().splitlines():
        assert "#" in line or not line.strip(), line


def test_retries_are_the_profiles():
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    assert profile["retries"] >= 2 and profile["rerun-incomplete"] is True
    assert profile["latency-wait"] >= 30
