"""Seconds a cell at equal loss: the published search from the mean style, and from the encoder.

Four searches of the same low-resolution cells, in one run:

* textbook: as published, one image at a time, with the plain operators of benchmarks/search_step.py
  and torch's Adam;
* mean: as published, in our batched form;
* encoder: the same objective from the encoder's style, with the fewest steps of ``--steps`` whose
  mean total loss is that of the published search or less;
* row: the row rls_encoder with its own objective, with the fewest steps whose mean |y - D(x)| is
  that of the published search or less.

The medians of ``--repeats`` alternating runs are compared. With --size article the networks have
random weights: they tell the time of a step, and the numbers of steps are given.

    M=models/translocation_32px; E=$M/encoder_8x.safetensors
    python -m benchmarks.search_starts --run runs/demo --model $M --encoder $E
    python -m benchmarks.search_starts --size article --published-steps 200 --steps 60
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from benchmarks.search_step import SIZES, textbook_synthesis
from rls.encoder.network import Encoder, Shape, read_encoder
from rls.io import read_intensity, read_stack, read_weights
from rls.prior.flows import StyleFlow, read_flow
from rls.runtime.checkpoint import StateFolder
from rls.runtime.device import choose_device
from rls.search import rls
from rls.search.batches import solve
from rls.search.forward import downscale
from rls.search.objective import fidelity, mean_distance, prior
from rls.search.problem import Problem, Styles, noise_maps, to_unit
from rls.search.schedule import SCHEDULES
from rls.search.steps import Searches
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.networks import Generator


@dataclass(frozen=True)
class Measured:
    """Seconds a cell, the mean total loss, and the mean of |y - D(x)|."""

    seconds: float
    loss: float
    fidelity: float


def of_run(args: argparse.Namespace) -> Problem:
    """Return the problem of the evaluation cells of a run, with its networks."""
    folder = Path(args.run) / "results" / args.assay
    own = args.model or folder
    at = folder / f"{args.factor}x" / args.degradation
    stack = read_stack(at / "low_resolution.ome.tif")
    rows = (stack.table["split"] == "evaluation").to_numpy().nonzero()[0][: args.cells]
    scale = read_intensity(own / "intensity.json")
    generator = load_generator(own / "generator.safetensors", "cpu")
    styles, _ = read_weights(folder / "styles.safetensors", kind="styles")
    encoder, _ = read_encoder(args.encoder or at / "encoder.safetensors")
    flow, _ = read_flow(own / "flow.safetensors")
    y = torch.as_tensor(scale.to_unit(stack.images[rows]))
    return problem_of(
        y, generator, Styles(styles["w"], styles["w_mean"]), flow, encoder, args.factor
    )


def of_size(args: argparse.Namespace) -> Problem:
    """Return a problem with random weights of a size of benchmarks/search_step.py."""
    torch.manual_seed(0)
    architecture, factor = SIZES[args.size]
    generator = Generator(architecture).eval().requires_grad_(False)
    w = generator.mapping(torch.randn(4000, architecture.z_dim))[:, 0].detach()
    styles = Styles(w, w.mean(0))
    side = architecture.image_size // factor
    shape = Shape(architecture.n_channels, side, architecture.w_dim, 256, 2)
    flow = StyleFlow("maf", architecture.w_dim, 1024 if args.size == "article" else 256, 5)
    flow.set_scale(w)
    flow.recompute_batch_norm(w)
    y = torch.rand(args.cells, architecture.n_channels, side, side)
    encoder = Encoder(shape, styles.whitening).eval().requires_grad_(False)
    return problem_of(y, generator, styles, flow.freeze(), encoder, factor)


def problem_of(
    y: Tensor, generator: Generator, styles: Styles, flow: StyleFlow, encoder: Encoder, factor: int
) -> Problem:
    """Return the problem of images y on a CPU in float32."""
    forward = downscale(generator.image_size, factor, "renormalize")
    return Problem(
        y=y, image_ids=tuple(f"cell {i}" for i in range(len(y))), generator=generator, flow=flow,
        styles=styles, encoder=encoder, factor=factor, forward=forward, seed=1,
        device=torch.device("cpu"), precision="float32", noise="shared", searches=Searches(),
    )  # fmt: skip


def textbook(problem: Problem, settings: rls.Settings, n: int) -> Measured:
    """Search n images one by one with plain operators."""
    generator, flow, styles = problem.generator, problem.flow, problem.styles
    assert generator is not None and flow is not None and styles is not None
    book, maps = Generator(generator.architecture).eval(), noise_maps(problem)
    book.load_state_dict(generator.state_dict())  # Its weights carry gradients, as in a plain loop.
    losses, misfits, started = [], [], time.perf_counter()
    for i in range(n):
        w = styles.mean.expand(1, generator.num_ws, -1).clone().requires_grad_()
        adam = torch.optim.Adam([w], lr=settings.learning_rate)
        best = misfit = float("inf")
        for step in range(settings.steps):
            scale = SCHEDULES[settings.schedule](step, settings.steps)
            adam.param_groups[0]["lr"] = settings.learning_rate * scale
            low = problem.forward(to_unit(textbook_synthesis(book, w, maps)))
            apart = fidelity(problem.y[i : i + 1], low)
            loss = apart + settings.lambda_c * mean_distance(w)
            if settings.lambda_w:
                loss = loss - settings.lambda_w * prior(flow, w)
            adam.zero_grad()
            loss.sum().backward()
            if float(loss.detach()) < best:
                best, misfit = float(loss.detach()), float(apart.detach())
            adam.step()
        losses.append(best)
        misfits.append(misfit)
    seconds = (time.perf_counter() - started) / n
    return Measured(seconds, statistics.mean(losses), statistics.mean(misfits))


def ours(problem: Problem, settings: rls.Settings, batch_size: int) -> Measured:
    """Search all images by the command's own loop."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, StateFolder(folder, "search", {}) as state:
        solved = solve(rls, settings, problem, batch_size, state, "search")
    seconds = (time.perf_counter() - started) / len(problem.y)
    total, misfit = (solved.columns[name].mean() for name in ("loss_total", "loss_fidelity"))
    return Measured(seconds, float(total), float(misfit))


