"""Whitened coordinates of styles: principal components, each over its standard deviation.

    v = mean + u B,   w = v, or LeakyReLU(0.2)(v) where the activation is undone (``leaky``)

B holds the components times their standard deviations, so u of sampled styles has mean 0 and
covariance I, whatever scale the depth and the training of the mapping network gave to w. With
``leaky`` the last activation of the mapping network is undone first, as PULSE does (Menon et al.
2020); v is then nearly normal, and N(u; 0, I) a density of styles in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from rls.prior.gaussianize import LEAKY_SLOPE
from rls.runtime.errors import InputError

# A component along which styles hardly vary gets this share of the largest standard deviation, so
# that u stays finite and distances in u are not ruled by it; w hardly depends on it.
LEAST_SD = 0.01


@dataclass(frozen=True, eq=False)
class Whitening:
    """The map between styles w and whitened coordinates u, both (..., d).

    Attributes:
        mean: (d,), the mean of v.
        basis: (d, d), rows are the components times their standard deviations, largest first.
        inverse: (d, d), the inverse of ``basis``.
        leaky: Whether v is LeakyReLU(5)(w) and not w.
    """

    mean: Tensor
    basis: Tensor
    inverse: Tensor
    leaky: bool

    @staticmethod
    def of(w: Tensor, *, leaky: bool) -> Whitening:
        """Return the whitening of sampled styles (n, d), on their device.

        Raises:
            InputError: There are fewer styles than dimensions, or they do not vary.
        """
        if len(w) <= w.shape[1]:
            raise InputError(
                f"{len(w)} styles do not determine the components of {w.shape[1]} dimensions. "
                f"Sample more styles."
            )
        v = undo_activation(w.double()) if leaky else w.double()
        covariance = torch.cov(v.T)
        if not 0 < float(covariance.trace()) < math.inf:
            raise InputError(
                "The styles are constant or not finite, so they have no components. Was the "
                "generator trained?"
            )
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0), vectors.flip(1)
        # The sign of a component is arbitrary; its largest entry is made positive.
        top = vectors.abs().argmax(dim=0, keepdim=True)
        vectors = vectors * vectors.gather(0, top).sign()
        sd = values.clamp(min=(LEAST_SD**2) * float(values[0])).sqrt()
        basis, inverse = sd[:, None] * vectors.T, vectors / sd
        return Whitening(v.mean(dim=0).float(), basis.float(), inverse.float(), leaky)

    @staticmethod
    def from_basis(mean: Tensor, basis: Tensor, *, leaky: bool) -> Whitening:
        """Return the whitening that a file holds as its mean (d,) and basis (d, d)."""
        inverse = torch.linalg.inv(basis.double()).float()
        return Whitening(mean, basis, inverse, leaky)

    def to(self, device: torch.device) -> Whitening:
        """Return the same map on another device."""
        mean, basis, inverse = (x.to(device) for x in (self.mean, self.basis, self.inverse))
        return Whitening(mean, basis, inverse, self.leaky)

    @property
    def sd(self) -> Tensor:
        """Return the standard deviations of the components, (d,), largest first."""
        return self.basis.norm(dim=1)

    def to_whitened(self, w: Tensor) -> Tensor:
        """Return u of styles w."""
        return ((undo_activation(w) if self.leaky else w) - self.mean) @ self.inverse

    def to_styles(self, u: Tensor) -> Tensor:
        """Return w of coordinates u."""
        v = u @ self.basis + self.mean
        return functional.leaky_relu(v, 1.0 / LEAKY_SLOPE) if self.leaky else v

    def mean_style(self, u: Tensor, sd: Tensor) -> Tensor:
        """Return E[w], (n, d), where v is normal with the mean of coordinates u and the given sd.

        Arguments:
            u: (n, d), the mean of the whitened coordinates.
            sd: (n, d), the standard deviations of v, not of u.
        """
        v = u @ self.basis + self.mean
        if not self.leaky:
            return v
        normal, slope = torch.distributions.Normal(0.0, 1.0), 1.0 / LEAKY_SLOPE
        ratio = v / sd.clamp(min=torch.finfo(v.dtype).tiny)
        positive = v * normal.cdf(ratio) + sd * normal.log_prob(ratio).exp()  # E[max(v, 0)]
        return slope * v + (1.0 - slope) * positive


def undo_activation(w: Tensor) -> Tensor:
    """Return LeakyReLU(5)(w), which undoes the slope 0.2 of the mapping network's last layer."""
    return torch.where(w < 0, LEAKY_SLOPE * w, w)
