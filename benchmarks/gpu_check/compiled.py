"""Networks compiled by torch: losses and gradients against plain ones, and times again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import torch

from benchmarks.gpu_check import search
from benchmarks.gpu_check.cases import Machine, make_trainer, time_training
from benchmarks.gpu_check.measure import free
from benchmarks.gpu_check.report import Report
from benchmarks.training_step import warm_up
from rls.runtime.compiled import LEAST_COSINE, LOSS_TOLERANCE, NORM_TOLERANCE, Computed
from rls.search.compiling import computed
from rls.stylegan2 import compiling
from rls.stylegan2.network_uses import CompiledNetworks
from rls.stylegan2.networks import Precision


def run_small(machine: Machine, report: Report) -> None:
    """Compare and measure the training of the small network."""
    run(machine, report, "small64", 32)


def run_article(machine: Machine, report: Report) -> None:
    """Compare and measure the training of the article's network."""
    run(machine, report, "article", 128)


def run(machine: Machine, report: Report, name: str, batch: int) -> None:
    """Compile, compare, and measure recorded steps with compiled networks."""
    free(machine.device)
    trainer = make_trainer(machine, name, recorded=True, batch_size=batch, augment_p=0.3)
    compiled = CompiledNetworks(trainer.generator, trainer.discriminator, backend(machine))
    with trainer.recorder.stream():
        trainer.fill_inputs()
        trainer.image_phase()
        plain = [*compiling.losses(trainer, trainer.networks)]
        compare(report, plain, compiling.losses(trainer, compiled))
    trainer.networks = compiled
    started = time.monotonic()
    warm_up(trainer)
    report.measured("warming up and recording", f"{time.monotonic() - started:.1f} s")
    time_training(machine, report, name, trainer, "compiled", kernels=machine.on_gpu)


def run_search(machine: Machine, report: Report) -> None:
    """Compile the generator of a search, compare, and measure whole searches."""
    torch.backends.cudnn.deterministic = True  # as every search
    case = search.Case.of(machine)
    problem, generator = case.problem(), case.objective.generator
    kinds: tuple[Precision, ...] = ("bfloat16", "float32")
    searches = case.searches(True)
    with searches.recorder.stream():
        plain = [computed(problem, generator, kind) for kind in kinds]
        synthesis = generator.synthesis
        synthesis.compiled = torch.compile(
            synthesis.images, backend=backend(machine), fullgraph=True, dynamic=False
        )
        compare(report, plain, (computed(problem, generator, kind) for kind in kinds))
    case.search(searches)  # warms up, and records
    search.whole(report, case, searches, "compiled")
    search.one_step(machine, report, case, searches, "compiled")


def backend(machine: Machine) -> str:
    """Return the compiler; on a CPU one that traces and differentiates, and makes no kernels."""
    return "inductor" if machine.on_gpu else "aot_eager"


def compare(report: Report, plain: Sequence[Computed], compiled: Iterable[Computed]) -> None:
    """Check losses and gradients; the first call of each compiled function compiles it."""
    started = time.monotonic()
    for one, other in zip(plain, compiled, strict=True):
        apart = abs(other.loss - one.loss) / max(abs(one.loss), 1.0)
        norms = float(one.gradient.norm()), float(other.gradient.norm())
        cosine = float(one.gradient @ other.gradient) / max(norms[0] * norms[1], 1e-300)
        passed = apart <= LOSS_TOLERANCE and cosine >= LEAST_COSINE
        passed = passed and abs(norms[1] - norms[0]) <= NORM_TOLERANCE * norms[0]
        report.check(
            f"{one.name}, compiled", passed,
            f"{other.loss:.6g} and plain {one.loss:.6g}; gradients of length {norms[1]:.4g} and "
            f"{norms[0]:.4g} with cosine {cosine:.6f}", apart=apart, cosine=cosine,
        )  # fmt: skip
    report.measured("compiling", f"{time.monotonic() - started:.0f} s")
