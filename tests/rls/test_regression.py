"""A regression from y to features: means and spreads that are known, symmetry, recorded steps."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from rls.encoder.regression import (
    Regression,
    RegressionNet,
    Scale,
    load_regression,
    write_regression,
)
from rls.encoder.regression_training import (
    Examples,
    Schedule,
    correlations,
    examples_of,
    loss_of,
    train,
)
from rls.io import write_weights
from rls.networks.classifier import views
from rls.runtime import graphs
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from rls.search.forward import forward_operator
from rls.search.forward_model import OperatorSettings, model_of
from tests.rls.recorded_on_cpu import RecordedOnCpu

CPU = torch.device("cpu")
SCHEDULE = Schedule(
    width=8, hidden=32, turned=False, epochs=8, batch_size=100, learning_rate=0.01,
    weight_decay=0.0, seed=1,
)  # fmt: skip


def toy(n, seed, *, log=False):
    """Return y ~ N(0, I) (n, 1, 2, 2), a feature h, its E[h | y] and its sd given y.

    h (or log h) is c'y with Gaussian noise, whose sd grows with the first pixel.
    """
    random = np.random.default_rng(seed)
    y = random.normal(size=(n, 1, 2, 2))
    sd = np.exp(-1.3 + 0.5 * y[:, 0, 0, 0])
    mean = y.reshape(n, 4) @ [0.3, -0.4, 0.5, 0.2]
    h = mean + sd * random.normal(size=n)
    if log:
        h, mean = np.exp(h), np.exp(mean + sd**2 / 2)
        sd = mean * np.sqrt(np.expm1(sd**2))
    return y.astype(np.float32), h[:, None], mean, sd


def fitted(tmp_path, y, h, schedule=SCHEDULE, names=("h",), recorder=None):
    scale = Scale.of(names, h)
    n = int(0.9 * len(y))
    parts = (examples_of(y[part], h[part], scale) for part in (slice(n), slice(n, None)))
    with StateFolder(tmp_path, "fit", {}) as folder:
        state = train(*parts, schedule, CPU, folder, "fit", recorder)
    return Regression(state.net, scale, {}), state


# ---- what is learnt ---------------------------------------------------------------------------


@pytest.mark.parametrize("log", [False, True])
def test_it_learns_the_mean_and_the_sd_of_a_feature_given_y(tmp_path, log):
    y, h, _, _ = toy(4000, 0, log=log)
    regression, _ = fitted(tmp_path, y, h)
    assert regression.scale.logarithm == (log,)
    y, h, mean, sd = toy(2000, 1, log=log)
    found, spread = (x[:, 0] for x in regression.predict(y, 100))
    typical = np.median(np.abs(found - mean)) / np.subtract(*np.percentile(mean, [75, 25]))
    assert typical < 0.06
    assert np.corrcoef(np.log(spread), np.log(sd))[0, 1] > 0.9
    assert np.median(spread / sd) == pytest.approx(1.0, abs=0.1)
    # Of the feature itself, as much as y says and no more.
    (r,) = correlations(found[:, None], h)
    assert r == pytest.approx(np.corrcoef(mean, h[:, 0])[0, 1], abs=0.05)


def test_the_mean_is_moved_by_the_squared_error_alone():
    """In a Gaussian's likelihood, cells with a large spread would count less."""
    mean, t = torch.tensor([[0.5], [1.0]], requires_grad=True), torch.tensor([[0.0], [3.0]])
    log_sd = torch.tensor([[2.0], [-3.0]], requires_grad=True)
    loss_of(mean, log_sd, t).backward()
    assert torch.allclose(mean.grad, (mean - t).detach())  # 2 (m - t) / n
    # The spread is at its optimum where it is the error.
    best = (t - mean).abs().log().detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(mean, best, t), best)
    assert torch.allclose(gradient, torch.zeros_like(gradient), atol=1e-6)


def test_what_could_not_be_measured_moves_nothing():
    mean, log_sd = torch.randn((2, 3, 2), generator=torch.Generator().manual_seed(0))
    t = torch.tensor([[1.0, float("nan")], [float("nan"), 0.5], [2.0, -1.0]])
    for one in (mean, log_sd):
        one.requires_grad_()
    loss = loss_of(mean, log_sd, t)
    loss.backward()
    unknown = torch.isnan(t)
    for one in (mean, log_sd):
        assert (one.grad[unknown] == 0).all() and (one.grad[~unknown] != 0).all()
    known = [x.detach()[~unknown][:, None] for x in (mean, log_sd, t)]
    assert float(loss.detach()) == pytest.approx(float(loss_of(*known)))


