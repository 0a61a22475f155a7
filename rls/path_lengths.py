"""Measure how constant a generator's Jacobian is: the term of Eq. 2 that the article drops.

log p_G(G_s(w)) = log p_w(w) - 1/2 log det J_w^T J_w. The article drops the second term "as the path
length penalty in StyleGAN2 implies that the Jacobian determinant is constant" (section 3.1.1). The
penalty (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", section 3.2)
asks that |J_w^T y| be constant over w and random images y. Over styles w = G_m(z) this measures

* path_length: |J_w^T y|, y ~ N(0, I) / sqrt(h w), as training does, over the styles of W+,
* step_length: |J_w u|, u a random unit vector of W: how far the image moves where all styles move
  together by 1, in units of an image in [-1, 1], root of the sum over pixels and channels,
* half_log_det: 1/2 log det J_w^T J_w in nats, of the Jacobian by W (all styles move together), and
  condition_number: the largest over the smallest singular value of J_w,
* log_p_flow: log p_F(w) in nats, if a flow is given: what the search weighs.

J_w u is exact, by forward-mode differentiation; noise maps are the generator's own. In W+ there is
no determinant: J^T J is singular wherever w_dim exceeds the features that a style modulates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.autograd.forward_ad as forward_mode
from torch import Tensor

from rls.io import read_weights, write_table
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import torch_stream
from rls.stylegan2 import losses
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.networks import Generator

NAME = "path_lengths"
UNITS = {
    "path_length": "image unit per unit of w",
    "step_length": "image unit per unit of w",
    "half_log_det": "nat",
    "condition_number": "1",
    "log_p_flow": "nat",
}
Synthesis = Callable[[Tensor], Tensor]  # ws (n, num_ws, w_dim) -> images (n, c, y, x)


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    n_styles: int = option("Styles w, for both lengths and log p_F.", default=500)
    n_draws: int = option("Noise images y, and directions u, for each style.", default=4)
    n_jacobians: int = option("Styles whose whole Jacobian is computed; 0 is none.", default=50)
    batch_size: int = option("Images differentiated at a time.", default=32)
    seed: int = option("Seed of styles, noise images and directions.", default=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"), default="auto")
    threads: int = option("CPU threads of torch.", default=1)

    def __post_init__(self) -> None:
        for name, least in (
            ("n_styles", 2), ("n_draws", 1), ("n_jacobians", 0), ("batch_size", 1), ("threads", 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise InputError(
                    f"Found {name} {getattr(self, name)}, expected {least} or more. Set it higher."
                )
        if self.n_jacobians > self.n_styles:
            raise InputError(
                f"Found n_jacobians {self.n_jacobians}, expected at most n_styles, "
                f"{self.n_styles}: they are the first of these. Set n_styles higher."
            )


def tied(w: Tensor, num_ws: int) -> Tensor:
    """The same vector for every style input: (n, w_dim) -> (n, num_ws, w_dim)."""
    return w[:, None].repeat(1, num_ws, 1)


def step(synthesis: Synthesis, ws: Tensor, direction: Tensor) -> Tensor:
    """J u, (n, c, y, x), of directions u like ws (n, num_ws, w_dim), by forward-mode."""
    with torch.no_grad(), forward_mode.dual_level():
        images = synthesis(forward_mode.make_dual(ws.contiguous(), direction))
        primal, tangent = forward_mode.unpack_dual(images)
        return torch.zeros_like(primal) if tangent is None else tangent


def jacobian(synthesis: Synthesis, w: Tensor, num_ws: int, batch_size: int) -> Tensor:
    """Jacobian of the image by w (w_dim,), all styles moved together: (c y x, w_dim)."""
    columns = []
    for units in torch.eye(len(w), dtype=w.dtype, device=w.device).split(batch_size):
        ws = tied(w.expand(len(units), -1), num_ws)
        columns.append(step(synthesis, ws, tied(units, num_ws)).flatten(1))
    return torch.cat(columns).t()


def half_log_det(matrix: Tensor) -> tuple[float, float, int]:
    """1/2 log det J^T J in nats, largest over smallest singular value, and the rank.

    matrix: (rows, columns), rows >= columns. Where the rank is short of the columns the first is
    -inf: the image of a volume has none.
    """
    values = torch.linalg.svdvals(matrix.double())
    smallest = values[0] * max(matrix.shape) * torch.finfo(matrix.dtype).eps
    rank = int((values > smallest).sum())
    if rank < matrix.shape[1]:
        return -math.inf, math.inf, rank
    return values.log().sum().item(), (values[0] / values[-1]).item(), rank


def path_length_draws(
    synthesis: Synthesis, ws: Tensor, n_draws: int, random: torch.Generator, batch_size: int
) -> Iterator[Tensor]:
    """|J^T y| as in training, batch by batch: (batch, n_draws). random: a CPU stream."""
    for part in ws.split(batch_size):
        part = part.detach().requires_grad_()
        found = []
        for _ in range(n_draws):
            with torch.enable_grad():
                images = synthesis(part)
            noise = torch.randn(images.shape, generator=random).to(images)
            found.append(losses.path_lengths(images, part, noise, create_graph=False).detach())
        yield torch.stack(found, dim=1)


def step_length_draws(
    synthesis: Synthesis, ws: Tensor, n_draws: int, random: torch.Generator, batch_size: int
) -> Iterator[Tensor]:
    """|J u| of random unit u, all styles moved by u, batch by batch: (batch, n_draws)."""
    for part in ws.split(batch_size):
        found = []
        for _ in range(n_draws):
            u = torch.randn(part[:, 0].shape, generator=random).to(part)
            u = u / u.norm(dim=1, keepdim=True)
            moved = step(synthesis, part, tied(u, part.shape[1]))
            found.append(moved.flatten(1).norm(dim=1))
        yield torch.stack(found, dim=1)


def measure(generator: Generator, settings: Settings, flow: Any = None) -> pd.DataFrame:  # noqa: ANN401
    """Long table: quantity, style, draw, value, unit, reason (where there is no value)."""
    n_values = generator.n_channels * generator.image_size**2
    if settings.n_jacobians and n_values < generator.w_dim:
        raise InputError(
            f"Found images of {n_values} values and styles of {generator.w_dim}, expected no fewer "
            "values than dimensions of a style: J^T J has no determinant. Set n_jacobians to 0."
        )
    device = generator.w_mean.device
    z = torch.randn(
        (settings.n_styles, generator.z_dim), generator=torch_stream(settings.seed, "z", NAME)
    )
    with torch.no_grad():
        ws = torch.cat([generator.mapping(part) for part in z.to(device).split(1024)])
    rows: list[dict[str, Any]] = []
    for quantity, draws in (
        ("path_length", path_length_draws),
        ("step_length", step_length_draws),
    ):
        random = torch_stream(settings.seed, quantity, NAME)
        with Progress(settings.n_styles, f"{NAME}: {quantity}", "style") as bar:
            first = 0
            for part in draws(
                generator.synthesis, ws, settings.n_draws, random, settings.batch_size
            ):
                for i, values in enumerate(part.tolist(), start=first):
                    rows += (row(quantity, i, value, draw) for draw, value in enumerate(values))
                first += len(part)
                bar.advance(len(part))
    with Progress(settings.n_jacobians, f"{NAME}: half_log_det", "style") as bar:
        for i in range(settings.n_jacobians):
            found = jacobian(generator.synthesis, ws[i, 0], generator.num_ws, settings.batch_size)
            value, condition, rank = half_log_det(found)
            reason = "" if math.isfinite(value) else f"rank {rank} of {generator.w_dim}"
            rows.append(row("half_log_det", i, value, reason=reason))
            rows.append(row("condition_number", i, condition, reason=reason))
            bar.advance(1)
    if flow is not None:
        with torch.no_grad():
            log_p = flow.log_prob(ws[:, 0])
        rows += (row("log_p_flow", i, value) for i, value in enumerate(log_p.tolist()))
    return pd.DataFrame(rows)


def row(quantity: str, style: int, value: float, draw: int = 0, reason: str = "") -> dict[str, Any]:
    """One row of the table; a value that is not finite is left empty."""
    value = value if math.isfinite(value) else math.nan
    return {
        "quantity": quantity, "style": style, "draw": draw, "value": value,
        "unit": UNITS[quantity], "reason": reason,
    }  # fmt: skip


def by_style(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Values of a quantity, rows styles and columns draws, without the styles that have none."""
    part = table[table["quantity"] == quantity]
    return part.pivot(index="style", columns="draw", values="value").dropna()


