"""Read cells that are cropped already: one array of images and a CSV table, row for row.

The array is ``.npy`` or ``.npy.xz`` of shape (n, c, y, x), or a TIFF that says which page is which
cell and channel, or of which ``import_crops.axes`` says it. It holds counts, or the
horizontal differences of counts (the first column, then each pixel less its left neighbour), which
compress better; the integers wrap around, so their sum gives back every count. A zip of PNG is read
by :mod:`analysis.plates.png_archive`.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pandas as pd

from analysis.plates.bbbc021 import DOSE_UNIT, treatment_names
from analysis.plates.names import refuse_two_treatments, spellings, with_well_names
from analysis.plates.sheet import PLATE_NAME
from analysis.plates.user_numbers import check_numbers, whole_if_all_are
from analysis.plates.user_table import read_user_table
from rls.io.images import read_as_stored
from rls.runtime.errors import InputError, first_line

COLUMNS = ("plate", "well", "site", "cell_number", "compound", "concentration")
TEXT = ("plate", "well", "compound", "moa")
NUMBERS = ("site", "cell_number", "concentration", "y_px", "x_px")
BLOCK_ROWS = 256  # Rows read at once.
LARGEST_ROW = 2**28  # Bytes of a crop, far more than any cell's.


def read_labels(path: Path, treatment_by: str) -> pd.DataFrame:
    """Return the table of all crops, one row each, in the array's order.

    Arguments:
        treatment_by: ``compound``, or ``compound_dose`` for names such as ``taxol_0.3uM``.

    Returns:
        Columns ``image_id`` (``{plate}_{well}_s{site}_c{cell_number}``), ``plate``, ``well``,
        ``site``, ``treatment``, ``compound``, ``dose``, ``dose_unit``, ``moa`` (empty without such
        a column), ``y_px`` and ``x_px`` (of the nucleus in its field; NaN without such columns).

    Raises:
        InputError: The file or a column is missing, a value is empty or impossible, a cell occurs
            twice, or a well has two treatments.
    """
    table = read_user_table(path, TEXT, NUMBERS, "table of crops")
    _check_labels(table, path)
    written = table["well"]
    table = with_well_names(table, str(path))
    site, number = table["site"].astype(int), table["cell_number"].astype(int)
    dose = table["concentration"]
    fields = table["plate"] + "_" + table["well"] + "_s" + site.astype(str)
    labels = pd.DataFrame(
        {
            "image_id": fields + "_c" + number.astype(str),
            "plate": table["plate"],
            "well": table["well"],
            "site": site,
            "treatment": treatment_names(table["compound"], dose, treatment_by),
            "compound": table["compound"],
            "dose": dose,
            "dose_unit": DOSE_UNIT,
            "moa": table["moa"].fillna("") if "moa" in table else "",
            "y_px": whole_if_all_are(table["y_px"]) if "y_px" in table else np.nan,
            "x_px": whole_if_all_are(table["x_px"]) if "x_px" in table else np.nan,
        }
    )
    refuse_two_treatments(labels, str(path), written)
    twice = labels["image_id"][labels["image_id"].duplicated()]
    if len(twice):
        rows = labels.index[labels["image_id"] == twice.iloc[0]][:2]
        raise InputError(
            f"Found the cell {twice.iloc[0]} more than once in {path} (rows {rows[0] + 2}, "
            f"{rows[1] + 2}){spellings(written[rows])}, expected each (plate, well, site, "
            "cell_number) once. Number the cells of a field."
        )
    return labels


def read_crops(
    path: Path,
    rows: np.ndarray,
    *,
    n_labels: int,
    n_channels: int,
    stored_as: str,
    bit_depth: int,
    axes: str | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the crops ``rows`` (sorted positions) block by block, in the file's order.

    Memory holds one block. A compressed file is read to its end, where its checksum stands.

    Arguments:
        n_labels: Number of crops that the file must hold.
        n_channels: Number of channels that it must hold.
        stored_as: ``counts`` or ``horizontal_differences``.
        bit_depth: Bits of the camera; greater counts are refused.
        axes: Order of the pages of a TIFF that does not say it: TCYX, CTYX or, for one channel,
            TYX. A ``.npy`` is (n, c, y, x).

    Yields:
        (positions (k,) in the file, counts (k, c, y, x) uint16), with at least one crop.

    Raises:
        InputError: The file is missing, damaged, of another shape or type, or holds no counts; or
            nothing says the order of its pages.
    """
    for first, block in _blocks(path, n_labels, n_channels, axes):
        here = rows[(rows >= first) & (rows < first + len(block))]
        if len(here):
            yield here, _to_counts(block[here - first], stored_as, bit_depth, path)


