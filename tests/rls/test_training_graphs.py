"""Training steps that are recorded and replayed: equal to direct calls, bit for bit."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rls.runtime.graphs import WARM_UP, Recorder
from rls.stylegan2 import augment
from rls.stylegan2.architecture import architecture_of
from rls.stylegan2.augment_draws import Draws, draw
from rls.stylegan2.augment_warp import warp
from rls.stylegan2.optimisation import MOMENTS
from rls.stylegan2.pipelines import PIPELINES
from rls.stylegan2.step_inputs import AUGMENTED, StepInputs
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages
from tests.rls.recorded_on_cpu import OneDevice, RecordedOnCpu
from tests.rls.test_stylegan2_training import CPU, SCALE, make_stack
from tests.rls.test_train_gan import SETTINGS

EAGER = Recorder(CPU)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Warp images without a look at the matrices, which no recording can have."""
    monkeypatch.setattr(augment, "warp", functools.partial(warp, look=False))


def make_trainer(recorder: Recorder, **changes: Any) -> Trainer:
    settings = dataclasses.replace(SETTINGS, **changes)
    data = TrainingImages(make_stack(n=12, side=24), SCALE, 16, seed=3)
    return Trainer(settings, architecture_of(settings, 2), data, CPU, "float32", recorder=recorder)


def flattened(state: Any, prefix: str = "") -> dict[str, Tensor]:
    found = {}
    for key, value in state.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = torch.as_tensor(value)
    return found


def assert_equal(one: Trainer, other: Trainer) -> None:
    a, b = flattened(one.state()), flattened(other.state())
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize("augmentations", ["bgc", "bgcfnc"])
def test_replayed_steps_equal_direct_ones_while_p_leaves_0(augmentations):
    """In 16 steps every phase is recorded twice, without augmentations and with them."""
    changes = {"augmentations": augmentations, "augment_target": -0.9}
    eager, recorded = (make_trainer(r, **changes) for r in (EAGER, RecordedOnCpu()))
    seen = []
    for _ in range(26):
        eager.run_step()
        recorded.run_step()
        seen.append(recorded.inputs.augmented)
    assert not seen[0] and seen[-1]
    phases = recorded._replayed
    assert len(phases) == 10 and all(p.replay for (_, on), p in phases.items() if on)
    assert_equal(eager, recorded)


def test_a_training_that_stops_within_a_block_goes_on_bit_for_bit():
    changes = {"augment_interval": 4, "augment_target": -0.9}
    whole, first = (make_trainer(r, **changes) for r in (EAGER, RecordedOnCpu()))
    for _ in range(18):
        whole.run_step()
    for _ in range(9):
        first.run_step()
    then = make_trainer(RecordedOnCpu(), **changes)
    then.load_state(copy.deepcopy(first.state()))
    first.load_state(copy.deepcopy(first.state()))  # drops its recordings
    for trainer in (then, first):
        for _ in range(9):
            trainer.run_step()
        assert_equal(whole, trainer)


def test_moments_in_another_memory_layout_are_taken_by_their_place():
    """As a state comes from a file, or from a machine that stores weights otherwise."""
    trainer = make_trainer(EAGER)
    for _ in range(3):
        trainer.run_step()
    state = copy.deepcopy(trainer.state())
    for name in ("generator_optimizer", "discriminator_optimizer"):
        for own in state[name].values():
            own |= {key: own[key].contiguous() for key in MOMENTS}
    other = make_trainer(EAGER)
    other.load_state(state)
    for one in (trainer, other):
        one.run_step()
    assert_equal(trainer, other)


def test_a_recording_is_foreseen_one_step_ahead():
    trainer = make_trainer(RecordedOnCpu(), augmentations="none")
    foreseen = []
    for _ in range(WARM_UP + 1):
        foreseen.append(trainer.records_next)
        trainer.run_step()
    assert foreseen == [False] * WARM_UP + [True]


def test_style_mixing_by_a_mask_has_the_gradients_of_slices():
    trainer = make_trainer(EAGER)
    trainer.fill_inputs()
    inputs = trainer.inputs.fake["generator"]
    mapping = trainer.generator.mapping
    weights = list(mapping.parameters())
    for cut in (1, 3, trainer.generator.num_ws):
        inputs.from_z.copy_(torch.arange(trainer.generator.num_ws) < cut)
        one, two = mapping(inputs.z), mapping(inputs.other_z)
        sliced = torch.cat([one[:, :cut], two[:, cut:]], dim=1)
        ws = trainer._styles(inputs)
        assert torch.equal(ws, sliced)
        pairs = [
            torch.autograd.grad(trainer.generator.synthesis(x, inputs.maps).square().sum(), weights)
            for x in (sliced, ws)
        ]
        assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))


