"""The BBBC021 look-alike: each mechanism does what it says, by its dose, and nothing beside."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from analysis import crop_cells, list_plate, simulate_plate
from analysis.plates.bbbc021 import COMPOUND, DOSE
from analysis.simulation import cytoskeleton
from analysis.simulation.cells import draw_masks, draw_shapes, place_cells
from analysis.simulation.effects import MECHANISMS, UNTREATED, Effect, states
from analysis.simulation.fibres import Course, draw_fibres, splat
from analysis.simulation.plate import compound_and_dose
from rls.io import read_stack, read_table
from rls.runtime.errors import InputError
from tests.analysis.small_plate import SETTINGS, field, write_config

CHANNELS = ("dna", "actin", "tubulin")
TREATMENTS = ("DMSO", "nocodazole_3uM", "taxol_0.3uM", "cytochalasin B_10uM", "subtle_1uM")
EFFECTS = ("none", "depolymerise", "bundle", "collapse", "enlarge")
ALIKE = {
    "phenotype": "cytoskeleton", "channels": CHANNELS, "treatments": TREATMENTS,
    "effects": EFFECTS, "effect_doses": (0.0, 1.0, 1.0, 1.0, 1.0), "wells_per_treatment": 1,
    "nucleus_diameter_px": 18.0, "pixel_size_um": 0.67, "body_diameter_nd": (2.2, 3.0),
    "body_aspect_max": 1.6, "neighbours": 5.5, "psf_sd_nd": 0.03, "out_of_focus_share": 0.0,
}  # fmt: skip
CELLS = replace(SETTINGS, **ALIKE)


def cells(treatment="DMSO", settings=CELLS, seed=2, size=320):
    """Return (table, masks, light) of one treatment; the same seed draws the same cells."""
    rng = np.random.default_rng(seed)
    table = draw_shapes(place_cells((size, size), settings, rng), settings, rng)
    table = cytoskeleton.draw_cells(table, treatment, settings, rng)
    masks = draw_masks((size, size), table, settings, cytoskeleton.outline)
    return table, masks, cytoskeleton.paint(masks, table, settings, rng)


def fineness(light, masks):
    """Share of a channel's light, inside all cells, that varies below a fifth of a nucleus."""
    cell = masks.nucleus + masks.cytoplasm
    whole = ndimage.minimum_filter(cell, 7) == ndimage.maximum_filter(cell, 7)
    inside = (cell > 0) & whole
    return (light - ndimage.gaussian_filter(light, 3.5))[inside].std() / light[inside].mean()


def test_a_dose_of_zero_is_untreated_and_of_one_is_the_whole_effect():
    for name, (effect, _) in MECHANISMS.items():
        found = states(name, np.array([0.0, 0.5, 1.0, 3.0]))
        for item in fields(Effect):
            values = found[item.name]
            start, end = getattr(UNTREATED, item.name), getattr(effect, item.name)
            assert values[[0, 2, 3]] == pytest.approx([start, end, end])
            assert min(start, end) <= values[1] <= max(start, end)


def test_at_dose_zero_every_mechanism_gives_the_untreated_cell():
    none = replace(CELLS, effect_doses=(0.0,) * 5)
    expected = cells("DMSO", none)[2]
    for treatment in TREATMENTS[1:]:
        np.testing.assert_array_equal(cells(treatment, none)[2], expected)


def test_nocodazole_leaves_tubulin_without_fibres_and_cells_round():
    control, treated = cells("DMSO"), cells("nocodazole_3uM")
    assert fineness(treated[2][2], treated[1]) < 0.65 * fineness(control[2][2], control[1])
    assert treated[0]["mitotic"].mean() > 0.15 > control[0]["mitotic"].mean()
    assert treated[0]["body_aspect"].mean() < control[0]["body_aspect"].mean() - 0.1


def test_taxol_bundles_tubulin_and_breaks_nuclei():
    control, treated = cells("DMSO"), cells("taxol_0.3uM")
    assert fineness(treated[2][2], treated[1]) > 1.4 * fineness(control[2][2], control[1])
    assert (treated[0]["nucleus_parts"] > 2).mean() > 0.3
    assert (control[0]["nucleus_parts"] > 2).mean() == 0


