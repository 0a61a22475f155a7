"""A plan: the jobs of a dry run, the sizes of a configuration, rates that are fitted and used."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml

from analysis.plan import __main__ as plan
from analysis.plan import measure
from analysis.plan.jobs import Job, parse
from analysis.plan.measure import FASTEST_GFLOP_S, fit
from analysis.run.rates import Rates, kind_of, predict
from analysis.run.sizes import Sizes
from analysis.run.values import read_config
from rls.runtime.errors import InputError
from tests.conftest import ROOT

DRY_RUN = """
[Tue Nov 24 22:05:51 2026]
rule train_gan:
    input: results/a/cells.ome.tif, results/a/cells.parquet
    output: results/a/generator.safetensors, results/a/generator.png
    log: logs/train_gan/a.log
    jobid: 23
    wildcards: assay=a
    threads: 8
    resources: tmpdir=/tmp, gpu=1, runtime=20, mem_mb=2140, mem=2.14 GB
Group job gathered (jobs in lexicogr. order):
    [Tue Nov 24 22:05:52 2026]
    localrule super_resolve:
        output: s/rls.1-of-2.ome.tif
        log: logs/super_resolve/a_16x_clean_rls.1-of-2.log
        wildcards: assay=a, factor=16, degradation=clean, method=rls, scatteritem=1-of-2
        resources: tmpdir=/tmp, gpu=0, runtime=20, mem_mb=1500
rule all:
    input: results/report.html
    jobid: 0
