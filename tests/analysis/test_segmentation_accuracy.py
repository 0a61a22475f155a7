"""F1 by gap, on masks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.cells.segmentation_accuracy import f1_by_gap, nearest_gaps


def squares(*places, size=10, side=60):
    labels = np.zeros((side, side), np.int32)
    for label, (y, x) in enumerate(places, start=1):
        labels[y : y + size, x : x + size] = label
    return labels


TRUE = squares((5, 5), (5, 15), (40, 40))  # two that touch, one apart


def test_gaps_are_distances_between_masks():
    np.testing.assert_allclose(nearest_gaps(TRUE, 50.0)[:2], 1.0)
    assert nearest_gaps(TRUE, 50.0)[2] == pytest.approx(np.hypot(26, 16))
    assert nearest_gaps(TRUE, 10.0)[2] == np.inf


def test_a_perfect_segmentation_has_f1_of_one_whatever_its_numbers():
    renamed = np.array([0, 3, 1, 2], np.int32)[TRUE]
    table = f1_by_gap([(TRUE, renamed)], 10.0, 0.75)
    assert table.loc["all", "f1"] == 1 and table.loc["all", "n_nuclei"] == 3
    assert table.loc["touching", "n_nuclei"] == 2 and table.loc["over 0.3 nd", "n_nuclei"] == 1
    assert np.isnan(table.loc["up to 0.1 nd", "f1"])


def test_merged_missed_and_invented_nuclei_count_in_their_class():
    found = squares((5, 5), (45, 25))
    found[5:15, 15:25] = 1  # the touching pair as one
    table = f1_by_gap([(TRUE, found)], 10.0, 0.5)
    assert table.loc["touching", ["tp", "fp", "fn"]].tolist() == [0, 1, 2]
    assert table.loc["over 0.3 nd", ["tp", "fp", "fn"]].tolist() == [0, 1, 1]
    assert table.loc["all", "f1"] == 0


@pytest.mark.parametrize(("least", "f1"), [(0.5, 1.0), (0.75, 0.0)])
def test_a_shifted_nucleus_matches_up_to_its_overlap(least, f1):
    true, found = squares((20, 20)), squares((20, 22))  # intersection 80 of a union of 120
    assert f1_by_gap([(true, found)], 10.0, least).loc["all", "f1"] == f1


def test_nuclei_cut_by_the_border_are_left_out_but_still_neighbours():
    true = squares((0, 20), (10, 20), (40, 40))
    table = f1_by_gap([(true, true)], 10.0, 0.5)
    assert table.loc["all", "n_nuclei"] == 2 and table.loc["touching", "n_nuclei"] == 1


def test_fields_are_pooled_and_a_small_overlap_is_refused():
    table = f1_by_gap([(TRUE, TRUE), (TRUE, np.zeros_like(TRUE))], 10.0, 0.5)
    assert table.loc["all", "f1"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="unique"):
        f1_by_gap([(TRUE, TRUE)], 10.0, 0.3)
    with pytest.raises(ValueError, match="no field"):
        f1_by_gap([], 10.0, 0.5)