def test_cytochalasin_clumps_actin_shrinks_cells_and_leaves_two_nuclei():
    control, treated = cells("DMSO"), cells("cytochalasin B_10uM")
    assert fineness(treated[2][1], treated[1]) > 2 * fineness(control[2][1], control[1])
    assert (treated[1].cytoplasm > 0).mean() < 0.8 * (control[1].cytoplasm > 0).mean()
    assert (treated[0]["nucleus_parts"] == 2).mean() > 0.2


def test_the_subtle_one_moves_the_mean_less_than_the_spread():
    sizes = {}
    for treatment in ("DMSO", "subtle_1uM"):
        tables = [cells(treatment, seed=seed)[0] for seed in range(3)]
        whole = pd.concat(tables).query("not mitotic")
        sizes[treatment] = whole["nucleus_diameter_px"].to_numpy()
    shift = sizes["subtle_1uM"].mean() - sizes["DMSO"].mean()
    assert 0 < shift < sizes["DMSO"].std()
    assert shift == pytest.approx(0.06 * 18.0, rel=0.25)


def test_structure_and_haze_share_out_light_and_make_none():
    table, masks, light = cells(settings=replace(CELLS, colony_share=0.3, neighbours=2.0))
    area = np.bincount((masks.nucleus + masks.cytoplasm).ravel())[1:]
    free = np.pi / 4 * (2.6 * 18.0) ** 2
    thick = np.minimum((free / area) ** cytoskeleton.SPREADING, 4.0)
    for index, name in ((1, "actin"), (2, "tubulin")):
        planted = (table[f"{name}_level"] * thick * area).sum()
        assert light[index].sum() == pytest.approx(planted, rel=0.02)


def test_channels_are_painted_in_the_order_of_the_assay():
    swapped = replace(CELLS, channels=("dna", "tubulin", "actin"))
    np.testing.assert_array_equal(cells()[2][[0, 2, 1]], cells(settings=swapped)[2])
    levels = cytoskeleton.levels(swapped)
    np.testing.assert_array_equal(levels, [350.0, 110.0, 220.0])


def test_fibres_keep_to_their_cell_and_turn_at_its_border():
    labels = np.zeros((60, 90), np.int32)
    labels[10:50, 10:45], labels[10:50, 45:80] = 1, 2
    rng = np.random.default_rng(0)
    course = Course((4.0, 4.0), 0.3, 0.1, 0.0, ends_at_border=0.0)
    owner = np.full(20, 1)
    light = draw_fibres(
        labels, np.full((20, 2), 30.0), rng.uniform(0, 6.3, 20), owner, np.arange(20),
        np.ones(20), np.zeros(20), course, 20.0, rng,
    )  # fmt: skip
    near = ndimage.binary_dilation(
        labels == 1, np.ones((3, 3))
    )  # the light of a point is shared by four pixels
    assert light[~near].sum() == 0 and light[labels == 1].sum() > 0
    border = near & ~ndimage.binary_erosion(labels == 1, iterations=3)
    assert light[border].sum() > 0.15 * light.sum()


def test_splat_keeps_the_light_and_its_middle():
    canvas = np.zeros(20 * 30)
    splat(canvas, np.array([[4.3, 7.8]]), np.array([2.0]), (20, 30))
    ys, xs = np.indices((20, 30))
    image = canvas.reshape(20, 30)
    assert image.sum() == pytest.approx(2.0)
    assert (image * ys).sum() / 2 == pytest.approx(4.3) and (image * xs).sum() / 2 == (
        pytest.approx(7.8)
    )


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_of_a_nucleus_hang_together_about_its_middle(parts):
    for key in range(8):
        row = {"parts_key": key, "nucleus_parts": parts, "nucleus_diameter_px": 30.0,
               "nucleus_angle": 0.7, "y_px": 60.0, "x_px": 50.0}  # fmt: skip
        inside = cytoskeleton.outline((slice(0, 120), slice(0, 100)), row) < 1
        middle = ndimage.center_of_mass(inside)
        np.testing.assert_allclose(middle, (60, 50), atol=4)
        assert 0.5 < inside.sum() / (1.1 * np.pi * 15**2) < 1.1  # pieces overlap
        if parts > 2:
            assert ndimage.label(inside)[1] == 1


