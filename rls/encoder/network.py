"""The encoder E: y -> q(w | y), a Gaussian over the whitened coordinates of one style.

    q(u | y): u = mean(y) + exp(log_sd(y)) * T^-1 e,   e ~ N(0, I)
    -log q(u | y) = |z|^2 / 2 + sum log_sd(y) - sum log diag T + d/2 log 2 pi,
    z = T ((u - mean(y)) * exp(-log_sd(y)))

T is one lower triangular matrix for all images: which directions of w go together where y leaves
them open depends on the generator more than on the image. Trained on generated pairs by maximum
likelihood, E is an amortised posterior: the Gaussian nearest to p(w | y) on average over y
(Papamakarios & Murray 2016, "Fast epsilon-free inference of simulation models").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rls.io import read_weights, write_weights
from rls.prior.whitening import Whitening
from rls.runtime.errors import InputError

KIND = "encoder"
WHITENING = ("w_mean", "w_basis")  # names of the tensors that hold the whitened coordinates
LEAST_LOG_SD, MOST_LOG_SD = -7.0, 2.0  # u has the standard deviation 1 before y is seen


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder.

    Attributes:
        n_channels, side: Channels and side of y in px.
        w_dim: Dimensions of a style.
        hidden: Units of the layers.
        blocks: Residual blocks.
    """

    n_channels: int
    side: int
    w_dim: int
    hidden: int
    blocks: int


@dataclass(frozen=True)
class Posterior:
    """The Gaussians of n images: mean and log_sd, each (n, d), in whitened coordinates."""

    mean: Tensor
    log_sd: Tensor


class Block(nn.Module):
    """A residual block of two fully connected layers on normalised features (n, hidden)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.first = nn.Linear(hidden, hidden)
        self.second = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus what the layers make of it."""
        inner = nn.functional.silu(self.first(self.norm(x)))
        return x + self.second(nn.functional.silu(inner))


class Encoder(nn.Module):
    """The network E with its whitened coordinates: residual blocks on all values of y at once.

    A cell lies at the centre of its image, and y has few values, so convolutions gain nothing.

    Arguments:
        shape: Sizes of the network.
        whitening: The coordinates u in which it answers.
    """

    def __init__(self, shape: Shape, whitening: Whitening) -> None:
        super().__init__()
        self.shape, d = shape, shape.w_dim
        self.register_buffer("w_mean", whitening.mean)
        self.register_buffer("w_basis", whitening.basis)
        self.whitening = whitening
        self.enter = nn.Linear(shape.n_channels * shape.side**2, shape.hidden)
        self.blocks = nn.Sequential(*(Block(shape.hidden) for _ in range(shape.blocks)))
        self.norm = nn.LayerNorm(shape.hidden)
        self.leave = nn.Linear(shape.hidden, 2 * d)
        # At the start q is the prior N(0, I).
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.log_diagonal = nn.Parameter(torch.zeros(d))
        self.below = nn.Parameter(torch.zeros(d, d))

    def forward(self, y: Tensor) -> Posterior:
        """Return the posterior of images y, (n, c, m, m) in [0, 1] units.

        Raises:
            InputError: The images have another size or number of channels.
        """
        size = (self.shape.n_channels, self.shape.side, self.shape.side)
        if tuple(y.shape[1:]) != size:
            raise InputError(
                f"The encoder was trained on images of {size} (channels, y, x) and was given "
                f"{tuple(y.shape[1:])}. Train one for these images."
            )
        x = self.norm(self.blocks(self.enter(2.0 * y.flatten(1) - 1.0)))
        mean, log_sd = self.leave(x).chunk(2, dim=1)
        return Posterior(mean, log_sd.clamp(LEAST_LOG_SD, MOST_LOG_SD))

    def triangle(self) -> Tensor:
        """Return T, (d, d)."""
        return torch.tril(self.below, diagonal=-1) + torch.diag(self.log_diagonal.exp())

    def log_prob(self, found: Posterior, u: Tensor) -> Tensor:
        """Return log q(u | y) in nats, (n,), of whitened coordinates u (n, d)."""
        z = ((u - found.mean) * (-found.log_sd).exp()) @ self.triangle().T
        log_det = self.log_diagonal.sum() - found.log_sd.sum(dim=1)
        return log_det - 0.5 * z.square().sum(dim=1) - 0.5 * u.shape[1] * math.log(2 * math.pi)

    def mean_style(self, found: Posterior) -> Tensor:
        """Return E[w | y] under q, (n, d): the style nearest to all that y allows.

        The activation is not linear, so it is not the style of the mean u.
        """
        # A draw adds diag(exp(log_sd)) T^-1 e to u, and so e^T R with the rows R to v.
        eye = torch.eye(self.shape.w_dim, device=found.mean.device)
        factor = torch.linalg.solve_triangular(self.triangle(), eye, upper=False)
        rows = (found.log_sd.exp()[:, :, None] * factor).transpose(1, 2) @ self.whitening.basis
        sd = rows.norm(dim=1)
        return self.whitening.mean_style(found.mean, sd)

    def deviation(self, found: Posterior, noise: Tensor) -> Tensor:
        """Return what a draw adds to the mean, (n, d), for noise e ~ N(0, I), (n, d)."""
        z = torch.linalg.solve_triangular(self.triangle(), noise.T, upper=False).T
        return found.log_sd.exp() * z


def write_encoder(path: Path | str, encoder: Encoder, header: Mapping[str, Any]) -> None:
    """Write an encoder; ``header`` adds the generator's digest, the factor, D and more."""
    shape = {name: getattr(encoder.shape, name) for name in Shape.__dataclass_fields__}
    own = {"kind": KIND, "shape": shape, "leaky": encoder.whitening.leaky}
    write_weights(path, encoder.state_dict(), {**header, **own})


def read_encoder(
    path: Path | str, device: torch.device | str = "cpu"
) -> tuple[Encoder, dict[str, Any]]:
    """Return (an encoder without gradients of its weights, its header).

    Raises:
        InputError: The file is missing or damaged, or its tensors do not fit its header.
    """
    tensors, header = read_weights(path, kind=KIND)
    try:
        mean, basis = (tensors[name] for name in WHITENING)
        whitening = Whitening.from_basis(mean, basis, leaky=header["leaky"])
        encoder = Encoder(Shape(**header["shape"]), whitening)
        encoder.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"The tensors of {path} do not fit its header: {error}") from error
    encoder.whitening = whitening.to(torch.device(device))
    return encoder.to(device).eval().requires_grad_(False), header


def check_encoder(
    path: Path | str,
    header: Mapping[str, Any],
    *,
    generator: str,
    factor: int,
    channels: Sequence[str],
) -> None:
    """Refuse an encoder of another generator, another factor or other channels.

    Raises:
        InputError: The sentence names what differs.
    """
    if header["generator_digest"] != generator:
        raise InputError(
            f"{path} was trained with the generator {header['generator_digest'][:12]}, and the "
            f"generator given here is {generator[:12]}. Run train_encoder again with this one."
        )
    if header["factor"] != factor or list(header["channels"]) != list(channels):
        raise InputError(
            f"{path} was trained for {header['factor']}x and the channels "
            f"{', '.join(header['channels'])}, and the images are of {factor}x and "
            f"{', '.join(channels)}. Train one for these images."
        )
