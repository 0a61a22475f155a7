"""Faults of the figures: marks that stand at another method's or another side's number."""

from __future__ import annotations

from tests.planted import Fault

NORMS, BOXES = "analysis/drawing/style_norms.py", "analysis/drawing/boxes.py"
DOTS, SCATTER = "analysis/drawing/dots.py", "analysis/drawing/scatter.py"
ABLATIONS, DEGRADATIONS = "analysis/drawing/ablations.py", "analysis/drawing/degradations.py"
GRIDS, CELLS = "analysis/drawing/grids.py", "analysis/drawing/example_cells.py"
PANELS = "tests/analysis/test_figure_cells.py::test_every_panel_shows_its_cell_by_its_method"
TREATMENTS = "tests/analysis/test_figure_cells.py::test_rows_have_the_cells_of_their_treatment"
TESTS = "tests/analysis/test_figure_marks.py"
CURVES = f"{TESTS}::test_curves_and_spreads_of_fig_1_are_those_of_their_names"
INTERVALS = f"{TESTS}::test_the_intervals_of_fig_1_hold_the_numbers_of_their_transforms"
BOX = f"{TESTS}::test_every_box_of_fig_5_is_that_of_its_method_and_control"
TRIPLE = f"{TESTS}::test_every_number_of_the_triple_stands_in_its_panel_and_row"
DOT = f"{TESTS}::test_dots_stand_at_their_method_value_and_interval"
GROUP = f"{TESTS}::test_groups_stand_at_their_condition_and_their_methods_in_order"
FIG6 = f"{TESTS}::test_fig_6_draws_each_number_at_its_degradation_in_its_panel"
FIG7 = f"{TESTS}::test_fig_7_draws_each_number_in_the_row_of_its_ablation_and_its_panel"
CLOUDS = f"{TESTS}::test_the_scatter_has_hr_across_and_sr_up_and_the_difference_over_their_mean"
LIMITS = f"{TESTS}::test_the_limits_of_a_difference_panel_are_those_of_its_method"
OWN = f"{TESTS}::test_a_method_keeps_its_own_numbers_whatever_the_order_of_the_methods"

