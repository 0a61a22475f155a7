"""The figures: known medians, an oracle that keeps everything, cells chosen without looking."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from analysis.comparison import kept_features
from analysis.comparison.labels import LABELS
from analysis.comparison.long_table import LONG_COLUMNS, long_table
from analysis.drawing import boxes, example_cells, style_norms
from analysis.drawing.grids import (
    PALETTES,
    cells_across,
    channel_colours,
    choose_cells,
    choose_treatments,
    composite,
    scale_bar_um,
)
from analysis.drawing.settings import Settings
from analysis.drawing.style import (
    COLOURS,
    DOUBLE_COLUMN,
    LARGEST_HEIGHT,
    NEGATIVE,
    SMALLEST_FONT,
    method_colours,
)
from analysis.figures import figure3, figure5
from rls.io import read_stack, read_table, write_stack, write_table
from rls.io.names import AMORTISED
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.conftest import ROOT
from tests.flags import as_flags

SETTINGS = Settings(
    n_bootstrap=50,
    confidence_level=0.95,
    cells_per_treatment=2,
    treatments_shown=4,
    treatments_named=(),
    palette="article",
    super_resolution="rls",
    ablations=("rls", "rls_without_prior", "rls_unregularized"),
    norms_shown=400,
    norms_assay=None,
    lettered_first=(),
    seed=0,
)
METHODS = ("rls", "pulse")
FEATURE = "nucleocytoplasmic_ratio"


def command_line(root, methods):
    return [
        *("--run", str(made_up.write_run(root, methods)), *as_flags(SETTINGS)),
        *("--output-pdf", str(root / "f.pdf"), "--output-png", str(root / "f.png")),
        *("--output-csv", str(root / "f.csv")),
    ]


def features_of(run):
    """The table of features that figures read."""
    return long_table(kept_features.kept_rows(run, SETTINGS))


def ratios(n_cells=60):
    table = made_up.cells_table(6, n_cells // 6)
    random = np.random.default_rng(3)
    positive = (table["treatment"] == made_up.CONTROLS[1]).to_numpy()
    return np.where(positive, 2.0, 1.0) + random.normal(0, 0.1, len(table)), positive


def all_texts(figure):
    import matplotlib.text

    return [t for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip()]


# ---- style and grids ---------------------------------------------------------------------------


def test_every_method_has_its_own_colour_and_keeps_it_when_others_join():
    assert len(set(COLOURS.values())) == len(COLOURS)
    few = method_colours(["high_resolution", "rls", "mine"])
    many = method_colours(
        ["high_resolution", "pulse", "rls", "mine", "yours", *map(str, range(20))]
    )
    assert len(set(many.values())) == len(many)
    assert all(many[name] == colour for name, colour in few.items())


def methods_of_configurations():
    """Every method that stands in tables, and those that run on one degradation alone.

    Methods that one figure follows, section trace_search, stand in no table.
    """
    found, alone = {AMORTISED}, set()
    for path in (ROOT / "config").glob("*.yaml"):
        config = yaml.safe_load(path.read_text()) or {}
        traced = set(config.get("trace_search", {}).get("methods", ()))
        found |= set(config.get("methods") or {}) - (traced - set(COLOURS))
        for one in (config.get("degradations") or {}).values():
            alone |= set(one.get("methods", ())) if isinstance(one, dict) else set()
    return found, alone


def test_every_method_of_the_configurations_has_a_colour_and_a_name_of_its_own():
    found, alone = methods_of_configurations()
    assert len(found) >= 12 and found <= set(LABELS)
    # Rows of one degradation never stand beside each other, and other settings of a row have its
    # name; method_colours finds a colour for both.
    again = {name for name in found if name.endswith(("_tuned", "_published"))}
    assert len(alone) == 3 and len(again) == 5 and found - alone - again <= set(COLOURS)
    assert len({LABELS[name] for name in found}) == len(found)


# How (r, g, b), linear, looks without red or green cones; Machado, Oliveira & Fernandes 2009,
# IEEE Trans. Vis. Comput. Graph. 15:1291, severity 1.
EYES = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip


def least_difference(colours, eye):
    """The least CIEDE2000 difference of any two colours as an eye sees them."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ EYES[eye].T, 0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(encoded[None])[0]
    pairs = deltaE_ciede2000(lab[:, None], lab[None])
    return pairs[np.triu_indices(len(lab), 1)].min()


