"""The share of treated cells that a generator sees: exact, at a constant total, in gan alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.cells.prevalence import wanted_cells
from analysis.cells.select_settings import Settings
from analysis.cells.selection import count_selection, scale_of_assay, select
from rls.io import Stack
from rls.io.names import GAN
from rls.runtime.errors import InputError
from tests.analysis.small_plate import SELECT, TREATMENTS, made_up_cells

SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)
SETTINGS = replace(
    Settings(**SELECT | {"exclude_flags": tuple(SELECT["exclude_flags"])}),
    split_by="well",
    share_gan=0.5,
    share_calibration=0.1,
    cells_gan=20,
    cells_tune=5,
    cells_calibration=5,
    cells_classifier=5,
    cells_evaluation=5,
)


def selected(share):
    cells = made_up_cells(plates=1, wells=12, cells=10)
    return select(cells, TREATMENTS, replace(SETTINGS, prevalence_gan=share), TREATMENTS)


@pytest.mark.parametrize("share", SHARES)
def test_shares_are_exact_and_the_total_does_not_depend_on_them(share):
    gan = selected(share)
    gan = gan[gan["split"] == GAN]
    assert len(gan) == 40
    assert (gan["treatment"] == TREATMENTS[1]).sum() == round(share * 40)


def test_half_and_half_is_what_is_drawn_without_a_share():
    assert selected(0.5).equals(selected(None))


def test_every_other_split_has_the_same_cells_at_every_share():
    found = [selected(share) for share in (None, *SHARES)]
    others = [table[table["split"] != GAN].reset_index(drop=True) for table in found]
    assert len(others[0]) == 5 * 4 * 2
    for other in others[1:]:
        assert other.equals(others[0])


def test_the_treated_cells_of_a_smaller_share_are_some_of_those_of_a_larger_one():
    sets = []
    for share in SHARES[1:]:
        table = selected(share)
        treated = (table["split"] == GAN) & (table["treatment"] == TREATMENTS[1])
        sets.append(set(table.loc[treated, "image_id"]))
    assert all(small < large for small, large in zip(sets, sets[1:], strict=False))


def test_a_third_treatment_keeps_its_cells():
    settings = replace(SETTINGS, prevalence_gan=0.25)
    wanted = wanted_cells(settings, (*TREATMENTS, "other"), TREATMENTS)
    assert [wanted[name][GAN] for name in (*TREATMENTS, "other")] == [30, 10, 20]


def test_too_few_cells_of_one_control_stop():
    cells = made_up_cells(plates=1, wells=12, cells=3)
    with pytest.raises(InputError, match="gan"):
        select(cells, TREATMENTS, replace(SETTINGS, prevalence_gan=0.9), TREATMENTS)


@pytest.mark.parametrize(
    ("share", "controls", "text"),
    [(1.2, TREATMENTS, "expected a share"), (0.1, (), "--controls"), (0.1, ("a", "b"), "a, b")],
)
def test_a_share_needs_a_number_and_both_controls(share, controls, text):
    with pytest.raises(InputError, match=text):
        wanted_cells(replace(SETTINGS, prevalence_gan=share), TREATMENTS, controls)


def test_the_intensity_scale_does_not_depend_on_the_share():
    scales = []
    for share in (None, 0.1, 0.9):
        table = selected(share).reset_index(drop=True)
        # Treated cells are brighter, so a scale from gan would follow the share.
        bright = np.where(table["treatment"] == TREATMENTS[1], 900, 300)
        images = np.broadcast_to(bright[:, None, None, None], (len(table), 1, 2, 2))
        stack = Stack(images.astype(np.uint16), table, ("dna",), 1.0)
        settings = replace(SETTINGS, prevalence_gan=share, black_percentile=30)
        scales.append(scale_of_assay(stack, settings))
    assert scales[1] == scales[2]


def test_the_table_of_the_selection_asks_for_what_the_share_says():
    table = selected(0.1)
    settings = replace(SETTINGS, prevalence_gan=0.1)
    fields = table.assign(status="ok")
    counts = count_selection(table, table, fields, TREATMENTS, settings, TREATMENTS)
    gan = counts[counts["split"] == GAN].set_index("treatment")
    assert gan["n_cells_asked"].tolist() == gan["n_cells"].tolist() == [36, 4]
