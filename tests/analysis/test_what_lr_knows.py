"""The simulated worlds of what LR knows: their draws are exact, and the formula holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.what_lr_knows import DRAWS, WORLDS, coverage, main, rows_of, spread

N = 40_000


@pytest.mark.parametrize("name", list(WORLDS))
@pytest.mark.parametrize("known", [0.15, 0.6])
def test_draws_are_exact_and_means_of_them_follow_the_formula(name, known):
    """Truth and draw are exchangeable given y: of one spread, and equal in their mean given y."""
    world = WORLDS[name](np.random.default_rng(3), N, known)
    drawn = world.draw()
    nothing = np.zeros(N, bool)
    assert spread(drawn, nothing) == pytest.approx(spread(world.truth, nothing), rel=0.03)
    near = np.argsort(world.best).reshape(10, -1)
    for rows in near:
        error = math.sqrt((drawn[rows].var() + world.truth[rows].var()) / len(rows))
        assert abs(drawn[rows].mean() - world.truth[rows].mean()) < 4.5 * error
    found = [row for row in rows_of(world) if not row["within treatments"]]
    assert [row["K"] for row in found] == list(DRAWS)
    for row in found:
        assert row["r"] == pytest.approx(row["formula"], abs=0.02)
        assert row["r"] < row["c"] + 0.01


@pytest.mark.parametrize("name", ["gaussian", "counts"])
def test_y_tells_the_share_that_is_asked_for(name):
    world = WORLDS[name](np.random.default_rng(4), N, 0.4)
    assert np.corrcoef(world.truth, world.best)[0, 1] ** 2 == pytest.approx(0.4, abs=0.02)


def test_exact_draws_lose_shift_where_y_does_not_tell_treatments_apart():
    world = WORLDS["two treatments"](np.random.default_rng(5), N, 0.15)
    one = next(row for row in rows_of(world) if row["within treatments"])
    assert one["shift kept"] < 0.4 and one["sd ratio"] > 1.1


def test_the_interval_of_the_share_mostly_holds_the_truth():
    held, width = coverage(1, 30, wells=6, per_well=50, k=6)
    assert held > 0.75 and 0.05 < width < 0.3


def test_the_command_prints_and_draws(tmp_path, capsys):
    path = tmp_path / "picture.png"
    main(["--cells", "2000", "--simulations", "2", "--output", str(path)])
    said = capsys.readouterr().out
    assert "two treatments" in said and "Coverage" in said and path.stat().st_size > 1000
