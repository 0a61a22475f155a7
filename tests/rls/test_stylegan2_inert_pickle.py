"""Hostile, bloated and broken pickles are refused in a sentence, and nothing in them is run."""

from __future__ import annotations

import importlib
import io
import operator
import os
import pickle
import subprocess
import sys

import pytest
import torch

from rls.import_nvlabs import main
from rls.io import inert_pickle
from rls.runtime.errors import InputError
from rls.stylegan2 import nvlabs
from rls.stylegan2.networks import Generator
from rls.stylegan2.recorded_network import read_network
from tests.rls.nvlabs_stand_ins import SIZES, install_reference, snapshot_of


@pytest.fixture
def reference(monkeypatch):
    install_reference(monkeypatch)


class Call:
    """An object that is pickled as the call of a function, as in a hostile pickle."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args

    def __call__(self):
        """Do nothing; it makes the result of a call callable in a pickle."""


def within_a_tensor(content):
    return Call(torch.storage._load_from_bytes, content)


def saved(value, *, zipped=False):
    target = io.BytesIO()
    torch.save(value, target, _use_new_zipfile_serialization=zipped)
    return target.getvalue()


def touch(marker):
    return f"touch '{marker}'"


def run_text(marker):
    return f"open({str(marker)!r}, 'w').close()"


def system(marker):
    """Return a call of os.system that is reached by harmless functions."""
    return Call(Call(getattr, Call(importlib.import_module, "os"), "system"), touch(marker))


# From the global that must be named (the first that is met) to the pickled object.
HOSTILE = {
    "posix.system": lambda m: Call(os.system, touch(m)),
    "builtins.eval": lambda m: Call(eval, run_text(m)),
    "builtins.exec": lambda m: Call(exec, run_text(m)),
    "subprocess.check_call": lambda m: Call(subprocess.check_call, ["touch", str(m)]),
    f"{open.__module__}.open": lambda m: Call(open, str(m), "w"),  # io, or _io from Python 3.13 on
    "builtins.getattr": system,
    "operator.attrgetter": lambda m: Call(
        Call(operator.attrgetter("system"), Call(importlib.import_module, "os")), touch(m)
    ),
    "_pickle.loads": lambda m: Call(pickle.loads, pickle.dumps(Call(os.system, touch(m)))),
}
HOSTILE_NUMBERS = {
    "'posix.system' within the numbers": lambda m: saved(Call(os.system, touch(m))),
    "eval' within the numbers": lambda m: saved([torch.ones(2), Call(eval, run_text(m))]),
    "getattr' within the numbers": lambda m: saved(system(m)),
    "torch did not write": lambda m: saved(Call(os.system, touch(m)), zipped=True),
}


def assert_refused_and_not_run(folder, snapshot, protocol, message):
    """Check that the import names the fault and leaves no mark, where pickle.loads leaves one."""
    marker, output = folder / "marker", folder / "g.safetensors"
    content = pickle.dumps(snapshot, protocol)
    (folder / "net.pkl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        main([str(folder / "net.pkl"), str(output)])
    assert not marker.exists() and not output.exists()
    pickle.loads(content)
    assert marker.exists()
    marker.unlink()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_would_run_something_is_refused_by_name(tmp_path, name, protocol):
    payload = HOSTILE[name](tmp_path / "marker")
    if protocol == 2:  # pickled under Python 2's names
        for new, old in (("builtins", "__builtin__"), ("subprocess", "commands"), ("_p", "p")):
            name = name.replace(new, old)
    message = f"the global '{name}', expected"
    assert_refused_and_not_run(tmp_path, {"G_ema": payload}, protocol, message)
    assert_refused_and_not_run(tmp_path, {"more": [{"deep": (payload,)}]}, protocol, message)


@pytest.mark.parametrize("message", HOSTILE_NUMBERS)
def test_a_call_within_the_numbers_of_a_tensor_is_refused(tmp_path, message):
    content = HOSTILE_NUMBERS[message](tmp_path / "marker")
    assert_refused_and_not_run(tmp_path, {"G_ema": within_a_tensor(content)}, 4, message)


def test_a_call_deep_in_a_good_snapshot_is_refused(tmp_path, reference):
    marker = tmp_path / "marker"
    snapshot, _ = snapshot_of(SIZES, marker)
    exec(
        "def _reconstruct_persistent_obj(meta): pass", vars(sys.modules["torch_utils.persistence"])
    )
    snapshot["augment_pipe"].state["_forward_hooks"] = Call(os.system, touch(marker))
    assert_refused_and_not_run(tmp_path, snapshot, 4, "'posix.system', expected")


def test_the_source_in_a_module_is_not_run(tmp_path, reference):
    marker = tmp_path / "marker"
    snapshot, _ = snapshot_of(SIZES, marker)
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(snapshot))
    recorded_snapshot = inert_pickle.read_inert(tmp_path / "net.pkl")
    source = recorded_snapshot["G_ema"].args[0]["module_src"]
    network = read_network(recorded_snapshot, "G_ema", tmp_path / "net.pkl")
    nvlabs.build(Generator, nvlabs.recorded_architecture(network), network)
    assert not marker.exists()
    exec(source)
    assert marker.exists()


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


BY_HAND = {
    "INST": (b"\x80\x02(" + text("touch marker") + b"iposix\nsystem\n.", "'posix.system'"),
    "OBJ": (b"\x80\x02(cposix\nsystem\n" + text("touch marker") + b"o.", "'posix.system'"),
    "a persistent id": (b"\x80\x02" + text("elsewhere") + b"Q.", "outside the pickle"),
    "an extension": (b"\x80\x02\x82\x01.", "damaged"),
    "a name below an allowed one": (
        b"\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + b"\x93.",
        "'collections.OrderedDict.fromkeys'",
    ),
    "globals of an allowed function": (
        b"\x80\x04" + text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93.",
        "__globals__'",
    ),
    "attributes for a function": (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n}" + text("__call__") + b"Nsb.",
        "a function with a state",
    ),
    "attributes for a class": (
        b"\x80\x02ccollections\nOrderedDict\nN}" + text("__setitem__") + b"Ns\x86b.",
        "damaged",
    ),
    "attributes for a mapping": (
        b"\x80\x02ccollections\nOrderedDict\n)R}" + text("keys") + b"Nsb.",
        "a mapping with attributes",
    ),
    "an item for a class": (
        b"\x80\x02cdnnlib.util\nEasyDict\n" + text("keys") + b"Ns.",
        "damaged",
    ),
    "a call of a record": (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n)R" + text("touch marker") + b"\x85R.",
        "damaged",
    ),
    "a memo of 32 GB": (b"\x80\x02Nr\xff\xff\xff\x7f.", "memo 2147483647"),
    "bytes of 4 EB": (b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"x.", "damaged"),
    "a huge integer": (
        b"\x80\x02\x8b" + (5000).to_bytes(4, "little") + b"\x7f" * 5000 + b".",
        "64",
    ),
    "numbers that are text": (
        b"\x80\x02ctorch.storage\n_load_from_bytes\n" + text("x") + b"\x85R.",
        "torch did not write",
    ),
    "a state for numpy's scalar": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
        "'numpy.core.multiarray._reconstruct'",
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_opcodes_by_hand_are_refused_and_leave_the_stand_ins_as_they_were(
    tmp_path, monkeypatch, case
):
    monkeypatch.chdir(tmp_path)
    content, message = BY_HAND[case]
    before = {
        kind: dict(vars(kind))
        for kind in (inert_pickle.Recorded, inert_pickle.RecordedMapping, inert_pickle._Global)
    }
    (tmp_path / "net.pkl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        main(["net.pkl", "g.safetensors"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.pkl"]
    assert all(dict(vars(kind)) == attributes for kind, attributes in before.items())


def test_a_storage_that_claims_more_than_it_holds_is_refused(tmp_path, reference):
    storage = saved(
        torch.ones(300).untyped_storage()._typed() if False else torch.FloatStorage(300)
    )
    claimed = storage.replace(b"M\x2c\x01", b"\x8a\x06" + (1 << 46).to_bytes(6, "little"))
    assert claimed != storage
    for content in (claimed, storage[:-8]):
        snapshot = {"G_ema": within_a_tensor(content)}
        (tmp_path / "net.pkl").write_bytes(pickle.dumps(snapshot, 4))
        with pytest.raises(InputError, match="within the numbers"):
            main([str(tmp_path / "net.pkl"), str(tmp_path / "g.safetensors")])


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (2, 3), (4, 1)),  # the second row ends at number 6
        (3, (2, 2), (2, 1)),
        (0, (10**6,), (0,)),  # one number, a million times
        (0, (b"x", 2**33), (1, 1)),
        (0, (True, 2), (2, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (2, 1)),
        (0, (1,) * 9, (1,) * 9),
    ],
)
def test_tensors_that_do_not_lie_within_their_numbers_are_refused(offset, size, stride):
    with pytest.raises(ValueError):
        inert_pickle._check_extent(offset, size, stride, 6)
    inert_pickle._check_extent(0, (2, 3), (3, 1), 6)
    inert_pickle._check_extent(2, (2, 2), (1, 2), 6)


def test_what_was_recorded_is_named_without_being_followed():
    nested = ("x",)
    for _ in range(60):
        nested = (nested, nested)
    assert inert_pickle.excerpt(nested) == "a tuple"
    assert inert_pickle.excerpt("y" * 100) == "y" * 60
