"""A computation that begins anew says what differs; one that goes on elsewhere says so."""

from __future__ import annotations

import dataclasses
import json

from rls import measure_trust
from rls.networks import classifier_settings as classifier
from rls.networks import pix2pix_settings as pix2pix
from rls.prior import settings as prior
from rls.runtime.checkpoint import StateFolder
from rls.runtime.siblings import differences, read_identity
from rls.search.settings import NOT_IN_RESULT
from rls.stylegan2 import settings as train_gan

DIGEST = "0123456789abcdef0123456789abcdef"


def begin(root, identity, output="results/a.out", step=None, name="train", **more):
    """Enter a state folder and leave a checkpoint in it."""
    with StateFolder(root, name, identity, output=output, **more) as state:
        if step is not None:
            state.save(step, {})
        return state.folder


def test_the_differences_to_the_nearest_state_of_the_output_are_named(tmp_path, capsys):
    root = tmp_path / "state"
    first = {"batch_size": 16, "own": {"lambda_w": 0.5, "steps": 9}, "data": DIGEST, "noise": None}
    begin(root, {**first, "own": {}, "batch_size": 1}, step=7)
    old = begin(root, first, step=390)
    capsys.readouterr()
    begin(root, {**first, "own": {"lambda_w": 0.1, "steps": 9}, "data": DIGEST[::-1]}, step=1)
    assert capsys.readouterr().out == (
        "train: begins anew: own.lambda_w is 0.1, was 0.5; data is fedcba9876..., was "
        f"0123456789... in {old} (checkpoint 390)\n"
    )


def test_finished_batches_count_as_a_state(tmp_path, capsys):
    folder = begin(tmp_path, {"steps": 100})
    for i in range(2):
        (folder / f"batch-{i:06d}.safetensors").touch()
    begin(tmp_path, {"steps": 200})
    said = capsys.readouterr().out
    assert said.endswith(f"steps is 200, was 100 in {folder} (2 finished batches)\n")


def test_nothing_is_said_where_nothing_is_lost(tmp_path, capsys):
    """Other outputs, other commands, states without a checkpoint, resumed states, readers."""
    root = tmp_path / "state"
    begin(root, {"a": 1}, output="results/b.out", step=1)
    begin(root, {"a": 1}, output=None, step=1, name="older")
    begin(root, {"a": 2}, output="results/b.out", step=1, name="train_more")
    begin(root, {"a": 3})
    begin(root, {"a": 4}, step=5)
    begin(root, {"a": 4}, step=6)
    begin(root, {"a": 5}, step=6, name="older")
    assert capsys.readouterr().out == ""
    begin(root, {"a": 6}, writes=False)
    assert capsys.readouterr().out == ""
    begin(root, {"a": 6})
    assert "a is 6, was 4" in capsys.readouterr().out


def test_a_run_folder_may_be_moved(tmp_path, capsys):
    begin(tmp_path / "here" / "state", {"a": 1}, output=tmp_path / "here" / "a.out", step=5)
    (tmp_path / "here").rename(tmp_path / "there")
    begin(tmp_path / "there" / "state", {"a": 2}, output=tmp_path / "there" / "a.out")
    assert "a is 2, was 1" in capsys.readouterr().out


def test_an_identity_is_read_back_also_as_earlier_versions_wrote_it(tmp_path):
    folder = begin(tmp_path / "state", {"a": 1}, output=tmp_path / "a.out")
    assert read_identity(folder) == ({"a": 1}, "../a.out")
    (folder / "identity.json").write_text(json.dumps({"a": 1}))
    assert read_identity(folder) == ({"a": 1}, None)
    assert read_identity(tmp_path) == ({}, None)


def test_keys_that_one_side_lacks_differ():
    assert differences({"a": 1, "b": [1, 2]}, {"b": (1, 2), "c": None}) == [
        "c is none, was absent",
        "a is absent, was 1",
    ]


def test_a_state_of_another_machine_goes_on_and_says_so(tmp_path, capsys):
    def load(threads):
        with StateFolder(tmp_path, "train", {}, machine={"threads": threads}) as state:
            payload = state.load()
            state.save(1, {"w": threads})
        return payload, capsys.readouterr().out

    assert load(1) == (None, "")
    assert load(1) == ({"w": 1}, "")
    payload, said = load(2)
    assert payload == {"w": 1}
    assert said == (
        "train: threads is 2, was 1 at the last checkpoint: the rest is not bit-equal to a "
        "training that had stayed\n"
    )
    assert load(2) == ({"w": 2}, "")


def test_no_settings_that_name_a_state_hold_the_machine():
    lists = (train_gan.MAY_CHANGE, prior.MAY_CHANGE, pix2pix.MAY_CHANGE, classifier.MAY_CHANGE)
    assert all({"device", "threads"} <= set(names) for names in lists)
    values = {field.name: 1 for field in dataclasses.fields(measure_trust.Settings)}
    names = set(measure_trust.Settings(**values).identity())
    assert names == values.keys() - set(NOT_IN_RESULT)
    assert {"device", "threads"} <= set(NOT_IN_RESULT)
