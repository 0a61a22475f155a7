"""Cells in a stack of this program: the table beside it knows their ids and where they are from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import tifffile

from rls.io import read_stack, table_path
from rls.io.stacks import NAMESPACE, SUFFIX


def known_table(file: Path) -> pd.DataFrame | None:
    """Return the table of a stack that this program wrote, a row a cell; None of other files.

    Raises:
        InputError: The stack or its table is damaged, or they do not belong together.
    """
    if not file.name.endswith(SUFFIX) or not table_path(file).is_file():
        return None
    with tifffile.TiffFile(file) as tiff:
        if NAMESPACE not in (tiff.ome_metadata or ""):
            return None
    return read_stack(file).table.drop(columns="image_digest")
