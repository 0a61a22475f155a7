"""Trust is uniform for cells like the reference and small for others, and it says why."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rls.pretrained import trust
from rls.pretrained.trust import (
    Fact,
    Reference,
    fit,
    image_facts,
    judge,
    log_tail,
    more_than_expected,
)
from rls.runtime.errors import InputError

CHANNELS = ("dna", "nfkb")


def cells(n: int, seed: int) -> np.ndarray:
    """Return blobs of lognormal brightness a little off the centre, (n, 2, 4, 4)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:4, :4] - 1.5
    shift = rng.normal(0, 0.3, (n, 2, 1, 1))
    blob = np.exp(-((y - shift[:, :1]) ** 2 + (x - shift[:, 1:]) ** 2) / 2.5)
    body = np.exp(-((y - shift[:, :1]) ** 2 + (x - shift[:, 1:]) ** 2) / 9.0)
    bright = rng.lognormal(-1, 0.3, (n, 2, 1, 1))
    clean = np.concatenate([blob * bright[:, :1], body * bright[:, 1:]], axis=1)
    return clean + rng.normal(0, 0.01, clean.shape)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit(image_facts(cells(600, 0), CHANNELS))


def test_trust_of_cells_like_the_reference_is_about_uniform(reference: Reference) -> None:
    values, _ = judge(image_facts(cells(4000, 1), CHANNELS), reference)
    for level in (0.01, 0.05, 0.2, 0.5, 0.9):
        assert abs((values < level).mean() - level) < 0.02 + 0.1 * level
    assert values.min() >= 1 / 601 and values.max() <= 1.0


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda x: 4 * x, 0.99),
        (lambda x: x[:, ::-1], 0.2),  # The two channels are much alike; chance is 0.01.
        (lambda x: np.random.default_rng(2).random(x.shape), 0.99),
        (lambda x: np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape), 0.99),
        (lambda x: np.where(np.arange(len(x))[:, None, None, None] == 0, np.nan, 4 * x), 0.99),
    ],
)
def test_cells_unlike_the_reference_are_flagged(reference: Reference, change, least) -> None:
    values, why = judge(image_facts(change(cells(300, 3)), CHANNELS), reference)
    assert (values < trust.FLAGGED).mean() >= least
    assert more_than_expected(values) and all(why)


def test_a_brighter_channel_is_named(reference: Reference) -> None:
    wrong = cells(50, 4) * np.array([1.0, 8.0])[:, None, None]
    _, why = judge(image_facts(wrong, CHANNELS), reference)
    assert sum(text.startswith("nfkb_") for text in why) >= 48


def test_the_tail_falls_without_a_step_and_without_an_end() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=500))
    for side in ("both", "high", "low"):
        fact = Fact("x", side, np.quantile(values, np.linspace(0, 1, 101)))
        x = np.linspace(-9, 9, 3001)
        p = log_tail(x, fact, 500)
        assert np.isfinite(p).all() and p.max() <= 1e-12
        # log p must not jump: just outside the reference a value is as odd as its outermost cell.
        assert np.abs(np.diff(p)).max() < 0.7
        upper, lower = p[x > 4], p[x < -4]
        assert (np.diff(upper) < 0).all() if side != "low" else (upper > -0.01).all()
        assert (np.diff(lower) > 0).all() if side != "high" else (lower > -0.01).all()


def test_a_share_of_the_tail_is_the_share_of_the_reference() -> None:
    values = np.random.default_rng(0).normal(size=999)
    fact = Fact("x", "high", np.quantile(values, np.linspace(0, 1, 101)))
    for share in (0.5, 0.1, 0.02):
        x = np.quantile(values, 1 - share)
        assert np.exp(log_tail(np.array([x]), fact, 999))[0] == pytest.approx(share, abs=2e-3)


def test_ties_are_no_reason_to_distrust() -> None:
    fact = Fact("x", "both", np.quantile(np.repeat([0.0, 1.0], [990, 10]), np.linspace(0, 1, 101)))
    assert log_tail(np.array([0.0]), fact, 1000)[0] == 0.0


def test_facts_of_the_search_count_where_they_are_given() -> None:
    rng = np.random.default_rng(5)
    facts = image_facts(cells(500, 6), CHANNELS)
    facts |= {"loss_fidelity": rng.lognormal(size=500), "log_prior": rng.normal(size=500)}
    both = fit(facts)
    own = image_facts(cells(200, 7), CHANNELS)
    search = {"loss_fidelity": rng.lognormal(size=200), "log_prior": rng.normal(size=200)}
    assert (judge(own | search, both)[0] < 0.01).mean() < 0.04
    assert (judge(own, both)[0] < 0.01).mean() < 0.04
    bad = {**search, "loss_fidelity": np.full(200, 1e3)}
    values, why = judge(own | bad, both)
    assert (values < 0.01).all() and all(text.startswith("loss_fidelity") for text in why)
    good = {**search, "loss_fidelity": np.zeros(200), "log_prior": np.full(200, 99.0)}
    assert (judge(own | good, both)[0] < 0.01).mean() < 0.04


def test_a_reference_survives_its_file(reference: Reference) -> None:
    again = Reference.from_dict(json.loads(json.dumps(reference.as_dict())))
    facts = image_facts(cells(300, 8), CHANNELS)
    assert np.allclose(judge(facts, again)[0], judge(facts, reference)[0], atol=2e-3)


def test_too_few_reference_cells_are_refused() -> None:
    with pytest.raises(InputError, match="99 reference cells"):
        fit(image_facts(cells(99, 0), CHANNELS))


def test_a_warning_comes_when_chance_is_no_reason() -> None:
    assert not more_than_expected(np.array([0.5, 0.2]))
    assert more_than_expected(np.array([0.001]))
    assert not more_than_expected(np.append(np.full(99, 0.5), 0.001))
    assert more_than_expected(np.append(np.full(95, 0.5), np.full(5, 0.001)))


def test_a_reference_cell_is_judged_by_the_others_and_never_by_itself() -> None:
    """A cell far beyond all others would be within a reference that contains it."""
    bright = np.append(np.linspace(0.0, 1.0, 199), 50.0)
    scores = fit({"dna_mean": bright}).scores["image"]
    assert scores[0] < -50 and scores[1] > -10
