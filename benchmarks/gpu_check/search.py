"""A search with the article's network: recorded steps, and its end in TF32."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from benchmarks.gpu_check.cases import Machine, architecture
from benchmarks.gpu_check.measure import free, kernel_names, seconds
from benchmarks.gpu_check.report import Report, Row
from rls.runtime.device import tensor_float32
from rls.runtime.graphs import WARM_UP, Recorder
from rls.search import descent, steps
from rls.search.batch_size import Unseen
from rls.search.descent import Found, search
from rls.search.equation5 import Equation5, Weights
from rls.search.forward import downscale
from rls.search.problem import Problem, Styles, to_unit
from rls.search.rls import Settings
from rls.search.steps import Given, Searches, Walk
from rls.stylegan2.cost import memory_gib
from rls.stylegan2.networks import Generator

BATCH, STEPS, FACTOR = 64, 200, 16
FLOOR_MS = 5.6 / 64  # an image and step, calculated for an H200
NEAR = 5e-3  # of the final loss
RATE, SCHEDULE = 0.5, "one_cycle_drop"


@dataclass(frozen=True)
class Case:
    """Images to find: those of a random generator, so that they can be found."""

    machine: Machine
    objective: Equation5
    given: Given
    start: Tensor
    steps: int

    @staticmethod
    def of(machine: Machine) -> Case:
        """Return the case in the sizes of the machine."""
        sizes, device = architecture(machine, "article"), machine.device
        torch.manual_seed(0)
        generator = Generator(sizes)
        for layer in generator.synthesis.layers():
            layer.noise_strength.data.fill_(0.1)
        generator = generator.to(device).eval().requires_grad_(False)
        n, factor = (4, 2) if machine.tiny else (BATCH, FACTOR)
        noise = tuple(torch.randn(shape).to(device) for shape in generator.noise_shapes)
        forward = downscale(sizes.image_size, factor, "renormalize").to(device)
        with torch.no_grad():
            ws = generator.mapping(torch.randn(10 * n, sizes.z_dim).to(device))
            y = forward(to_unit(generator.synthesis(ws[:n], list(noise))))
        n_steps = 20 if machine.tiny else STEPS
        settings = Settings(
            steps=n_steps, learning_rate=RATE, learning_rate_unit="absolute", schedule=SCHEDULE,
            lambda_w=0.0, lambda_c=0.01, lambda_n=0.0, cross="mean_distance",
        )  # fmt: skip
        weights = Weights(prior=0.0, cross=0.01, norm=0.0, start=0.0)
        objective = Equation5(generator, None, forward, settings, None, weights)
        start = ws.mean(dim=0).expand(n, -1, -1).contiguous()
        return Case(machine, objective, {"y": (y,), "noise": noise}, start, n_steps)

    def search(self, searches: Searches) -> Found:
        """Return what a search finds that begins in bfloat16."""
        with searches.recorder.stream():
            return search(
                (self.start,), self.objective, given=self.given, steps=self.steps,
                learning_rate=RATE, schedule=SCHEDULE, precision="bfloat16", progress=Unseen(),
                searches=searches,
            )  # fmt: skip

    def problem(self) -> Problem:
        """Return the same as the commands have it."""
        styles = Styles(self.start[:, 0], self.start[0, 0])
        return Problem(
            y=self.given["y"][0], image_ids=tuple(map(str, range(len(self.start)))),
            generator=self.objective.generator, flow=None, styles=styles,
            factor=self.objective.generator.image_size // self.given["y"][0].shape[-1],
            forward=self.objective.forward, seed=1, device=self.machine.device,
            precision="bfloat16", noise="shared",
        )  # fmt: skip

    def searches(self, recorded: bool) -> Searches:
        """Return a keeper of steps that are recorded, or are not."""
        return Searches(Recorder(self.machine.device, "auto" if recorded else "off"))


def run(machine: Machine, report: Report) -> None:
    """Compare and measure whole searches, then single steps."""
    torch.backends.cudnn.deterministic = True  # as every search
    report.left_out("the flow's prior in the search", "the check needs no file and no nflows")
    case, found = Case.of(machine), {}
    for form, recorded in (("recorded", True), ("directly", False)):
        free(machine.device)
        searches = case.searches(recorded)
        found[form] = case.search(searches)  # warms up, and records
        whole(report, case, searches, form)
        one_step(machine, report, case, searches, form)
    equal(report, "a recorded search = a direct one", found["recorded"], found["directly"])
    with all_digits():
        exact = case.search(case.searches(True))
    losses = [float(f.losses["loss_total"].mean()) for f in (found["recorded"], exact)]
    apart = abs(losses[0] / losses[1] - 1)
    text = f"{losses[0]:.5f} and {losses[1]:.5f}"
    report.at_most("final losses after an end in TF32 and in IEEE float32", apart, NEAR, text)


def whole(report: Report, case: Case, searches: Searches, form: str) -> None:
    """Add the row of a whole search, whose steps were made by an earlier one."""
    device, n = case.machine.device, len(case.start)
    taken = seconds(lambda: case.search(searches), device)
    floor = math.nan if case.machine.tiny else FLOOR_MS * n
    work = f"search, article, batch {n}, {case.steps} steps"
    ms = 1e3 * taken / case.steps
    report.row(Row(work, form, ms, n / taken, floor, memory_gib=memory_gib(device)))


def one_step(machine: Machine, report: Report, case: Case, searches: Searches, form: str) -> None:
    """Measure a step in bfloat16 and one of the last steps."""
    walk = Walk(case.objective, descent.Adam, None, case.steps, "bfloat16")
    kept = searches.steps(walk, (case.start,), case.given)
    device, n = machine.device, len(case.start)
    for precision in ("bfloat16", "float32"):
        step = kept.run[precision]
        kept.rewind((case.start,), [RATE] * case.steps)
        repeats = 2 if machine.tiny else 15
        with searches.recorder.stream():
            taken = seconds(step, device, repeats, WARM_UP - 1)
            count = len(kernel_names(step, device)) if machine.on_gpu else 0
        said = "a step in bfloat16" if precision == "bfloat16" else "a step in float32 with TF32"
        known = precision == "bfloat16" and not machine.tiny
        floor = FLOOR_MS * n if known else math.nan
        work = f"search, article, batch {n}, {said}"
        report.row(Row(work, form, 1e3 * taken, math.nan, floor, count or math.nan))


def equal(report: Report, name: str, one: Found, other: Found) -> None:
    """Check that two searches found the same, bit for bit."""
    pairs = [*zip(one.variables, other.variables, strict=True)]
    pairs += [(one.losses[k], other.losses[k]) for k in one.losses]
    apart = max(float((a - b).abs().max()) for a, b in pairs)
    passed = all(torch.equal(a, b) for a, b in pairs)
    report.check(name, passed, f"largest difference {apart:.2g}", difference=apart)


@contextlib.contextmanager
def all_digits() -> Iterator[None]:
    """Keep TF32 out of a search."""
    plain = functools.partial(tensor_float32, False)

    def without(convolutions: bool, products: bool = False) -> contextlib.AbstractContextManager:
        return plain()

    with mock.patch.object(steps, "tensor_float32", without):
        yield