def variation(values: np.ndarray) -> tuple[float, float]:
    """Coefficient of variation of all draws, and of the styles alone; values (styles, draws).

    The second takes the spread of y or u at one w away (one-way analysis of variance): what it
    leaves is how J changes over w. It is 0 where styles differ by less than their draws explain.
    """
    n_draws = values.shape[1]
    within = values.var(axis=1, ddof=1).mean() / n_draws if n_draws > 1 else 0.0
    between = max(values.mean(axis=1).var(ddof=1) - within, 0.0)
    return float(values.std(ddof=1) / values.mean()), float(np.sqrt(between) / values.mean())


def summary(table: pd.DataFrame) -> str:
    """What the table says, in a few lines."""
    lines = []
    for quantity in table["quantity"].unique():
        values = by_style(table, quantity).to_numpy()
        if not len(values):
            text = "no style has a value"
        elif quantity in ("path_length", "step_length"):
            every, styles = variation(values)
            text = f"mean {values.mean():.4g}, coefficient of variation {every:.3f}, "
            text += f"over styles alone {styles:.3f}"
        elif quantity == "condition_number":
            text = f"median {np.median(values):.4g}"
        else:
            text = (
                f"mean {values.mean():.1f}, sd {values.std(ddof=min(1, len(values) - 1)):.1f} nats"
            )
        lines.append(f"{NAME}: {quantity}: {text} (n = {len(values)} styles)")
    return "\n".join(lines)


