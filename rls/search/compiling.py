"""Compile the generator for a long search on a GPU, after a check that it computes the same.

The compiler of torch joins what stands between two convolutions into one kernel. Half of the time
of a search step goes there, but the compiler takes minutes, once for each precision. Images that
are not differentiated, those that a search returns, are never compiled.
"""

from __future__ import annotations

import numpy as np
import torch

from rls.runtime.compiled import Computed, why_differ
from rls.runtime.streams import torch_stream
from rls.search.objective import fidelity
from rls.search.problem import Problem, noise_maps, select_rows, to_unit
from rls.search.steps import tensor_float32_of_step
from rls.stylegan2.arithmetic import Arithmetic
from rls.stylegan2.networks import Generator, Precision

LEAST_MINUTES = 20.0  # shorter searches are not worth the minutes of compilation
# Assumed speed of plain steps on a GPU. Only its order of magnitude counts.
ASSUMED_GFLOP_PER_SECOND = 100e3


def compile_generator(
    problem: Problem, size: int, n_image_steps: int, label: str, unfit: str = ""
) -> None:
    """Compile the generator of a search if that is worth its time; print whether, on a GPU.

    Arguments:
        size: Images of a batch.
        n_image_steps: Images to search times steps of each.
        label: Name of the command in what is printed.
        unfit: Why the method cannot use a compiled generator; empty if it can.
    """
    generator, searches = problem.generator, problem.searches
    if problem.device.type != "cuda" or generator is None or not n_image_steps:
        return
    if generator.synthesis.compiled:
        return
    reason = unfit or searches.compiler_failed
    reason = reason or why_not_compiled(searches.compile_setting, generator, n_image_steps)
    if not reason:
        print(f"{label}: compiling the generator, which takes minutes", flush=True)
        batch = select_rows(problem, np.resize(np.arange(len(problem.y)), size))
        reason = searches.compiler_failed = compile_checked(batch, generator)
    print(f"{label}: generator compiled: {f'no, {reason}' if reason else 'yes'}", flush=True)


def why_not_compiled(setting: str, generator: Generator, n_image_steps: int) -> str:
    """Return why a generator is not compiled, as the end of a sentence; empty if it is."""
    if setting == "off":
        return "compile is off"
    a = generator.architecture
    closed = Arithmetic(
        *(a.image_size, a.n_channels, a.z_dim, a.w_dim, a.mapping_layers),
        *(a.channel_base, a.channel_max),
    )
    minutes = n_image_steps * closed.search_gflop / ASSUMED_GFLOP_PER_SECOND / 60
    if minutes < LEAST_MINUTES:
        return f"a search of about {minutes:.0f} minutes is too short for it"
    return ""


def compile_checked(batch: Problem, generator: Generator, backend: str = "inductor") -> str:
    """Compile the generator unless its losses or gradients differ then; return why not, or ""."""
    synthesis = generator.synthesis
    kinds = list(dict.fromkeys((batch.precision, "float32")))  # what a search computes in
    plain = [computed(batch, generator, kind) for kind in kinds]
    synthesis.compiled = torch.compile(
        synthesis.images, backend=backend, fullgraph=True, dynamic=False
    )
    reason = why_differ(
        lambda: zip(plain, (computed(batch, generator, kind) for kind in kinds), strict=True)
    )
    if reason:
        synthesis.compiled = None
    return reason


def computed(batch: Problem, generator: Generator, precision: Precision) -> Computed:
    """Return the fidelity at random styles near the mean, and its gradient by them."""
    random = torch_stream(batch.seed, "check", "compiled generator")
    z = torch.randn((len(batch.y), generator.z_dim), generator=random).to(batch.device)
    with torch.no_grad():
        ws = generator.mapping(z)
    ws.requires_grad_()
    # As in the steps: for another type of argument or of TF32, torch would compile once more.
    with tensor_float32_of_step(batch.precision, precision):
        images = generator.synthesis(ws, tuple(noise_maps(batch)), precision=precision)
        loss = fidelity(batch.y, batch.forward(to_unit(images))).sum()
        (gradient,) = torch.autograd.grad(loss, ws)
    name = f"the fidelity of a batch in {precision}"
    return Computed(name, float(loss.detach()), gradient.flatten().double())
