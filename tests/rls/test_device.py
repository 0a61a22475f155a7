import pytest
import torch

from rls.device import choose_device
from rls.errors import InputError


def test_the_choice_is_printed_and_sets_the_threads(capsys):
    before = torch.get_num_threads()
    assert choose_device("cpu", 1).type == "cpu"
    assert torch.get_num_threads() == 1
    assert "device: cpu (1 threads)" in capsys.readouterr().out
    torch.set_num_threads(before)


def test_cuda_without_a_device_fails_in_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="finds no CUDA device"):
        choose_device("cuda", 1)
    assert choose_device("auto", 1).type == "cpu"


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="expected auto, cpu or cuda"):
        choose_device("gpu", 1)
