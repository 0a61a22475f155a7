"""Write profiles as parquet, or as AnnData (``.h5ad``), which scanpy reads."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.profiles.profiles import METADATA
from rls.io import atomic_path, write_table
from rls.runtime.errors import InputError

RULE = "export_profiles"
ANNDATA = ".h5ad"


def check_path(path: Path) -> None:
    """Raise :class:`InputError` unless profiles can be written to ``path`` in its format."""
    if path.suffix not in (".parquet", ANNDATA):
        raise InputError(f"Found the output {path}, expected a name ending in .parquet or .h5ad.")
    if path.suffix == ANNDATA and importlib.util.find_spec("anndata") is None:
        raise InputError(
            f"Found no package anndata, expected it for {path}. Run pip install anndata, or write "
            ".parquet instead."
        )


def write_profiles(path: Path, profiles: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Write profiles, whole or not at all, in the format that the suffix of ``path`` says.

    In AnnData ``X`` are the features, ``obs`` the metadata, and ``var["column"]`` the name of a
    feature in the measured tables.

    Arguments:
        profiles: From :mod:`analysis.profiles.profiles`.
        names: {column of the measured tables: column of ``profiles``}.
    """
    if path.suffix != ANNDATA:
        write_table(path, profiles, written_by=RULE)
        return
    import anndata

    features = list(names.values())
    known = profiles.filter(like=METADATA)
    text = known.select_dtypes(exclude="number").columns
    # HDF5 has no missing text, and AnnData no index of numbers.
    known = known.assign(**{name: known[name].fillna("").astype(str) for name in text})
    known.index = known.index.astype(str)
    made = anndata.AnnData(
        X=profiles[features].to_numpy(dtype=float),
        obs=known,
        var=pd.DataFrame({"column": list(names)}, index=features),
        uns={"written_by": RULE},
    )
    with atomic_path(path) as temporary:
        made.write_h5ad(temporary, compression="gzip")
