"""Whether a training compiles its networks, and that a compiled form that differs is refused.

The backend is aot_eager, which traces and differentiates as for a GPU and generates no kernels.
"""

from __future__ import annotations

import dataclasses
from unittest import mock

import pytest
import torch

from rls.runtime.compiled import why_differ
from rls.runtime.distributed import Processes
from rls.search import compiling as searching
from rls.search import pulse
from rls.search.forward import downscale
from rls.search.problem import Problem
from rls.search.steps import Searches
from rls.stylegan2 import compiling
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.network_uses import CompiledNetworks
from rls.stylegan2.networks import Generator
from tests.rls.search_stand_ins import make_problem, quiet, tiny_flow, tiny_generator, tiny_styles
from tests.rls.test_search_steps import METHODS
from tests.rls.test_train_gan import SETTINGS
from tests.rls.test_training_graphs import EAGER, make_trainer

ARTICLE = dataclasses.replace(
    SETTINGS, image_size=128, total_kimg=4800, batch_size=32, channel_base=16384, channel_max=512,
    z_dim=512, w_dim=512, mapping_layers=8, path_length_interval=4, r1_interval=16,
)  # fmt: skip


def test_a_training_of_the_article_takes_hours_and_a_small_one_minutes():
    assert 1 < compiling.assumed_hours(ARTICLE, 3) < 24
    assert compiling.assumed_hours(SETTINGS, 2) < 0.1


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        ({}, {"device": "cpu"}, "the device is cpu"),
        ({"compile": "off"}, {}, "compile is off"),
        ({}, {"processes": Processes(0, 2)}, "2 processes"),
        ({}, {"settings": SETTINGS}, "0 minutes is too short"),
        ({}, {}, ""),
    ],
)
def test_reasons_against_compiling_are_said(changes, facts, reason):
    trainer = make_trainer(EAGER)
    trainer.settings = dataclasses.replace(facts.get("settings", ARTICLE), **changes)
    trainer.device = torch.device(facts.get("device", "cuda"))
    trainer.processes = facts.get("processes", Processes())
    found = compiling.why_not_compiled(trainer)
    assert reason in found and bool(reason) == bool(found)


def filled():
    trainer = make_trainer(EAGER, image_size=16, augmentations="bgc", augment_p=0.5)
    trainer.fill_inputs()
    trainer.image_phase()
    return trainer


def test_a_compiler_that_fails_is_named_and_the_plain_networks_stay(monkeypatch):
    def broken(self, *_, **__):
        raise NotImplementedError("no such kernel\nmore")

    trainer = filled()
    plain, w_mean = trainer.networks, trainer.generator.w_mean.clone()
    monkeypatch.setattr(CompiledNetworks, "r1_gradient", broken)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    # Without a compiler the functions cannot hold autograd functions, so only path length is cut.
    monkeypatch.setattr(CompiledNetworks, "path_gradient", plain.__class__.path_gradient)
    found = compiling.compile_networks(trainer)
    assert found == "the compiler failed (NotImplementedError: no such kernel)"
    assert trainer.networks is plain
    assert torch.equal(trainer.generator.w_mean, w_mean)


def test_a_compiler_that_fails_at_once_leaves_the_discriminator_trained(monkeypatch):
    """The generator's loss, which comes first, needs it frozen."""
    trainer = filled()
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *args: 1 / 0)
    assert "ZeroDivisionError" in compiling.compile_networks(trainer)
    assert all(p.requires_grad for p in trainer.discriminator_parameters)


def difference(trainer, *forms):
    return why_differ(lambda: zip(*(compiling.losses(trainer, x) for x in forms), strict=True))


@pytest.mark.slow
def test_compiled_networks_pass_the_check_and_wrong_ones_do_not():
    trainer = filled()
    before = {k: v.clone() for k, v in trainer.generator.state_dict().items()}
    plain = trainer.networks
    assert compiling.compile_networks(trainer, "aot_eager") == ""
    compiled = trainer.networks
    assert isinstance(compiled, CompiledNetworks)
    assert all(torch.equal(v, before[k]) for k, v in trainer.generator.state_dict().items())
    right = compiled._r1_gradient
    compiled._r1_gradient = lambda images: (1.1 * right(images)[0], right(images)[1])
    assert "compiled, R1 is" in difference(trainer, plain, compiled)
    compiled._r1_gradient = right
    logits = compiled.logits
    compiled.logits = lambda images: logits(images.flip(0))
    assert "the discriminator's loss" in difference(trainer, plain, compiled)