def test_two_features_are_learnt_beside_each_other(tmp_path):
    y, h, _, _ = toy(3000, 0)
    other = y.mean(axis=(1, 2, 3))[:, None] * 1e4
    other[::3] = np.nan
    regression, _ = fitted(tmp_path, y, np.concatenate([h, other], axis=1), names=("h", "other"))
    y, h, mean, _ = toy(500, 1)
    found, _ = regression.predict(y, 100)
    assert np.corrcoef(found[:, 0], mean)[0, 1] > 0.95
    assert np.corrcoef(found[:, 1], y.mean(axis=(1, 2, 3)))[0, 1] > 0.98
    assert np.polyfit(y.mean(axis=(1, 2, 3)), found[:, 1], 1)[0] == pytest.approx(1e4, rel=0.1)


# ---- scales -----------------------------------------------------------------------------------


def test_the_logarithm_is_for_positive_features_that_it_makes_less_skewed():
    random = np.random.default_rng(0)
    skewed = np.exp(random.normal(size=(500, 1)))
    values = np.concatenate([skewed, skewed - 0.5, 10 + random.normal(size=(500, 1)),
                             np.full((500, 1), 2.0)], axis=1)  # fmt: skip
    values[3, 0] = np.nan
    scale = Scale.of(("area", "difference", "normal", "constant"), values)
    assert scale.logarithm[0] and not scale.logarithm[1] and not scale.logarithm[3]
    t = scale.standardised(values)
    below = scale.standardised(np.full((1, 4), -1.0))
    assert list(np.isnan(below[0])) == list(scale.logarithm)
    assert np.isnan(t[3, 0]) and np.isfinite(np.delete(t, 3, axis=0)).all()
    assert np.nanmean(t, axis=0) == pytest.approx([0, 0, 0, 0], abs=1e-5)
    assert np.nanstd(t, axis=0) == pytest.approx([1, 1, 1, 0], abs=1e-5)
    assert Scale.from_dict(scale.as_dict()) == scale


def test_mean_and_sd_in_units_are_those_of_draws():
    scale = Scale(("h", "k"), (True, False), (0.3, -2.0), (0.5, 4.0))
    mean, log_sd = np.array([[0.7, 0.2]]), np.log([[0.8, 0.5]])
    t = mean + np.exp(log_sd) * np.random.default_rng(0).normal(size=(400_000, 2))
    h = np.exp(0.3 + 0.5 * t[:, 0]), -2.0 + 4.0 * t[:, 1]
    found, spread = scale.in_units(mean, log_sd)
    assert found[0] == pytest.approx([np.mean(x) for x in h], rel=0.01)
    assert spread[0] == pytest.approx([np.std(x) for x in h], rel=0.01)


def test_a_feature_that_no_image_has_is_refused():
    with pytest.raises(InputError, match="Found 1 of 3 images on which area"):
        Scale.of(("area",), np.array([[1.0], [np.nan], [np.nan]]))


# ---- orientations -----------------------------------------------------------------------------


def random_net(turned, size=(4, 4)):
    torch.manual_seed(0)
    return RegressionNet(2, size, 3, width=4, hidden=8, turned=turned)


def test_turned_it_says_the_same_of_every_orientation():
    y = torch.randn((5, 2, 4, 4), generator=torch.Generator().manual_seed(1))
    for turned in (True, False):
        net = random_net(turned)
        found = [net.predict(view) for view in views(y)]
        assert len(found) == 8
        same = all(torch.allclose(one, found[0], atol=1e-6) for one in found)
        assert same == turned


def test_a_cell_does_not_depend_on_the_other_cells():
    plain = Scale(("a", "b", "c"), (False,) * 3, (0.0,) * 3, (1.0,) * 3)
    regression = Regression(random_net(True).eval(), plain, {})
    y = np.random.default_rng(0).normal(size=(7, 2, 4, 4)).astype(np.float32)
    alone = [regression.predict(y[i : i + 1], 4)[0] for i in range(7)]
    assert np.array_equal(np.concatenate(alone), regression.predict(y, 4)[0])