"""
RATES = Rates(
    "two cores", "a test",
    {"train_gan": {"start": 3.0, "steps": 0.01, "gflop": 0.05},
     "super_resolve rls": {"start": 4.0, "steps": 0.02, "gflop": 0.1}},
    {"train_gan": 2, "super_resolve rls": 2}, {"select_cells": {"start": 0.1, "raw": 1.0}},
)  # fmt: skip


@pytest.fixture(scope="module")
def paper():
    return read_config([])


def test_the_jobs_of_a_dry_run_are_read_with_what_they_ask_for():
    training, search = parse(DRY_RUN)
    assert training.outputs == ("results/a/generator.safetensors", "results/a/generator.png")
    assert (training.rule, training.threads, training.on_gpu) == ("train_gan", 8, True)
    assert (training.memory_mb, training.log) == (2140, "logs/train_gan/a.log")
    assert search.wildcards == {
        "assay": "a", "factor": "16", "degradation": "clean", "method": "rls",
        "scatteritem": "1-of-2",
    }  # fmt: skip
    assert not search.on_gpu and search.threads == 1


def test_rates_are_found_again_from_jobs_of_several_sizes():
    truth = {"start": 4.0, "steps": 0.03, "gflop": 0.2}
    units = [{"steps": s, "gflop": g} for s, g in ((10, 1), (200, 3), (50, 90), (900, 400))]
    found = fit(units, [predict(truth, one) for one in units])
    assert found == pytest.approx(truth, rel=1e-6)


def test_short_and_long_jobs_count_alike_and_no_rate_is_negative():
    draws = np.random.default_rng(1)
    units = [{"images": 10.0**k} for k in range(5) for _ in range(20)]
    truth = {"start": 2.0, "images": 0.05}
    noisy = [predict(truth, one) * draws.lognormal(0, 0.2) for one in units]
    found = fit(units, noisy)
    assert found == pytest.approx(truth, rel=0.2)
    assert min(fit([{"images": 1.0}, {"images": 9.0}], [5.0, 1.0]).values()) >= 0


def test_small_jobs_promise_no_speed_that_a_core_does_not_have():
    found = fit([{"gflop": 0.001}, {"gflop": 0.002}], [3.0, 3.0])
    assert predict(found, {"gflop": 1e6}) >= 1e6 / FASTEST_GFLOP_S


def test_what_was_not_measured_and_what_a_gpu_does_are_said_to_be_estimates(paper):
    sizes = Sizes(paper)
    wildcards = {"assay": "translocation", "factor": "32", "method": "pix2pix"}
    unknown = plan.cost_of(Job("train_pix2pix", wildcards), paper, sizes, RATES, 30.0)
    assert unknown.basis == "as fast as train_gan" and unknown.processor_s > 3600
    job = Job("train_gan", wildcards, resources={"gpu": "1"})
    on_gpu = plan.cost_of(job, paper, sizes, RATES, 30.0)
    units = sizes.units(job.rule, job.wildcards)
    assert on_gpu.basis == "estimate (GPU)"
    assert on_gpu.gpu_s == pytest.approx(3.0 + units["gflop"] / 30000, rel=1e-6)
    slow = plan.cost_of(job, paper, sizes, RATES, 3.0)
    assert slow.gpu_s == pytest.approx(10 * on_gpu.gpu_s, rel=0.01)
    launches = {"steps": 1000.0, "gflop": 0.1}
    assert RATES.gpu_seconds("train_gan", launches, 30.0) == pytest.approx(3.0 + 6.0)


def test_a_plan_adds_up_and_says_what_it_rests_on(paper):
    jobs = [Job("list_plate", {"assay": "translocation"}, resources={"mem_mb": "1000"})] * 3
    wildcards = {"assay": "translocation", "factor": "32", "method": "rls"}
    jobs.append(Job("super_resolve", wildcards, resources={"mem_mb": "9000"}))
    costs = plan.costs_by_rule(jobs, paper, RATES, 30.0)
    text = plan.describe(costs, paper, RATES, 30.0)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["list_plate"][1] == "3" and lines["together"][1] == "4"
    assert "9.0" in lines["together"] and "measured" in lines["super_resolve"]
    assert "Nothing was run" in text and "two cores" in text and "estimate (GPU)" not in text
    what = (jobs[-1].rule, jobs[-1].wildcards)
    search = (kind_of(*what, paper), Sizes(paper).units(*what))
    assert sum(c.processor_s for c in costs.values()) == pytest.approx(
        RATES.processor_seconds(*search)[0] + 3 * 3.5
    )


def test_rates_come_from_the_last_line_of_the_logs(tmp_path, monkeypatch, paper):
    """Two made-up runs that follow a law; the rates give it back, and the check says 1."""
    truth = {"start": 2.0, "megapixels": 0.5}
    job = Job("crop_cells", {"assay": "translocation"}, log="logs/crop.log")
    monkeypatch.setattr(measure, "planned_jobs", lambda configs, folder: [job])
    runs = []
    for name, height in (("a", 64), ("b", 2048)):
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump({"simulate_plate": {"field_height_px": height}}))
        seconds = predict(truth, Sizes(read_config([config])).units(job.rule, job.wildcards))
        (tmp_path / name / "logs").mkdir(parents=True)
        log = f"used: 9.99 s of processor time, 1 MiB at most\nused: {seconds:.2f} s of processor "
        (tmp_path / name / "logs" / "crop.log").write_text(log + "time, 310 MiB at most\n")
        runs.append((tmp_path / name, [config]))
    rates = measure.measure(runs, "two cores", "a test")
    assert rates.seconds["crop_cells"] == pytest.approx(truth, rel=0.01)
    (tmp_path / "rates.json").write_text(rates.to_json())
    assert Rates.read(tmp_path / "rates.json") == rates
    assert re.search(r"together .* 1\.00$", measure.check(*runs[0], rates))
    with pytest.raises(InputError, match="of different sizes"):
        measure.main(["--run", str(runs[0][0]), str(runs[0][1][0])])
    (tmp_path / "a" / "logs" / "crop.log").unlink()
    with pytest.raises(InputError, match="no log of a job"):
        measure.check(*runs[0], rates)


@pytest.mark.workflow
def test_a_configuration_is_planned_and_nothing_is_written(tmp_path, capsys):
    before = {path for path in ROOT.iterdir()}
    (tmp_path / "rates.json").write_text(RATES.to_json())
    plan.main(
        ["--configfile", str(ROOT / "config/smoke.yaml"), "--rates", str(tmp_path / "rates.json")]
    )
    text = capsys.readouterr().out
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert {"simulate_plate", "train_gan", "super_resolve", "report", "together"} <= set(lines)
    assert {path for path in ROOT.iterdir()} == before
    with pytest.raises(InputError, match="Snakemake refuses"):
        plan.planned_jobs([ROOT / "config/smoke.yaml"], tmp_path, ["nothing"])


def test_the_rates_that_come_with_the_program_know_every_measured_kind():
    rates = Rates.read()
    assert {"train_gan", "crop_cells", "super_resolve rls", "measure", "report"} <= set(
        rates.seconds
    )
    assert all(n >= 2 for n in rates.n_jobs.values()), "two sizes"
    assert rates.machine and rates.made_by
