"""Flows obey Eq. 4, and an unfitted flow is never evaluated."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from nflows.transforms.made import MADE, MaskedFeedforwardBlock, MaskedLinear

from rls.io import read_weights, write_weights
from rls.prior.flows import StyleFlow, read_flow, write_flow
from rls.runtime.errors import InputError

KINDS = pytest.mark.parametrize("kind", ["maf", "realnvp"])


def made_flow(kind: str, features: int = 6, seed: int = 0) -> StyleFlow:
    """Return a flow with random weights and batch norms of its own data, so that no term is 0."""
    torch.manual_seed(seed)
    flow = StyleFlow(kind, features, 16, 3)
    for parameter in flow.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    w = 2.0 + 3.0 * torch.randn(500, features)
    flow.set_scale(w)
    flow.recompute_batch_norm(w)
    return flow.eval()


@KINDS
def test_inverse_and_forward_cancel(kind: str) -> None:
    flow = made_flow(kind).double()
    w = 2.0 + 3.0 * torch.randn(20, 6, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(flow.from_noise(flow.to_noise(w)), w, atol=1e-8)
        assert torch.allclose(flow.freeze().from_noise(flow.to_noise(w)), w, atol=1e-8)


@KINDS
def test_log_prob_is_the_change_of_variables_by_autograd(kind: str) -> None:
    flow = made_flow(kind).double()
    w = 2.0 + 3.0 * torch.randn(4, 6, dtype=torch.float64)
    for row in w:
        jacobian = torch.autograd.functional.jacobian(lambda x: flow.to_noise(x[None])[0], row)
        z = flow.to_noise(row[None])[0]
        base = -0.5 * (z**2).sum() - 3 * math.log(2 * math.pi)
        expected = base + torch.linalg.slogdet(jacobian)[1]
        assert torch.isclose(flow.log_prob(row[None])[0], expected, rtol=1e-10)


@KINDS
def test_the_density_of_w_integrates_to_one(kind: str) -> None:
    flow = made_flow(kind, features=2).double()
    step = 0.25
    axis = torch.arange(-60.0, 60.0, step, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = flow.log_prob(grid).exp().sum() * step**2
    assert abs(float(mass) - 1.0) < 5e-3


@KINDS
def test_freezing_changes_no_value_and_stops_weight_gradients(kind: str) -> None:
    flow = made_flow(kind)
    w = torch.randn(5, 6, requires_grad=True)
    before = flow.log_prob(w)
    after = flow.freeze().log_prob(w)
    assert torch.allclose(before, after, atol=1e-5)
    after.sum().backward()
    assert w.grad is not None and bool(torch.isfinite(w.grad).all())
    assert not flow.training and all(not p.requires_grad for p in flow.parameters())
    assert not any(isinstance(module, MaskedLinear) for module in flow.modules())


def test_a_block_of_the_articles_flow_is_a_feedforward_made() -> None:
    made = [m for m in StyleFlow("maf", 4, 8, 2).modules() if isinstance(m, MADE)]
    assert len(made) == 2
    assert all(isinstance(block, MaskedFeedforwardBlock) for m in made for block in m.blocks)
    assert all(len(m.blocks) == 1 for m in made)


def test_styles_of_a_small_spread_are_scaled_by_it() -> None:
    flow = StyleFlow("maf", 3, 8, 1)
    flow.set_scale(5.0 + 0.01 * torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(flow.sd, torch.full((3,), 0.01), rtol=0.05, atol=0)


@KINDS
def test_an_unfitted_flow_refuses_to_evaluate(kind: str) -> None:
    flow = StyleFlow(kind, 4, 8, 2).eval()
    for call in (flow.log_prob, flow.to_noise, flow.from_noise):
        with pytest.raises(InputError, match="not fitted"):
            call(torch.zeros(3, 4))


def test_recomputed_batch_norms_whiten_each_dimension_over_the_whole_set() -> None:
    flow = made_flow("maf")
    torch.manual_seed(0)
    w = 5.0 * torch.randn(300, 6)
    flow.set_scale(w)
    flow.recompute_batch_norm(w)
    last = flow.flow._transform._transforms[-1]
    with torch.no_grad():
        z = (flow.to_noise(w) - last.bias) / last.weight
    assert torch.allclose(z.mean(0), torch.zeros(6), atol=1e-4)
    assert torch.allclose(z.std(0), torch.ones(6), atol=1e-3)


def test_constant_styles_are_refused() -> None:
    with pytest.raises(InputError, match="constant"):
        StyleFlow("maf", 3, 8, 1).set_scale(torch.ones(10, 3))


@KINDS
def test_a_written_flow_reads_back_the_same(kind: str, tmp_path: Path) -> None:
    flow = made_flow(kind)
    write_flow(tmp_path / "flow.safetensors", flow, {"epochs": 3})
    again, header = read_flow(tmp_path / "flow.safetensors")
    w = torch.randn(7, 6)
    with torch.no_grad():
        assert torch.allclose(again.log_prob(w), flow.log_prob(w), atol=1e-5)
    assert header["epochs"] == 3 and header["flow"] == kind


def test_a_file_that_lacks_a_tensor_or_has_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.safetensors"
    write_flow(path, made_flow("maf"), {})
    tensors, header = read_weights(path, kind="flow")
    fewer = {name: tensor for name, tensor in tensors.items() if name != "sd"}
    for changed, said in ((fewer, "lacks .'sd'"), ({**tensors, "x": torch.ones(1)}, "'x'")):
        write_weights(path, changed, {k: v for k, v in header.items() if k != "digest"})
        with pytest.raises(InputError, match=said):
            read_flow(path)
