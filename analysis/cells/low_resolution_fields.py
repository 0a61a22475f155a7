"""Read a user's low-resolution fields, and find or take the positions of their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells.crop import position_of
from analysis.cells.low_resolution_cut import are_inside, cut_cells, find_nuclei
from analysis.plates.user_table import read_user_table
from rls.io import read_intensity, read_weights
from rls.pretrained.files import INTENSITY, need_folder
from rls.pretrained.user_cells import PIXEL_TOLERANCE, read_cells
from rls.runtime.errors import InputError
from rls.search.forward import checked_size
from rls.stylegan2.generator_io import FILE

TOO_MANY = 20  # Positions of one pixel of the field that a message names at most.


@dataclass(frozen=True)
class Fields:
    """Fields of low-resolution cells, and what a model takes of them.

    Attributes:
        images: (n, c, y, x) float32 counts, channels in the model's order.
        names: n unique names, those of the files.
        channels: The model's channels.
        side: Side of a cell in pixels of the field.
        factor: Side of a pixel of the field over one of the model's.
        pixel_size_um: Side of a pixel of the field.
    """

    images: np.ndarray
    names: tuple[str, ...]
    channels: tuple[str, ...]
    side: int
    factor: int
    pixel_size_um: float


def read_fields(
    files: Sequence[Path],
    model: Path,
    factor: int,
    channels: Sequence[str] | None,
    axes: str | None,
) -> Fields:
    """Return the fields of files for a model folder.

    Where the files name no pixel size, it is the model's times ``factor``, which is printed.

    Arguments:
        channels: Names in the order of the files; None takes those in the files.
        axes: See :func:`rls.io.images.read_planes`.

    Raises:
        InputError: Files, model and factor do not fit each other.
    """
    need_folder(model)
    wanted = read_intensity(model / INTENSITY).channels
    header = read_weights(model / FILE, kind="generator")[1]
    size, pixel_size_um = int(header["image_size"]), float(header["pixel_size_um"]) * factor
    side = checked_size(size, factor)[0] // factor
    fields = read_cells(files, wanted, channels, axes)
    found = fields.pixel_size_um
    if found is None:
        print(f"read no pixel size in the files; it is taken as {pixel_size_um:g} um", flush=True)
    elif abs(found / pixel_size_um - 1) <= PIXEL_TOLERANCE:
        pixel_size_um = found
    else:
        raise InputError(
            f"The files say {found:g} um a pixel, expected {pixel_size_um:g} um, the model's times "
            f"the factor {factor}. Cells would be cut too large or too small. Choose the factor or "
            "the model that fits, or correct the files."
        )
    return Fields(fields.images, fields.image_ids, wanted, side, factor, pixel_size_um)


def find_all(
    fields: Fields, nucleus_channel: str | None, nucleus_diameter_um: float | None
) -> list[np.ndarray]:
    """Return the positions (n, 2) of the nuclei found in each field.

    Raises:
        InputError: The channel or the diameter is missing or impossible, or no nucleus is found.
    """
    if nucleus_channel is None or nucleus_diameter_um is None or not nucleus_diameter_um > 0:
        raise InputError(
            "Found neither --positions nor both --nucleus-channel and a --nucleus-diameter-um "
            "above 0, expected the cells' positions or what is needed to find them. Give either."
        )
    channel = position_of(nucleus_channel, fields.channels)
    diameter = nucleus_diameter_um / fields.pixel_size_um
    found = [find_nuclei(image[channel], diameter, fields.factor) for image in fields.images]
    if not any(map(len, found)):
        raise InputError(
            f"Found no nucleus of about {diameter:.1f} px in channel {nucleus_channel} of "
            f"{', '.join(fields.names[:3])}. Correct --nucleus-diameter-um or --nucleus-channel, "
            "or give --positions."
        )
    return found


def read_positions(path: Path, fields: Fields) -> list[np.ndarray]:
    """Return the positions (n, 2) that a CSV gives for each field.

    Raises:
        InputError: A column is missing, a value is no number, a field is unknown, or a position
            occurs twice or lies off its field.
    """
    table = read_user_table(path, ("field",), ("y_px", "x_px"), "table of positions")
    several = len(fields.names) > 1
    missing = [n for n in ("y_px", "x_px", *(["field"] if several else [])) if n not in table]
    if missing:
        raise InputError(
            f"Found no column {', '.join(missing)} in {path}, expected y_px and x_px"
            f"{', and field for several fields' if several else ''}. Add what is missing."
        )
    numbers = table[["y_px", "x_px"]]
    shape = np.asarray(fields.images.shape[-2:])
    off = table.index[~((numbers >= -0.5) & (numbers <= shape - 0.5)).all(axis=1)]
    if len(off):
        y, x = numbers.loc[off[0]]
        raise InputError(
            f"Found the position ({y:g}, {x:g}) in row {off[0] + 2} of {path}, expected two "
            f"numbers of pixels within {shape[0]} rows and {shape[1]} columns. Correct the row."
        )
    names = table["field"].fillna("") if several else fields.names[0]
    table = numbers.assign(field=names)
    unknown = sorted(set(table["field"]) - set(fields.names))
    if unknown:
        raise InputError(
            f"Found the field '{unknown[0]}' in {path}, expected one of "
            f"{', '.join(fields.names[:TOO_MANY])}. Write the fields as the files are called, "
            "without ending."
        )
    twice = table.index[table.duplicated()]
    if len(twice):
        raise InputError(
            f"Found the position in row {twice[0] + 2} of {path} twice, expected each cell once. "
            "Delete the row."
        )
    return [
        table.loc[table["field"] == name, ["y_px", "x_px"]].to_numpy(float) for name in fields.names
    ]


def cut_fields(fields: Fields, positions: Sequence[np.ndarray]) -> tuple[np.ndarray, pd.DataFrame]:
    """Return (cells (n, c, side, side) float32, their table) of fields with positions (k, 2) each.

    Cells that do not lie wholly in their field are left out, which is printed.

    Returns:
        The table has the columns ``image_id``, ``field``, ``y_px``, ``x_px`` (of the field's
        pixels), ``y_um`` and ``x_um``.

    Raises:
        InputError: No cell lies wholly in its field.
    """
    cut, tables = [], []
    shape = fields.images.shape[-2:]
    for name, image, every in zip(fields.names, fields.images, positions, strict=True):
        kept = every[are_inside(shape, every, fields.side, fields.factor)]
        if len(kept) < len(every):
            print(
                f"field {name}: {len(every) - len(kept)} of {len(every)} cells are left out, less "
                f"than half of {fields.side} px from the border",
                flush=True,
            )
        cut.append(cut_cells(image, kept, fields.side, fields.factor))
        table = pd.DataFrame(kept, columns=["y_px", "x_px"])
        table.insert(0, "image_id", [f"{name}_y{y:.2f}_x{x:.2f}" for y, x in kept])
        table.insert(1, "field", name)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise InputError(
            f"Found no cell that lies wholly in its field, half of {fields.side} px from the "
            "border. Give larger fields."
        )
    table[["y_um", "x_um"]] = table[["y_px", "x_px"]] * fields.pixel_size_um
    return np.concatenate(cut), table