@pytest.mark.parametrize("border", ["renormalize", "reflect"])
@pytest.mark.parametrize(
    ("values", "keeps"),
    [
        ({}, True),
        ({"operator": "binning"}, True),
        ({"operator": "psf_binning", "psf_sd_um": 1.5}, True),
        ({"shift_px": (1.0, 0.0)}, False),
        ({"operator": "kernel", "kernel_file": "lopsided"}, False),
    ],
)
def test_d_keeps_turns_exactly_where_it_says_so(tmp_path, border, values, keeps):
    if "kernel_file" in values:
        path = tmp_path / "kernel.tif"
        tifffile.imwrite(path, np.arange(1.0, 17.0).reshape(4, 4).astype(np.float32))
        values = {**values, "kernel_file": str(path)}
    model = model_of(OperatorSettings(border=border, **values))
    assert model.keeps_turns == keeps
    down = forward_operator(model, 16, 4, 1.0)
    x = torch.rand((2, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    pairs = zip(views(down(x)), views(x), strict=True)
    assert all(torch.allclose(low, down(high), atol=1e-5) for low, high in pairs) == keeps


# ---- large images, files, recorded steps ------------------------------------------------------


def test_larger_images_are_pooled_before_the_linear_layers():
    sizes = [sum(p.numel() for p in random_net(False, (m, m)).parameters()) for m in (4, 8, 16, 32)]
    assert sizes[0] < sizes[1] == sizes[2] == sizes[3]


def test_a_file_gives_back_what_was_written(tmp_path):
    scale = Scale(("a", "b", "c"), (True, False, False), (0.1, 2.0, 3.0), (1.0, 2.0, 0.5))
    one = Regression(random_net(True).eval(), scale, {"factor": 8})
    write_regression(tmp_path / "a.safetensors", one)
    other = load_regression(tmp_path / "a.safetensors", CPU)
    assert other.scale == scale and other.header["factor"] == 8
    assert other.header["kind"] == "amortised" and other.header["transforms"] == [
        "log",
        "none",
        "none",
    ]
    y = np.random.default_rng(0).normal(size=(7, 2, 4, 4)).astype(np.float32)
    for a, b in zip(one.predict(y, 4), other.predict(y, 4), strict=True):
        assert np.array_equal(a, b)
    write_weights(tmp_path / "b.safetensors", {"w": torch.ones(2)}, {"kind": "flow"})
    with pytest.raises(InputError, match="holds a flow, expected one of amortised"):
        load_regression(tmp_path / "b.safetensors", CPU)


def test_recorded_steps_give_the_bits_of_plain_ones(tmp_path, monkeypatch):
    y, h, _, _ = toy(200, 0)
    schedule = Schedule(**{**vars(SCHEDULE), "epochs": 3, "turned": True})
    recorder = RecordedOnCpu()
    _, recorded = fitted(tmp_path / "a", y, h, schedule, recorder=recorder)
    monkeypatch.setattr(graphs, "WARM_UP", 10**9)
    never = RecordedOnCpu()
    _, eager = fitted(tmp_path / "b", y, h, schedule, recorder=never)
    assert len(recorder.n_operators) == 1 and not never.n_operators
    assert recorded.curves == eager.curves
    for a, b in zip(recorded.net.parameters(), eager.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_weights_kept_are_those_of_the_best_epoch(tmp_path):
    """Twenty pairs are learnt by heart, and the loss on others falls and rises again."""
    y, h, _, _ = toy(40, 0)
    scale = Scale.of(("h",), h)
    parts = [examples_of(y[part], h[part], scale) for part in (slice(20), slice(20, None))]
    schedule = Schedule(**{**vars(SCHEDULE), "epochs": 30, "batch_size": 10})
    with StateFolder(tmp_path, "fit", {}) as folder:
        state = train(*parts, schedule, CPU, folder, "fit")
    held = [row[2] for row in state.curves]
    assert state.best_epoch == 1 + int(np.argmin(held)) < 30
    with torch.no_grad():
        mean, log_sd = state.net.predict(parts[1].y).chunk(2, dim=1)
        assert float(loss_of(mean, log_sd, parts[1].t)) == pytest.approx(min(held))


def test_examples_have_one_order_in_memory():
    """Else a resumed fit, whose features come from a file, would sum them in another order."""
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(5, 3)))
    scale = Scale.of(("a", "b", "c"), values)
    assert examples_of(np.zeros((5, 1, 2, 2), np.float32), values, scale).t.is_contiguous()


def test_examples_move_together():
    found = Examples(torch.ones(3, 1, 2, 2), torch.ones(3, 1)).to(torch.device("meta"))
    assert found.y.is_meta and found.t.is_meta and len(found) == 3
