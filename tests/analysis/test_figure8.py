"""Fig. 8: the panels are those of the cell they stand beside, the numbers those of the table."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from analysis.comparison.long_table import long_table
from analysis.comparison.solutions import solution_rows
from analysis.drawing import style
from analysis.drawing.settings import Figure8Settings
from analysis.drawing.solutions import numbers_of, read_shown
from analysis.drawing.style import DOUBLE_COLUMN, SMALLEST_FONT
from analysis.figures import figure8
from rls.io import read_stack, read_table, write_stack
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.analysis.test_figures import SETTINGS as OF_FIGURES
from tests.analysis.test_table_solutions import SETTINGS as OF_TABLE
from tests.analysis.test_table_solutions import folder_of, run_of, write_run
from tests.flags import as_flags

SETTINGS = Figure8Settings(**{**asdict(OF_FIGURES), "cells_per_treatment": 3, **asdict(OF_TABLE)})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The features of the table's test, images beside them, and the table itself."""
    path = tmp_path_factory.mktemp("results")
    cells = write_run(path)
    folder = made_up.write_results(path, (), wells=12, cells=50, size=16).parent
    assert folder == path
    images = made_up.cell_images(cells, 3, 16)
    long = cells.loc[cells.index.repeat(5)].reset_index(drop=True)
    long = long.rename(columns={"image_id": "source_image_id"})
    number = np.tile(np.arange(1, 6), len(cells))
    long.insert(0, "image_id", long["source_image_id"] + "_k" + number.astype(str))
    stack = np.repeat(images, 5, axis=0).astype(np.float32) + 100.0 * number[:, None, None, None]
    for kind in OF_TABLE.kinds:
        target = comparison(path).solutions("rls", kind, ".ome.tif")
        write_stack(target, stack.astype(np.float32), long.assign(solution=number),
                    channels=made_up.CHANNELS, pixel_size_um=1.0, written_by="test")  # fmt: skip
    table = long_table(solution_rows(run_of(path), OF_TABLE))
    table.to_csv(path / "solutions.csv", index=False)
    return path


def comparison(root):
    return next(run_of(root).comparisons())


def table_of(root):
    return read_table(root / "solutions.csv")


def test_every_row_holds_one_cells_own_images_and_only_of_evaluation(root):
    shown = read_shown(comparison(root), table_of(root), SETTINGS)
    stack = read_stack(comparison(root).solutions("rls", "variational", ".ome.tif"))
    low = read_stack(folder_of(root) / "low_resolution.ome.tif")
    assert len(shown.images) == 6
    for name, images in shown.images.items():
        assert len(images) == 2 + 5 and images[0].shape[-1] * made_up.FACTOR == images[1].shape[-1]
        row = shown.cells.table["image_id"].tolist().index(name)
        assert shown.cells.table["treatment"].iloc[row] == shown.treatments[name]
        mine = low.images[(low.table["image_id"] == name).to_numpy()][0]
        assert np.allclose(images[0], made_up.INTENSITY.to_unit(mine[None])[0])
        own = stack.images[(stack.table["source_image_id"] == name).to_numpy()]
        assert np.allclose(images[2:], made_up.INTENSITY.to_unit(own))
    assert set(shown.cells.table["split"]) == {"evaluation"}
    few = replace(SETTINGS, cells_per_treatment=1)
    assert len(read_shown(comparison(root), table_of(root), few).images) == 2


def test_the_numbers_are_each_cells_interval_and_the_tables(root):
    shown = read_shown(comparison(root), table_of(root), SETTINGS)
    rows = numbers_of(shown, SETTINGS)
    cells = [row for row in rows if row["metric"] == "interval_normalised"]
    assert len(cells) == 200
    inside = [row["low"] <= row["high_resolution"] <= row["high"] for row in cells]
    coverage = next(
        row["value"] for row in rows
        if row["metric"] == "coverage_normalised" and row["kind"] == "variational"
    )  # fmt: skip
    assert np.mean(inside) == pytest.approx(coverage)
    assert len(rows) == 200 + len(table_of(root))


def test_the_command_draws_a_figure_that_fits_a_journal(root, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        style, "save_outputs", lambda figure_and_rows, *_: drawn.append(figure_and_rows[0])
    )
    outputs = [f"--output-{kind}" for kind in ("pdf", "png", "csv")]
    figure8.main(
        [
            *("--run", str(made_up.write_run(root, ("rls",)))),
            *("--table", str(root / "solutions.csv"), *as_flags(SETTINGS)),
            *(text for name in outputs for text in (name, str(root / "f"))),
        ]
    )
    import matplotlib.text

    (figure,) = drawn
    assert figure.get_figwidth() == pytest.approx(DOUBLE_COLUMN)
    panels = [axes for axes in figure.axes if axes.get_gid() == "panel"]
    assert len(panels) == 6 * 7
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= SMALLEST_FONT
    assert any("simulated" in text.get_text() for text in texts)


def test_a_table_of_another_comparison_is_refused(root):
    table = table_of(root).assign(factor=99)
    with pytest.raises(InputError, match="rule solutions"):
        read_shown(comparison(root), table, SETTINGS)