def block_of(config: Sequence[Path], method: str) -> rls.Settings:
    """Return the settings of a method in configuration files, the later over the earlier."""
    block: dict[str, Any] = {}
    for path in config:
        block |= (yaml.safe_load(path.read_text("utf-8")).get("methods") or {}).get(method, {})
    block.pop("search", None)
    return rls.Settings(**block)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, help="folder of a run with encoder and flow")
    parser.add_argument("--assay", default="translocation")
    parser.add_argument("--factor", type=int, default=8)
    parser.add_argument("--degradation", default="clean")
    parser.add_argument("--model", type=Path, help="folder of the generator, if not the run's")
    parser.add_argument("--encoder", type=Path, help="encoder, if not the run's")
    parser.add_argument("--size", choices=tuple(SIZES), default="article", help="without --run")
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config/config.yaml")])
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--textbook-cells", type=int, default=3, help="searched one by one")
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--published-steps", type=int, help="if not those of the configuration")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 30, 40, 60, 80, 100])
    parser.add_argument("--learning-rate", type=float, help="from the encoder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    choose_device("cpu", args.threads)
    problem = of_run(args) if args.run else of_size(args)
    published, row = (block_of(args.config, name) for name in ("rls", "rls_encoder"))
    published = replace(published, steps=args.published_steps or published.steps)
    row = replace(row, learning_rate=args.learning_rate or row.learning_rate)
    # The same objective: only the start, the coordinates, the rate and the steps differ.
    near = replace(
        published, start="encoder", learning_rate=row.learning_rate, schedule=row.schedule,
        coordinates=row.coordinates,
    )  # fmt: skip
    goal = ours(problem, published, args.batch_size)
    print(
        f"published, from the mean: {published.steps} steps, loss {goal.loss:.5f}, mean "
        f"|y - D(x)| {goal.fidelity:.5f}",
        flush=True,
    )
    near = fewest(problem, near, args, lambda found: found.loss <= goal.loss)
    row = fewest(problem, row, args, lambda found: found.fidelity <= goal.fidelity)
    forms: dict[str, Callable[[], Measured]] = {
        "textbook": lambda: textbook(problem, published, args.textbook_cells),
        "mean": lambda: ours(problem, published, args.batch_size),
        "encoder": lambda: ours(problem, near, args.batch_size),
        "row": lambda: ours(problem, row, args.batch_size),
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(args.repeats):
        for name, form in forms.items():
            times[name].append(form().seconds)
    report(times, (near.steps, row.steps), args)


def fewest(
    problem: Problem,
    settings: rls.Settings,
    args: argparse.Namespace,
    reached: Callable[[Measured], bool],
) -> rls.Settings:
    """Return the settings with the fewest steps that reach the goal, or with the most."""
    for steps in args.steps:
        settings = replace(settings, steps=steps)
        found = ours(problem, settings, args.batch_size)
        print(
            f"from the encoder, {settings.prior} prior: {steps} steps, loss {found.loss:.5f}, "
            f"mean |y - D(x)| {found.fidelity:.5f}",
            flush=True,
        )
        if args.run and reached(found):
            break
    return settings


def report(times: dict[str, list[float]], steps: tuple[int, int], args: argparse.Namespace) -> None:
    """Print seconds a cell and the ratios of medians."""
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"n = {args.repeats}, {args.cells} cells ({args.textbook_cells} by textbook), batch "
        f"{args.batch_size}, {args.threads} threads, load average {os.getloadavg()[0]:.1f}"
    )
    for name, values in times.items():
        spread = (max(values) - min(values)) / middle[name]
        print(f"{name}: {middle[name]:.3f} s a cell (spread {100 * spread:.0f} %)")
    for name, number in zip(("encoder", "row"), steps, strict=True):
        print(
            f"{name}, {number} steps: textbook / {name} {middle['textbook'] / middle[name]:.1f}, "
            f"mean / {name} {middle['mean'] / middle[name]:.1f}"
        )
    print(f"textbook / mean {middle['textbook'] / middle['mean']:.1f}")


if __name__ == "__main__":
    main()
