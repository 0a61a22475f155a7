"""A plan: the jobs of a dry run, the sizes of a configuration, rates that are fitted and used."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml

from analysis.plan import __main__ as plan
from analysis.plan import costs, measure
from analysis.plan.elapsed import measured_s, planned_s
from analysis.plan.jobs import Job, parse, planned_jobs
from analysis.plan.measure import FASTEST_GFLOP_S, fit
from analysis.run import rates as rates_module
from analysis.run.rates import Machine, Rates, kind_of, machines_json, predict, read_machines
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
    benchmark: benchmarks/train_gan/a.tsv
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
CARD = Rates(
    "one card", "three sizes.",
    {"train_gan": {"steps": 0.1, "gflop": 1e-5}, "super_resolve rls": {"gflop": 1e-5}},
    {"train_gan": 2, "super_resolve rls": 1}, {}, "cuda",
    {"any": {"steps": 0.006, "gflop": 3e-5}, "super_resolve rls": {"steps": 0.02}},
)  # fmt: skip
PROCESSOR, WITH_CARD = Machine(RATES), Machine(RATES, CARD)


@pytest.fixture(scope="module")
def paper():
    return read_config([])


def test_the_jobs_of_a_dry_run_are_read_with_what_they_ask_for():
    training, search = parse(DRY_RUN)
    assert training.outputs == ("results/a/generator.safetensors", "results/a/generator.png")
    assert (training.rule, training.threads, training.on_gpu) == ("train_gan", 8, True)
    assert (training.memory_mb, training.log) == (2140, "logs/train_gan/a.log")
    assert training.benchmark == "benchmarks/train_gan/a.tsv"
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
    assert predict(found, {"gflop": 1e6}) >= 1e6 / FASTEST_GFLOP_S["cpu"]


def test_what_was_not_measured_is_said_to_be_assumed_or_likened(paper):
    sizes = Sizes(paper)
    wildcards = {"assay": "translocation", "factor": "32", "method": "pix2pix"}
    unknown = costs.cost_of(Job("train_pix2pix", wildcards), paper, sizes, PROCESSOR)
    assert unknown.basis == "as fast as train_gan" and unknown.processor_s > 3600


def test_a_job_that_asks_for_a_gpu_takes_its_time_where_the_machine_has_one(paper):
    sizes = Sizes(paper)
    wildcards = {"assay": "translocation", "factor": "32", "method": "rls"}
    job = Job("train_gan", wildcards, threads=8, resources={"gpu": "1"})
    units = sizes.units(job.rule, job.wildcards)
    on_gpu = costs.cost_of(job, paper, sizes, WITH_CARD)
    wanted = 3.0 + predict(CARD.seconds["train_gan"], units)
    assert on_gpu.basis == "measured (GPU)" and on_gpu.gpu_s == pytest.approx(wanted)
    assert on_gpu.wall_s == on_gpu.processor_s == on_gpu.gpu_s
    without = costs.cost_of(job, paper, sizes, PROCESSOR)
    assert without.gpu_s == 0 and without.basis == "measured"
    assert without.processor_s == pytest.approx(8 * without.wall_s)


@pytest.mark.parametrize(
    ("kind", "rate", "basis"),
    [
        ("train_gan", {"steps": 0.1, "gflop": 1e-5}, "measured (GPU)"),
        ("super_resolve rls", {"steps": 0.02, "gflop": 1e-5}, "partly assumed (GPU)"),
        ("super_resolve pulse", {"steps": 0.02, "gflop": 1e-5}, "partly assumed (GPU)"),
        ("measure_trust rls", {"steps": 0.02, "gflop": 1e-5}, "partly assumed (GPU)"),
        ("fit_flow", {"steps": 0.006, "gflop": 3e-5}, "assumed (GPU)"),
    ],
)
def test_the_rates_of_a_gpu_are_measured_partly_assumed_or_assumed(kind, rate, basis):
    assert CARD.gpu_rate(kind) == (rate, basis)


def test_a_kind_that_a_gpu_does_not_know_is_planned_on_the_processor():
    machine = Machine(RATES, replace(CARD, assumed={}))
    on_gpu = machine.seconds("fit_flow", {"gflop": 100.0}, on_gpu=True)
    seconds, basis = machine.seconds("fit_flow", {"gflop": 100.0}, on_gpu=False)
    assert on_gpu == (seconds, f"{basis} on the processor")


def test_a_machine_is_chosen_by_its_name_or_by_the_device(tmp_path, monkeypatch):
    path = tmp_path / "rates.json"
    other = replace(CARD, machine="another card")
    machines = {rates.machine: rates for rates in (RATES, CARD, other)}
    path.write_text(machines_json(machines))
    assert read_machines(path) == machines
    assert Machine.read(path) == Machine.read(path, device="cpu") == PROCESSOR
    assert Machine.read(path, device="auto") == Machine.read(path, device="cuda") == WITH_CARD
    assert Machine.read(path, "another").gpu == other
    assert Machine.read(path, "two cores", "cuda") == PROCESSOR
    monkeypatch.setattr(rates_module, "GPU_FILES", (tmp_path / "none", path))  # one is there
    assert Machine.here("auto", path=path) == WITH_CARD
    monkeypatch.setattr(rates_module, "GPU_FILES", (tmp_path / "none",))
    assert Machine.here("auto", path=path) == Machine.here("cpu", path=path) == PROCESSOR
    assert Machine.here("auto", "one card", path=path) == WITH_CARD
    assert Machine.here("auto", on_cluster=True, path=path) == WITH_CARD
    assert Machine.here("cuda", path=path) == WITH_CARD
    with pytest.raises(InputError, match="Found 2 machines named 'card'.*one card; another card"):
        Machine.read(path, "card")
    path.write_text(machines_json({"one card": CARD}))
    with pytest.raises(InputError, match="no rates of a processor"):
        Machine.read(path)


def test_a_file_of_one_machine_is_still_read(tmp_path):
    values = asdict(RATES)
    del values["device"], values["assumed"]
    (tmp_path / "rates.json").write_text(json.dumps(values))
    assert read_machines(tmp_path / "rates.json") == {"two cores": RATES}
    for text in ("[]", "{", '{"machines": {"a": 3}}', '{"seconds": {}}'):
        (tmp_path / "rates.json").write_text(text)
        with pytest.raises(InputError, match="holds no rates"):
            Machine.read(tmp_path / "rates.json")


def test_a_plan_adds_up_and_says_what_it_rests_on(paper):
    jobs = [Job("list_plate", {"assay": "translocation"}, resources={"mem_mb": "1000"})] * 3
    wildcards = {"assay": "translocation", "factor": "32", "method": "rls"}
    jobs.append(Job("super_resolve", wildcards, resources={"mem_mb": "9000"}))
    found = costs.costs_by_rule(jobs, paper, WITH_CARD)
    text = costs.describe(found, paper, WITH_CARD)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["list_plate"][1] == "3" and lines["together"][1] == "4"
    assert "9.0" in lines["together"] and "measured" in lines["super_resolve"]
    assert "disk is what stays" in text and "two cores" in text and "one card" not in text
    what = (jobs[-1].rule, jobs[-1].wildcards)
    search = (kind_of(*what, paper), Sizes(paper).units(*what))
    assert sum(c.processor_s for c in found.values()) == pytest.approx(
        RATES.processor_seconds(*search)[0] + 3 * 3.5
    )
    jobs[-1] = Job("super_resolve", wildcards, resources={"gpu": "1"})
    text = costs.describe(costs.costs_by_rule(jobs, paper, WITH_CARD), paper, WITH_CARD)
    assert "partly assumed (GPU)" in text and "one card" in text and "three sizes." in text


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
    assert rates.device == "cpu"
    assert re.search(r"together .* 1\.00$", measure.check(*runs[0], Machine(rates)))
    with pytest.raises(InputError, match="of different sizes"):
        measure.main(["--run", str(runs[0][0]), str(runs[0][1][0])])
    (tmp_path / "a" / "logs" / "crop.log").unlink()
    with pytest.raises(InputError, match="no log of a job"):
        measure.check(*runs[0], Machine(rates))


def test_a_gpu_is_measured_by_the_clock_and_other_machines_stay(tmp_path, monkeypatch, paper):
    truth = {"start": 4.0, "steps": 0.01, "gflop": 1e-4}
    jobs = [
        Job("train_gan", {"assay": "translocation"}, log="gan.log", benchmark="gan.tsv"),
        Job("list_plate", {"assay": "translocation"}, log="list.log"),
    ]
    monkeypatch.setattr(measure, "planned_jobs", lambda configs, folder: jobs)
    arguments = ["--machine", "one card", "--output", str(tmp_path / "rates.json")]
    for name, kimg, batch in (("a", 1, 8), ("b", 20, 8), ("c", 20, 64)):
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump({"train_gan": {"total_kimg": kimg, "batch_size": batch}}))
        seconds = predict(truth, Sizes(read_config([config])).units("train_gan", jobs[0].wildcards))
        (tmp_path / name).mkdir()
        (tmp_path / name / "gan.log").write_text(
            "device: cuda (one card, 80 GiB)\nused: 9.9 s of processor time, 1 MiB at most\n"
        )
        (tmp_path / name / "gan.tsv").write_text(f"s\tmax_rss\n{seconds}\t77\n")
        (tmp_path / name / "list.log").write_text("used: 2.0 s of processor time, 1 MiB\n")
        arguments += ["--run", str(tmp_path / name), str(config)]
    old = replace(CARD, assumed={**CARD.assumed, "train_gan": {"steps": 9.0}})
    (tmp_path / "rates.json").write_text(machines_json({"two cores": RATES, "one card": old}))
    measure.main(arguments)
    found = read_machines(tmp_path / "rates.json")
    assert found["two cores"] == RATES and found["one card"].assumed == CARD.assumed
    assert set(found["one card"].seconds) == {"train_gan"}
    assert found["one card"].seconds["train_gan"] == pytest.approx(truth, rel=0.01)
    assert found["one card"].device == "cuda"


@pytest.mark.workflow
def test_a_configuration_is_planned_and_nothing_is_written(tmp_path, capsys):
    before = {path for path in ROOT.iterdir()}
    rates = tmp_path / "rates.json"
    rates.write_text(machines_json({"two cores": RATES, "one card": CARD}))
    arguments = ["--configfile", str(ROOT / "config/smoke.yaml"), "--rates", str(rates)]
    plan.main([*arguments, "--machine", "card"])  # although the configuration says cpu
    assert "measured (GPU)" in capsys.readouterr().out
    plan.main(arguments)
    text = capsys.readouterr().out
    assert "(GPU)" not in text
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert {"simulate_plate", "train_gan", "super_resolve", "report", "together"} <= set(lines)
    assert {path for path in ROOT.iterdir()} == before
    with pytest.raises(InputError, match="Snakemake refuses"):
        planned_jobs([ROOT / "config/smoke.yaml"], tmp_path, ["nothing"])


def test_the_rates_that_come_with_the_program_know_every_measured_kind():
    machines = read_machines()
    rates = Machine.read().processor
    assert {"train_gan", "crop_cells", "super_resolve rls", "measure", "report"} <= set(
        rates.seconds
    )
    assert all(n >= 2 for n in rates.n_jobs.values()), "two sizes"
    for name, found in machines.items():
        assert found.made_by and set(found.seconds) == set(found.n_jobs), name
        for kind in found.seconds:
            # A rate from one size alone is completed by an assumption, and the plan says so.
            assert found.n_jobs[kind] >= 2 or kind in found.assumed, f"{name}: {kind}"


def test_the_rates_of_the_card_give_back_what_was_measured_on_it(paper):
    """Small network of 64 px: 104 to 123 ms a step; article: 243 images/s, search 5.4 images/s."""
    card = Machine.read(name="h200").gpu
    demo = Sizes(read_config([ROOT / "config" / "demo.yaml"]))
    small, article = demo.of("golgi").networks, Sizes(paper).of("translocation").networks
    training, search = card.gpu_rate("train_gan")[0], card.gpu_rate("super_resolve rls")[0]
    for batch in (8, 32):
        work = batch * small.training_gflop(4, 16)
        assert 0.104 < predict(training, {"steps": 1, "gflop": work}) < 0.123
    step = predict(training, {"steps": 1, "gflop": 128 * article.training_gflop(4, 16)})
    assert 128 / step == pytest.approx(243, rel=0.01)
    step = predict(search, {"steps": 1, "gflop": 64 * article.search_gflop})
    assert 64 / (200 * step) == pytest.approx(5.4, rel=0.02)


def test_the_time_on_the_clock_follows_what_waits_for_what_and_what_is_free():
    """Two chains: a (3 s) then b (4 s), and c (5 s) alone; d (1 s) reads all three."""
    jobs = [
        Job("a", outputs=("a",)),
        Job("b", outputs=("b",), inputs=("a", "code.py")),
        Job("c", outputs=("c",), threads=8),
        Job("d", outputs=("d",), inputs=("a", "b", "c")),
    ]
    seconds = [3.0, 4.0, 5.0, 1.0]
    assert planned_s(jobs, seconds, {}) == 8.0  # a, b and d; c beside them
    assert planned_s(jobs, seconds, {"cores": 1}) == 13.0
    assert planned_s(jobs, seconds, {"cores": 9}) == 8.0
    assert planned_s(jobs, seconds, {"cores": 2}) == 13.0  # c takes both
    assert planned_s([], [], {"cores": 2}) == 0.0
    cards = [Job("g", outputs=(str(i),), resources={"gpu": "1"}) for i in range(3)]
    assert planned_s(cards, [2.0] * 3, {"cores": 16, "gpu": 1}) == 6.0
    assert planned_s(cards, [2.0] * 3, {"jobs": 2}) == 4.0


def test_the_inputs_of_a_dry_run_are_those_of_its_jobs():
    job = parse(DRY_RUN)[0]
    assert job.inputs == ("results/a/cells.ome.tif", "results/a/cells.parquet")


def test_the_clock_of_a_finished_run_leaves_out_the_time_between_two_starts(tmp_path):
    for name, end, seconds in (("a", 100, 10.0), ("b", 105, 10.0), ("c", 500, 20.0)):
        path = tmp_path / "rule" / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"s\tmax_rss\n{seconds}\t1\n")
        os.utime(path, (end, end))
    assert measured_s(tmp_path) == pytest.approx(15 + 20)
    assert measured_s(tmp_path / "none") == 0.0
