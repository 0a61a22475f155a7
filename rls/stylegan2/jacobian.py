"""The Jacobian of a generator: path lengths, step lengths and log-determinants (Eq. 2).

The docstring of ``rls.path_lengths`` defines the quantities; ``rls.stylegan2.jacobian_table`` sums
up the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
import torch.autograd.forward_ad as forward_mode
from torch import Tensor

from rls.io import read_weights
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.runtime.streams import torch_stream
from rls.runtime.transfer import Gathered, upload
from rls.stylegan2 import losses
from rls.stylegan2.jacobian_settings import Settings
from rls.stylegan2.networks import Generator

if TYPE_CHECKING:
    from rls.prior.flows import StyleFlow

NAME = "path_lengths"
UNITS = {
    "path_length": "image unit per unit of w",
    "step_length": "image unit per unit of w",
    "half_log_det": "nat",
    "condition_number": "1",
    "log_p_flow": "nat",
}
Synthesis = Callable[[Tensor], Tensor]  # ws (n, num_ws, w_dim) -> images (n, c, y, x)
Row = dict[str, str | int | float]


def tied(w: Tensor, num_ws: int) -> Tensor:
    """Return the same vector for every style input: (n, w_dim) -> (n, num_ws, w_dim)."""
    return w[:, None].repeat(1, num_ws, 1)


def step(synthesis: Synthesis, ws: Tensor, direction: Tensor) -> Tensor:
    """Return J u (n, c, y, x) by forward-mode differentiation; ws and u are (n, num_ws, w_dim)."""
    with torch.no_grad(), forward_mode.dual_level():
        images = synthesis(forward_mode.make_dual(ws.contiguous(), direction))
        primal, tangent = forward_mode.unpack_dual(images)
        return torch.zeros_like(primal) if tangent is None else tangent


def jacobian(synthesis: Synthesis, w: Tensor, num_ws: int, batch_size: int) -> Tensor:
    """Return the Jacobian (c y x, w_dim) of the image by w (w_dim,), with all styles tied."""
    columns = []
    for units in torch.eye(len(w), dtype=w.dtype, device=w.device).split(batch_size):
        ws = tied(w.expand(len(units), -1), num_ws)
        columns.append(step(synthesis, ws, tied(units, num_ws)).flatten(1))
    return torch.cat(columns).t()


def half_log_det(matrix: Tensor) -> tuple[float, float, int]:
    """Return 1/2 log det J^T J in nats, the condition number, and the rank.

    Where the rank is less than the number of columns, the first is -inf, because the image of a
    volume has no volume.

    Arguments:
        matrix: J (rows, columns), with rows >= columns.
    """
    values = torch.linalg.svdvals(matrix.double())
    smallest = values[0] * max(matrix.shape) * torch.finfo(matrix.dtype).eps
    numbers = [values.log().sum(), values[0] / values[-1], (values > smallest).sum()]
    log_det, condition, rank = torch.stack([x.double() for x in numbers]).tolist()
    if rank < matrix.shape[1]:
        return -math.inf, math.inf, int(rank)
    return log_det, condition, int(rank)


def draw_path_lengths(synthesis: Synthesis, ws: Tensor, random: torch.Generator) -> Tensor:
    """Return |J^T y| (n,) for one random image y per style, as in training.

    Arguments:
        ws: (n, num_ws, w_dim).
        random: A stream on the CPU.
    """
    ws = ws.detach().requires_grad_()
    with torch.enable_grad():
        images = synthesis(ws)
    noise = upload(torch.randn(images.shape, generator=random), images.device).to(images)
    return losses.path_lengths(images, ws, noise, create_graph=False).detach()


def draw_step_lengths(synthesis: Synthesis, ws: Tensor, random: torch.Generator) -> Tensor:
    """Return |J u| (n,) for one random unit vector u per style, by which all its inputs move.

    Arguments:
        ws: (n, num_ws, w_dim).
        random: A stream on the CPU.
    """
    u = upload(torch.randn(ws[:, 0].shape, generator=random), ws.device).to(ws)
    u = u / u.norm(dim=1, keepdim=True)
    return step(synthesis, ws, tied(u, ws.shape[1])).flatten(1).norm(dim=1)


def measure(
    generator: Generator, settings: Settings, flow: StyleFlow | None = None
) -> pd.DataFrame:
    """Return a long table: quantity, style, draw, value, unit, and reason where there is no value.

    Raises:
        InputError: Images have fewer values than styles have dimensions.
    """
    n_values = generator.n_channels * generator.image_size**2
    if settings.n_jacobians and n_values < generator.w_dim:
        raise InputError(
            f"Found images of {n_values} values and styles of {generator.w_dim}, expected no fewer "
            "values than dimensions of a style: J^T J has no determinant. Set n_jacobians to 0."
        )
    random = torch_stream(settings.seed, "z", NAME)
    z = torch.randn((settings.n_styles, generator.z_dim), generator=random)
    z = z.to(generator.w_mean.device)
    with torch.no_grad():
        ws = torch.cat([generator.mapping(part) for part in z.split(1024)])
    rows = [*_lengths(generator, ws, settings), *_determinants(generator, ws, settings)]
    if flow is not None:
        with torch.no_grad():
            log_p = flow.log_prob(ws[:, 0])
        rows += (_row("log_p_flow", i, value) for i, value in enumerate(log_p.tolist()))
    return pd.DataFrame(rows)


def _lengths(generator: Generator, ws: Tensor, settings: Settings) -> Iterator[Row]:
    """Yield the rows of path_length and step_length."""
    for quantity, draw in (("path_length", draw_path_lengths), ("step_length", draw_step_lengths)):
        random = torch_stream(settings.seed, quantity, NAME)
        with Progress(len(ws), f"{NAME}: {quantity}", "style") as bar:
            found = Gathered(len(ws))
            for part in ws.split(settings.batch_size):
                draws = [draw(generator.synthesis, part, random) for _ in range(settings.n_draws)]
                bar.advance(found.add(torch.stack(draws, dim=1)))
        for i, values in enumerate(found.result().tolist()):
            yield from (_row(quantity, i, value, k) for k, value in enumerate(values))


def _determinants(generator: Generator, ws: Tensor, settings: Settings) -> Iterator[Row]:
    """Yield the rows of half_log_det and condition_number."""
    with Progress(settings.n_jacobians, f"{NAME}: half_log_det", "style") as bar:
        for i in range(settings.n_jacobians):
            found = jacobian(generator.synthesis, ws[i, 0], generator.num_ws, settings.batch_size)
            value, condition, rank = half_log_det(found)
            reason = "" if math.isfinite(value) else f"rank {rank} of {generator.w_dim}"
            yield _row("half_log_det", i, value, reason=reason)
            yield _row("condition_number", i, condition, reason=reason)
            bar.advance(1)


def _row(quantity: str, style: int, value: float, draw: int = 0, reason: str = "") -> Row:
    """Return one row of the table; a value that is not finite is left empty."""
    return {
        "quantity": quantity,
        "style": style,
        "draw": draw,
        "value": value if math.isfinite(value) else math.nan,
        "unit": UNITS[quantity],
        "reason": reason,
    }


def read_flow_of(generator: Generator, flow: Path, styles: Path, device: torch.device) -> StyleFlow:
    """Return the flow, after checking that it was fitted on ``styles`` of ``generator``.

    Raises:
        InputError: The flow or the styles belong to another generator.
    """
    # Imported here, because nflows takes a second and only this function needs it.
    from rls.prior.flows import read_flow

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
