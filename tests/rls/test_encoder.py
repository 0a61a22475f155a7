"""The encoder: a toy whose posterior can be written down, gradients, turns, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rls.encoder import training
from rls.encoder.network import (
    Encoder,
    Posterior,
    Shape,
    check_encoder,
    read_encoder,
    write_encoder,
)
from rls.encoder.pool import Pool
from rls.encoder.settings import Settings
from rls.encoder.training import explained_variance, held_out_log_prob, start, train
from rls.io import write_weights
from rls.prior.whitening import Whitening
from rls.runtime import graphs
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from tests.rls.recorded_on_cpu import RecordedOnCpu

NOISE = 0.3
IDENTITY = Whitening.from_basis(torch.zeros(4), torch.eye(4), leaky=False)
SMALL = Settings(
    n_pairs=6000, n_held_out=1000, pair_batch_size=100, mixing_probability=0.0, hidden=32,
    blocks=1, epochs=10, batch_size=100, learning_rate=6e-3, weight_decay=0.0, seed=1,
    device="cpu", threads=1,
)  # fmt: skip


def mixing() -> Tensor:
    """Return A, (4, 4): pixel k sees dimension k, and a little of its neighbour."""
    return torch.eye(4) + 0.6 * torch.roll(torch.eye(4), 1, 0)


def linear_pairs(n: int, seed: int, matrix: Tensor | None = None) -> Pool:
    """Return pairs with w ~ N(0, I) and y = A w + noise as images (n, 1, 2, 2)."""
    random = torch.Generator().manual_seed(seed)
    w = torch.randn(n, 4, generator=random)
    matrix = mixing() if matrix is None else matrix
    y = w @ matrix.T + NOISE * torch.randn(n, 4, generator=random)
    return Pool(w, y.view(n, 1, 2, 2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    torch.set_num_threads(1)
    state = start(1, 2, IDENTITY, SMALL, torch.device("cpu"))
    with StateFolder(tmp_path_factory.mktemp("state"), "encoder", {}) as folder:
        train(state, linear_pairs(5000, 1), linear_pairs(1000, 2), SMALL, folder)
    return state.encoder.eval().requires_grad_(False)


def posterior(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (n, 4) and the covariance (4, 4) of p(w | y)."""
    a = mixing()
    covariance = torch.linalg.inv(torch.eye(4) + a.T @ a / NOISE**2)
    return y.flatten(1) @ (covariance @ a.T / NOISE**2).T, covariance


def test_mean_and_draws_are_those_of_the_posterior(trained: Encoder) -> None:
    y = linear_pairs(200, 3).y
    found = trained(y)
    mean, covariance = posterior(y)
    assert (found.mean - mean).square().mean().sqrt() < 0.06
    one = trained(y[:1].expand(20_000, -1, -1, -1))
    noise = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(4))
    draws = one.mean + trained.deviation(one, noise)
    assert (draws.mean(0) - mean[0]).abs().max() < 0.12
    # Its correlations are strong: the diagonal alone would miss entries as large as 0.05.
    assert (torch.cov(draws.T) - covariance).abs().max() < 0.02
    assert covariance.fill_diagonal_(0.0).abs().max() > 0.03


def test_its_log_density_is_that_of_its_draws(trained: Encoder) -> None:
    """Compare log q with the density of N(mean, S) whose S follows from the draws' matrix."""
    y, u = linear_pairs(5, 5).y, torch.randn(5, 4)
    found = trained(y)
    for i in range(5):
        one = type(found)(found.mean[i : i + 1], found.log_sd[i : i + 1])
        columns = torch.cat([trained.deviation(one, e[None]) for e in torch.eye(4)])
        normal = torch.distributions.MultivariateNormal(found.mean[i], columns.T @ columns)
        assert trained.log_prob(one, u[i : i + 1]).item() == pytest.approx(
            normal.log_prob(u[i]).item(), abs=1e-3
        )


def test_held_out_log_q_comes_near_the_entropy_of_the_posterior(trained: Encoder) -> None:
    _, covariance = posterior(torch.zeros(1, 1, 2, 2))
    normal = torch.distributions.MultivariateNormal(torch.zeros(4), covariance)
    judged = linear_pairs(4000, 6)
    assert abs(held_out_log_prob(trained, judged) + normal.entropy().item()) < 0.1
    explained = 1 - covariance.diagonal().mean().item()
    assert explained_variance(trained, judged) == pytest.approx(explained, abs=0.02)


