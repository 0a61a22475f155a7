"""The fit of a flow reaches a known entropy, resumes exactly, and stops at a divergence."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rls.fit_flow import main
from rls.io import write_weights
from rls.prior import fitting
from rls.prior.fitting import fit_flow, gaussian_log_prob, split_styles
from rls.prior.flows import read_flow
from rls.prior.settings import Settings
from rls.runtime import graphs
from rls.runtime.checkpoint import StateFolder
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from tests.flags import as_flags
from tests.rls.recorded_on_cpu import RecordedOnCpu

SMALL = Settings(
    flow="maf", n_blocks=2, hidden=32, learning_rate=3e-3, weight_decay=1e-6, batch_size=100,
    max_epochs=25, patience_epochs=6, validation_share=0.1, gradient_clip=5.0,
    cuda_graphs="auto", seed=1, device="cpu", threads=1,
)  # fmt: skip


def correlated_gaussian(n: int) -> tuple[torch.Tensor, float]:
    """Return (styles of a Gaussian with strong correlations, its differential entropy in nats)."""
    torch.manual_seed(0)
    factor = torch.eye(4) + torch.tril(torch.full((4, 4), 0.8), -1)
    w = 10.0 + 3.0 * torch.randn(n, 4) @ factor.T
    entropy = 0.5 * 4 * math.log(2 * math.pi * math.e) + 4 * math.log(3.0)
    return w, entropy


def write_styles(path: Path, n: int = 400) -> Path:
    w, _ = correlated_gaussian(n)
    write_weights(path, {"w": w, "w_mean": w.mean(0)}, {"kind": "styles"})
    return path


@pytest.mark.parametrize("kind", ["maf", "realnvp"])
def test_a_flow_fitted_on_a_gaussian_reaches_its_entropy(kind: str) -> None:
    torch.set_num_threads(1)
    w, entropy = correlated_gaussian(4000)
    train, validation = split_styles(w, 0.2, 0)
    fit = fit_flow(train, validation, replace(SMALL, flow=kind, max_epochs=10))
    assert abs(fit.best_log_prob + entropy) < 0.12
    diagonal = gaussian_log_prob(train, validation, full=False)
    assert diagonal is not None and fit.best_log_prob > diagonal + 0.5


def test_the_gaussian_baseline_is_minus_the_entropy() -> None:
    w, entropy = correlated_gaussian(20000)
    full = gaussian_log_prob(w[:10000], w[10000:], full=True)
    assert full is not None and abs(full + entropy) < 0.05
    assert gaussian_log_prob(w[:4], w, full=True) is None


def test_a_fit_that_was_interrupted_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = write_styles(tmp_path / "styles.safetensors")
    short = replace(SMALL, max_epochs=5)
    base = ["--styles", str(styles), *as_flags(short)]
    whole, halved = tmp_path / "whole.safetensors", tmp_path / "halved.safetensors"
    main([*base, "--output", str(whole), "--state", str(tmp_path / "a")])

    real, count = fitting.run_epoch, [0]

    def dies_in_the_third_epoch(*args: object) -> bool:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "run_epoch", dies_in_the_third_epoch)
    arguments = [*base, "--output", str(halved), "--state", str(tmp_path / "b")]
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    assert not halved.exists()
    main(arguments)
    assert count[0] == 3 + 3  # Two epochs were kept.
    (one, header), (other, other_header) = read_flow(whole), read_flow(halved)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert header == other_header
    for name in ("validation_log_prob", "gaussian_full_log_prob", "gaussian_diagonal_log_prob"):
        assert math.isfinite(header[name])


def test_a_fit_that_is_killed_ends_with_the_same_bits(tmp_path: Path) -> None:
    styles = write_styles(tmp_path / "styles.safetensors")
    base = [sys.executable, "-m", "rls.fit_flow", "--styles", str(styles)]
    base += as_flags(replace(SMALL, max_epochs=60, patience_epochs=60))

    def command(name: str) -> list[str]:
        output = tmp_path / f"{name}.safetensors"
        return [*base, "--output", str(output), "--state", str(tmp_path / name)]

    process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL)
    while not list((tmp_path / "killed").glob("*/checkpoint-*")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    said = subprocess.run(command("killed"), capture_output=True, text=True, check=True).stdout
    assert "goes on after epoch" in said
    subprocess.run(command("whole"), capture_output=True, check=True)
    (one, header), (other, other_header) = (
        read_flow(tmp_path / f"{name}.safetensors") for name in ("killed", "whole")
    )
    assert header == other_header
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_best_epoch_is_kept_and_fitting_stops_with_patience() -> None:
    w, _ = correlated_gaussian(150)
    train, validation = split_styles(w, 0.2, 0)
    overfit = replace(SMALL, hidden=128, learning_rate=1e-2, max_epochs=200, patience_epochs=5)
    fit = fit_flow(train, validation, overfit)
    assert fit.epoch == fit.best_epoch + 5 < 200
    assert fitting.mean_log_prob(fit.flow, validation) == pytest.approx(fit.best_log_prob, abs=1e-5)


def test_a_divergence_halves_the_rate_and_gives_up_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    w, _ = correlated_gaussian(200)
    train, validation = split_styles(w, 0.2, 0)
    real, count = fitting.run_epoch, [0]

    def diverges_once(*args: object) -> bool:
        count[0] += 1
        return count[0] != 2 and real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "run_epoch", diverges_once)
    fit = fit_flow(train, validation, replace(SMALL, max_epochs=4))
    assert fit.halvings == 1 and math.isfinite(fit.best_log_prob)
    assert fit.optimiser.param_groups[0]["lr"] == SMALL.learning_rate / 2

    monkeypatch.setattr(fitting, "run_epoch", lambda *args: False)
    with pytest.raises(InputError, match="diverged 4 times"):
        fit_flow(train, validation, SMALL)


def test_an_epoch_ends_at_the_next_look_after_a_loss_that_was_not_finite() -> None:
    def epoch(healthy: bool) -> tuple[bool, int]:
        taken: list[int] = []
        steps = SimpleNamespace(
            order=range(3 * fitting.CHECK_STEPS), healthy=torch.tensor(healthy),
            start_epoch=lambda: None, take=lambda: taken.append(1),
        )  # fmt: skip
        watch = SimpleNamespace(stop_if_asked=lambda where: None)
        return fitting.run_epoch(SimpleNamespace(epoch=0), steps, watch), len(taken)

    assert epoch(healthy=False) == (False, fitting.CHECK_STEPS)
    assert epoch(healthy=True) == (True, 3 * fitting.CHECK_STEPS)


def test_a_step_back_restores_the_best_weights_and_forgets_the_moments() -> None:
    w, _ = correlated_gaussian(200)
    fit = fit_flow(w, w, replace(SMALL, max_epochs=1))
    assert any(bool(m.any()) for own in fit.optimiser.state.values() for m in own.values())
    assert fitting.measure_fit(fit, w, w)["chi_squared_sd"] == math.sqrt(2 * w.shape[1])
    for parameter in fit.flow.parameters():
        parameter.data.fill_(math.nan)
    fitting.step_back(fit)
    assert not any(bool(m.any()) for own in fit.optimiser.state.values() for m in own.values())
    state = fit.flow.state_dict()
    assert all(torch.equal(state[name], best) for name, best in fit.best.items())


def same(one: fitting.Fit, other: fitting.Fit) -> bool:
    pairs = zip(one.flow.state_dict().values(), other.flow.state_dict().values(), strict=True)
    return one.best_log_prob == other.best_log_prob and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", ["maf", "realnvp"])
def test_a_recorded_fit_is_equal_bit_for_bit_also_after_a_divergence(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validation = split_styles(correlated_gaussian(900)[0], 0.2, 0)
    real = fitting.run_epoch

    def diverges_once(fit: fitting.Fit, *others: object) -> bool:
        return real(fit, *others) and fit.epoch != 2  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "run_epoch", diverges_once)
    short, recorder = replace(SMALL, flow=kind, max_epochs=5), RecordedOnCpu()
    recorded = fit_flow(train, validation, short, None, recorder)
    assert len(recorder.n_operators) == 1 and recorded.halvings == 1 and recorded.best_epoch > 3
    monkeypatch.setattr(graphs, "WARM_UP", 10**9)
    assert same(recorded, fit_flow(train, validation, short, None, RecordedOnCpu()))


def test_a_fit_goes_on_on_another_device(tmp_path: Path) -> None:
    """The numbers of steps and the rate lie on a GPU, and a checkpoint moves them."""
    train, validation = split_styles(correlated_gaussian(400)[0], 0.2, 0)
    recorders = RecordedOnCpu, lambda: Recorder(torch.device("cpu"))
    for i, (first, then) in enumerate((recorders, recorders[::-1])):
        with StateFolder(tmp_path, f"fit{i}", {}) as state:
            fit_flow(train, validation, replace(SMALL, max_epochs=2), state, first())
            fit = fit_flow(train, validation, replace(SMALL, max_epochs=4), state, then())
        whole = fit_flow(train, validation, replace(SMALL, max_epochs=4))
        assert fit.epoch == 4 and abs(fit.best_log_prob - whole.best_log_prob) < 1e-4


def test_too_few_styles_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        split_styles(torch.zeros(5, 3), 0.1, 0)
