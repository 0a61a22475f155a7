"""What only a GPU can show, with tiny networks: it computes there what it computes elsewhere."""

from __future__ import annotations

import dataclasses
import importlib

import pytest
import torch

from benchmarks.gpu_check import convolutions, small
from benchmarks.gpu_check.cases import Machine, make_trainer
from benchmarks.gpu_check.report import FAILED, OK, Report
from benchmarks.gpu_check.search import Case
from rls.runtime.device import tensor_float32
from rls.search import batch_size
from rls.search.methods import load_method
from rls.stylegan2 import fir
from rls.stylegan2.networks import Generator
from tests.rls.test_stylegan2_fir import USES, by_definition


@pytest.fixture
def machine(gpu):
    return Machine(gpu, tiny=True, quick=True)


@pytest.fixture
def report(tmp_path):
    """Return a report that must have checks, and no failed ones, at the end of the test."""
    found = Report("test", tmp_path / "report.json", 60)
    yield found
    assert [one for one in found.found if one["what"] == FAILED] == []
    assert [one for one in found.found if one["what"] == OK]


@pytest.mark.parametrize("choice", ["triton", "pooling"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_filters_have_the_values_and_gradients_of_the_definition(choice, dtype, gpu, monkeypatch):
    if choice == "triton" and fir.choose_fir(gpu) != "triton":
        pytest.skip(fir.why_not_triton())
    monkeypatch.setattr(fir, "choose_fir", lambda device: choice)
    bfloat16 = 3e-3 if choice == "triton" else 5e-3  # averages round three times
    tolerance = 1e-6 if dtype == torch.float32 else bfloat16
    # The last shape is large enough for tiles of the larger size.
    shapes = ((1, 3, 9, 7), (2, 48, 16, 17), (3, 512, 33, 33), (64, 64, 64, 64))
    for shape in shapes if gpu.type == "cuda" else shapes[:2]:
        for use in USES.values():
            x = torch.randn(shape, device=gpu).to(dtype).requires_grad_()
            wide = x.detach().double().requires_grad_()
            found, expected = fir.low_pass(x, **use), by_definition(wide, **use)
            g = torch.randn(*found.shape, device=gpu).to(dtype)
            (by_x,) = torch.autograd.grad(found, x, g)
            (wanted,) = torch.autograd.grad(expected, wide, g.double())
            for a, b in ((found, expected), (by_x, wanted)):
                assert a.dtype == dtype
                assert (a.double() - b).norm() < tolerance * b.norm()


def test_a_network_gives_the_images_of_a_cpu(machine):
    sizes = make_trainer(machine, "small64", recorded=False).generator.architecture
    torch.manual_seed(1)
    generator = Generator(sizes)
    z, maps = torch.randn(4, sizes.z_dim), [torch.randn(s) for s in generator.noise_shapes]
    images = []
    for device in (torch.device("cpu"), machine.device):
        network = generator.to(device)
        ws = network.mapping(z.to(device)).detach().requires_grad_()
        image = network.synthesis(ws, [m.to(device) for m in maps])
        (slope,) = torch.autograd.grad(image.square().sum(), ws)
        images.append((image.detach().cpu(), slope.cpu()))
    for one, other in zip(*images, strict=True):
        assert (one - other).norm() < 1e-5 * one.norm()


def test_recorded_training_equals_direct_training_and_waits_for_nothing(machine, report):
    small.waits(machine, report, small.bit_for_bit(machine, report))


def test_recorded_training_with_all_augmentations_is_near_direct_training(machine, report):
    small.nearly(machine, report)


def test_a_command_goes_on_without_graphs_when_a_recording_fails(machine, report, tmp_path):
    small.end_restart(machine, report, small.begin_restart(machine, str(tmp_path)))


@pytest.mark.parametrize(("module", "function"), [("search", "run"), ("article", "run_32")])
def test_recorded_searches_and_losses_equal_direct_ones(module, function, machine, report):
    getattr(importlib.import_module(f"benchmarks.gpu_check.{module}"), function)(machine, report)


def test_tf32_is_on_where_it_is_asked_for_and_nowhere_else(machine, report):
    convolutions.bare_convolution(machine, report)
    if machine.on_gpu:
        a, b = (torch.randn(256, 256, device=machine.device) for _ in range(2))
        exact = a.double() @ b.double()
        for on in (False, True):
            with tensor_float32(False, products=on):
                error = ((a @ b).double() - exact).norm() / exact.norm()
            assert (error > convolutions.ALL_DIGITS) == on


def test_crops_lie_on_the_device_and_are_those_of_the_data(machine):
    trainer = make_trainer(machine, "small64", recorded=False, augment_p=0.0)
    assert trainer.inputs.crops.holds_all == machine.on_gpu
    for step in (0, 1, 5):
        trainer.step = step
        trainer.fill_inputs()
        trainer.image_phase()
        n = trainer.settings.batch_size
        expected = trainer.data.batch(step, n, torch.device("cpu"))
        assert (trainer.real.cpu() - expected).abs().max() < 1e-3


def test_the_batch_size_of_a_search_fits_the_memory(machine):
    case = Case.of(machine)
    problem, objective = case.problem(), case.objective
    method = load_method("rls")
    found = method.super_resolve(problem, objective.settings, batch_size.Unseen())
    assert torch.isfinite(found.images).all()
    found = batch_size.choose_size(method, objective.settings, problem, 1)
    assert found == (batch_size.MOST_AT_ONCE if machine.on_gpu else batch_size.ON_A_CPU)


def test_a_recorded_fit_of_a_flow_is_near_a_direct_one(gpu):
    pytest.importorskip("nflows")
    from rls.prior.fitting import fit_flow
    from rls.runtime.graphs import Recorder
    from tests.rls.test_fit_flow import SMALL, correlated_gaussian

    w = correlated_gaussian(1000)[0].to(gpu)
    settings = dataclasses.replace(SMALL, max_epochs=3, device=gpu.type)
    fits = []
    for setting in ("auto", "off"):
        recorder = Recorder(gpu, setting)
        with recorder.stream():
            fits.append(fit_flow(w[:900], w[900:], settings, recorder=recorder))
    for one, other in zip(*(fit.flow.parameters() for fit in fits), strict=True):
        assert (one - other).norm() <= 1e-3 * one.norm()
    assert fits[0].best_log_prob == pytest.approx(fits[1].best_log_prob, abs=0.01)
