"""Mechanisms of action by nearest neighbour: known answers, ties, one batch, one compound."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.mechanism.bands import band_features
from analysis.mechanism.judging import Draws, left_out, score, shuffled
from analysis.mechanism.matching import Labels, average_precisions, hits, ranked, similarity
from analysis.mechanism.profiles import aggregate, batch_of, normalise, sphere
from rls.runtime.errors import InputError

# Drawn once; copairs 0.5.5 gives their average precisions with pos_sameby moa, pos_diffby compound
# and neg_diffby moa and compound.
PROFILES = np.array([
    [0.13, -0.13, 0.64, 0.1], [-0.54, 0.36, 1.3, 0.95], [-0.7, -1.27, -0.62, 0.04],
    [-2.33, -0.22, -1.25, -0.73], [-0.54, -0.32, 0.41, 1.04], [-0.13, 1.37, -0.67, 0.35],
    [0.9, 0.09, -0.74, -0.92], [-0.46, 0.22, -1.01, -0.21], [-0.16, 0.54, 0.21, 0.36],
    [-0.65, -0.13, 0.78, 1.49], [-1.26, 1.51, 1.35, 0.78], [0.26, -0.31, 1.46, 1.96],
])  # fmt: skip
COPAIRS = [
    *(0.194444, 0.196429, 0.22619, 0.1625, 0.155556, 0.45),
    *(0.611111, 0.416667, 0.75, 0.5, 0.833333, 0.7),
]


def labels_of(compounds: str, mechanisms: str, batches: str | None = None) -> Labels:
    """Labels of profiles, one letter each; without batches every profile has its own."""
    own = batches or "".join(chr(65 + n) for n in range(len(compounds)))
    return Labels(
        tuple(f"{name}_{n}" for n, name in enumerate(compounds)),
        np.array(list(compounds)),
        np.array(list(mechanisms)),
        tuple(frozenset(name) for name in own),
        np.full(len(compounds), 5),
    )


def circle(*degrees: float) -> np.ndarray:
    """Profiles on the unit circle."""
    turn = np.deg2rad(degrees)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


# Matching ----------------------------------------------------------------------------------------


def test_average_precision_is_that_of_copairs():
    labels = labels_of("aabbccddeeff", "xxxxyyyyzzzz")
    neighbours = ranked(similarity(PROFILES), labels.allowed("nsc"))
    np.testing.assert_allclose(
        average_precisions(neighbours, labels.mechanisms), COPAIRS, atol=1e-6
    )


def test_the_nearest_of_another_compound_decides():
    labels = labels_of("aabc", "xxxy")
    # The other dose of compound a is nearest, and does not count; b is nearer than c.
    found = score(circle(0, 1, 20, 40), labels)
    np.testing.assert_array_equal(found["nsc_accuracy"], [1, 1, 1, np.nan])
    found = score(circle(0, 1, -60, 40), labels)
    np.testing.assert_array_equal(found["nsc_accuracy"], [0, 0, 1, np.nan])
    np.testing.assert_allclose(found["nsc_mean_average_precision"][:3], [1 / 2, 1 / 2, 1])


def test_a_batch_in_common_bars_a_neighbour():
    labels = labels_of("abcd", "xxxy", "PPQQ")
    found = score(circle(0, 5, 50, 20), labels)
    # b shares the batch of a, and d that of c: under nscb a sees c and d alone.
    np.testing.assert_array_equal(found["nsc_accuracy"], [1, 1, 0, np.nan])
    np.testing.assert_array_equal(found["nscb_accuracy"], [0, 0, 1, np.nan])


def test_a_profile_of_several_batches_shares_each():
    labels = labels_of("abc", "xxx", "PQR")
    shared = Labels(
        labels.names, labels.compounds, labels.mechanisms,
        (frozenset("PQ"), frozenset("Q"), frozenset("R")), labels.n_cells,
    )  # fmt: skip
    expected = [[False, False, True], [False, False, True], [True, True, False]]
    np.testing.assert_array_equal(shared.allowed("nscb"), expected)


def test_a_mechanism_in_one_batch_is_left_out_with_its_name():
    labels = labels_of("abcde", "xxyyz", "PPQRR")
    assert np.isnan(score(circle(0, 1, 90, 91, 180), labels)["nscb_accuracy"][[0, 1, 4]]).all()
    assert left_out(labels, "nscb") == (3, "x (a, b; P); z (e; R)")
    assert left_out(labels, "nsc") == (1, "z (e; R)")


def test_one_compound_alone_gives_no_number():
    labels = labels_of("aaa", "xxx")
    found = score(circle(0, 1, 2), labels)["nsc_accuracy"]
    assert np.isnan(found).all()
    estimate = Draws.of(labels, 10, 0).mean(found, 0.95)
    assert np.isnan(estimate.value) and "no profile" in estimate.reason
    assert all(np.isnan(e.value) for _, e in shuffled(circle(0, 1, 2), labels, 5, 0.95, 0))


def test_of_equals_the_first_is_taken():
    labels = labels_of("abc", "xyx")
    neighbours = ranked(similarity(circle(0, 30, -30)), labels.allowed("nsc"))
    assert neighbours[0].tolist() == [1, 2]
    assert hits(neighbours, labels.mechanisms)[0] == 0


def test_a_profile_that_is_missing_is_wrong_and_nobodys_neighbour():
    labels = labels_of("abcd", "xxxy")
    profiles = circle(0, 1, 5, 3)
    profiles[1] = np.nan
    neighbours = ranked(similarity(profiles), labels.allowed("nsc"))
    assert neighbours[0].tolist() == [3, 2, 1] and len(neighbours[1]) == 0
    found = score(profiles, labels)
    assert found["nsc_accuracy"][1] == 0 and found["nsc_mean_average_precision"][1] == 0


def test_cosine_knows_no_length():
    profiles = circle(0, 40, 90)
    np.testing.assert_allclose(similarity(profiles * [[1], [7], [0.1]]), similarity(profiles))
    assert similarity(profiles)[0, 1] == pytest.approx(np.cos(np.deg2rad(40)))


# Intervals ---------------------------------------------------------------------------------------


def test_intervals_draw_compounds_and_not_profiles():
    labels = labels_of("a" * 9 + "b" * 9, "x" * 18)
    draws = Draws.of(labels, 4000, 0)
    estimate = draws.mean(np.repeat([0.0, 1.0], 9), 0.95)
    # Both draws hit compound b, or both a, in a quarter of cases each.
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)
    assert estimate.n == 2 and estimate.unit == "compound"
    assert np.mean(draws.weights[:, 0] == 2) == pytest.approx(0.25, abs=0.03)


def test_the_difference_of_a_method_to_itself_has_no_width():
    labels = labels_of("abcdef", "xxxyyy")
    scores = score(circle(0, 10, 100, 20, 110, 120), labels)["nsc_accuracy"]
    assert 0 < scores.mean() < 1
    found = Draws.of(labels, 200, 0).mean(scores - scores, 0.95)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_shuffles_reach_what_chance_reaches():
    compounds = "".join(chr(97 + n) for n in range(20))
    labels = labels_of(compounds, "xy" * 10)
    profiles = np.random.default_rng(0).normal(size=(20, 3))
    found = dict(shuffled(profiles, labels, 500, 0.95, 0))["nsc_accuracy"]
    assert found.value == pytest.approx(9 / 19, abs=0.03)  # of 19 others nine are alike
    assert found.low < found.value < found.high and found.n == 500


def test_shuffles_keep_the_doses_of_a_compound_together():
    labels = labels_of("aabb", "xxyy")
    # Each compound is the other's only neighbour, so no shuffle can be right.
    assert all(np.isnan(e.value) for _, e in shuffled(circle(0, 1, 90, 91), labels, 20, 0.95, 0))


# Profiles ----------------------------------------------------------------------------------------


def test_normalising_is_mad_robustize_of_pycytominer():
    values = np.array([
        [1.8, 13.2], [0.36, -12.1], [0.0, 6.6], [-1.29, 4.0], [0.43, 7.0], [-1.18, -6.6],
        [-0.44, -11.7], [1.74, -5.0], [0.33, -2.6],
    ])  # fmt: skip
    expected = [  # pycytominer 1.7.1, mad_robustize on the first five rows
        [2.697963, 1.712169], [0.0, -4.851145], [-0.674491, 0.0], [-3.091416, -0.674491],
        [0.131151, 0.103768], [-2.885322, -3.424338], [-1.498868, -4.747377],
        [2.585548, -3.009266], [-0.056208, -2.38666],
    ]  # fmt: skip
    controls = np.arange(9) < 5
    batches = pd.Series(["P"] * 9)
    np.testing.assert_allclose(normalise(values, batches, controls, 5), expected, rtol=1e-4)
    everything = normalise(values, batches, controls, 6)  # too few controls: all cells
    assert np.median(everything, axis=0) == pytest.approx([0, 0])


def test_each_batch_is_normalised_by_itself():
    random = np.random.default_rng(1)
    values = random.normal(size=(40, 3))
    batches = pd.Series(["P", "Q"] * 20)
    moved = values * np.where(batches == "P", 3.0, 1.0)[:, None]
    moved += np.where(batches == "P", 10.0, 0.0)[:, None]
    none = np.zeros(40, bool)
    np.testing.assert_allclose(
        normalise(moved, batches, none, 5), normalise(values, batches, none, 5), atol=1e-9
    )


def test_a_feature_without_spread_says_nothing_and_a_missing_one_stays_missing():
    values = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, np.nan], [9.0, 3.0]])
    found = normalise(values, pd.Series(["P"] * 4), np.zeros(4, bool), 1)
    np.testing.assert_array_equal(found[:, 0], 0)
    assert np.isnan(found[2, 1]) and np.isfinite(found[[0, 1, 3], 1]).all()


def test_a_profile_is_the_median_of_the_measured_cells():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    found = aggregate(values, pd.Series(["t", "t", "t", "u"]), ["t", "u"])
    np.testing.assert_array_equal(found, [[2.0, 0.0], [np.nan, np.nan]])


def test_a_plate_without_a_batch_is_refused():
    assert batch_of(pd.Series(["Week10_4", "Week1_2"]), r"^(Week\d+)_").tolist() == [
        "Week10",
        "Week1",
    ]
    with pytest.raises(InputError, match="no batch in the name of plate P1"):
        batch_of(pd.Series(["P1"]), r"^(Week\d+)_")
    with pytest.raises(InputError, match=r"mechanism\.batch"):
        batch_of(pd.Series(["Week1_2"]), r"^Week\d+_")


def test_sphered_controls_vary_alike_in_every_direction():
    random = np.random.default_rng(0)
    mixing = np.array([[3.0, 0.0, 0.0], [2.9, 0.2, 0.0], [0.0, 0.0, 1.0]])
    values = np.clip(random.normal(size=(4000, 3)) @ mixing.T, -9, 9)
    values[-1] = np.nan
    controls = np.arange(4000) < 3000
    found = sphere(values, controls, 0.0)
    np.testing.assert_allclose(np.cov(found[controls], rowvar=False), np.eye(3), atol=1e-9)
    assert np.isnan(found[-1]).all()
    # A floor keeps directions that hardly vary from being blown up.
    assert np.var(sphere(values, controls, 1.0)[controls], axis=0).min() < 0.2


def test_bands_do_not_know_how_a_cell_is_turned_but_know_its_scale():
    random = np.random.default_rng(0)
    images = random.integers(50, 900, (3, 2, 32, 32)).astype(np.uint16)
    found = band_features(images)
    turned = band_features(np.rot90(images, axes=(2, 3)))
    np.testing.assert_allclose(found, turned, rtol=1e-6, atol=1e-6)
    coarse = band_features(np.kron(images[:, :, ::4, ::4], np.ones((4, 4))))
    assert (coarse[:, 0] < found[:, 0]).all()  # less in the finest band
    assert np.isfinite(band_features(np.zeros((1, 2, 32, 32)))).all()