@pytest.mark.parametrize("augmentations", ["none", "bgcfnc"])
def test_no_phase_looks_at_a_number_or_at_a_tensor_of_the_host(augmentations, monkeypatch):
    """On the meta device there are no numbers to look at."""
    monkeypatch.setattr(augment, "warp", warp)  # with its own rule for the device
    meta = torch.device("meta")
    settings = dataclasses.replace(SETTINGS, augmentations=augmentations, augment_p=0.5)
    data = TrainingImages(make_stack(n=12, side=24), SCALE, 16, seed=3)
    trainer = Trainer(settings, architecture_of(settings, 2), data, meta, "float32")
    for name in ("generator_optimizer", "discriminator_optimizer"):  # fused Adam needs numbers
        parameters = getattr(trainer, name).param_groups[0]["params"]
        setattr(trainer, name, torch.optim.SGD(parameters, 0.0))
    if names := PIPELINES[augmentations]:
        n = len(AUGMENTED) * settings.batch_size
        drawn = draw((n, 2, 16, 16), 0.5, names, torch.Generator())
        drawn = drawn.view(len(AUGMENTED), settings.batch_size)
        trainer.inputs.keep(Draws(*(None if x is None else x.to(meta) for x in drawn.parts())))
        trainer.inputs.augmented = True
    phases = ("image", "generator", "path_length", "discriminator", "r1")
    for strict in (False, True):  # constants are made in the first round, on the host
        with OneDevice() if strict else contextlib.nullcontext():
            for phase in phases:
                getattr(trainer, f"{phase}_phase")()


def inputs_of(trainer: Trainer, step: int, p: float = 0.5) -> list[Tensor]:
    """Return copies of all that the inputs of a step hold."""
    inputs = trainer.inputs
    inputs.fill(step, p, with_path_length=True)
    parts = [inputs._normal, *inputs._statics, *(x for x in inputs._draws.parts() if x is not None)]
    shown = inputs.crops.stored[inputs.positions]
    return [x.clone() for x in (*parts, shown)]


def test_inputs_are_functions_of_seed_and_step():
    one, other = make_trainer(EAGER, augment_interval=4), make_trainer(EAGER, augment_interval=4)
    in_order = [inputs_of(one, step) for step in range(9)]
    for step in (5, 0, 8):
        found = inputs_of(other, step)
        # Positions count from the block's own start, so compare the crops they lead to.
        assert all(torch.equal(a, b) for a, b in zip(in_order[step], found, strict=True)), step
    different = make_trainer(EAGER, augment_interval=4, seed=4)
    assert not torch.equal(inputs_of(different, 0)[0], in_order[0][0])
    assert not torch.equal(in_order[0][0], in_order[1][0])


def test_mixed_styles_keep_their_first_layer_and_lose_their_last():
    inputs = make_trainer(EAGER, style_mixing_probability=1.0).inputs
    from_z = np.stack([inputs._mixing(step) for step in range(50)])
    assert from_z[..., 0].all() and not from_z[..., -1].any()
    assert from_z[..., 1].any() and not from_z[..., 1].all()


def test_the_images_of_a_step_are_those_of_the_data(monkeypatch):
    """Whether all crops are on the device, or those of a block."""
    for holds_all in (False, True):
        trainer = make_trainer(EAGER, augment_interval=3)
        crops = trainer.inputs.crops
        if holds_all:
            crops.holds_all = True
            crops.stored = torch.from_numpy(trainer.data.counts(trainer.data.rows))
        for step in (0, 1, 4):
            trainer.step = step
            trainer.fill_inputs()
            trainer.image_phase()
            assert torch.equal(trainer.real, trainer.data.batch(step, 4, CPU))


def test_two_processes_share_the_draws_of_one():
    from rls.runtime.distributed import Processes

    def inputs(processes: Processes) -> StepInputs:
        settings = dataclasses.replace(SETTINGS, batch_size=8)
        data = TrainingImages(make_stack(n=12, side=24), SCALE, 16, seed=3)
        generator = make_trainer(EAGER).generator
        found = StepInputs(settings, generator, data, CPU, processes)
        found.fill(3, 0.5, with_path_length=True)
        return found

    joint = inputs(Processes())
    for rank in range(2):
        mine = inputs(Processes(rank, 2))
        assert torch.equal(mine.pixels, joint.pixels[rank::2])
        assert torch.equal(mine.flips, joint.flips[rank::2])
        for use in AUGMENTED:
            a, b = mine.draws[use].matrices, joint.draws[use].matrices
            assert a is not None and b is not None and torch.equal(a, b[rank::2])
        shown = mine.crops.stored[mine.positions], joint.crops.stored[joint.positions][rank::2]
        assert torch.equal(*shown)