FAULTS = [
    Fault(
        "Fig. 1 draws the densities under the next name", NORMS,
        "    for name, values in norms.items():\n        label, colour, line = TRANSFORMS[name]",
        "    for name, values in zip(reversed(norms), norms.values()):\n"
        "        label, colour, line = TRANSFORMS[name]", (CURVES,),
    ),
    Fault(
        "Fig. 1 names its spreads from below", NORMS,
        "axes.set_yticks(range(len(names)), [TRANSFORMS[name][0] for name in names])",
        "axes.set_yticks(range(len(names)), [TRANSFORMS[name][0] for name in names[::-1]])",
        (CURVES,),
    ),
    Fault(
        "Fig. 1 shows variances for spreads", NORMS,
        "value = float(np.std(norms[name]))\n", "value = float(np.var(norms[name]))\n", (CURVES,),
    ),
    Fault(
        "Fig. 1 has the variance of chi-squared", NORMS,
        "    expected = math.sqrt(2 * dimensions)\n", "    expected = 2.0 * dimensions\n",
        (CURVES,),
    ),
    Fault(
        "Fig. 1 resamples all transforms as one", NORMS,
        "drawn = random.choice(values,", 'drawn = random.choice(norms["z"],', (INTERVALS,),
    ),
    Fault(
        "boxes of the positive control stand at the left", BOXES,
        "index + (side - 0.5) * 0.42", "index - (side - 0.5) * 0.42", (BOX,),
    ),
    Fault(
        "the other control's boxes are dotted", BOXES,
        "colours[method], dotted=side)", "colours[method], dotted=1 - side)", (BOX,),
    ),
    Fault(
        "boxes have the values of the next method", BOXES,
        "            values = feature.of(method, treatment)\n            if len(values):\n"
        "                _draw_box",
        "            values = feature.of(list(feature.values)[index - 1], treatment)\n"
        "            if len(values):\n                _draw_box", (BOX,),
    ),
    Fault(
        "boxes have the name of another method", BOXES,
        "for m in methods]\n    names =", "for m in methods[::-1]]\n    names =",
        (BOX,),
    ),
    Fault(
        "the legend exchanges the controls", BOXES,
        "    negative, positive = feature.controls\n    dotted",
        "    positive, negative = feature.controls\n    dotted", (BOX,),
    ),
    Fault(
        "the lines of HR's medians are means", BOXES,
        "axes.axhline(np.median(values),", "axes.axhline(np.mean(values),", (BOX,),
    ),
    Fault(
        "the triple's names from below", BOXES,
        "[method_label(m) for m in triples])", "[method_label(m) for m in reversed(triples)])",
        (TRIPLE,),
    ),
    Fault(
        "the triple's panels show one field", BOXES,
        "found = getattr(triple, name)", "found = triple.shift_kept", (TRIPLE,),
    ),
    Fault(
        "the panels of sd ratio and shift exchange their titles", BOXES,
        '("shift_kept", "shift kept"),\n    ("sd_ratio", "sd ratio"),',
        '("shift_kept", "sd ratio"),\n    ("sd_ratio", "shift kept"),', (TRIPLE,),
    ),
    Fault(
        "the rows of an ablation panel are exchanged", DOTS,
        "        _draw_row(axes, place, found, colours[method], scale, digits)",
        "        _draw_row(axes, len(numbers) - 1 - place, found, colours[method], scale, digits)",
        (DOT, FIG7),
    ),
    Fault(
        "the names of an ablation panel are exchanged", DOTS,
        "axes.set_yticks(range(len(numbers)), [method_label(name) for name in numbers])",
        "axes.set_yticks(range(len(numbers)), [method_label(n) for n in reversed(numbers)])",
        (DOT, FIG7),
    ),
    Fault(
        "intervals are not scaled", DOTS,
        "ends = [found.low * scale, found.high * scale]\n        axes.plot(ends, [place, place]",
        "ends = [found.low, found.high]\n        axes.plot(ends, [place, place]", (DOT,),
    ),
    Fault(
        "methods of a group stand in the other order", DOTS,
        "for rank, (method, one) in enumerate(group.items()):",
        "for rank, (method, one) in enumerate(zip(group, list(group.values())[::-1])):",
        (GROUP, FIG6),
    ),
    Fault(
        "groups stand at another condition", DOTS,
        "for place, group in enumerate(numbers.values()):",
        "for place, group in enumerate(list(numbers.values())[::-1]):", (GROUP, FIG6),
    ),
    Fault(
        "Fig. 6 shows the clean numbers under every degradation", DEGRADATIONS,
        'here = block.numbers[block.numbers["degradation"] == at.degradation]\n'
        "            numbers[at",
        'here = block.numbers[block.numbers["degradation"] == block.conditions[0].degradation]\n'
        "            numbers[at", (FIG6,),
    ),
    Fault(
        "Fig. 7 exchanges PSNR and MS-SSIM", ABLATIONS,
        'Panel("psnr_db", "PSNR, dB ↑", 1.0, 1),\n    Panel("ms_ssim", "MS-SSIM ↑", 1.0, 2),',
        'Panel("ms_ssim", "PSNR, dB ↑", 1.0, 1),\n    Panel("psnr_db", "MS-SSIM ↑", 1.0, 2),',
        (f"{TESTS}::test_fig_7_names_each_panel_by_its_metric",),
    ),
    Fault(
        "Fig. 7 shows one method's numbers for all", ABLATIONS,
        "method: estimate_of(block.numbers, method, panel.metric,",
        "method: estimate_of(block.numbers, block.methods[0], panel.metric,", (FIG7,),
    ),
    Fault(
        "the axes of the scatter are exchanged", SCATTER,
        "axes.scatter(np.clip(high, *limits), np.clip(super_, *limits), **look)",
        "axes.scatter(np.clip(super_, *limits), np.clip(high, *limits), **look)", (CLOUDS, OWN),
    ),
    Fault(
        "the difference is HR less SR", SCATTER,
        "np.clip(super_ - high, *up), **look)", "np.clip(high - super_, *up), **look)", (CLOUDS,),
    ),
    Fault(
        "the difference stands over HR and not the mean", SCATTER,
        "np.clip((high + super_) / 2, *across)", "np.clip(high, *across)", (CLOUDS,),
    ),
    Fault(
        "the controls exchange their colours", SCATTER,
        '"color": colour if positive else NEGATIVE', '"color": NEGATIVE if positive else colour',
        (CLOUDS,),
    ),
    Fault(
        "every scatter shows the first method", SCATTER,
        "draw_scatter(upper, feature, method, colours[method], limits)",
        "draw_scatter(upper, feature, next(iter(found)), colours[method], limits)", (CLOUDS, OWN),
    ),
    Fault(
        "the line of the bias is the upper limit's", SCATTER,
        'for limit, style in ((found.bias, "-"),', 'for limit, style in ((found.upper_limit, "-"),',
        (LIMITS,),
    ),
    Fault(
        "the labels of the scatter's axes are exchanged", SCATTER,
        'upper.set_ylabel(_axis_label("SR", feature))',
        'upper.set_ylabel(_axis_label("HR", feature))',
        (CLOUDS,),
    ),
    Fault(
        "columns of images stand under another heading", GRIDS,
        "axes.set_title(grid.columns[column], fontsize=size, pad=2)",
        "axes.set_title(grid.columns[-1 - column], fontsize=size, pad=2)", (PANELS,),
    ),
    Fault(
        "a method's images are taken in the order of its stack", CELLS,
        "stack.images[[position[name] for name in ids]]", "stack.images[: len(ids)]", (PANELS,),
    ),
    Fault(
        "every column shows HR", CELLS,
        "composite(shown.unit[method][name],",
        "composite(shown.unit[HIGH_RESOLUTION][name],",
        (PANELS,),
    ),
    Fault(
        "images stand beside the other treatment's name", CELLS,
        "        for row in grid_rows(treatment, names, shown, columns, colours, across)",
        "        for row in grid_rows(next(t for t in reversed(by_treatment) if t != treatment), "
        "names, shown, columns, colours, across)", (TREATMENTS,),
    ),
]  # fmt: skip
