"""Sheets as people and spreadsheets write them, drawn at random, each with its right answer.

A function draws from a ``random.Random``: of a seed, or of hypothesis, which shrinks what fails.
"""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from pathlib import Path

import pandas as pd

from analysis.plates.sheet import NUMBERS, TEXTS, check_sheet, read_sheet
from analysis.plates.user_table import parse_user_table
from rls.io import write_table
from rls.runtime.errors import InputError

CHANNELS = ("dna",)
COLUMNS = ("plate", "well", "site", "treatment", "dose", "dose_unit", "moa", "path_dna",
           "pixel_size_um", "bit_depth")  # fmt: skip
PLATES = ("P1", "00123", "1E5", "2024-01-02", "None", "NA", "-1")
TREATMENTS = (
    *(
        "DMSO",
        "siRELA #1",
        "#1",
        "None",
        "NA",
        "null",
        "1E5",
        "00123",
        "2024-01-02",
        "-DOX",
        "+DOX",
    ),
    *("a, b; c | d", '5" disc', "IFN-α", "药物甲", "Контроль", "ß-ME", "Fe³⁺ 5 µM", "TRUE", "=1+1"),
)
UNITS = ("", "uM", "µM", "ng/ml", "%", "NA")
SEPARATORS = (",", ",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")


def spell_well(draw: random.Random, row: str, column: int) -> str:
    """Return one of the ways to write a well."""
    row = draw.choice([row, row.lower()])
    number = draw.choice([str(column), f"{column:02d}", f"{column:03d}"])
    return row + draw.choice(["", "", "", " ", "-", " - ", "_", ":"]) + number


def spell_number(draw: random.Random, value: float, comma: bool) -> str:
    """Return one of the ways to write a number."""
    texts = [repr(value), f"{value:.6f}", f"{value:e}", f"+{value!r}"]
    text = draw.choice([text for text in texts if float(text) == value])
    if value == int(value):
        text = draw.choice([text, str(int(value)), f"0{int(value)}"])
    return text.replace(".", ",") if comma else text


def draw_rows(draw: random.Random) -> list[dict[str, object]]:
    """Return the right answer: one to three sites of some wells, every well of one treatment."""
    rows: list[dict[str, object]] = []
    wells = [(row, column) for row in ("A", "B", "Z", "AA", "AF") for column in (1, 2, 10, 48)]
    for row, column in draw.sample(wells, draw.randint(1, 5)):
        about = {
            "plate": draw.choice(PLATES), "well": f"{row}{column:02d}",
            "treatment": draw.choice(TREATMENTS), "moa": draw.choice(["", "NA", "5-HT #2"]),
            "dose": draw.choice([float("nan"), 0.0, 2.5, 1000.0, 0.001, 1e-7]),
            "dose_unit": draw.choice(UNITS), "pixel_size_um": 0.325, "bit_depth": 12,
        }  # fmt: skip
        for site in range(draw.randint(1, 3)):
            place = draw.choice(["", "img/", "./-x/", "a b%20#1/"])
            rows.append(about | {"site": site, "path_dna": f"{place}{about['well']}_{site}.tif"})
    return rows


def write(draw: random.Random, rows: list[dict[str, object]], separator: str) -> list[list[str]]:
    """Return the cells of a sheet with its header, in one of the ways to write them."""
    columns = draw.sample(COLUMNS, len(COLUMNS))
    case = draw.choice([str, str.upper, str.title, lambda name: f" {name.replace('_', ' ')} "])
    commas = separator != "," and draw.random() < 0.5
    cells = [[case(column) for column in columns]]
    for row in rows:
        well = str(row["well"])
        letters = well.rstrip("0123456789")
        texts = {
            **{column: str(row[column]) for column in columns},
            "well": spell_well(draw, letters, int(well[len(letters) :])),
            "site": draw.choice([str(row["site"]), f"0{row['site']}", f"{row['site']}.0"]),
            "bit_depth": draw.choice(["12", "12.0"]),
        }
        for column in ("dose", "pixel_size_um"):
            value = float(str(row[column]))
            texts[column] = spell_number(draw, value, commas) if value == value else ""
        cells.append([texts[column] for column in columns])
    return cells


def save(draw: random.Random, cells: list[list[str]], separator: str) -> bytes:
    """Return a sheet as one of the programs saves it."""
    end = draw.choice(["\n", "\r\n", "\r"])
    more = draw.choice([0, 0, 0, 1, 3])
    table = [row + [""] * more for row in cells]
    if draw.random() < 0.3:
        table.insert(draw.randint(1, len(table)), [""] * len(table[0]))
    if draw.random() < 0.2:
        table.append(table[0])
    out = io.StringIO(newline="")
    if draw.random() < 0.2:
        out.write(f"sep={separator}{end}")
    if draw.random() < 0.2:
        out.write(f'# "notes; of, the day{end}{end}')
    quoting = draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    if any("\n" in cell for row in table for cell in row):  # unquoted before Python 3.13
        quoting = csv.QUOTE_ALL
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting).writerows(table)
    text = out.getvalue() + draw.choice(["", end * 3])
    for encoding in draw.sample(ENCODINGS, len(ENCODINGS)):
        if encoding != "cp1252" or end != "\r":  # Such a file is taken for an old Mac's.
            try:
                return text.encode(encoding)
            except UnicodeEncodeError:
                continue
    raise AssertionError("no encoding has these letters")


