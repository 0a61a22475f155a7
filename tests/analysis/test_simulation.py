"""Simulated fields: what is planted is there, and nothing else tells the treatments apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from analysis.simulation import translocation
from analysis.simulation.cells import NEIGHBOURHOOD_ND, draw_masks, draw_shapes, place_cells
from analysis.simulation.optics import expose, illumination_profile
from analysis.simulation.phenotypes import PHENOTYPES, find_phenotype
from analysis.simulation.plate import lay_out, plate_profiles, well_gains
from rls.runtime.errors import InputError
from tests.analysis.small_plate import SETTINGS, TREATMENTS, field


def painted(treatment: str):
    rng = np.random.default_rng(3)
    shape = (200, 200)
    table = draw_shapes(place_cells(shape, SETTINGS, rng), SETTINGS, rng)
    table = translocation.draw_cells(table, treatment, SETTINGS, rng)
    masks = draw_masks(shape, table, SETTINGS)
    return table, masks, translocation.paint(masks, table, SETTINGS, rng)


def test_redistribution_conserves_the_marker_of_every_cell():
    sums = {}
    for treatment in TREATMENTS:
        table, masks, light = painted(treatment)
        cells = masks.nucleus + masks.cytoplasm
        assert (masks.nucleus[masks.cytoplasm > 0] == 0).all()
        sums[treatment] = np.bincount(cells.ravel(), light[1].ravel(), len(table) + 1)[1:]
        np.testing.assert_allclose(sums[treatment], table["total_marker"], rtol=1e-3)
    np.testing.assert_allclose(sums["DMSO"], sums["TNF-alpha"], rtol=1e-3)


def test_only_the_ratio_depends_on_the_treatment():
    control, treated = painted("DMSO")[0], painted("TNF-alpha")[0]
    for column in control.columns.drop("ratio"):
        np.testing.assert_array_equal(control[column], treated[column])
    np.testing.assert_allclose(treated["ratio"] / control["ratio"], 2.35 / 0.9)


def test_ratio_is_that_of_mean_concentrations_before_the_blur():
    table, masks, light = painted("TNF-alpha")
    truth = translocation.measure(light, masks, len(table))
    whole = truth["cytoplasm_area_px"] > 20
    assert whole.sum() > 30
    np.testing.assert_allclose(truth["true_ratio"][whole], table["ratio"][whole], rtol=1e-3)


def test_truth_in_the_masks_follows_the_planted_dose_series():
    doses = tuple(f"dose{i}" for i in range(6))
    medians = (0.6, 0.9, 1.3, 1.9, 2.8, 4.0)
    planted, measured = [], []
    for i, dose in enumerate(doses):
        truth = field(dose, seed=i, treatments=doses, ratio_medians=medians,
                      wells_per_treatment=1).truth  # fmt: skip
        truth = truth[truth["in_focus"] & truth["true_ratio"].notna()]
        planted.append(np.log(truth["ratio"]))
        measured.append(np.log(truth["true_ratio"]))
    medians_found = [np.exp(values.median()) for values in measured]
    # Blur and haze pull a strong ratio towards 1 and never change the order.
    assert (np.diff(medians_found) > 0).all()
    assert medians_found[1] == pytest.approx(0.9, rel=0.08)
    correlation = np.corrcoef(np.concatenate(planted), np.concatenate(measured))[0, 1]
    assert correlation >= 0.95


def test_nuclei_keep_their_distance_and_colonies_their_density():
    settings = replace(SETTINGS, colony_share=1.0)
    counts, nearest = [], []
    for seed in range(4):
        points = place_cells((400, 400), settings, np.random.default_rng(seed))
        distance, _ = cKDTree(points).query(points, k=2)
        nearest.append(distance[:, 1].min())
        counts.append(len(points))
    assert min(nearest) >= 1.05 * settings.nucleus_diameter_px
    area = (NEIGHBOURHOOD_ND * settings.nucleus_diameter_px) ** 2
    assert np.mean(counts) * area / 400**2 == pytest.approx(settings.neighbours, rel=0.05)


def test_cells_out_of_focus_are_in_the_truth_but_not_in_the_masks():
    result = field(seed=1, out_of_focus_share=0.5)
    focused = result.truth["in_focus"].sum()
    assert 0 < focused < len(result.truth)
    assert result.nuclei.max() == focused
    inside = result.truth["in_focus"] & (result.truth["nucleus_area_px"] > 0)
    rows = result.truth[inside][["y_px", "x_px"]].round().astype(int).to_numpy()
    rows = rows.clip(0, np.array(result.nuclei.shape) - 1)
    hit = result.nuclei[rows[:, 0], rows[:, 1]] > 0
    assert hit.mean() > 0.98


def test_camera_noise_has_the_variance_of_photons_and_electronics():
    light = np.stack([np.full((300, 300), level, np.float32) for level in (60.0, 960.0)])
    counts = expose(light, np.ones((2, 300, 300)), SETTINGS, np.random.default_rng(0))
    for image, level in zip(counts.astype(float), (100.0, 1000.0), strict=True):
        expected = level / SETTINGS.electrons_per_count + SETTINGS.read_noise_counts**2 + 1 / 12
        assert image.mean() == pytest.approx(level + SETTINGS.camera_offset_counts, abs=0.2)
        assert image.var() == pytest.approx(expected, rel=0.03)


def test_illumination_has_mean_one_and_falls_by_its_depth():
    profile = illumination_profile((90, 120), 0.3, np.random.default_rng(0))
    assert profile.mean() == pytest.approx(1, abs=1e-5)
    assert profile.min() / profile.max() == pytest.approx(0.7, abs=0.01)


def test_illumination_is_common_to_a_plate_and_differs_between_plates():
    first, again = (plate_profiles(SETTINGS, "P1") for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert abs(first - plate_profiles(SETTINGS, "P2")).max() > 0.01


def test_gains_are_crossed_with_treatments():
    wells = lay_out(SETTINGS)
    gains = {
        treatment: [
            well_gains(SETTINGS, "P1", well.replicate)
            for well in wells
            if well.treatment == treatment
        ]
        for treatment in TREATMENTS
    }
    np.testing.assert_array_equal(gains["DMSO"], gains["TNF-alpha"])
    assert np.std(np.log(gains["DMSO"])) > 0.02


def test_layout_alternates_treatments_over_rows_and_columns():
    wells = lay_out(replace(SETTINGS, wells_per_treatment=30))
    place = {(well.name[0], int(well.name[1:])): well.treatment for well in wells}
    assert len(place) == 60
    for (row, column), treatment in place.items():
        assert place.get((row, column + 1)) != treatment
        assert place.get((chr(ord(row) + 1), column)) != treatment


def test_layout_holds_every_treatment_and_empty_wells():
    wells = lay_out(
        replace(SETTINGS, treatments=("a", "b", "c"), ratio_medians=(1.0, 1.0, 1.0),
                wells_per_treatment=19, empty_wells=3)
    )  # fmt: skip
    names = [well.name for well in wells]
    assert len(set(names)) == 60
    kinds = [well.treatment for well in wells]
    assert [kinds.count(kind) for kind in ("a", "b", "c", "empty")] == [19, 19, 19, 3]


def test_a_field_depends_on_its_seed_alone():
    first, again, other = field(seed=1), field(seed=1), field(seed=2)
    np.testing.assert_array_equal(first.counts, again.counts)
    assert (first.counts != other.counts).mean() > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treatments": ("a", "a")}, "no name twice"),
        ({"wells_per_treatment": 31}, "62 wells"),
        ({"broken_fields": 9}, "9 broken_fields"),
        ({"body_diameter_nd": (2.0,)}, "two numbers"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **changes)


def test_unknown_phenotype_and_channels_are_refused():
    with pytest.raises(InputError, match="translocation"):
        find_phenotype(replace(SETTINGS, phenotype="golgi_of_mars"))
    with pytest.raises(InputError, match="3 channels"):
        find_phenotype(replace(SETTINGS, channels=("dna", "a", "b")))


@pytest.mark.parametrize("phenotype", PHENOTYPES)
def test_a_phenotype_needs_a_value_of_its_own_for_every_treatment(phenotype):
    values = PHENOTYPES[phenotype].values
    channels = ("dna", "actin", "tubulin")[: PHENOTYPES[phenotype].channels]
    settings = replace(SETTINGS, phenotype=phenotype, channels=channels)
    assert find_phenotype(settings) is PHENOTYPES[phenotype]
    with pytest.raises(InputError, match=f"1 {values} for 2 treatments"):
        find_phenotype(replace(settings, **{values: (1.0,)}))