def test_a_turned_image_has_the_turned_answer(tmp_path: Path) -> None:
    """Each dimension lights one quadrant, so a turn by 90 degrees permutes the dimensions."""
    state = start(1, 2, IDENTITY, SMALL, torch.device("cpu"))
    with StateFolder(tmp_path, "encoder", {}) as folder:
        eye = torch.eye(4)
        train(state, linear_pairs(4000, 7, eye), linear_pairs(500, 8, eye), SMALL, folder)
    y = linear_pairs(300, 9, eye).y
    places = torch.arange(4.0).view(1, 1, 2, 2)
    for turns in (1, 2, 3):
        order = torch.rot90(places, turns, (2, 3)).flatten().long()
        turned = state.encoder(torch.rot90(y, turns, (2, 3))).mean
        assert (turned - state.encoder(y).mean[:, order]).abs().mean() < 0.06


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    encoder = Encoder(Shape(1, 2, 4, 8, 1), IDENTITY).double()
    for parameter in encoder.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    y, u = torch.rand(3, 1, 2, 2).double(), torch.randn(3, 4).double()
    names = ["enter.weight", "blocks.0.second.weight", "log_diagonal", "below"]
    for name in names:
        parameter = encoder.get_parameter(name)
        loss = encoder.log_prob(encoder(y), u).sum()
        (gradient,) = torch.autograd.grad(loss, parameter)
        place = tuple(size - 1 for size in parameter.shape[:-1]) + (0,)
        step = torch.zeros_like(parameter)
        step[place] = 1e-5
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                parameter.add_(sign * step)
                ends.append(encoder.log_prob(encoder(y), u).sum())
                parameter.sub_(sign * step)
        assert gradient[place].item() == pytest.approx(
            (ends[0] - ends[1]).item() / 2e-5, rel=1e-4, abs=1e-7
        ), name


def test_the_mean_style_is_the_mean_of_the_styles_of_draws() -> None:
    torch.manual_seed(0)
    whitening = Whitening.from_basis(torch.randn(4), torch.randn(4, 4), leaky=True)
    encoder = Encoder(Shape(1, 2, 4, 8, 1), whitening)
    for parameter in encoder.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    encoder.requires_grad_(False)
    found = encoder(torch.rand(1, 1, 2, 2).expand(200_000, -1, -1, -1))
    draws = whitening.to_styles(found.mean + encoder.deviation(found, torch.randn(200_000, 4)))
    one = Posterior(found.mean[:1], found.log_sd[:1])
    error = encoder.mean_style(one)[0] - draws.mean(0)
    assert (error.abs() < 5 * draws.std(0) / 200_000**0.5).all()
    assert (whitening.to_styles(found.mean[0]) - draws.mean(0)).abs().max() > 0.05


def test_before_training_q_is_the_prior() -> None:
    state = start(1, 2, IDENTITY, SMALL, torch.device("cpu"))
    found = state.encoder(torch.rand(3, 1, 2, 2))
    assert torch.equal(found.mean, torch.zeros(3, 4))
    assert torch.equal(state.encoder.deviation(found, torch.ones(3, 4)), torch.ones(3, 4))


def test_the_weights_kept_are_those_of_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, weights = iter([-3.0, -1.0, -2.0]), []

    def judge(encoder: Encoder, pool: Pool) -> float:
        weights.append(encoder.enter.weight.detach().clone())
        return next(judged)

    monkeypatch.setattr(training, "held_out_log_prob", judge)
    settings = replace(SMALL, epochs=3)
    state = start(1, 2, IDENTITY, settings, torch.device("cpu"))
    with StateFolder(tmp_path, "encoder", {}) as folder:
        train(state, linear_pairs(300, 1), linear_pairs(100, 2), settings, folder)
    assert (state.best_epoch, state.best_log_prob) == (2, -1.0)
    assert torch.equal(state.encoder.enter.weight, weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_recorded_steps_end_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, found = replace(SMALL, epochs=2), []
    for warm_up in (graphs.WARM_UP, 10**9):  # The second records nothing.
        monkeypatch.setattr(graphs, "WARM_UP", warm_up)
        recorder, state = RecordedOnCpu(), start(1, 2, IDENTITY, settings, torch.device("cpu"))
        with StateFolder(tmp_path / str(warm_up), "encoder", {}) as folder, recorder.stream():
            pools = linear_pairs(600, 1), linear_pairs(100, 2)
            train(state, *pools, settings, folder, recorder)
        found.append((state.encoder.state_dict(), len(recorder.n_operators)))
    assert [n for _, n in found] == [1, 0]
    assert all(torch.equal(found[0][0][name], value) for name, value in found[1][0].items())


def test_a_file_gives_the_encoder_again(trained: Encoder, tmp_path: Path) -> None:
    path, y = tmp_path / "encoder.safetensors", linear_pairs(4, 3).y
    write_encoder(path, trained, {"generator_digest": "g", "factor": 8, "channels": ["dna"]})
    again, header = read_encoder(path)
    assert torch.equal(again(y).mean, trained(y).mean)
    assert torch.allclose(again.whitening.to_styles(torch.ones(4)), torch.ones(4))
    check_encoder(path, header, generator="g", factor=8, channels=["dna"])
    for changed in ({"generator": "h"}, {"factor": 4}, {"channels": ["nfkb"]}):
        same = {"generator": "g", "factor": 8, "channels": ["dna"]}
        with pytest.raises(InputError, match="was trained"):
            check_encoder(path, header, **(same | changed))  # type: ignore[arg-type]


def test_images_of_another_size_and_damaged_files_are_refused(
    trained: Encoder, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="was trained on images of"):
        trained(torch.zeros(1, 1, 4, 4))
    path = tmp_path / "encoder.safetensors"
    header = {"kind": "encoder", "leaky": False, "shape": {"n_channels": 1}}
    write_weights(path, {"w_mean": torch.zeros(4), "w_basis": torch.eye(4)}, header)
    with pytest.raises(InputError, match="do not fit"):
        read_encoder(path)


@pytest.mark.parametrize(
    "changes", [{"n_pairs": 1}, {"mixing_probability": 1.5}, {"learning_rate": 0.0}]
)
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Found"):
        replace(SMALL, **changes)