def read(content: bytes) -> pd.DataFrame:
    """Return the checked sheet."""
    columns = (*TEXTS, "path", *(f"path_{channel}" for channel in CHANNELS))
    return check_sheet(parse_user_table(content, columns, NUMBERS, "s.csv"), CHANNELS, "s.csv")


def try_right(draw: random.Random, folder: Path, wrong: str = "a sheet") -> None:
    """A sheet is read as it is meant, and read again as the program writes it."""
    rows = draw_rows(draw)
    separator = draw.choice(SEPARATORS)
    table = read(save(draw, write(draw, rows, separator), separator))
    expected = pd.DataFrame(rows).assign(compound=[row["treatment"] for row in rows])
    columns = list(expected)
    pd.testing.assert_frame_equal(
        table[columns].reset_index(drop=True), expected, check_dtype=False, obj=wrong
    )
    assert table["dose"].dtype == float and table["site"].dtype == int, wrong
    write_table(folder / "P.sheet.csv", table, written_by="list_plate")
    again = check_sheet(read_sheet(folder / "P.sheet.csv", CHANNELS), CHANNELS, "P.sheet.csv")
    pd.testing.assert_frame_equal(again, table.reset_index(drop=True), obj=wrong)


def set_cell(cells: list[list[str]], row: int, column: str, text: str) -> None:
    keys = [cell.strip().lower().replace(" ", "_") for cell in cells[0]]
    cells[row][keys.index(column)] = text


def spoil(draw: random.Random, cells: list[list[str]]) -> str:
    """Harm a sheet in one way that must be refused, and return what the sentence must say."""
    row = draw.randrange(1, len(cells))
    faults = [
        ("site", "1.5", "site"), ("site", "one", "site"), ("site", "-1", "site"),
        ("site", "", "empty"), ("site", "1e300", "site"), ("dose", "2.5 uM", "dose"),
        ("dose", "1_000", "dose"), ("dose", "<1", "dose"), ("dose", "inf", "dose"),
        ("dose", "1.000,5", "dose"), ("pixel_size_um", "0", "pixel"), ("bit_depth", "12.5", "bit"),
        ("bit_depth", "13", "bit"), ("well", "", "empty"), ("treatment", " ", "empty"),
        ("treatment", "a\x07b", "U+0007"), ("treatment", "a\nb", "U+000A"), ("plate", "P/1", "P/1"),
        ("dose_unit", "5", "dose_unit"),
    ]  # fmt: skip
    kind = draw.choice(["cell", "cell", "cell", "twice", "well", "column", "lost", "long"])
    if kind == "cell":
        column, text, says = draw.choice(faults)
        set_cell(cells, row, column, text)
        return says
    if kind == "twice":
        cells.append(list(cells[row]))
        return "more than once"
    if kind == "well":
        other = list(cells[row])
        cells.append(other)
        set_cell(cells, -1, "site", "77")
        set_cell(cells, -1, "treatment", "quite another one")
        return "expected one treatment a well"
    if kind == "column":
        for line in cells:
            line.append(line[0])
        return "twice"
    if kind == "lost":
        set_cell(cells, 0, draw.choice(["well", "site", "path_dna", "bit_depth"]), "other")
        return "Found no column"
    cells[row] = cells[row] + ["one more"]
    return "cells in row"


def try_fault(draw: random.Random, where: str = "a sheet") -> None:
    """A faulty sheet ends in one sentence."""
    separator = draw.choice(SEPARATORS)
    cells = write(draw, draw_rows(draw), separator)
    says = spoil(draw, cells)
    try:
        read(save(draw, cells, separator))
    except InputError as error:
        assert says in str(error) and "\n" not in str(error), f"{where}, {says}: {error}"
        return
    raise AssertionError(f"{where}: not refused ({says})")


def try_damage(draw: random.Random) -> str:
    """A sheet with bytes changed, lost or added is read, or ends in one sentence."""
    separator = draw.choice(SEPARATORS)
    content = bytearray(save(draw, write(draw, draw_rows(draw), separator), separator))
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content))
        harm = draw.choice(["flip", "lose", "add", "cut"])
        if harm == "flip":
            content[place] ^= 1 << draw.randrange(8)
        elif harm == "lose":
            del content[place : place + draw.randint(1, 9)]
        elif harm == "add":
            content[place:place] = draw.choice([b'"', b",", b"\0", b"\r", b"\xff", b"#", b"\x1a"])
        else:
            del content[max(place, 1) :]
        content = content or bytearray(b" ")
    try:
        read(bytes(content))
    except InputError as error:
        assert str(error).strip()
        return "damaged and refused"
    return "damaged and read"


def run(seed: int, count: int, folder: Path) -> Counter[str]:
    """Try ``count`` sheets of each kind and return how many came out how.

    Raises:
        AssertionError: A sheet was read wrongly, a fault was not refused, or a sentence is wrong.
    """
    found: Counter[str] = Counter()
    for number in range(seed, seed + count):
        right, fault, damage = (random.Random(f"{kind} {number}") for kind in ("r", "f", "d"))
        try_right(right, folder, f"sheet of seed {number}")
        try_fault(fault, f"sheet of seed {number}")
        found += Counter(["right and read", "faulty and refused", try_damage(damage)])
    return found
