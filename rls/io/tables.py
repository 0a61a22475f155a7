"""Tables: parquet between stages, CSV for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rls.errors import InputError
from rls.io.files import atomic_path, need_file


def write_table(path: Path | str, table: pd.DataFrame, *, written_by: str) -> None:
    """Write ``table`` as parquet (with page checksums) or CSV, chosen by the suffix.

    Arguments:
        written_by: The rule that writes it; a reader that finds a fault names it.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        elif path.suffix == ".parquet":
            content = pa.Table.from_pandas(table, preserve_index=False)
            metadata = {**(content.schema.metadata or {}), b"written_by": written_by.encode()}
            pq.write_table(
                content.replace_schema_metadata(metadata), temporary, write_page_checksum=True
            )
        else:
            raise ValueError(f"A table is .parquet or .csv, not {path.name}")


def read_table(path: Path | str, *, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table; ``table.attrs["written_by"]`` names the rule that wrote it.

    Arguments:
        columns: Names that must be there; more may be.

    Raises:
        InputError: The file is missing, damaged, or lacks a column.
    """
    path = need_file(path, "table")
    try:
        if path.suffix == ".csv":
            table = pd.read_csv(path)
            written_by = ""
        else:
            content = pq.read_table(path, page_checksum_verification=True)
            written_by = (content.schema.metadata or {}).get(b"written_by", b"").decode()
            table = content.to_pandas()
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"The table {path} is damaged ({_first_line(error)}). {rerun(path)}"
        ) from error
    table.attrs["written_by"] = written_by
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(
            f"The table {path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(map(str, table.columns))}. {rerun(path, written_by)}"
        )
    return table


def rerun(path: Path | str, written_by: str = "") -> str:
    """Return the sentence that says how to make ``path`` again."""
    rule = f"rule {written_by}" if written_by else "the rule that writes it"
    return f"Delete {path} and run the workflow again ({rule} makes it anew)."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
