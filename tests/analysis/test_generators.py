"""The generators that come with the program: their list, and how they are trained anew."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from analysis import generators as command
from analysis.plan.costs import hours
from analysis.plan.jobs import planned_jobs
from analysis.run.rates import Machine
from analysis.run.sizes import flow_weights
from analysis.run.values import assay_factors, expand_folder, read_config, section_values
from analysis.shipped import training
from analysis.shipped.listing import FILE, choose, read_list
from analysis.shipped.training import Plan
from rls.io import read_weights
from rls.pretrained.export import LARGEST_MB
from rls.runtime.errors import InputError
from rls.runtime.stopping import Stopped
from tests.conftest import ROOT

SHIPPED = read_list()
ENTRY = {
    "title": "A toy",
    "about": "Trained in seconds.",
    "configfiles": ["config/smoke.yaml"],
    "assay": "translocation",
    "ends_with": "generator.safetensors",
}


def written(path, **entries):
    path.write_text(yaml.safe_dump(entries))
    return path


def test_the_list_holds_every_model_of_the_program_and_no_other():
    folders = {path.name for path in FILE.parent.iterdir() if path.is_dir()}
    # Those that only measurements use lie apart, and a page of their own says what they are.
    apart = FILE.parent / "candidates"
    assert folders - {apart.name} == {one.name for one in SHIPPED}
    page = (apart / "README.md").read_text()
    assert all(f"`{path.name}`" in page for path in apart.iterdir() if path.is_dir())
    for one in SHIPPED:
        assert one.folder == ROOT / "models" / one.name
        card = (one.folder / "README.md").read_text()
        assert card.startswith(f"# {one.title}\n"), one.name
        assert f"`make generators ONLY={one.name}`" in card, one.name


@pytest.fixture
def stand_in_data(tmp_path, monkeypatch):
    """RLS_REAL_DATA names a folder with an empty file for each that the configurations name."""
    monkeypatch.setenv("RLS_REAL_DATA", str(tmp_path))
    for one in SHIPPED:
        block = read_config(one.configfiles)["assays"][one.assay]
        for key in ("sheet", "crops"):
            if "$" in block.get(key, ""):
                path = Path(expand_folder(block[key]))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()


@pytest.mark.workflow
@pytest.mark.parametrize("one", SHIPPED, ids=lambda one: one.name)
def test_every_listed_generator_is_trained_and_becomes_a_model_for_other_peoples_cells(
    one, stand_in_data, tmp_path
):
    jobs = planned_jobs(one.configfiles, tmp_path / "run", one.targets, device="cuda")
    trained = [job for job in jobs if job.rule == "train_gan"]
    assert [job.wildcards["assay"] for job in trained] == [one.assay]
    assert trained[0].on_gpu and trained[0].threads >= 1
    assert one.ends_with == "trust.json"
    planned = [job.rule for job in jobs]
    config = read_config(one.configfiles)
    factors = assay_factors(config["assays"][one.assay], config["run"]["factors"])
    assert len(factors) == 2
    # An encoder for each factor, and trust of the article's search and of that from the encoder.
    wanted = {"fit_flow": 1, "train_encoder": 2, "measure_trust": 2, "gather_trust": 1}
    assert {rule: planned.count(rule) for rule in wanted} == wanted


def test_a_listed_generator_starts_from_nothing_or_from_one_that_stands_before_it():
    made = ["none"]
    for one in SHIPPED:
        assert read_config(one.configfiles)["assays"][one.assay].get("init_from", "none") in made
        made.append(f"models/{one.name}")


@pytest.mark.parametrize("one", SHIPPED, ids=lambda one: one.name)
def test_the_flow_of_a_listed_generator_is_small_enough_to_come_with_it(one):
    config = read_config(one.configfiles)
    flow, gan = (section_values(config, name, one.assay) for name in ("fit_flow", "train_gan"))
    weights = flow_weights(gan["w_dim"], flow["hidden"], flow["n_blocks"])
    assert 4e-6 * weights < LARGEST_MB  # 4 bytes each


@pytest.mark.parametrize("one", SHIPPED, ids=lambda one: one.name)
def test_a_model_was_trained_with_the_settings_of_its_configuration(one):
    """The header has what was used; a key that one of the two leaves open is not compared."""
    header = read_weights(one.folder / "generator.safetensors", kind="generator")[1]["settings"]
    values = section_values(read_config(one.configfiles), "train_gan", one.assay)
    both = {key for key in values if values[key] is not None and header.get(key) is not None}
    # A first stage may have been a training of its own, whose length its card says.
    both -= {"device", "threads", "grow_kimg"}
    assert len(both) >= 15
    assert {key: values[key] for key in both} == {key: header[key] for key in both}


def test_real_cells_are_left_out_with_a_sentence_where_their_folder_is_not_named(monkeypatch):
    monkeypatch.setenv("RLS_REAL_DATA", "/data")
    assert choose(SHIPPED, []) == (SHIPPED, [])
    monkeypatch.delenv("RLS_REAL_DATA")
    chosen, (sentence,) = choose(SHIPPED, [])
    assert [one.name for one in SHIPPED if one not in chosen] == ["bbbc021_64px"]
    assert sentence.startswith("bbbc021_64px is left out: ") and "RLS_REAL_DATA" in sentence
    with pytest.raises(InputError, match="No generator is left to train. bbbc021_64px is left out"):
        choose(SHIPPED, ["bbbc021_64px"])
    with pytest.raises(InputError, match="no generator 'golgi' in the list.*golgi_64px"):
        choose(SHIPPED, ["golgi"])
    assert [one.name for one in choose(SHIPPED, ["golgi_64px"])[0]] == ["golgi_64px"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**ENTRY, "tilte": "A"}, "holds no list of generators.*title, about"),
        ({"title": "A"}, "holds no list of generators.*title, about"),
        ("text", "holds no list of generators"),
        ({**ENTRY, "assay": "golgy"}, "toy is of the assay 'golgy'"),
        ({**ENTRY, "configfiles": ["config/none.yaml"]}, "none.yaml does not exist"),
    ],
)
def test_a_faulty_list_is_refused(entry, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_list(written(tmp_path / "models.yaml", toy=entry))


class Endless:
    """A training that ends only when it is asked to."""

    def __init__(self, generator, plan):
        self.generator, self.ended = generator, False
        made.append(self)

    def stop(self):
        self.ended = True

    def wait(self):
        assert self.ended


made: list[Endless] = []


@pytest.mark.parametrize(("at_once", "begun"), [(1, 1), (len(SHIPPED), len(SHIPPED))])
def test_at_the_time_limit_all_trainings_are_asked_to_save_and_end(at_once, begun, monkeypatch):
    monkeypatch.setattr(training, "Training", Endless)
    monkeypatch.setattr(training, "LOOK_S", 0.01)
    monkeypatch.setenv("RLS_STOP_AFTER_MINUTES", "1e-3")
    made.clear()
    n = len(SHIPPED)
    with pytest.raises(Stopped, match=f"before the limit .* with {n} of {n} generators to go on"):
        training.train(Plan(SHIPPED, Path("runs"), "cpu", 2, at_once))
    assert len(made) == begun and all(one.ended for one in made)


@pytest.fixture
def toys(tmp_path):
    """A list of a toy and of one that fails, and the command that trains them."""
    settings = {"total_kimg": 0.4, "tick_kimg": 0.05, "checkpoint_kimg": 0.4, "evaluate_kimg": 0.4}
    overlay, fault = tmp_path / "toy.yaml", tmp_path / "fault.yaml"
    overlay.write_text(yaml.safe_dump({"train_gan": settings}))
    fault.write_text(
        yaml.safe_dump({"select_cells": {"cells_gan": 99_999, "on_few_cells": "stop"}})
    )
    path = written(
        tmp_path / "models.yaml",
        toy={**ENTRY, "configfiles": ["config/smoke.yaml", str(overlay)]},
        fault={**ENTRY, "configfiles": ["config/smoke.yaml", str(fault)]},
    )
    arguments = ["--list", str(path), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    return [sys.executable, "-m", "analysis.generators", *arguments]


@pytest.mark.workflow
def test_a_toy_is_killed_goes_on_and_has_a_card_beside_one_that_fails(toys, tmp_path):
    with subprocess.Popen(
        [*toys, "--only", "toy"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("toy: train_gan: 0.0"):
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 75, said
    text = "".join(said)
    assert text.index("One after the other") < text.index("toy: simulate_plate")
    assert "stopped: generators stopped on SIGTERM" in text
    assert not (tmp_path / "toy").exists()
    done = subprocess.run([*toys, "--at-once", "2"], text=True, capture_output=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^toy: train_gan: goes on at 0\.\d+ kimg$", done.stdout, re.M), done.stdout
    assert "error: fault failed: its logs are in" in done.stderr
    assert not (tmp_path / "fault").exists()
    card = (tmp_path / "toy" / "README.md").read_text()
    for fact in ("# A toy", "Trained in seconds.", "| images seen | 400 |", "ONLY=toy`"):
        assert fact in card, fact
    _, header = read_weights(tmp_path / "toy" / "generator.safetensors", kind="generator")
    assert header["digest"] in card


@pytest.mark.workflow
def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, capsys):
    path = written(tmp_path / "models.yaml", toy=ENTRY)
    arguments = ["--list", str(path), "--runs", str(tmp_path / "runs"), "--dry-run"]
    command.main([*arguments, "--device", "cpu"])
    text = capsys.readouterr().out
    assert (
        re.search(r"^toy +\d+ .* measured(, assumed)?$", text, re.M)
        and "One after the other" in text
    )
    assert [item.name for item in tmp_path.iterdir()] == ["models.yaml"]


@pytest.mark.workflow
def test_side_by_side_takes_as_long_as_the_longest_or_longer(tmp_path, capsys):
    listed = read_list(written(tmp_path / "models.yaml", a=ENTRY, b=ENTRY))
    machine = Machine.read(device="cuda")
    plan, failed = training.planned(Plan(listed, tmp_path / "runs", "cuda", 2, 3), machine)
    text = capsys.readouterr().out
    assert failed == [] and plan.at_once == 2
    assert "2 side by side" in text and "H200" in text and "measured (GPU)" in text
    cost = plan.cost(listed[0], machine)
    assert cost.gpu_s > 0
    assert f"{hours(cost.wall_s)} if they" in text and f"than {hours(2 * cost.wall_s)}" in text


@pytest.mark.workflow
def test_what_cannot_run_is_said_before_the_others_begin(tmp_path, capsys):
    lost = {"translocation": {"source": "sheet", "sheet": str(tmp_path / "none.csv")}}
    overlay = written(tmp_path / "lost.yaml", assays=lost)
    lost = {**ENTRY, "configfiles": ["config/smoke.yaml", str(overlay)]}
    listed = read_list(written(tmp_path / "models.yaml", lost=lost, toy=ENTRY))
    plan = Plan(listed, tmp_path / "runs", "cpu", 2, 1)
    plan, (sentence,) = training.planned(plan, Machine.read())
    assert [one.name for one in plan.generators] == ["toy"]
    assert sentence.startswith("lost cannot be trained: ") and "none.csv" in sentence
    assert capsys.readouterr().out.index(sentence) >= 0
    with pytest.raises(InputError, match="lost cannot be trained"):
        training.planned(replace(plan, generators=listed[:1]), Machine.read())
