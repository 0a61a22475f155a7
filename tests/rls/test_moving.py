"""A training goes on with other threads and on another machine, and says what that costs."""

from __future__ import annotations

import json

import pytest
import torch

from rls import pack_training
from rls.io import read_table, read_weights
from rls.runtime import device
from rls.runtime.checkpoint import StateFolder, identity_digest
from rls.runtime.errors import InputError
from rls.runtime.siblings import read_identity
from rls.stylegan2 import trainer
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.networks import Generator
from rls.stylegan2.packed_state import FILE_BYTES, load_average, pack, unpack
from tests.conftest import ROOT
from tests.rls.test_distributed import flattened
from tests.rls.test_train_gan import assert_equal, trained, weights_in
from tests.rls.test_train_gan import cells as cells  # a fixture

SHORT, LONG = {"total_kimg": 0.06}, {"total_kimg": 0.072}  # 15 steps, and 3 more


def only_state(folder):
    (state,) = (folder / "state").glob("train_gan-*")
    return state


def test_a_training_goes_on_with_other_threads(cells, tmp_path, capsys):
    trained(cells, tmp_path, total_kimg=0.008)
    capsys.readouterr()
    try:
        trained(cells, tmp_path, total_kimg=0.012, threads=2)
    finally:
        torch.set_num_threads(1)
    said = capsys.readouterr().out
    assert "train_gan: threads is 2, was 1 at the last checkpoint: the rest is not" in said
    assert "goes on at 0.01 kimg" in said and "begins anew" not in said
    only_state(tmp_path)


def test_a_training_goes_on_where_auto_is_another_precision(cells, tmp_path, capsys, monkeypatch):
    for fast, length in ((False, 0.008), (True, 0.012)):
        monkeypatch.setattr(device, "has_fast_bfloat16", lambda where, fast=fast: fast)
        trained(cells, tmp_path, total_kimg=length, precision="auto")
    assert "train_gan: precision is bfloat16, was float32 at the last" in capsys.readouterr().out
    trained(cells, tmp_path, total_kimg=0.004, precision="float32")
    assert "begins anew: precision is float32, was auto in" in capsys.readouterr().out


def test_a_checkpoint_says_whether_the_networks_were_compiled_in_the_end(
    cells, tmp_path, capsys, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "why_not_compiled", lambda _: "")
        patch.setattr(trainer, "compile_networks", lambda _: "R1 differs")
        trained(cells, tmp_path, total_kimg=0.008)
    assert "networks compiled: no, R1 differs" in capsys.readouterr().out
    trained(cells, tmp_path, total_kimg=0.012)
    assert "compiled is" not in capsys.readouterr().out


def test_the_average_of_a_training_that_goes_on_is_that_which_it_will_write(cells, tmp_path):
    trained(cells, tmp_path, total_kimg=0.008)
    facts = {"channels": ["dna", "nfkb"], "pixel_size_um": 1.0}
    found = load_average(tmp_path / "state", facts, torch.device("cpu"))
    written, header = read_weights(tmp_path / "generator.safetensors", kind="generator")
    assert_equal(found.state_dict(), written)
    assert found.header["images_seen"] == header["images_seen"]
    assert found.channels == ("dna", "nfkb") and not found.training


def test_a_training_that_begins_anew_says_what_differs(cells, tmp_path, capsys):
    trained(cells, tmp_path, total_kimg=0.008)
    first = only_state(tmp_path)
    trained(cells, tmp_path, total_kimg=0.008, seed=4)
    assert f"begins anew: seed is 4, was 3 in {first} (checkpoint 2)" in capsys.readouterr().out


def moved(cells, tmp_path):
    """Train 15 steps, finished in ``here``, and pack their state into ``moved``."""
    trained(cells, tmp_path / "here", **SHORT)
    pack_training.main(["--state", str(tmp_path / "here/state"), "--output", str(tmp_path / "m")])
    return ("--continue-from", str(tmp_path / "m"))


def test_a_packed_training_goes_on_without_a_jump(cells, tmp_path, capsys):
    """It stays as near to the training that stayed as rounding allows; fresh optimisers do not."""
    more = moved(cells, tmp_path)
    start = weights_in(tmp_path / "here")
    capsys.readouterr()
    packed = trained(cells, tmp_path / "there", *more, **LONG)
    said = capsys.readouterr().out
    assert "takes over step 15 from" in said and "goes on at 0.06 kimg" in said
    fresh = trained(
        cells, tmp_path / "fresh", "--init-from", str(tmp_path / "here"), total_kimg=0.012
    )
    stayed = trained(cells, tmp_path / "here", **LONG)

    def apart(a, b):
        names = [n for n in stayed if not n.startswith("average.") and n in start]
        return torch.stack([(a[n] - b[n]).double().square().sum() for n in names]).sum().sqrt()

    travelled = apart(stayed, start)
    assert apart(packed, stayed) < 0.01 * travelled
    assert apart(fresh, stayed) > 0.3 * travelled
    here, there = (
        read_table(tmp_path / name / "generator.training.csv", columns=["kimg", "r1"])
        for name in ("here", "there")
    )
    assert list(here.columns) == list(there.columns)
    assert here["kimg"].equals(there["kimg"]), "rows moved, too"

    trained(cells, tmp_path / "there", total_kimg=0.08)
    assert "goes on at 0.07 kimg" in capsys.readouterr().out, "from its own checkpoints now"


