"""Every image of a figure is of the cell, the treatment and the method that its place says."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.comparison.labels import method_label
from analysis.drawing import example_cells
from analysis.drawing.grids import channel_colours
from rls.io import read_stack, write_stack
from tests.analysis import made_up
from tests.analysis.test_figures import METHODS, SETTINGS


def rewrite(path, images, table):
    table = table.drop(columns="image_digest", errors="ignore")
    write_stack(path, images, table, channels=made_up.CHANNELS, pixel_size_um=1.25,
                written_by="test")  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """RLS equals HR in every cell, PULSE is half as bright; their stacks have other orders.

    The marker of a cell is brighter by its number, and only the positive control has DNA.
    """
    made_up.write_results(tmp_path, METHODS)
    folder = tmp_path / "translocation"
    high = read_stack(folder / "high_resolution.ome.tif")
    images = np.asarray(high.images).astype(np.float32)
    unit = np.zeros_like(images)
    positive = (high.table["treatment"] == made_up.CONTROLS[1]).to_numpy()
    unit[:, 0] = 0.15 * positive[:, None, None]
    unit[:, 1] = (0.3 + 0.5 * np.arange(len(images)) / len(images))[:, None, None]
    images = made_up.INTENSITY.to_counts(unit).astype(np.float32)
    half = made_up.INTENSITY.to_counts(unit / 2).astype(np.float32)
    rewrite(folder / "high_resolution.ome.tif", images, high.table)
    at = folder / f"{made_up.FACTOR}x" / made_up.DEGRADATION
    random = np.random.default_rng(0)
    for method, shown in (("rls", images), ("pulse", half)):
        order = random.permutation(len(shown))
        table = high.table.iloc[order].reset_index(drop=True)
        rewrite(at / f"{method}.ome.tif", shown[order], table)
    return tmp_path


def panels_of(figure):
    """Return images by (row from above, column from the left), and the headings."""
    panels = [axes for axes in figure.axes if axes.get_gid() == "panel"]
    places = [(-round(a.get_position().y0, 4), round(a.get_position().x0, 4)) for a in panels]
    rows, columns = (sorted({p[i] for p in places}) for i in (0, 1))
    found = {}
    headings = {}
    for axes, (y, x) in zip(panels, places, strict=True):
        at = rows.index(y), columns.index(x)
        found[at] = np.asarray(axes.images[0].get_array())
        if axes.get_title():
            headings[at[1]] = axes.get_title()
    return found, headings


def test_every_panel_shows_its_cell_by_its_method(results):
    run = made_up.run_of(results, METHODS)
    for figure, _ in (
        example_cells.draw_methods(run, SETTINGS),
        example_cells.draw_controls(run, SETTINGS, golgi=False),
    ):
        found, headings = panels_of(figure)
        high, pulse = (method_label(m) for m in ("high_resolution", "pulse"))
        compared = 0
        for (row, column), image in found.items():
            left = max(c for c in range(column + 1) if headings[c] == headings[0])
            ends = [c for c in headings if c > left and headings[c] == headings[0]]
            group = range(left, min(ends, default=len(headings)))
            (of_high,) = [found[row, c] for c in group if headings[c] == high]
            share = 0.5 if headings[column] == pulse else 1.0
            middle = tuple(n // 2 for n in image.shape[:2])
            expected = share * of_high[tuple(n // 2 for n in of_high.shape[:2])]
            if headings[column] in (high, pulse, method_label("rls")):
                np.testing.assert_allclose(image[middle], expected, atol=0.01)
                compared += 1
        assert compared >= 8
        cells = [x[16, 16] for (_, c), x in found.items() if headings[c] == high]
        assert len(np.unique(np.round(cells, 4), axis=0)) == 4  # four different cells


def test_rows_have_the_cells_of_their_treatment(results):
    """DNA is in the positive control alone."""
    colours = channel_colours(made_up.CHANNELS, *made_up.CHANNELS, SETTINGS.palette)
    mixture = np.stack([colours[name] for name in made_up.CHANNELS], axis=1)
    figure, rows = example_cells.draw_methods(made_up.run_of(results, METHODS), SETTINGS)
    labels = {round(t.get_position()[1], 3): t.get_text() for t in figure.texts
              if t.get_text().replace("\n", "") in made_up.CONTROLS}  # fmt: skip
    assert set(labels.values()) == set(made_up.CONTROLS)
    compared = 0
    for axes in (a for a in figure.axes if a.get_gid() == "panel" and a.images):
        box = axes.get_position()
        near = min(labels, key=lambda y: abs(y - (box.y0 + box.y1) / 2))
        image = np.asarray(axes.images[0].get_array())
        if np.ptp(image.reshape(-1, 3), axis=0).max() < 1e-3:  # LR is of other, made-up cells
            dna, _ = np.linalg.lstsq(mixture, image[0, 0], rcond=None)[0]
            assert (dna > 0.05) == (labels[near] == made_up.CONTROLS[1])
            compared += 1
    assert compared == 2 * 2 * 3
    assert {row["treatment"] for row in rows} == set(made_up.CONTROLS)