@pytest.mark.parametrize("eye", EYES)
def test_any_two_colours_of_methods_are_told_apart(eye):
    assert least_difference(COLOURS.values(), eye) > 9.9
    # HR and U-Net L1 once were these two; the check finds them.
    assert least_difference(["#4D4D4D", "#882255"], "deuteranopia") < 2
    assert all(least_difference([NEGATIVE, c], eye) > 7 for m, c in COLOURS.items()
               if m not in ("low_resolution", "high_resolution"))  # fmt: skip


def test_cells_are_chosen_by_id_whatever_the_order_of_the_table():
    table = made_up.cells_table()
    chosen = choose_cells(table, made_up.CONTROLS, 3, seed=1)
    shuffled = choose_cells(table.sample(frac=1, random_state=0), made_up.CONTROLS, 3, seed=1)
    assert chosen == shuffled
    assert chosen != choose_cells(table, made_up.CONTROLS, 3, seed=2)
    treatment = table.set_index("image_id")["treatment"]
    assert all(treatment[name] == key for key, names in chosen.items() for name in names)


def test_a_treatment_without_cells_is_named():
    with pytest.raises(InputError, match="taxol"):
        choose_cells(made_up.cells_table(), ["taxol"], 1, seed=0)


def test_controls_come_first_among_the_treatments_shown():
    table = pd.DataFrame({"treatment": ["b", "z", "DMSO", "a", "c", "nocodazole", "d"]})
    shown = choose_treatments(table, ("DMSO", "nocodazole"), 4)
    assert shown[:2] == ["DMSO", "nocodazole"] and len(set(shown)) == 4


def test_a_composite_shows_each_channel_in_its_own_colour_and_clips():
    colours = channel_colours(("nfkb", "dna"), "dna", "nfkb", "article")
    assert colours["dna"] == PALETTES["article"][0]
    image = np.zeros((2, 2, 2))
    image[1, 0, 0] = 1.0
    image[:, 1, 1] = 5.0
    rgb = composite(image, ("nfkb", "dna"), colours)
    np.testing.assert_allclose(rgb[0, 0], colours["dna"])
    assert rgb.max() <= 1.0 and rgb[0, 1].sum() == 0


def test_too_many_channels_for_one_composite_are_refused():
    with pytest.raises(InputError, match="4 channels"):
        channel_colours(("a", "b", "c", "d"), "a", "b", "article")


@pytest.mark.parametrize(("side", "bar"), [(40.0, 10.0), (64.0, 20.0), (83.2, 20.0), (15.5, 5.0)])
def test_scale_bars_are_round_and_under_a_third_of_the_image(side, bar):
    assert scale_bar_um(side) == bar <= side / 3


def test_no_panel_is_under_its_smallest_size():
    assert cells_across(9, 4, DOUBLE_COLUMN) == 1
    assert cells_across(3, 4, DOUBLE_COLUMN) > 1


# ---- figures 2 and 3 ---------------------------------------------------------------------------


def test_a_bicubic_stack_that_is_there_is_shown_as_it_is(tmp_path):
    made_up.write_results(tmp_path, ("bicubic",))
    at = next(iter(made_up.run_of(tmp_path, ("bicubic",)).comparisons()))
    stack = read_stack(at.stack("bicubic"))
    name = example_cells.evaluation_table(at)["image_id"].iloc[0]
    shown = example_cells.read_shown(at, ("bicubic",), {"TNF": [name]})
    counts = stack.images[(stack.table["image_id"] == name).to_numpy()]
    np.testing.assert_allclose(shown.unit["bicubic"][name], made_up.INTENSITY.to_unit(counts)[0])


