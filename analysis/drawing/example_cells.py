"""Fig. 2 to 4: example cells on HR, LR and the methods, all on the assay's one intensity scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.labels import method_label
from analysis.comparison.long_table import NO_HIGH_RESOLUTION, Row, Rows, long_row
from analysis.drawing.grids import (
    Grid,
    GridRow,
    cells_across,
    channel_colours,
    choose_cells,
    choose_treatments,
    composite,
    draw_grids,
)
from analysis.drawing.settings import Settings
from analysis.drawing.style import DOUBLE_COLUMN
from analysis.run.description import Comparison, Run
from rls.io import Stack, read_intensity, read_stack, read_table, table_path
from rls.io.names import BICUBIC, HIGH_RESOLUTION, LOW_RESOLUTION
from rls.io.splits import REPORT, rows_for
from rls.runtime.errors import InputError

DIFFERENCE = "mean_absolute_difference_to_HR"
GOLGI = "golgi"  # Fig. 4 shows the assays with this feature, Fig. 3 the others


@dataclass(frozen=True)
class Shown:
    """Images of chosen cells.

    Attributes:
        unit: ``unit[method][image_id]`` is (c, y, x) with black at 0 and white at 1.
        treatments: Treatment of every image id.
        image_um: Side of an image in um.
    """

    unit: Mapping[str, Mapping[str, np.ndarray]]
    treatments: Mapping[str, str]
    channels: tuple[str, ...]
    image_um: float


def draw_methods(run: Run, settings: Settings) -> tuple[Figure, Rows]:
    """Return Fig. 2 and its numbers, one row per panel."""
    grids, rows = [], []
    for at in run.comparisons(clean_only=True):
        columns = tuple(dict.fromkeys((HIGH_RESOLUTION, LOW_RESOLUTION, *at.methods_with_images)))
        treatments = choose_treatments(
            evaluation_table(at),
            at.assay.treatments,
            settings.treatments_shown,
            settings.treatments_named,
        )
        grid, own = show_cells(at, columns, treatments, settings, DOUBLE_COLUMN)
        grids.append(grid)
        rows += own
    return draw_grids(grids, DOUBLE_COLUMN), rows


def draw_controls(run: Run, settings: Settings, *, golgi: bool) -> tuple[Figure, Rows]:
    """Return Fig. 3 or 4, LR, SR and HR of both controls, and its numbers, one row per panel.

    Arguments:
        golgi: Whether the assays that measure the Golgi are shown (Fig. 4), or the others (Fig. 3).

    Raises:
        InputError: There is no such assay, or the method of the middle column does not run.
    """
    assays = [assay for assay in run.assays if (GOLGI in assay.features) == golgi]
    if not assays:
        names = ", ".join(assay.name for assay in run.assays)
        raise InputError(
            f"No assay given ({names}) measures the feature '{GOLGI}', which Fig. 4 is about. Add "
            f"such an assay to run.assays, or make figure3."
            if golgi
            else f"Every assay given ({names}) measures the feature '{GOLGI}' and is shown in "
            f"Fig. 4. Make figure4 instead."
        )
    method = settings.super_resolution
    if method not in run.methods_with_images:
        raise InputError(
            f"figures.super_resolution is '{method}', which is not among the methods of this run: "
            f"{', '.join(run.methods_with_images)}. Name one of them."
        )
    columns = (LOW_RESOLUTION, method, HIGH_RESOLUTION)
    grids, rows = [], []
    for at in run.comparisons(clean_only=True):
        if at.assay in assays:
            grid, own = show_cells(at, columns, at.assay.treatments, settings, DOUBLE_COLUMN)
            grids.append(grid)
            rows += own
    return draw_grids(grids, DOUBLE_COLUMN), rows


def show_cells(
    at: Comparison,
    columns: Sequence[str],
    treatments: Sequence[str],
    settings: Settings,
    width: float,
) -> tuple[Grid, Rows]:
    """Return cells of each treatment as a grid of ``width`` inches, and the numbers of its panels.

    Arguments:
        columns: The methods shown, in order.
    """
    count, seed = settings.cells_per_treatment, settings.seed
    chosen = choose_cells(evaluation_table(at), treatments, count, seed)
    shown = read_shown(at, columns, chosen)
    return make_grid(at, shown, columns, settings, width), shown_rows(at, shown, columns)


def evaluation_table(at: Comparison) -> pd.DataFrame:
    """Return the rows that every method has super-resolved: evaluation, of HR or else of LR."""
    path = table_path(at.stack(at.reference))
    table = read_table(path, columns=["image_id", "treatment", "split"])
    return table.iloc[rows_for(REPORT, table, str(path), stage="select_cells")]


def read_shown(
    at: Comparison, columns: Sequence[str], chosen: Mapping[str, Sequence[str]]
) -> Shown:
    """Read the chosen cells from the stack of every method in ``columns``.

    Arguments:
        chosen: Ids by treatment.

    Raises:
        InputError: A stack lacks a chosen cell.
    """
    has_high = at.assay.has_high_resolution
    intensity = read_intensity(at.intensity)
    treatments = {name: treatment for treatment, names in chosen.items() for name in names}
    reference = read_stack(at.stack(at.reference))
    unit: dict[str, dict[str, np.ndarray]] = {}
    for method in dict.fromkeys((HIGH_RESOLUTION, LOW_RESOLUTION, *columns)):
        path = at.stack(method)
        if (method == HIGH_RESOLUTION and not has_high) or (
            method == BICUBIC and not path.exists()
        ):
            continue
        stack = reference if method == at.reference else read_stack(path)
        counts = _pick(stack, list(treatments), str(path))
        unit[method] = dict(zip(treatments, intensity.to_unit(counts), strict=True))
    if BICUBIC in columns and BICUBIC not in unit:
        size = reference.images.shape[-1] * (1 if has_high else at.factor)
        unit[BICUBIC] = {k: _bicubic(image, size) for k, image in unit[LOW_RESOLUTION].items()}
    image_um = reference.images.shape[-1] * reference.pixel_size_um
    return Shown(unit, treatments, reference.channels, image_um)


def _pick(stack: Stack, ids: Sequence[str], path: str) -> np.ndarray:
    """Return the images of ``ids``, (n, c, y, x) counts."""
    position = {name: i for i, name in enumerate(stack.table["image_id"])}
    missing = [name for name in ids if name not in position]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the {len(ids)} cells to show (first: {missing[0]}). "
            f"Delete it and run super_resolve again."
        )
    return np.asarray(stack.images[[position[name] for name in ids]])


def _bicubic(unit: np.ndarray, size: int) -> np.ndarray:
    from rls.search.forward_weights import resize_matrix  # scipy is slow to import

    matrix = resize_matrix(unit.shape[-1], size, "renormalize")
    return (matrix @ unit @ matrix.T).astype(np.float32)


def make_grid(
    at: Comparison, shown: Shown, columns: Sequence[str], settings: Settings, width: float
) -> Grid:
    """Arrange the cells in rows, as many side by side as panels of a readable size allow."""
    columns = [method for method in columns if method in shown.unit]
    colours = shown_colours(at, shown, settings)
    by_treatment: dict[str, list[str]] = {}
    for name, treatment in shown.treatments.items():
        by_treatment.setdefault(treatment, []).append(name)
    across = cells_across(len(columns), max(map(len, by_treatment.values())), width)
    rows = [
        row
        for treatment, names in by_treatment.items()
        for row in grid_rows(treatment, names, shown, columns, colours, across)
    ]
    note = (
        f"One intensity scale per channel; cells chosen by hash of their id (seed {settings.seed})."
    )
    return Grid(
        at.title,
        tuple(map(method_label, columns)),
        tuple(rows),
        colours,
        shown.image_um,
        note + ("" if HIGH_RESOLUTION in shown.unit else " No HR exists."),
    )


def shown_colours(
    at: Comparison, shown: Shown, settings: Settings
) -> dict[str, tuple[float, float, float]]:
    """Return the colour of every channel."""
    assay = at.assay
    return channel_colours(
        shown.channels, assay.nucleus_channel, assay.marker_channel, settings.palette
    )


def grid_rows(
    label: str,
    names: Sequence[str],
    shown: Shown,
    columns: Sequence[str],
    colours: Mapping[str, tuple[float, float, float]],
    across: int,
) -> Iterable[GridRow]:
    """Yield rows of at most ``across`` cells, each shown in every method of ``columns``.

    The panel of a method that did not run here is white.
    """
    empty = np.ones((1, 1, 3))

    def panel(method: str, name: str) -> np.ndarray:
        ran = method in shown.unit
        return composite(shown.unit[method][name], shown.channels, colours) if ran else empty

    for start in range(0, len(names), across):
        cells = tuple(
            tuple(panel(method, name) for method in columns)
            for name in names[start : start + across]
        )
        yield GridRow(label, cells)


def shown_rows(at: Comparison, shown: Shown, columns: Sequence[str]) -> Rows:
    """Return one row per panel: the cell that it shows, and its difference to HR."""
    rows = []
    for method in columns:
        for name, treatment in shown.treatments.items():
            facts: Row = {"unit": "cell", "n": 1, "treatment": treatment}
            facts |= _difference(shown, method, name)
            rows.append({**long_row(at, method, DIFFERENCE, **facts), "image_id": name})
    return rows


def _difference(shown: Shown, method: str, name: str) -> Row:
    """Return the mean absolute difference of a panel to HR, or why there is none."""
    if HIGH_RESOLUTION not in shown.unit:
        return {"reason": NO_HIGH_RESOLUTION}
    if method == LOW_RESOLUTION:
        return {"reason": "LR lies on another pixel grid than HR"}
    difference = shown.unit[method][name] - shown.unit[HIGH_RESOLUTION][name]
    return {"value": float(np.abs(difference).mean())}
