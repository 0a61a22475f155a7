"""Read the images that Fig. 2 and 3 show, all on the assay's one intensity scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.layout import (
    BICUBIC,
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    NO_HIGH_RESOLUTION,
    Comparison,
    long_row,
)
from analysis.drawing.grids import (
    Grid,
    Row,
    cells_across,
    channel_colours,
    choose_cells,
    composite,
)
from analysis.drawing.settings import Settings
from analysis.drawing.style import method_label
from rls.io import Intensity, read_intensity, read_stack, read_table, table_path
from rls.runtime.errors import InputError

EVALUATION = "evaluation"
DIFFERENCE = "mean_absolute_difference_to_HR"


@dataclass(frozen=True)
class Shown:
    """Images of chosen cells: ``unit[method][image_id]`` is (c, y, x) with black 0, white 1."""

    unit: Mapping[str, Mapping[str, np.ndarray]]
    treatments: Mapping[str, str]
    channels: tuple[str, ...]
    image_um: float


def evaluation_table(at: Comparison) -> pd.DataFrame:
    """Return the evaluation rows of the HR table: what every method has super-resolved.

    Of the LR table where no HR exists.
    """
    path = table_path(at.stack(_reference(at)))
    table = read_table(path, columns=["image_id", "treatment", "split"])
    table = table[table["split"] == EVALUATION]
    if table.empty:
        raise InputError(f"{path} has no cell of the evaluation split. Run select_cells again.")
    return table


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
    folder = at.folder.parent.parent if has_high else at.folder
    intensity = read_intensity(folder / "intensity.json")
    ids = [name for names in chosen.values() for name in names]
    reference = read_stack(at.stack(_reference(at)))
    image_um = reference.images.shape[-1] * reference.pixel_size_um
    unit: dict[str, dict[str, np.ndarray]] = {}
    for method in dict.fromkeys((HIGH_RESOLUTION, LOW_RESOLUTION, *columns)):
        if method == HIGH_RESOLUTION and not has_high:
            continue
        if method == BICUBIC and not at.stack(BICUBIC).exists():
            continue
        stack = reference if method == _reference(at) else read_stack(at.stack(method))
        unit[method] = _pick(stack.images, stack.table, ids, intensity, at.stack(method))
    if BICUBIC in columns and BICUBIC not in unit:
        size = reference.images.shape[-1] * (1 if has_high else at.factor)
        unit[BICUBIC] = {k: _bicubic(image, size) for k, image in unit[LOW_RESOLUTION].items()}
    treatments = {name: treatment for treatment, names in chosen.items() for name in names}
    return Shown(unit, treatments, reference.channels, image_um)


def make_grid(
    at: Comparison, shown: Shown, columns: Sequence[str], settings: Settings, width: float
) -> Grid:
    """Arrange the cells in rows, as many side by side as panels of a readable size allow."""
    columns = [method for method in columns if method in shown.unit]
    colours = channel_colours(
        shown.channels, at.assay.nucleus_channel, at.assay.marker_channel, settings.palette
    )
    by_treatment: dict[str, list[str]] = {}
    for name, treatment in shown.treatments.items():
        by_treatment.setdefault(treatment, []).append(name)
    most = max(len(names) for names in by_treatment.values())
    across = cells_across(len(columns), most, width)
    rows = []
    for treatment, names in by_treatment.items():
        for start in range(0, len(names), across):
            cells = tuple(
                tuple(composite(shown.unit[m][name], shown.channels, colours) for m in columns)
                for name in names[start : start + across]
            )
            rows.append(Row(treatment, cells))
    return Grid(
        at.title,
        tuple(map(method_label, columns)),
        tuple(rows),
        colours,
        shown.image_um,
        _note(settings) + ("" if HIGH_RESOLUTION in shown.unit else " No HR exists."),
    )


def shown_rows(at: Comparison, shown: Shown, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row a panel: which cell it is, and how far from the HR cell beside it."""
    rows = []
    for method in columns:
        for name, treatment in shown.treatments.items():
            facts: dict[str, Any] = {"unit": "cell", "n": 1, "treatment": treatment}
            if HIGH_RESOLUTION not in shown.unit:
                facts["reason"] = NO_HIGH_RESOLUTION
            elif method == LOW_RESOLUTION:
                facts["reason"] = "LR lies on another pixel grid than HR"
            else:
                difference = shown.unit[method][name] - shown.unit[HIGH_RESOLUTION][name]
                facts["value"] = float(np.abs(difference).mean())
            rows.append({**long_row(at, method, DIFFERENCE, **facts), "image_id": name})
    return rows


def chosen_cells(
    at: Comparison, treatments: Sequence[str], settings: Settings
) -> dict[str, list[str]]:
    """Choose the cells to show among the evaluation rows."""
    table = evaluation_table(at)
    return choose_cells(table, treatments, settings.cells_per_treatment, settings.seed)


def _reference(at: Comparison) -> str:
    """Return the stack that all others are rows of: HR, or LR where no HR exists."""
    return HIGH_RESOLUTION if at.assay.has_high_resolution else LOW_RESOLUTION


def _note(settings: Settings) -> str:
    return f"One intensity scale a channel; cells by hash of their id (seed {settings.seed})."


def _pick(
    images: np.ndarray, table: pd.DataFrame, ids: Sequence[str], intensity: Intensity, path: Path
) -> dict[str, np.ndarray]:
    position = {name: i for i, name in enumerate(table["image_id"])}
    missing = [name for name in ids if name not in position]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the {len(ids)} cells to show (first: {missing[0]}). "
            f"Delete it and run super_resolve again."
        )
    unit = intensity.to_unit(np.asarray(images[[position[name] for name in ids]]))
    return dict(zip(ids, unit, strict=True))


def _bicubic(unit: np.ndarray, size: int) -> np.ndarray:
    from rls.search.forward import resize_matrix  # torch is imported only where bicubic is shown

    matrix = resize_matrix(unit.shape[-1], size, "renormalize")
    return (matrix @ unit @ matrix.T).astype(np.float32)
