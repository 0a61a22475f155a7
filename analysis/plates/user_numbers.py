"""Read the numbers of a table that a person wrote; a text that is none is refused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from rls.runtime.errors import InputError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
WITH_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
OF_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)  # 1,000 may be 1000 or 1.
MISSING = ("na", "n/a", "#n/a", "nan", "null", "none")  # What programs write for no number.
LARGEST = 1e9  # No number of a well's site, a cell, a pixel size or a dose is greater.


def to_numbers(column: pd.Series, name: str, *, decimal_commas: bool) -> tuple[pd.Series, bool]:
    """Return (a column of texts as float64, whether commas were taken for decimal points).

    Arguments:
        column: Texts; NaN for an empty cell. Its index is the row in the file less 2.
        name: The table, as an error calls it.
        decimal_commas: Whether numbers may have a decimal comma: where commas separate cells, they
            may not.

    Raises:
        InputError: A text is no finite number, or may be read in two ways.
    """
    texts = [text for text in column.dropna().unique() if text.casefold() not in MISSING]
    with_comma = [text for text in texts if WITH_COMMA.fullmatch(text)]
    points = any("." in text for text in texts)
    decided = points or any(not OF_THOUSANDS.fullmatch(text) for text in with_comma)
    if decimal_commas and with_comma and not decided:
        _refuse(column, with_comma[0], name, "a number that is not 1000 to one and 1 to another")
    commas = decimal_commas and bool(with_comma) and not points
    values: dict[str, float] = {}
    for text in texts:
        said = text.replace(",", ".") if commas and WITH_COMMA.fullmatch(text) else text
        value = float(said) if NUMBER.fullmatch(said) else np.nan
        if not np.isfinite(value):
            _refuse(column, text, name, "a number such as 2.5")
        values[text] = value
    return column.map(values).astype(float), commas


def check_numbers(
    column: pd.Series, name: str, *, above: float | None = None, whole: bool = False
) -> None:
    """Refuse an empty cell, a text, and a number below 0 or beyond reason.

    Arguments:
        column: Numbers or texts. Its index is the row in the file less 2.
        name: The table, as an error calls it.
        above: The number must be greater, and not only at least 0.
        whole: The number must be whole: 1.0 is, 1.5 is not.

    Raises:
        InputError: There is such a cell.
    """
    numbers = pd.to_numeric(column, errors="coerce")
    good = numbers.between(0, LARGEST)
    if above is not None:
        good &= numbers > above
    if whole:
        good &= numbers % 1 == 0
    if not good.all():
        kind = "whole number" if whole else "number"
        limits = f"from 0 to {LARGEST:,.0f}" if above is None else f"above {above:g}"
        row = good.index[~good][0]
        raise InputError(
            f"Found the {column.name} '{column[row]}' in row {row + 2} of {name}, expected a "
            f"{kind} {limits}. Correct the table."
        )


def whole_if_all_are(numbers: pd.Series) -> pd.Series:
    """Return numbers as integers where all of them are whole and none is missing."""
    return numbers.astype(int) if (numbers % 1 == 0).all() else numbers


def _refuse(column: pd.Series, text: str, name: str, expected: str) -> None:
    """Raise :class:`InputError` for a text of ``column``."""
    row = column.index[column == text][0] + 2
    unit = column.name == "dose" and re.search("[^0-9.,]", text)
    raise InputError(
        f"Found the {column.name} '{text}' in row {row} of {name}, expected {expected}. Correct "
        f"the table{', and give the unit as dose_unit' if unit else ''}."
    )