def test_figure_2_has_a_panel_for_every_cell_and_method(tmp_path):
    made_up.write_results(tmp_path, METHODS)
    figure, rows = example_cells.draw_methods(
        made_up.run_of(tmp_path, ("bicubic", *METHODS)), SETTINGS
    )
    panels = [axes for axes in figure.axes if axes.get_gid() == "panel"]
    assert len(panels) == 2 * 2 * len(("high_resolution", "low_resolution", "bicubic", *METHODS))
    numbers = pd.DataFrame(rows)
    assert set(numbers["method"]) == {"high_resolution", "low_resolution", "bicubic", *METHODS}
    assert (numbers.loc[numbers["method"] == "high_resolution", "value"] == 0).all()
    low = numbers[numbers["method"] == "low_resolution"]
    assert low["value"].isna().all() and low["reason"].str.len().gt(0).all()
    assert any("simulated" in text.get_text() for text in all_texts(figure))


def test_figure_2_shows_low_resolution_as_its_own_pixels_and_one_scale(tmp_path):
    made_up.write_results(tmp_path, ("rls",))
    figure, _ = example_cells.draw_methods(made_up.run_of(tmp_path, ("rls",)), SETTINGS)
    images = [axes.images[0] for axes in figure.axes if axes.get_gid() == "panel"]
    sides = {image.get_array().shape[0] for image in images}
    assert sides == {made_up.SIZE, made_up.SIZE // made_up.FACTOR}
    assert all(image.get_interpolation() == "nearest" for image in images)
    sizes = {tuple(np.round(axes.get_position().size, 6)) for axes in figure.axes
             if axes.get_gid() == "panel"}  # fmt: skip
    assert len(sizes) == 1


def test_figure_3_stands_in_the_articles_order_and_writes_its_files(tmp_path):
    made_up.write_results(tmp_path, METHODS)
    figure3.main(command_line(tmp_path, METHODS))
    for name in ("f.pdf", "f.png", "f.csv"):
        assert (tmp_path / name).stat().st_size > 500
    figure, _ = example_cells.draw_controls(
        made_up.run_of(tmp_path, METHODS), SETTINGS, golgi=False
    )
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[:3] == ["LR", "RLS", "HR"]
    numbers = pd.read_csv(tmp_path / "f.csv")
    assert list(numbers.columns)[: len(LONG_COLUMNS)] == list(LONG_COLUMNS)
    assert set(numbers["treatment"]) == set(made_up.CONTROLS)


def test_figure_3_refuses_a_method_that_did_not_run(tmp_path):
    with pytest.raises(InputError, match="super_resolution"):
        example_cells.draw_controls(made_up.run_of(tmp_path, ("pulse",)), SETTINGS, golgi=False)


BOTH = ("translocation", "golgi")


def test_figure_4_shows_the_golgi_and_figure_3_what_does_not_measure_it(tmp_path):
    for assay in BOTH:
        made_up.write_results(tmp_path, METHODS, assay=assay)
    run = made_up.run_of(tmp_path, METHODS, *BOTH)
    for golgi, name in enumerate(BOTH):
        figure, rows = example_cells.draw_controls(run, SETTINGS, golgi=bool(golgi))
        numbers = pd.DataFrame(rows)
        assert set(numbers["assay"]) == {name}
        assert set(numbers["treatment"]) == set(made_up.CONTROLS)
        titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
        assert titles[:3] == ["LR", "RLS", "HR"]
        assert figure.get_size_inches()[0] == pytest.approx(DOUBLE_COLUMN)


def test_a_figure_without_an_assay_of_its_own_says_which_to_make(tmp_path):
    translocation, golgi = (made_up.run_of(tmp_path, METHODS, name) for name in BOTH)
    with pytest.raises(InputError, match="or make figure3"):
        example_cells.draw_controls(translocation, SETTINGS, golgi=True)
    with pytest.raises(InputError, match="Make figure4"):
        example_cells.draw_controls(golgi, SETTINGS, golgi=False)


def test_a_method_without_a_chosen_cell_is_named(tmp_path):
    made_up.write_results(tmp_path, ("rls",))
    path = tmp_path / "translocation" / "8x" / "bicubic" / "rls.ome.tif"
    stack = read_stack(path)
    write_stack(
        path, stack.images[:1], stack.table.iloc[:1].drop(columns="image_digest"),
        channels=stack.channels, pixel_size_um=stack.pixel_size_um, written_by="test",
    )  # fmt: skip
    with pytest.raises(InputError, match="rls.ome.tif lacks"):
        example_cells.draw_methods(made_up.run_of(tmp_path, ("rls",)), SETTINGS)


# ---- figure 5 ----------------------------------------------------------------------------------


def numbers_of(root, values, methods):
    made_up.write_features(root, values)
    run = made_up.run_of(root, methods)
    figure, rows = boxes.draw(run, SETTINGS, features_of(run))
    return figure, pd.DataFrame(rows).set_index(["method", "metric", "treatment"])


def test_an_oracle_keeps_the_shift_the_spread_and_every_cell(tmp_path):
    high, positive = ratios()
    values = {"high_resolution": high, "rls": high, "pulse": np.where(positive, 2.0, 1.0)}
    _, numbers = numbers_of(tmp_path, values, METHODS)
    for metric in ("shift_kept", "sd_ratio", "correlation_within_treatment"):
        assert numbers.loc[("rls", metric, ""), "value"] == pytest.approx(1.0)
    assert numbers.loc[("pulse", "sd_ratio", ""), "value"] == pytest.approx(0.0)
    constant = numbers.loc[("pulse", "correlation_within_treatment", "")]
    assert np.isnan(constant["value"]) and constant["reason"]


def test_medians_in_the_numbers_are_those_of_the_cells(tmp_path):
    high, positive = ratios()
    _, numbers = numbers_of(tmp_path, {"high_resolution": high, "rls": high * 1.5}, ("rls",))
    for treatment, side in zip(made_up.CONTROLS, (~positive, positive), strict=True):
        row = numbers.loc[("rls", "median", treatment)]
        assert row["value"] == pytest.approx(np.median(high[side]) * 1.5)
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n"] == 6 and row["unit_of_replication"] == "well"
    assert numbers.loc[("rls", "shift_kept", ""), "value"] == pytest.approx(1.5)
    assert (numbers["feature"] == FEATURE).all()


def test_cells_that_could_not_be_measured_are_counted_and_no_well_is_invented(tmp_path):
    high, positive = ratios()
    broken = np.where(positive, np.nan, high)
    figure, numbers = numbers_of(tmp_path, {"high_resolution": high, "rls": broken}, ("rls",))
    assert numbers.loc[("rls", "measured_share", made_up.CONTROLS[1]), "value"] == 0
    for key in (("median", made_up.CONTROLS[1]), ("shift_kept", ""), ("auc", "")):
        row = numbers.loc[("rls", *key)]
        assert np.isnan(row["value"]) and row["reason"]
    counts = [text.get_text() for text in all_texts(figure)]
    assert "30\n30\n3 + 3" in counts and "30\n0\n3 + 0" in counts


def test_a_new_method_appears_with_its_boxes_and_its_triple(tmp_path):
    high, _ = ratios()
    values = {"high_resolution": high, "rls": high, "my_search": high + 0.1}
    figure, numbers = numbers_of(tmp_path, values, ("rls", "my_search"))
    assert "my_search" in numbers.index.get_level_values("method")
    boxes, triples = 1, 3
    assert len(figure.axes) == boxes + triples
    assert len(figure.axes[0].patches) == 2 * 3
    assert "my search" in [label.get_text() for label in figure.axes[1].get_yticklabels()]


def test_labels_of_many_methods_stand_clear_of_one_another_and_of_the_counts(tmp_path):
    methods = [name for name in LABELS if name.startswith(("rls", "b", "p"))]
    values = dict.fromkeys(["high_resolution", *methods], ratios()[0])
    made_up.write_features(tmp_path, values)
    run = made_up.run_of(tmp_path, tuple(methods))
    path = next(run.comparisons()).measured("rls_mean", "features")
    write_table(path, read_table(path).assign(n_solutions=4), written_by="measure")
    figure, _ = boxes.draw(run, SETTINGS, features_of(run))
    figure.canvas.draw()
    labels = figure.axes[0].get_xticklabels()
    assert len(labels) > boxes.BESIDE and any("mean of 4" in one.get_text() for one in labels)
    named = [one.get_window_extent() for one in labels]
    assert all(a.x1 <= b.x0 for a, b in pairwise(named))
    counts = [one.get_window_extent() for one in figure.axes[0].texts]
    assert max(one.y1 for one in counts) <= min(one.y0 for one in named)


@pytest.mark.parametrize("count", [2, 10])
def test_figure_5_letters_its_assays_and_keeps_to_a_page(tmp_path, count):
    high, positive = ratios()
    methods = tuple(f"method_{i}" for i in range(count))
    values = dict.fromkeys(("high_resolution", *methods), high)
    made_up.write_features(tmp_path, values)
    areas = {name: 12.0 - 4 * numbers for name, numbers in values.items()}
    made_up.write_features(tmp_path, areas, assay="golgi", column="golgi_mean_spot_area_um2")
    run = made_up.run_of(tmp_path, methods, *BOTH)
    figure, rows = boxes.draw(run, SETTINGS, features_of(run))
    assert set(pd.DataFrame(rows)["feature"]) == {FEATURE, "golgi_mean_spot_area_um2"}
    letters = [text.get_text() for text in all_texts(figure) if text.get_text() in tuple("abc")]
    assert letters == ["a", "b"]
    width, height = figure.get_size_inches()
    assert width == pytest.approx(DOUBLE_COLUMN) and height <= LARGEST_HEIGHT + 1e-9
    assert len(figure.axes) == 2 * (1 + 3)
    assert min(text.get_fontsize() for text in all_texts(figure)) >= SMALLEST_FONT


def test_figure_5_begins_with_the_assays_that_are_lettered_first(tmp_path):
    high, _ = ratios()
    values = dict.fromkeys(("high_resolution", "rls"), high)
    made_up.write_features(tmp_path, values)
    made_up.write_features(tmp_path, values, assay="golgi", column="golgi_mean_spot_area_um2")
    run = made_up.run_of(tmp_path, ("rls",), *BOTH)
    for first, order in (
        ((), ["translocation", "golgi"]),
        (("golgi",), ["golgi", "translocation"]),
    ):
        settings = dataclasses.replace(SETTINGS, lettered_first=first)
        rows = pd.DataFrame(boxes.draw(run, settings, features_of(run))[1])
        panels = rows.drop_duplicates("panel").set_index("panel")["assay"]
        assert list(panels.index) == ["a", "b"] and list(panels) == order


def test_what_is_not_told_from_zero_is_drawn_hollow(tmp_path):
    high, positive = ratios()
    values = {"high_resolution": high, "rls": high, "pulse": np.where(positive, 2.0, 1.0)}
    figure, _ = numbers_of(tmp_path, values, METHODS)
    shift, spread = figure.axes[1:3]
    faces = [[d.get_markerfacecolor() for d in axes.lines if d.get_marker() == "o"]
             for axes in (shift, spread)]  # fmt: skip
    assert faces == [[COLOURS["rls"], COLOURS["pulse"]], [COLOURS["rls"], "white"]]


def test_a_number_far_beyond_one_stands_at_the_edge_as_an_arrow(tmp_path):
    high, positive = ratios()
    wild = np.where(positive, 2.0, 1.0) + 9 * (high - np.where(positive, 2.0, 1.0))
    values = {"high_resolution": high, "rls": high, "pulse": wild}
    figure, numbers = numbers_of(tmp_path, values, METHODS)
    spread = figure.axes[2]
    assert numbers.loc[("pulse", "sd_ratio", ""), "value"] == pytest.approx(9)
    (arrow,) = [line for line in spread.lines if line.get_marker() == ">"]
    assert spread.get_xlim()[0] < arrow.get_xdata()[0] < spread.get_xlim()[1]
    assert "9.00" in [text.get_text() for text in spread.texts]


def test_methods_measured_on_other_cells_are_refused(tmp_path):
    high, _ = ratios()
    made_up.write_features(tmp_path, {"high_resolution": high})
    made_up.write_features(tmp_path, {"rls": high[:50]}, wells=5)
    with pytest.raises(InputError, match="same cells"):
        boxes.draw(made_up.run_of(tmp_path, ("rls",)), SETTINGS, pd.DataFrame())


def test_figure_5_writes_what_the_table_of_features_says_and_refuses_another_runs(tmp_path):
    high, _ = ratios()
    made_up.write_features(tmp_path, {"high_resolution": high, "rls": high * 1.5})
    table = features_of(made_up.run_of(tmp_path, ("rls",)))
    path = tmp_path / "features.csv"
    for value in ("value", "low", "high"):
        table.loc[table["metric"] == "auc", value] = 0.123
    write_table(path, table, written_by="table_features")
    figure5.main([*command_line(tmp_path, ("rls",)), "--features", str(path)])
    numbers = pd.read_csv(tmp_path / "f.csv")
    assert (numbers.loc[numbers["metric"] == "auc", "value"] == 0.123).all()
    write_table(path, table.assign(factor=99), written_by="table_features")
    with pytest.raises(InputError, match="rule table_features has no row of Translocation"):
        figure5.main([*command_line(tmp_path, ("rls",)), "--features", str(path)])


def test_no_writing_is_under_six_points(tmp_path):
    high, _ = ratios()
    methods = ("rls", "pulse", "brgm_no_perceptual", "rls_unregularized", "a_long_method_name")
    figure, _ = numbers_of(tmp_path, {m: high for m in ("high_resolution", *methods)}, methods)
    assert min(text.get_fontsize() for text in all_texts(figure)) >= SMALLEST_FONT


# ---- figure 1 ----------------------------------------------------------------------------------


def test_figure_1_sets_the_spread_of_a_gaussian_beside_chi_squared(tmp_path):
    random = np.random.default_rng(0)
    dimensions = 32
    exact = random.chisquare(dimensions, 5_000)
    norms = {name: exact * (k + 1) for k, name in enumerate(style_norms.TRANSFORMS)}
    (assay,) = made_up.run_of(tmp_path, ("rls",)).assays
    rows = style_norms.numbers_of(assay, norms, dimensions, 1000, SETTINGS)
    numbers = pd.DataFrame(rows).set_index(["method", "metric"])["value"]
    assert numbers["chi_squared", "squared_norm_sd"] == pytest.approx(8.0)
    assert numbers["z", "squared_norm_sd"] == pytest.approx(8.0, rel=0.05)
    assert numbers["w", "squared_norm_mean"] == pytest.approx(64.0, rel=0.02)
    mean = pd.DataFrame(rows).set_index(["method", "metric"]).loc[("z", "squared_norm_mean")]
    assert mean["low"] < mean["value"] < mean["high"]
    width = 2 * 1.96 * 8.0 / np.sqrt(len(exact))
    assert mean["high"] - mean["low"] == pytest.approx(width, rel=0.4)
    figure = style_norms.draw(norms, dimensions, assay)
    density, spread = figure.axes
    assert len(density.lines) == len(norms) + 1
    assert "simulated" in figure.get_suptitle()
    assert len(spread.get_yticklabels()) == len(norms)
