"""Seconds of an epoch of fitting the flow p_F, and how much folding its masks saves a search.

An epoch is what fit_flow does in one: every batch of the training styles, the batch norms' exact
statistics, the validation log p. On a GPU it is measured with and without CUDA graphs. Beside it
the gradient of the prior with respect to w+ that a search step takes: our frozen flow, whose masks
are folded into plain linear layers, over nflows as it comes, in the same run.

    python -m benchmarks.fit_flow                                  # the article's: 100,000 w of 512
    python -m benchmarks.fit_flow --features 128 --hidden 256 --styles 20000      # the demo's
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from rls.prior.fitting import Steps, mean_log_prob, run_epoch, split_styles, start_fit
from rls.prior.flows import StyleFlow
from rls.prior.settings import FLOWS, Settings
from rls.runtime.device import choose_device
from rls.runtime.graphs import WARM_UP, Recorder
from rls.runtime.stopping import Watch
from rls.search.objective import prior
from rls.stylegan2.cost import memory_gib

SIZES = {
    "features": 512, "hidden": 1024, "n-blocks": 5, "styles": 100_000, "batch-size": 100,
    "threads": 2, "images": 4, "layers": 12, "repeats": 9,
}  # fmt: skip


def settings_of(args: argparse.Namespace, flow: str) -> Settings:
    """The article's fit at the sizes of the command line."""
    return Settings(
        flow=flow, n_blocks=args.n_blocks, hidden=args.hidden, learning_rate=1e-4,
        weight_decay=1e-6, batch_size=args.batch_size, max_epochs=1, patience_epochs=1,
        validation_share=0.1, gradient_clip=5.0, cuda_graphs="auto", seed=1, device=args.device,
        threads=args.threads,
    )  # fmt: skip


def styles(n: int, features: int) -> Tensor:
    """Styles as skewed as a leaky ReLU of slope 0.2 leaves them: what they are costs no time."""
    random = torch.Generator().manual_seed(1)
    mix = torch.randn(features, features, generator=random) / features**0.5
    w = torch.randn(n, features, generator=random) @ mix
    return torch.nn.functional.leaky_relu(w, 0.2)


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def prior_step(flow: StyleFlow, w: Tensor) -> None:
    """P_w and its gradient with respect to w+ (n, L, d)."""
    w = w.detach().requires_grad_()
    torch.autograd.grad(prior(flow, w).sum(), w)


def epoch(flow: str, args: argparse.Namespace, device: torch.device, graphs: str) -> StyleFlow:
    """Fit for an epoch and print what it took; return the flow."""
    settings, recorder = settings_of(args, flow), Recorder(device, graphs)
    train, validation = (
        part.to(device) for part in split_styles(styles(args.styles, args.features), 0.1, 1)
    )
    with recorder.stream(), Watch("fit_flow") as watch:
        fit = start_fit(train, settings)
        steps = Steps(fit, train, settings, recorder)
        steps.start_epoch()
        for _ in range(WARM_UP + 1):  # Recording is no part of a later epoch.
            steps.take()
        n = sum(p.numel() for p in fit.flow.parameters())
        parts = {
            "training": timed(lambda: run_epoch(fit, steps, watch), device),
            "batch norms": timed(lambda: fit.flow.recompute_batch_norm(train), device),
            "validation": timed(lambda: mean_log_prob(fit.flow, validation), device),
        }
    named, total = ", ".join(f"{k} {v:.2f} s" for k, v in parts.items()), sum(parts.values())
    print(f"{flow}: {n / 1e6:.1f} M parameters (masked ones counted), {len(train)} styles, batch "
          f"{args.batch_size}: {total:.2f} s an epoch ({named}), {60 / total:.1f} epochs a minute, "
          f"peak memory {memory_gib(device):.2f} GiB; {recorder.describe('steps')}",
          flush=True)  # fmt: skip
    return fit.flow


def report(flow: str, args: argparse.Namespace, device: torch.device) -> None:
    """Fit for an epoch, then time the prior of a search; print both."""
    for graphs in ("off", "auto") if device.type == "cuda" else ("off",):
        fitted = epoch(flow, args, device, graphs)
    plain = copy.deepcopy(fitted).eval().requires_grad_(False)
    frozen = copy.deepcopy(fitted).freeze()
    w = styles(args.images * args.layers, args.features).to(device)
    w = w.reshape(args.images, args.layers, -1)
    times: dict[str, list[float]] = {"plain": [], "frozen": []}
    for _ in range(args.repeats + 1):
        times["plain"].append(timed(lambda: prior_step(plain, w), device))
        times["frozen"].append(timed(lambda: prior_step(frozen, w), device))
    slow, fast = (statistics.median(values[1:]) for values in times.values())
    print(f"{flow}: prior of {args.images} images x {args.layers} styles: frozen "
          f"{1000 * fast:.1f} ms, nflows as it comes {1000 * slow:.1f} ms, ratio "
          f"{slow / fast:.2f} of medians, n = {args.repeats}", flush=True)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--flow", choices=FLOWS, nargs="*", default=list(FLOWS))
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device, args.threads)
    for flow in args.flow:
        report(flow, args, device)


if __name__ == "__main__":
    main()
