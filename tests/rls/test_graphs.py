"""Functions that are recorded and replayed, by a recorder that works on a CPU."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
import torch

from rls.runtime.errors import GRAPHS_OFF, GraphError
from rls.runtime.graphs import WARM_UP, Recorder, Replayed, why_not
from tests.rls.recorded_on_cpu import RecordedOnCpu

CUDA = torch.device("cuda")


def test_reasons_against_graphs_are_said(monkeypatch):
    monkeypatch.delenv(GRAPHS_OFF, raising=False)
    assert why_not(torch.device("cpu"), "auto", 1) == "the device is cpu"
    assert why_not(CUDA, "off", 1) == "cuda_graphs is off"
    assert "2 processes" in why_not(CUDA, "auto", 2)
    assert why_not(CUDA, "auto", 1) == ""
    monkeypatch.setenv(GRAPHS_OFF, "a capture failed before")
    assert why_not(CUDA, "auto", 1) == "a capture failed before"
    assert Recorder(torch.device("cpu")).describe("steps") == (
        "steps in CUDA graphs: no, the device is cpu"
    )


def train(recorder: Recorder, n_steps: int):
    """Return the weights of a small regression after some steps of fused Adam."""
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x, total = torch.zeros(5, 3), torch.zeros(())
    adam = torch.optim.Adam(network.parameters(), 0.01, fused=True)

    def step():
        adam.zero_grad(set_to_none=True)
        loss = (network(x) - x.sum(dim=1, keepdim=True)).square().mean()
        loss.backward()
        adam.step()
        total.add_(loss.detach())

    replayed = Replayed("step", step, recorder, after=lambda: adam.zero_grad(set_to_none=True))
    random = torch.Generator().manual_seed(2)
    for _ in range(n_steps):
        x.normal_(generator=random)
        replayed()
    return [p.detach().clone() for p in network.parameters()] + [total]


def test_a_replayed_training_is_equal_bit_for_bit():
    eager, recorded = train(Recorder(torch.device("cpu")), 9), train(RecordedOnCpu(), 9)
    assert all(torch.equal(a, b) for a, b in zip(eager, recorded, strict=True))


def test_a_number_that_python_chose_is_frozen_in_the_recording():
    """The recorder of these tests would be of no use if it were not as strict as CUDA."""
    total, factor = torch.zeros(()), [1.0]
    replayed = Replayed("f", lambda: total.add_(factor[0]), RecordedOnCpu())
    for value in (1.0, 1.0, 1.0, 1.0, 100.0):
        factor[0] = value
        replayed()
    assert total.item() == 5.0


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum().item(),
        lambda x: x.add_(torch.randn(2)),
        lambda x: x.add_(torch.tensor([1.0, 2.0])),
    ],
)
def test_what_cuda_cannot_record_is_refused_by_name(function):
    x = torch.zeros(2)
    replayed = Replayed("the phase R1", lambda: function(x), RecordedOnCpu())
    for _ in range(WARM_UP):
        replayed()
    assert replayed.is_due
    with pytest.raises(GraphError, match="graph of the phase R1 could not be made .*not permitted"):
        replayed()


class FakeStream:
    """A CUDA stream that only notes which streams it waited for."""

    def __init__(self, *_):
        self.waited = []

    def wait_stream(self, other):
        self.waited.append(other)


@pytest.mark.parametrize("error", [None, GraphError])
def test_work_on_the_recorders_stream_stands_between_what_comes_before_and_after(
    monkeypatch, error
):
    """Every time it is entered, and a failure leaves the broken stream alone."""
    outside = FakeStream()
    monkeypatch.delenv(GRAPHS_OFF, raising=False)
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: outside)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    recorder = Recorder(CUDA)
    for _ in range(2):
        with contextlib.suppress(GraphError), recorder.stream():
            if error:
                raise error("R1", "a reason")
    assert recorder._stream.waited == [outside] * 2
    assert outside.waited == ([] if error else [recorder._stream] * 2)


class EndFails(RecordedOnCpu):
    """As on a GPU, the end of a recording in which an operation was refused raises, too."""

    def record(self, function):
        try:
            return super().record(function)
        except RuntimeError:
            raise RuntimeError("operation failed due to a previous error during capture") from None


def test_the_reason_is_the_first_error_of_a_recording():
    replayed = Replayed("f", lambda: torch.ones(1).item(), EndFails())
    for _ in range(WARM_UP):
        replayed()
    with pytest.raises(GraphError, match="not permitted when stream is capturing: _local_scalar"):
        replayed()


PROGRAM = """
import os, sys
from pathlib import Path
from rls.runtime.checkpoint import StateFolder
from rls.runtime.command import run
from rls.runtime.errors import GRAPHS_OFF, GraphError
from rls.runtime.locks import hold_outputs

def main():
    folder = Path(sys.argv[1])
    hold_outputs({"output": folder / "out.txt"})
    with StateFolder(folder / "state", "x", {"a": 1}):
        if not os.environ.get(GRAPHS_OFF):
            raise GraphError("the phase R1", "a reason")
        print("goes on without:", os.environ[GRAPHS_OFF])

if __name__ == "__main__":
    run(main)
"""


def test_after_a_failed_recording_the_command_starts_itself_again_without_graphs(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != GRAPHS_OFF}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "goes on without: a CUDA graph of the phase R1 could not be made" in done.stdout
    assert done.stderr.startswith("warning: a CUDA graph of the phase R1 could not be made (a rea")
    state = next((tmp_path / "state").iterdir())
    assert not (state / "failures.json").exists(), "it is no failure of the work"
    assert json.loads((state / "identity.json").read_text())["identity"] == {"a": 1}
