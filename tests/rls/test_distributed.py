"""Compare two processes (gloo, CPU) with one on the joint batch, also under torchrun."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from rls.io import read_table
from rls.runtime.distributed import Processes
from tests.rls.test_train_gan import SETTINGS, arguments, weights_in
from tests.rls.test_train_gan import cells as cells  # a fixture

STEPS = 8
# Sums over two halves are rounded differently from sums over the whole. In float64 and without
# augmentations all agreed to 1e-9; the grids of the augmentations are float32, and their rounding
# depends on the margins.
ABSOLUTE, RELATIVE = 1e-8, 1e-5
PROGRAM = f"""
import dataclasses, sys, torch
from rls.runtime.distributed import started
from rls.stylegan2.training_images import TrainingImages
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.architecture import architecture_of
from tests.rls.test_stylegan2_training import CPU, SCALE, make_stack
from tests.rls.test_train_gan import SETTINGS

torch.set_num_threads(1)
settings = dataclasses.replace(SETTINGS, batch_size=8, augment_target=-0.9)
with started(CPU) as processes:
    data = TrainingImages(make_stack(n=12, side=24), SCALE, 16, seed=3)
    trainer = Trainer(settings, architecture_of(settings, 2), data, CPU, "float32", processes)
    for network in (trainer.generator, trainer.discriminator, trainer.average):
        network.double()
    trainer.path_mean = trainer.path_mean.double()
    for _ in range({STEPS}):
        trainer.run_step()
    trainer.gather()
    if processes.is_first:
        torch.save(trainer.state(), sys.argv[1])
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def flattened(state, prefix="") -> dict[str, torch.Tensor]:
    """Return the numbers and tensors of nested dicts by their path."""
    found = {}
    for key, value in state.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            found |= flattened(value, f"{name}.")
        else:
            found[name] = torch.as_tensor(value, dtype=torch.float64)
    return found


def test_two_processes_end_where_one_with_the_joint_batch_does(tmp_path):
    """Networks, average, optimisers, p, mean path length and statistics agree."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    states = []
    for name, launcher in (("one", [sys.executable]), ("two", TORCHRUN)):
        command = [*launcher, str(script), str(tmp_path / name)]
        subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
        states.append(flattened(torch.load(tmp_path / name)))
    one, two = states
    assert one.keys() == two.keys()
    for name, value in one.items():
        if name.startswith("sums"):  # they count the steps of both processes
            continue
        torch.testing.assert_close(two[name], value, atol=ABSOLUTE, rtol=RELATIVE, msg=name)
    assert one["augment_p"] > 0, "the adaptive part was not reached"
    assert one["path_mean"] > 0
    means = [x["sums"][[1, 2, 4, 6, 8, 9]] / x["sums"][[0, 0, 3, 5, 7, 7]] for x in (one, two)]
    torch.testing.assert_close(*means, atol=1e-6, rtol=1e-6)


def test_the_command_resumes_under_torchrun_after_one_process_was_killed(cells, tmp_path):
    program = [*TORCHRUN, "-m", "rls.train_gan"]
    endless = [*program, *arguments(cells, tmp_path, total_kimg=1e6)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
    with subprocess.Popen(endless, **quiet) as process:
        while not list((tmp_path / "state").glob("*/checkpoint-*.pt")):
            assert process.poll() is None
            time.sleep(0.02)
        (lock,) = (tmp_path / "state").glob("*/lock.json")
        os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
        assert process.wait(timeout=1200) != 0, "torchrun ends the other process too"
    reached = max(int(p.stem[-12:]) for p in (tmp_path / "state").glob("*/checkpoint-*.pt"))
    again = [*program, *arguments(cells, tmp_path, total_kimg=(reached + 4) * 4 / 1000)]
    done = subprocess.run(again, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.count(f"goes on at {reached * 4 / 1000:.2f}") == 1, "only one speaks"
    curve = read_table(tmp_path / "generator.training.csv", columns=["kimg"])
    assert curve["kimg"].is_monotonic_increasing
    assert curve["kimg"].iloc[-1] == pytest.approx((reached + 4) * 4 / 1000)
    assert all(torch.isfinite(v).all() for v in weights_in(tmp_path).values())


def test_groups_of_the_minibatch_deviation_lie_in_one_process():
    """Image i is in group i mod (n / g); a process has every R-th image, and whole groups."""
    n, group, count = 16, 4, 2
    for rank in range(count):
        mine = range(n)[Processes(rank, count).rows]
        joint = [i % (n // group) for i in mine]
        own = [j % (len(mine) // group) for j in range(len(mine))]
        pairs = set(zip(joint, own, strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_a_batch_that_processes_cannot_share_is_refused():
    from rls.runtime.errors import InputError
    from rls.stylegan2.settings import check_share

    with pytest.raises(InputError, match="batch_size"):
        check_share(dataclasses.replace(SETTINGS, batch_size=4, mbstd_group_size=2), 3)
    check_share(dataclasses.replace(SETTINGS, batch_size=8, mbstd_group_size=2), 2)
