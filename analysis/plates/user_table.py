"""Read a table that a person wrote: CSV in any dialect that spreadsheets save, names as text.

The encoding is UTF-8, UTF-16 or, where the bytes allow it, cp1252; cells are separated by commas,
semicolons, tabs or bars. Whatever had to be assumed is printed, and what cannot be told is refused.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates.user_numbers import to_numbers
from rls.runtime.errors import InputError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MARKS = (  # The mark of UTF-16 is the beginning of that of UTF-32.
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # First bytes of .xlsx and .ods, and of .xls.
SEP_LINE = re.compile(r'"?sep=([^\w\s"]|\t)\1*"?', re.IGNORECASE)
FOREIGN = re.compile(rb"[\x80-\xff]{3}")  # No word of cp1252 has three accented letters in a row.
UNSEEN = "\u200b\u200e\u200f\u2060\ufeff"  # Characters without width, which copied text brings.
# Below the header, a line that begins with # is a comment only where the first column holds names
# that cannot begin so; in any other column it is a name.
NEVER_HASH = ("plate", "well", "site")


@dataclass
class _Reading:
    """How a table is read, for the line that says what was assumed."""

    name: str
    encoding: str = "utf-8"
    separator: str = ","
    renamed: list[str] = field(default_factory=list)
    n_comments: int = 0
    left_out: list[str] = field(default_factory=list)
    decimal_commas: list[str] = field(default_factory=list)

    def report(self) -> None:
        """Print what was assumed, if anything."""
        said = [] if self.encoding.startswith("utf-8") else [f"text in {self.encoding}"]
        if self.separator != ",":
            called = SEPARATORS.get(self.separator, f"'{self.separator}'")
            said.append(f"{called}-separated")
        said += [f"decimal commas in {column}" for column in self.decimal_commas]
        if self.renamed:
            more = f" and {len(self.renamed) - 1} more" if len(self.renamed) > 1 else ""
            said.append(f"columns {self.renamed[0]}{more}")
        said += [f"without {what}" for what in self.left_out]
        if said:
            print(f"{self.name} is read as: {'; '.join(said)}", flush=True)


def read_user_table(
    path: Path, texts: Sequence[str], numbers: Sequence[str], what: str
) -> pd.DataFrame:
    """Return the table of a file; see :func:`parse_user_table`.

    Arguments:
        what: What an error calls the file, such as ``sheet``.

    Raises:
        InputError: The file cannot be read, or is no table.
    """
    if not path.is_file():
        raise InputError(f"The {what} {path} does not exist. Correct its path.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The {what} {path} cannot be read ({error.strerror}). Make it readable."
        ) from error
    return parse_user_table(content, texts, numbers, str(path))


def parse_user_table(
    content: bytes, texts: Sequence[str], numbers: Sequence[str], name: str
) -> pd.DataFrame:
    """Return the rows of a CSV: texts as they are written, and ``numbers`` as float64.

    A column is found whatever the case, blanks and hyphens of its name. Blanks at the ends of a
    cell are removed, and an empty cell is NaN.

    Arguments:
        texts: Names of the columns of text that the caller uses; they may be missing.
        numbers: Names of the columns of numbers that it uses, likewise.
        name: The table, as an error calls it.

    Returns:
        The table. Its index is the row in the file less 2: 0 follows a header in row 1.

    Raises:
        InputError: The encoding cannot be told, rows and header do not fit, a column occurs twice,
            a number is none, or a text holds a control character.
    """
    reading = _Reading(name)
    text = _decode(content, reading)
    try:
        table = _parse(text, (*texts, *numbers), reading)
    except csv.Error as error:
        raise InputError(
            f"The table {name} is no CSV ({error}). Look for a quotation mark without its partner, "
            "or save it as CSV again."
        ) from error
    for column in table:
        table[column] = table[column].map({cell: _clean(cell) for cell in table[column].unique()})
    for column in (column for column in texts if column in table):
        _refuse_control_characters(table[column], name)
    for column in (column for column in numbers if column in table):
        commas = reading.separator != ","
        table[column], used = to_numbers(table[column], name, decimal_commas=commas)
        reading.decimal_commas += [column] * used
    reading.report()
    return table


def _decode(content: bytes, reading: _Reading) -> str:
    """Return the text of a file, and note its encoding.

    Raises:
        InputError: The encoding cannot be told, or the file is no text.
    """
    if content.startswith(SPREADSHEETS):
        raise InputError(
            f"The table {reading.name} is a spreadsheet's own file, expected CSV. Save it as 'CSV "
            "UTF-8' in the spreadsheet program."
        )
    found = next((encoding for mark, encoding in MARKS if content.startswith(mark)), "")
    if not found and b"\0" in content:
        # UTF-16 writes a western letter with one byte of 0, in little-endian order the second one.
        found = "utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be"
    try:
        reading.encoding = found or "utf-8"
        return content.decode(reading.encoding)
    except UnicodeDecodeError as error:
        if found or FOREIGN.search(content):
            raise InputError(
                f"The table {reading.name} is not in {reading.encoding} (byte {error.start}), and "
                "its encoding cannot be told. Save it as 'CSV UTF-8'."
            ) from error
    # A Mac's old spreadsheets end lines with CR alone.
    reading.encoding = "cp1252" if b"\n" in content or b"\r" not in content else "mac_roman"
    try:
        return content.decode(reading.encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"The table {reading.name} is neither in UTF-8 nor in cp1252 (byte {error.start}), and "
            "its encoding cannot be told. Save it as 'CSV UTF-8'."
        ) from error


def _parse(text: str, wanted: Sequence[str], reading: _Reading) -> pd.DataFrame:
    """Return the cells of all rows under their header, as they stand.

    Raises:
        InputError: There is no header, a column occurs twice, or a row does not fit the header.
        csv.Error: Quotation marks do not pair.
    """
    lines = io.StringIO(text, newline="")
    said = SEP_LINE.fullmatch(lines.readline().strip("\r\n "))
    if said:
        reading.separator = said[1]
    else:
        lines.seek(0)
        reading.separator = _separator(lines, wanted)
        lines.seek(0)
    records = enumerate(_records(lines, reading, comments=True), 2 if said else 1)
    at, cells = next(((at, row) for at, row in records if _filled(row)), (0, []))
    header = _header(cells, wanted, reading)
    records = enumerate(_records(lines, reading, comments=header[0] in NEVER_HASH), at + 1)
    rows, again, empty = {}, [], 0
    for at, row in records:
        if not _filled(row):
            empty += bool(row)
        elif list(map(str.strip, row)) == list(map(str.strip, cells)):
            again.append(at)
        else:
            rows[at] = row
    _refuse_misfits(rows, len(header), len(cells), reading)
    if reading.n_comments:
        reading.left_out.append(f"{reading.n_comments} lines that begin with #")
    reading.left_out += [f"row {at}, which is the header again" for at in again]
    reading.left_out += [f"{empty} empty rows"] if empty else []
    named = [place for place, name in enumerate(header) if name]
    content = [[row[i] if i < len(row) else "" for i in named] for row in rows.values()]
    index, columns = [at - 2 for at in rows], [header[i] for i in named]
    return pd.DataFrame(content, index=index, columns=columns, dtype=object)


def _records(lines: Iterator[str], reading: _Reading, *, comments: bool) -> Iterator[list[str]]:
    """Yield the cells of each row; an empty line has none.

    Arguments:
        comments: Take a line that begins with # for an empty one.
    """
    inside = False  # Whether a line goes on with a cell in quotation marks.

    def feed() -> Iterator[str]:
        nonlocal inside
        for line in lines:
            comment = comments and not inside and line.startswith("#")
            reading.n_comments += comment
            inside = True
            yield "\n" if comment else line

    for row in csv.reader(feed(), delimiter=reading.separator, skipinitialspace=True, strict=True):
        inside = False
        yield row


def _filled(row: Sequence[str]) -> bool:
    """Return whether a row has a cell that is not blank."""
    return any(map(str.strip, row))


def _separator(lines: Iterator[str], wanted: Sequence[str]) -> str:
    """Return the separator by which the header has most wanted columns, then most cells."""
    blank = " \r\n" + "".join(SEPARATORS)
    header = next((ln for ln in lines if ln.strip(blank) and not ln.startswith("#")), "")
    keys = {_key(name) for name in wanted}

    def fit(separator: str) -> tuple[int, int]:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return sum(_key(cell) in keys for cell in cells), len(cells)

    return max(SEPARATORS, key=fit)


def _header(cells: Sequence[str], wanted: Sequence[str], reading: _Reading) -> list[str]:
    """Return the names of the columns, as wanted or as they stand; '' for one without a name.

    Raises:
        InputError: No column has a name, or two have the same.
    """
    keys = [_key(name) for name in wanted]
    known = {key: name for key, name in zip(keys, wanted, strict=True) if keys.count(key) == 1}
    names: list[str] = []
    for cell in map(_strip, cells):
        name = cell if cell in wanted else known.get(_key(cell), cell)
        if name in names and name:
            raise InputError(
                f"Found the column {name} twice in {reading.name}, expected it once. Delete or "
                "rename one."
            )
        if name != cell:
            reading.renamed.append(f"'{cell}' for {name}")
        names.append(name)
    while names and not names[-1]:
        names.pop()
    if not names:
        raise InputError(
            f"Found no header in {reading.name}, expected the columns {', '.join(wanted)} or some "
            "of them. Save the table as CSV again."
        )
    return names


def _key(name: str) -> str:
    """Return the name of a column without case, and with _ for blanks and hyphens."""
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFKC", _strip(name)).casefold())


def _refuse_misfits(
    rows: dict[int, list[str]], n_named: int, n_cells: int, reading: _Reading
) -> None:
    """Raise :class:`InputError` on a row with more cells than the header of ``n_cells``.

    Empty cells at the end are accepted where every row has as many: some programs end each row with
    a separator. In one row alone, they are what a comma within a cell leaves.

    Arguments:
        n_named: Cells of the header up to the last one with a name.
    """
    uneven = len({len(row) for row in rows.values()}) > 1
    for at, row in rows.items():
        if _filled(row[n_named:]) or (uneven and len(row) > n_cells):
            called = SEPARATORS.get(reading.separator, reading.separator)
            raise InputError(
                f"Found {len(row)} cells in row {at} of {reading.name}, expected the {n_named} "
                f"that its header names. Put a cell that contains a {called} in quotation marks, "
                "or remove what is too much."
            )


def _strip(text: str) -> str:
    """Return ``text`` without blanks, line ends and unseen characters at its ends."""
    return text.strip().strip(UNSEEN).strip()


def _clean(cell: str) -> str | float:
    """Return a cell without blanks at its ends, accents composed; NaN where nothing is left.

    Macs write an accent as a character of its own, which looks the same.
    """
    return unicodedata.normalize("NFC", _strip(cell)) or np.nan


def _refuse_control_characters(column: pd.Series, name: str) -> None:
    """Raise :class:`InputError` if a text holds a line end, a tab or another control character."""
    for text in column.dropna().unique():
        found = next((sign for sign in text if unicodedata.category(sign) == "Cc"), None)
        if found:
            row = column.index[column == text][0] + 2
            raise InputError(
                f"Found the control character U+{ord(found):04X} in column {column.name} in row "
                f"{row} of {name} ({text!r}), expected a text in one line. Type it again."
            )