def _check_labels(table: pd.DataFrame, path: Path) -> None:
    """Raise :class:`InputError` if a column is missing or has an empty or impossible value."""
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(
            f"Found no column {', '.join(missing)} in {path}, expected {', '.join(COLUMNS)}. "
            "Add what is missing."
        )
    for column in ("plate", "well", "compound"):
        values = table[column].fillna("")
        bad = ~values.str.fullmatch(PLATE_NAME) if column == "plate" else values == ""
        if bad.any():
            row = bad.index[bad][0]
            raise InputError(
                f"Found the {column} '{values[row]}' in row {row + 2} of {path}, expected a name"
                f"{' of letters, digits and ._-' if column == 'plate' else ''}. Correct the table."
            )
    for column in ("site", "cell_number", "concentration"):
        check_numbers(table[column], str(path), whole=column != "concentration")


def _blocks(
    path: Path, n: int, channels: int, axes: str | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position of the first row, rows) of the file, in order.

    Raises:
        InputError: The file is missing, damaged, or of another kind, shape or type.
    """
    if not path.is_file():
        raise InputError(f"The crops {path} do not exist. Correct the assay's crops.")
    if path.name.endswith((".tif", ".tiff")):
        images = read_as_stored(path, channels, axes).images
        _check_array(images.shape, images.dtype, n, channels, path)
        yield 0, images
        return
    if not path.name.endswith((".npy", ".npy.xz")):
        raise InputError(f"Found crops in {path}, expected .npy, .npy.xz or .ome.tif. Convert it.")
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
            yield from _npy_blocks(cast(BinaryIO, file), n, channels, path)
    except InputError:
        raise
    except Exception as error:  # numpy raises nearly any exception on a damaged header.
        raise InputError(
            f"The crops {path} are cut off or damaged ({first_line(error)}). Fetch the file again."
        ) from error


def _npy_blocks(
    file: BinaryIO, n: int, channels: int, path: Path
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the blocks of a ``.npy`` file, as :func:`_blocks`.

    Raises:
        ValueError: The file is in another version or order, or goes on after its last row.
        EOFError: The file ends early.
        InputError: See :func:`_check_array`.
    """
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in headers:
        raise ValueError(f"its .npy version is {version}")
    shape, fortran, dtype = headers[version](file)
    _check_array(shape, dtype, n, channels, path)
    if fortran:
        raise ValueError("its order is Fortran's; save numpy.ascontiguousarray of it")
    row = math.prod(shape[1:]) * dtype.itemsize
    if not 0 < row <= LARGEST_ROW:
        raise ValueError(f"its header promises crops of {row} bytes")
    for first in range(0, n, BLOCK_ROWS):
        count = min(BLOCK_ROWS, n - first)
        data = file.read(count * row)
        if len(data) < count * row:
            raise EOFError(f"it ends in row {first + len(data) // row} of {n}")
        yield first, np.frombuffer(data, dtype).reshape(count, *shape[1:])
    if file.read(1):  # This also checks the checksum at the end of a compressed file.
        raise ValueError("it goes on after its last row")


def _check_array(
    shape: tuple[int, ...], dtype: np.dtype, n: int, channels: int, path: Path
) -> None:
    """Raise :class:`InputError` unless the array is (n, channels, y, x) of squares of integers."""
    if len(shape) != 4 or shape[1] != channels or shape[2] != shape[3]:
        raise InputError(
            f"Found shape {shape} in {path}, expected (n, {channels}, y, x) of squares, a channel "
            "of the assay each. Correct the assay's channels, or transpose the file."
        )
    if shape[0] != n:
        raise InputError(
            f"Found {shape[0]} crops in {path} and {n} rows in their table, expected one row a "
            "crop. Use the table that was written with the crops."
        )
    if dtype.kind not in "ui" or dtype.itemsize > 4:
        raise InputError(
            f"Found {dtype} in {path}, expected integers of 8, 16 or 32 bits. Store raw counts: "
            "intensities are measured, so rescaled images mislead."
        )


def _to_counts(block: np.ndarray, stored_as: str, bit_depth: int, path: Path) -> np.ndarray:
    """Return the counts (n, c, y, x) uint16 of a block as it is stored.

    Raises:
        InputError: A count is negative or above ``bit_depth``.
    """
    if stored_as == "horizontal_differences":
        block = np.cumsum(block, axis=-1, dtype=np.int64) % 2 ** (block.dtype.itemsize * 8)
    low, high = int(block.min()), int(block.max())
    if low < 0 or high >= 2**bit_depth:
        raise InputError(
            f"Found values from {low} to {high} in {path}, expected counts from 0 to "
            f"{2**bit_depth - 1} at bit_depth {bit_depth}. Correct import_crops.stored_as "
            f"({stored_as}) or the assay's bit_depth."
        )
    return block.astype(np.uint16)