def read_flow_of(generator: Generator, flow: Path, styles: Path, device: torch.device) -> Any:  # noqa: ANN401
    """The flow, after holding it against the styles that it was fitted on, and these against G.

    Raises InputError if it is of another generator.
    """
    from rls.prior.flows import read_flow  # nflows takes a second that others need not wait for

    _, styles_header = read_weights(styles, kind="styles")
    network, flow_header = read_flow(flow, device)
    for path, found, wanted, rule in (
        (styles, styles_header["generator_digest"], generator.header["digest"], "sample_styles"),
        (flow, flow_header.get("styles_digest"), styles_header["digest"], "fit_flow"),
    ):
        if found != wanted:
            raise InputError(
                f"Found {path} made from {str(found)[:12]}, expected {wanted[:12]}, as given here. "
                f"Run {rule} again with it, or give the files that belong together."
            )
    return network


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument(
        "--generator", type=Path, required=True, help="generator.safetensors or a model folder"
    )
    parser.add_argument("--output", type=Path, required=True, help="table, *.parquet or *.csv")
    parser.add_argument("--flow", type=Path, help="flow.safetensors, for log p_F; needs --styles")
    parser.add_argument("--styles", type=Path, help="styles that the flow was fitted on")
    args, settings = parser.parse(argv)
    if args.output.suffix not in (".parquet", ".csv"):
        raise InputError(f"Found --output {args.output}, expected *.parquet or *.csv. Rename it.")
    if (args.flow is None) != (args.styles is None):
        raise InputError("Found one of --flow and --styles, expected both or none. Give the other.")
    device = choose_device(settings.device, settings.threads)
    generator = load_generator(args.generator, device)
    flow = args.flow and read_flow_of(generator, args.flow, args.styles, device)
    table = measure(generator, settings, flow)
    table["generator_digest"] = generator.header["digest"]
    write_table(args.output, table, written_by=NAME)
    print(summary(table), flush=True)


if __name__ == "__main__":
    run(main)
