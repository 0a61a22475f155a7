"""Whitened coordinates: mean 0 and covariance I, invertible, and the same on every machine."""

from __future__ import annotations

import pytest
import torch

from rls.prior.whitening import LEAST_SD, Whitening, undo_activation
from rls.runtime.errors import InputError


def styles(n: int = 4000, d: int = 5) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    mixed = torch.randn(n, d, generator=random) @ torch.randn(d, d, generator=random)
    v = 3.0 * mixed + torch.arange(d)
    return torch.where(v < 0, 0.2 * v, v)  # as the last activation of a mapping network


@pytest.mark.parametrize("leaky", [False, True])
def test_the_coordinates_of_the_samples_are_white_and_give_the_styles_again(leaky: bool) -> None:
    w = styles()
    found = Whitening.of(w, leaky=leaky)
    u = found.to_whitened(w)
    assert u.mean(0).abs().max() < 1e-5
    assert (torch.cov(u.T) - torch.eye(5)).abs().max() < 1e-4
    assert torch.allclose(found.to_styles(u), w, atol=1e-4)
    assert torch.allclose(found.sd, found.sd.sort(descending=True).values)
    shaped = found.to_whitened(w.view(40, 100, 5))
    assert torch.allclose(shaped.view(-1, 5), u, atol=1e-5)


def test_undoing_the_activation_makes_the_styles_normal() -> None:
    w = styles(20_000)
    kurtosis = []
    for leaky in (False, True):
        u = Whitening.of(w, leaky=leaky).to_whitened(w)
        kurtosis.append(float((u**4).mean() - 3.0))
    assert abs(kurtosis[1]) < 0.05 < abs(kurtosis[0])
    assert torch.equal(undo_activation(torch.tensor([-1.0, 2.0])), torch.tensor([-5.0, 2.0]))


def test_the_scale_of_w_does_not_matter() -> None:
    w = styles()
    one, other = Whitening.of(w, leaky=True), Whitening.of(100.0 * w, leaky=True)
    assert torch.allclose(one.to_whitened(w), other.to_whitened(100.0 * w), atol=1e-4)


def test_a_file_holds_the_map_by_its_mean_and_basis() -> None:
    w = styles()
    found = Whitening.of(w, leaky=True)
    again = Whitening.from_basis(found.mean, found.basis, leaky=True)
    assert torch.allclose(again.to_whitened(w), found.to_whitened(w), atol=1e-4)


def test_a_direction_without_variance_stays_finite() -> None:
    w = styles(d=3)
    w[:, 2] = 1.0
    found = Whitening.of(w, leaky=False)
    assert found.sd[-1] == pytest.approx(float(LEAST_SD * found.sd[0]), rel=1e-3)
    assert torch.isfinite(found.to_whitened(w)).all()
    assert torch.allclose(found.to_styles(found.to_whitened(w)), w, atol=1e-3)


@pytest.mark.parametrize(
    ("w", "said"),
    [
        (torch.ones(50, 3), "constant"),
        (torch.randn(50, 3).fill_diagonal_(torch.nan), "not finite"),
        (torch.randn(50, 3).fill_diagonal_(torch.inf), "not finite"),
        (torch.randn(3, 3), "Sample more"),
    ],
)
def test_styles_without_components_are_refused(w: torch.Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Whitening.of(w, leaky=False)