@pytest.mark.slow
def test_a_compiled_training_follows_the_plain_one_and_is_never_compiled_again():
    """A recording cannot compile."""
    plain, compiled = filled(), filled()
    assert compiling.compile_networks(compiled, "aot_eager") == ""
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            plain.run_step()
            compiled.run_step()
    a, b = plain.statistics(), compiled.statistics()
    for name, value in a.items():
        assert b[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def search_batch():
    """Return a batch of a search at 16 px and 4x, and its generator."""
    torch.manual_seed(1)
    generator = Generator(Architecture(16, 2, 8, 8, 2, 64, 8)).eval().requires_grad_(False)
    forward = downscale(16, 4, "renormalize")
    ids = tuple("abcd")
    batch = Problem(
        y=torch.rand(4, 2, 4, 4), image_ids=ids, generator=generator, flow=None, styles=None,
        factor=4, forward=forward, seed=1, device=torch.device("cpu"), precision="bfloat16",
        noise="shared",
    )  # fmt: skip
    return batch, generator


def test_only_long_searches_compile_the_generator():
    _, generator = search_batch()
    assert searching.why_not_compiled("off", generator, 10**12) == "compile is off"
    assert "too short" in searching.why_not_compiled("auto", generator, 200)
    assert searching.why_not_compiled("auto", generator, 10**12) == ""


def test_the_compiler_is_asked_once_and_not_without_steps(monkeypatch, capsys):
    batch, generator = search_batch()
    tries = []
    monkeypatch.setattr(searching, "compile_checked", lambda *_: tries.append(1) or "it failed")
    batch = dataclasses.replace(batch, device=torch.device("cuda"), searches=Searches(None, "auto"))
    for n_steps in (0, 10**12, 10**12):
        searching.compile_generator(batch, 4, n_steps, "sweep")
    assert len(tries) == 1
    assert capsys.readouterr().out.count("sweep: generator compiled: no, it failed") == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rls", "robust_unsupervised", "variational"])
def test_the_steps_of_a_search_compile_nothing_that_was_not_checked(name):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    generator = tiny_generator()
    styles = tiny_styles(generator)
    problem = make_problem(
        torch.rand(2, 2, 2, 2), 4, generator=generator, flow=tiny_flow(styles.w), styles=styles
    )
    problem = dataclasses.replace(problem, precision="bfloat16")
    assert searching.compile_checked(problem, generator, backend) == ""
    method, settings = METHODS[name]
    method.super_resolve(problem, settings, quiet())
    assert len(graphs) == 2  # in bfloat16 and in float32


@pytest.mark.slow
def test_a_compiled_generator_passes_the_check_and_a_wrong_one_is_refused():
    batch, generator = search_batch()
    plain = generator.synthesis(batch.generator.mapping(torch.ones(4, 8)))
    assert searching.compile_checked(batch, generator, "aot_eager") == ""
    right = generator.synthesis.compiled
    assert right is not None
    with torch.no_grad():  # images that are returned are of the plain form
        generator.synthesis.compiled = pytest.fail
        assert torch.equal(generator.synthesis(generator.mapping(torch.ones(4, 8))), plain)
    generator.synthesis.compiled = None

    def wrong(function, **_):
        return lambda *args, **kwargs: 1.1 * function(*args, **kwargs)

    with mock.patch("torch.compile", wrong):
        assert "the fidelity of a batch in bfloat16" in searching.compile_checked(batch, generator)
    assert generator.synthesis.compiled is None


def test_a_search_of_noise_maps_is_not_compiled(capsys):
    batch, generator = search_batch()
    on_gpu = dataclasses.replace(batch, device=torch.device("cuda"))
    searching.compile_generator(on_gpu, 4, 10**12, "super_resolve", pulse.NOT_COMPILED)
    assert capsys.readouterr().out == (
        "super_resolve: generator compiled: no, noise maps are searched\n"
    )
    assert generator.synthesis.compiled is None