def test_the_further_of_file_and_checkpoint_goes_on(cells, tmp_path, capsys):
    more = moved(cells, tmp_path)
    trained(cells, tmp_path / "there", total_kimg=0.008)
    trained(cells, tmp_path / "there", *more, **LONG)
    assert "goes on at 0.06 kimg" in capsys.readouterr().out
    again = trained(cells, tmp_path / "there", *more, **LONG)
    assert "m is at step 15, which is no further" in capsys.readouterr().out
    assert_equal(again, weights_in(tmp_path / "there"))


def test_files_that_do_not_fit_are_refused(cells, tmp_path):
    more = moved(cells, tmp_path)
    with pytest.raises(InputError, match="another training in .*: learning_rate is 0.001, was"):
        trained(cells, tmp_path / "b", *more, learning_rate=0.001)
    (file,) = (tmp_path / "m").iterdir()
    file.rename(file.with_name("training_state.1-of-2.safetensors"))
    with pytest.raises(InputError, match="Found 0 files"):
        unpack(tmp_path)
    with pytest.raises(InputError, match="one folder train_gan-"):
        pack_training.main(["--state", str(tmp_path / "m"), "--output", str(tmp_path / "x")])


def as_earlier_version(state):
    """Give a state folder the name and the identity that an earlier version gave it."""
    identity = read_identity(state)[0]
    identity |= {"threads": 8, "device": "auto", "precision": "float32"}
    del identity["draws"]
    old = state.with_name(f"train_gan-{identity_digest(identity)}")
    state.rename(old)
    (old / "identity.json").write_text(json.dumps(identity))
    return old


def test_a_state_of_an_earlier_version_is_refused_and_goes_on_once_packed(cells, tmp_path, capsys):
    trained(cells, tmp_path, **SHORT)
    old = as_earlier_version(only_state(tmp_path))
    with pytest.raises(InputError, match=r"\(checkpoint 15\) in .* in another order") as refused:
        trained(cells, tmp_path, **LONG)
    assert str(old) in str(refused.value)
    only_state(tmp_path)
    trained(cells, tmp_path, seed=4, total_kimg=0.004)  # it is another training
    pack_training.main(["--state", str(old), "--output", str(tmp_path / "m")])
    trained(cells, tmp_path, "--continue-from", str(tmp_path / "m"), **LONG)
    assert "goes on at 0.06 kimg" in capsys.readouterr().out
    trained(cells, tmp_path, total_kimg=0.08)
    assert "goes on at 0.07 kimg" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["translocation_32px", "golgi_64px", "bbbc021_64px"])
def test_files_of_the_small_networks_are_under_12_mb(tmp_path, model):
    """A state of the shipped sizes comes back with weights exact and moments to 0.4 %."""
    header = read_weights(ROOT / "models" / model / "generator.safetensors")[1]
    architecture = Architecture(**header["architecture"])
    generator, discriminator = Generator(architecture), Discriminator(architecture)
    state = {"step": 7, "augment_p": 0.1, "path_mean": torch.tensor(0.3), "signs": torch.ones(2)}
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        state[name] = network.state_dict()
        state[f"{name}_optimizer"] = {
            i: {
                "step": torch.tensor(7.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.exp(-3 * torch.randn_like(parameter).abs()) * 1e-12,
            }
            for i, parameter in enumerate(network.parameters())
        }
    state["average"] = generator.state_dict()
    rows = [{"kimg": float(i), "r1": 0.1, "kd": float("nan")} for i in range(1000)]
    with StateFolder(tmp_path, "train_gan", {"batch_size": 4}) as folder:
        folder.save(7, {"trainer": state, "rows": rows})
    files, _ = pack(folder.folder, tmp_path / "m")
    assert len(files) <= 2 and max(file.stat().st_size for file in files) < FILE_BYTES
    found, packed = unpack(tmp_path / "m")
    assert packed["rows"] == json.dumps(rows)
    if len(files) > 1:
        files[1].rename(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="2-of-2"):
            unpack(tmp_path / "m")
    old, new = flattened(state), flattened(found)
    assert old.keys() == new.keys()
    for name, value in old.items():
        tolerance = 2**-8 if name.endswith("exp_avg_sq") else 0
        torch.testing.assert_close(new[name], value, rtol=tolerance, atol=0, msg=name)
