import subprocess
import sys

import pytest
import torch

from rls.device import main
from rls.runtime.device import choose_device, choose_precision, has_fast_bfloat16, tensor_float32
from rls.runtime.errors import InputError


def test_the_choice_is_printed_and_sets_the_threads(capsys):
    before = torch.get_num_threads()
    assert choose_device("cpu", 1).type == "cpu"
    assert torch.get_num_threads() == 1 and not torch.backends.cudnn.allow_tf32
    assert "device: cpu (1 threads)" in capsys.readouterr().out
    torch.set_num_threads(before)


def test_precision_auto_follows_the_device(capsys):
    cpu = torch.device("cpu")
    assert choose_precision("bfloat16", cpu, "training") == "bfloat16"
    chosen = choose_precision("auto", cpu, "training")
    assert (chosen == "bfloat16") == has_fast_bfloat16(cpu)
    assert f"precision of the training: {chosen}" in capsys.readouterr().out


def test_cuda_without_a_device_fails_in_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="finds no CUDA device"):
        choose_device("cuda", 1)
    assert choose_device("auto", 1).type == "cpu"


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="expected auto, cpu or cuda"):
        choose_device("gpu", 1)


def test_freed_memory_is_kept_for_the_next_step():
    """Count the page faults of 20 more buffers of 32 MiB, one after the other."""
    program = """
import resource, sys, torch
from rls.runtime.device import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(20):
    torch.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", program, mode], check=True, capture_output=True
            ).stdout
        )
        for mode in ("plain", "keep")
    ]
    assert faults[1] < faults[0] / 10, faults


def test_the_command_prints_what_a_bug_report_needs(capsys):
    main([])
    said = capsys.readouterr().out
    assert f"torch {torch.__version__}" in said and "auto would use " in said


def test_tensor_float32_holds_inside_and_the_flags_come_back() -> None:
    def flags() -> tuple[bool, bool, bool]:
        return (
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.enabled,
        )

    before = flags()
    with tensor_float32(True):
        assert flags() == (True, False, before[2])
        with tensor_float32(False, products=True):
            assert flags() == (False, True, before[2])
        assert flags() == (True, False, before[2])
        with pytest.raises(KeyError), tensor_float32(False):
            raise KeyError
    assert flags() == before