def test_doses_of_a_series_move_the_planted_shares_and_what_is_seen_in_order():
    doses = tuple(f"nocodazole_{i}uM" for i in range(5))
    series = replace(
        CELLS, treatments=doses, effects=("depolymerise",) * 5,
        effect_doses=(0.0, 0.25, 0.5, 0.75, 1.0), ratio_medians=(1.0,) * 5,
    )  # fmt: skip
    shares, seen = [], []
    for dose in doses:
        table, masks, light = cells(dose, series)
        shares.append(table["fibre_share"].mean())
        seen.append(fineness(light[2], masks))
    assert (np.diff(shares) < 0).all() and (np.diff(seen) < 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("dna", "nfkb", "tubulin")}, "actin and tubulin"),
        ({"effects": ("none",)}, "1 effects for 5 treatments"),
        ({"effects": ("none", "melt", "bundle", "collapse", "enlarge")}, "effect 'melt'"),
        ({"effect_doses": (0.0, 1.0, 1.0, 1.0, 3.0)}, "dose 3.0"),
    ],
)
def test_what_cannot_be_painted_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        field(**{**ALIKE, **changes})


def test_treatments_named_by_dose_are_compound_and_concentration():
    assert compound_and_dose("cytochalasin B_0.03uM") == ("cytochalasin B", 0.03)
    assert compound_and_dose("TNF-alpha") == ("TNF-alpha", 0.0)


def test_a_plate_goes_through_the_real_stages_with_its_metadata(tmp_path):
    changes = ALIKE | {"field_height_px": 200, "field_width_px": 220, "sites_per_well": 1}
    config = write_config(tmp_path, changes)
    text = config.read_text().replace("treatment_by: compound", "treatment_by: compound_dose")
    text = text.replace("nucleus_diameter_um: 15.0", "nucleus_diameter_um: 11.0")
    config.write_text(text)
    raw, sheet, stack = tmp_path / "data", tmp_path / "S1.sheet.csv", tmp_path / "S1.ome.tif"
    options = ["--config", str(config)]
    simulate_plate.main([*options, "--plate", "S1", "--output", str(raw),
                         "--truth", str(tmp_path / "S1.truth.parquet")])  # fmt: skip
    images, moa = pd.read_csv(raw / "image.csv"), pd.read_csv(raw / "moa.csv")
    assert set(zip(images[COMPOUND], images[DOSE], strict=True)) == {
        ("DMSO", 0.0), ("nocodazole", 3.0), ("taxol", 0.3), ("cytochalasin B", 10.0),
        ("subtle", 1.0),
    }  # fmt: skip
    assert list(moa.columns) == ["compound", "concentration", "moa"]
    assert dict(zip(moa["compound"], moa["moa"], strict=True))["taxol"] == "Microtubule stabilizers"
    common = ["--channels", *CHANNELS, "--treatments", *TREATMENTS]
    list_plate.main([*options, *common, "--plate", "S1", "--plates", "S1", "--folder", str(raw),
                     "--output", str(sheet)])  # fmt: skip
    assert set(pd.read_csv(sheet)["moa"].dropna()) == set(moa["moa"])
    crop_cells.main([*options, *common, "--sheet", str(sheet), "--nucleus-channel", "dna",
                     "--output", str(stack), "--fields", str(tmp_path / "f.csv")])  # fmt: skip
    found = read_stack(stack)
    assert found.channels == CHANNELS and set(found.table["treatment"]) == set(TREATMENTS)
    truth = read_table(tmp_path / "S1.truth.parquet")
    assert truth.groupby("treatment")["fibre_share"].mean().idxmin() == "nocodazole_3uM"
