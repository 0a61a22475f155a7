"""One row per cell and method, one row per well and method: metadata and features.

Columns of metadata begin with ``Metadata_``, and those of features with ``Cells_`` or ``Nuclei_``,
so that pycytominer and other tools of Cell Painting tell the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from analysis.comparison.measured import KEYS, SETTINGS_COLUMN
from analysis.features.registry import columns_of
from analysis.measuring.columns import KEPT, N_SOLUTIONS
from analysis.run.description import Comparison, Run
from rls.io import read_table
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION
from rls.runtime.errors import InputError

METADATA = "Metadata_"
CAPITALS = {"plate": "Plate", "well": "Well", "site": "Site"}  # as tools of Cell Painting expect
CONDITION = ("assay", "factor", "degradation", "method")
OBJECT, COUNT = f"{METADATA}ObjectNumber", f"{METADATA}Object_Count"
MEASURED = f"{METADATA}measured_count"
OF_CELL = ("site", "image_id", "status", N_SOLUTIONS, SETTINGS_COLUMN)  # what a well has not
NOT_DEGRADED = "none"


def metadata(column: str) -> str:
    """Return the name in profiles of a column that describes a cell."""
    return METADATA + CAPITALS.get(column, column)


def feature(column: str) -> str:
    """Return the name in profiles of a feature; pycytominer finds features by these beginnings."""
    if column.startswith("Nuclei_"):
        return column
    return "Cells_" + column.removeprefix("Cell_")


def feature_names(run: Run, assay: str) -> dict[str, str]:
    """Return {column of the measured tables: column of the profiles} of an assay's features.

    Raises:
        InputError: The assay does not run, or one of its features does not exist.
    """
    found = run.assay(assay)
    columns = [c for name in found.features for c in columns_of(name, found.channels)]
    return {column: feature(column) for column in dict.fromkeys(columns)}


def cell_profiles(run: Run, assay: str) -> pd.DataFrame:
    """Return one row per cell and method: metadata, then the assay's features.

    HR, which is the same at every factor, stands there once, at factor 1. A feature that could not
    be measured is NaN, and ``Metadata_status`` says why.

    Raises:
        InputError: A table is missing or damaged, lacks a feature, or was measured with other
            settings than the others.
    """
    names = feature_names(run, assay)
    parts = [
        _profiles(read_table(at.measured(method, "features"), columns=KEYS), at, method, names)
        for at, method in _rows(run, assay)
    ]
    table = pd.concat(parts, ignore_index=True)
    settings = table[metadata(SETTINGS_COLUMN)].unique()
    if len(settings) > 1:
        raise InputError(
            f"The features of assay {assay} were measured with {len(settings)} different settings, "
            "expected one for all methods. Run the workflow again (rule measure)."
        )
    return table[[*table.filter(like=METADATA), *names.values()]]


def _rows(run: Run, assay: str) -> Iterator[tuple[Comparison, str]]:
    """Yield every condition and row of an assay; HR with the first condition alone."""
    first = True
    for at in run.comparisons():
        if at.assay.name == assay:
            if first and at.assay.has_high_resolution:
                yield at, HIGH_RESOLUTION
            first = False
            yield from ((at, method) for method in (LOW_RESOLUTION, *at.methods))


def _profiles(
    table: pd.DataFrame, at: Comparison, method: str, names: Mapping[str, str]
) -> pd.DataFrame:
    missing = [column for column in names if column not in table]
    if missing:
        raise InputError(
            f"{at.measured(method, 'features')} has no column {', '.join(missing)}, expected every "
            "feature of its assay. Delete it and run measure again."
        )
    whole = method == HIGH_RESOLUTION
    condition: dict[str, int | str] = {
        "assay": at.assay.name,
        "factor": 1 if whole else at.factor,
        "degradation": NOT_DEGRADED if whole else at.degradation,
        "method": method,
    }
    about = [name for name in (*KEPT, SETTINGS_COLUMN, "status", N_SOLUTIONS) if name in table]
    known = table[about].assign(**condition)
    if N_SOLUTIONS not in known:
        known[N_SOLUTIONS] = 1
    known = known[[*CONDITION, *(name for name in known if name not in CONDITION)]]
    known = known.rename(columns=metadata)
    known[OBJECT] = known.groupby([metadata("plate"), metadata("well")]).cumcount() + 1
    values = table[list(names)].astype(np.float64)
    return known.join(values.rename(columns=dict(names)))


def well_profiles(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the median of each feature over the cells of a well, by method and split.

    ``Metadata_Object_Count`` is the number of cells, and ``Metadata_measured_count`` that of the
    cells of which a feature could be measured: the median rests on those. A well without such a
    cell stays, with NaN.

    Arguments:
        cells: From :func:`cell_profiles`.
    """
    known = cells.filter(like=METADATA).columns
    features = list(cells.columns.difference(known, sort=False))
    strata = list(known.difference([OBJECT, *map(metadata, OF_CELL)], sort=False))
    groups = cells.groupby(strata, dropna=False, sort=False)
    counted = cells.assign(**{MEASURED: cells[features].notna().any(axis=1)})
    counts = counted.groupby(strata, dropna=False, sort=False)[MEASURED].agg(["size", "sum"])
    counts = counts.rename(columns={"size": COUNT, "sum": MEASURED})
    return counts.join(groups[features].median()).reset_index()
