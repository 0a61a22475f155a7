"""Tables: parquet between stages, CSV for people."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rls.io.digests import checked_facts, leave_digest, rerun
from rls.io.files import DIGEST_BYTES, atomic_path, need_file
from rls.runtime.errors import InputError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

FOOTER_BYTES = 1 << 20  # More than the metadata of any table of ours takes.
SECOND_FORM = "2:"  # Prefix of a digest of kinds. Older digests cover dtypes and have no prefix.


def write_table(path: Path | str, table: pd.DataFrame, *, written_by: str) -> None:
    """Write ``table`` as parquet or CSV, chosen by the suffix.

    Parquet has checksums of its pages, and in its metadata a digest of names, kinds and values. A
    CSV is for people: its digest lies beside it (:mod:`rls.io.digests`), with the names of the
    columns of text, for a plate 00123 must not come back as a number.

    Arguments:
        path: ``*.parquet`` or ``*.csv``.
        table: The index is not written.
        written_by: The rule that writes it; a reader that finds a fault names it.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        _need_pyarrow(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
            leave_digest(path, temporary, written_by, json.dumps({"text": _text_columns(table)}))
        elif path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            content = pa.Table.from_pandas(table, preserve_index=False)
            metadata = {
                **(content.schema.metadata or {}),
                b"written_by": written_by.encode(),
                b"digest": _digest(content.to_pandas(), written_by).encode(),
            }
            pq.write_table(
                content.replace_schema_metadata(metadata), temporary, write_page_checksum=True
            )
        else:
            raise ValueError(f"A table is .parquet or .csv, not {path.name}")


def read_table(path: Path | str, *, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table; ``table.attrs["written_by"]`` names the rule that wrote it.

    Arguments:
        path: A file written by :func:`write_table`.
        columns: Names that the table must have; it may have more.

    Raises:
        InputError: The file is missing, damaged, or lacks a column.
    """
    path = need_file(path, "table")
    if path.suffix != ".csv":
        _need_pyarrow(path)
    try:
        if path.suffix == ".csv":
            table, written_by = _read_csv(path)
        else:
            table, written_by = _read_parquet(path)
    except Exception as error:  # Damaged bytes raise whatever the parser meets first.
        if isinstance(error, InputError):
            raise
        written_by = _writer(path) if path.suffix == ".parquet" else ""
        raise InputError(
            f"The table {path} is damaged ({first_line(error)}). {rerun(path, written_by)}"
        ) from error
    table.attrs["written_by"] = written_by
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(
            f"The table {path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(map(str, table.columns))}. {rerun(path, written_by)}"
        )
    return table


def _text_columns(table: pd.DataFrame) -> list[str]:
    """Return the names of the columns that hold text and nothing else."""
    kinds = {name: pd.api.types.infer_dtype(_categories(table[name])) for name in table}
    return [str(name) for name, kind in kinds.items() if kind == "string"]


def _categories(column: pd.Series) -> pd.Series:
    """Return the values of a column, or its categories where it is of such."""
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    return column.cat.categories.to_series() if categorical else column


def _read_csv(path: Path) -> tuple[pd.DataFrame, str]:
    """Return (table, rule).

    A text stays as it was written, also where it looks like a number or is ``NA``; an empty one is
    NaN. Without its digest (the table was edited, or is of an older version) pandas guesses.

    Raises:
        InputError: The table does not agree with its digest, or that is damaged.
    """
    written_by, facts = checked_facts(path)
    if not facts:
        return pd.read_csv(path), written_by
    try:
        dtype = dict.fromkeys(json.loads(facts)["text"], str)
    except (ValueError, KeyError, TypeError):
        dtype = {"": str}
    if not set(dtype) <= set(pd.read_csv(path, nrows=0)):
        raise InputError(
            f"The digest beside the table {path} does not name the table's columns: it is damaged. "
            f"{rerun(path, written_by)}"
        )
    return pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=[""]), written_by


def _need_pyarrow(path: Path) -> None:
    """Raise InputError unless parquet tables can be read and written.

    A machine for training alone may lack pyarrow, and CSVs do not need it. So it is imported where
    it is used.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"Found no package pyarrow, expected it for the table {path}. Run 'pip install "
            "pyarrow' and the same command again."
        )


def _read_parquet(path: Path) -> tuple[pd.DataFrame, str]:
    """Return (table, rule).

    Raises:
        ValueError: The table does not agree with its digest.
    """
    import pyarrow.parquet as pq

    content = pq.read_table(path, page_checksum_verification=True)
    metadata = content.schema.metadata or {}
    # A key with a damaged name must not pass for a missing key.
    if unknown := set(metadata) - {b"pandas", b"written_by", b"digest"}:
        raise ValueError(f"unknown metadata {unknown.pop()!r}")
    table, written_by = content.to_pandas(), metadata.get(b"written_by", b"").decode()
    digest = metadata.get(b"digest")
    if digest is not None and not _agrees(table, written_by, digest.decode()):
        raise ValueError("its names, types or values are not those that were written")
    return table, written_by


def _writer(path: Path) -> str:
    """Return the rule that the end of a damaged parquet file still names, '' if it does not."""
    try:
        with open(path, "rb") as handle:
            handle.seek(max(path.stat().st_size - FOOTER_BYTES, 0))
            footer = handle.read()
    except OSError:
        return ""
    # Thrift's compact form: the key, the type of the next field (text), its length, the text.
    for length, name in re.findall(rb"written_by\x18([\x01-\x7f])([a-z0-9_]+)", footer):
        if length[0] == len(name):
            return name.decode()
    return ""


def _agrees(table: pd.DataFrame, written_by: str, digest: str) -> bool:
    """Return whether ``digest``, in its own form, is that of the table and its rule."""
    if digest.startswith(SECOND_FORM):
        return digest == _digest(table, written_by)
    return any(digest == _digest_of_dtypes(form, written_by) for form in _as_written(table))


def _digest(table: pd.DataFrame, written_by: str) -> str:
    """Return the digest of a table's rule and of the name, kind and values of every column."""
    import pyarrow as pa

    # It is the same for every dtype, and every version of pandas, that holds the same values.
    digest = hashlib.blake2b(written_by.encode(), digest_size=DIGEST_BYTES)
    content = pa.Table.from_pandas(table, preserve_index=False)
    for name, column in zip(content.column_names, content.columns, strict=True):
        kind, values = _plain(column)
        digest.update(json.dumps([name, kind, len(values)]).encode() + values)
    return SECOND_FORM + digest.hexdigest()


def _plain(column: pa.ChunkedArray) -> tuple[str, bytes]:
    """Return (kind, values) of a column, whatever its width, encoding and missing values are."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        numbers = column.to_numpy().astype("<f8")
        return "float", np.where(np.isnan(numbers), np.nan, numbers).tobytes()
    kinds = {
        "boolean": pa.types.is_boolean(column.type),
        "integer": pa.types.is_integer(column.type),
        # A column in which every text is missing loses its type when it is written.
        "text": pa.types.is_null(column.type)
        or pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type),
    }
    kind = next((kind for kind, is_kind in kinds.items() if is_kind), str(column.type))
    return kind, json.dumps(column.to_pylist(), default=repr).encode()


def _as_written(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a table with the dtypes of text that it may have had when it was written.

    Text is of dtype object in pandas 2 and of dtype str in pandas 3.
    """
    yield table
    text = [name for name, values in table.items() if pd.api.types.infer_dtype(values) == "string"]
    for dtype in (np.dtype(object), pd.StringDtype(na_value=np.nan)):
        yield table.astype(dict.fromkeys(text, dtype))


def _digest_of_dtypes(table: pd.DataFrame, written_by: str) -> str:
    """Return the first form of a digest, which covers the names of the dtypes."""
    # The hash of the values neither tells text from bytes nor covers the names of the columns.
    kinds = [
        [str(name), str(values.dtype), pd.api.types.infer_dtype(values)]
        for name, values in table.items()
    ]
    digest = hashlib.blake2b(json.dumps([written_by, kinds]).encode(), digest_size=DIGEST_BYTES)
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()
