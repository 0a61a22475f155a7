"""The names in users' tables: one name for a well, and what counts as the same treatment."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import pandas as pd

from rls.runtime.errors import InputError

# A row of a plate of up to 1,536 wells (A to Z, AA to AF) and a column, whatever stands between.
WELL = re.compile(r"([A-Z]|A[A-F])[\W_]*0*([1-9][0-9]?)")
LAST_COLUMN = 48
# A hyphen joins two words; a minus stands before a word, behind one, or alone.
HYPHEN = re.compile(r"(?<=\w)(-|\s+-\s+|-\s+)(?=\w)")
DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))


def row_and_column(text: str) -> str | None:
    """Return a well's name such as ``B02``, however it is written (``b2``, ``B - 02``).

    ``None`` stands for a text that is no row and column of a plate.
    """
    found = WELL.fullmatch(unicodedata.normalize("NFKC", text).strip().upper())
    if found is None or int(found[2]) > LAST_COLUMN:
        return None
    return f"{found[1]}{int(found[2]):02d}"


def with_well_names(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return ``table`` with one name a well; a well that is no row and column keeps its own.

    Prints which were written otherwise.

    Arguments:
        table: Columns ``plate`` and ``well``, both without an empty cell.
        name: The table, as an error calls it.

    Raises:
        InputError: Two wells of a plate, neither of them a row and column, differ only in case,
            blanks, punctuation or leading zeros.
    """
    names = {well: row_and_column(well) for well in table["well"].unique()}
    changed = {well: new for well, new in names.items() if new not in (None, well)}
    if changed:
        well, new = next(iter(changed.items()))
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        print(f"{name}: wells are read by row and column, '{well}' as {new}{more}", flush=True)
    others = table[["plate", "well"]][table["well"].map(names).isna()].drop_duplicates()
    seen: dict[tuple[str, str], str] = {}
    for plate, well in others.itertuples(index=False):
        key = (plate, re.sub(r"0+(?=\d)", "", spelling(well)))
        other = seen.setdefault(key, well)
        if other != well:
            raise InputError(
                f"Found the wells '{other}' and '{well}' of plate {plate} in {name}, expected one "
                "spelling a well. Write both alike, or give them names that differ in more."
            )
    return table.assign(well=table["well"].map({well: new or well for well, new in names.items()}))


def spellings(written: pd.Series) -> str:
    """Return how a well is written, for an error, '' where it is written in one way."""
    found = list(dict.fromkeys(written))
    return f" (written {' and '.join(found)})" if len(found) > 1 else ""


def refuse_two_treatments(table: pd.DataFrame, name: str, written: pd.Series) -> None:
    """Raise :class:`InputError` if a well of ``table`` has cells or fields of two treatments.

    Arguments:
        written: The wells as the user wrote them, row by row.
    """
    for (plate, well), part in table.groupby(["plate", "well"], sort=False):
        found = part["treatment"].unique()
        if len(found) > 1:
            raise InputError(
                f"Found well {well} of plate {plate} twice in {name}, as {found[0]} and as "
                f"{found[1]}{spellings(written[part.index])}, expected one treatment a well. "
                "Correct the well or the treatment."
            )


def refuse_misspelt(table: pd.DataFrame, treatments: Sequence[str], name: str) -> list[str]:
    """Return the treatments of ``table`` that are not in ``treatments``.

    Raises:
        InputError: One of them differs from a listed one only in case, blanks or punctuation.
    """
    others = sorted(set(table["treatment"]) - set(treatments))
    listed = {spelling(treatment): treatment for treatment in treatments}
    for other in others:
        meant = listed.get(spelling(other))
        if meant is not None:
            well = table["well"][table["treatment"] == other].iloc[0]
            raise InputError(
                f"Found the unknown treatment '{other}' in well {well} of {name}, expected "
                f"'{meant}' as the assay lists it{_unseen(other, meant)}. Write it so in both."
            )
    return others


def check_labels(labels: Sequence[str], channels: Sequence[str]) -> None:
    """Raise :class:`InputError` unless there is one label for each channel, or none at all."""
    if labels and len(labels) != len(channels):
        raise InputError(
            f"Found {len(labels)} list_plate.channel_labels, expected one for each of the "
            f"channels {', '.join(channels)}. Write them in this order."
        )


def spelling(text: str) -> str:
    """Return what is left of a name without case, blanks and punctuation, in any script.

    Letters, digits and symbols stay, and so do points and decimal commas (0.3 is not 3), plus and
    minus (-DOX is neither +DOX nor DOX). A name of nothing else stays as it is.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().translate(DASHES).strip()
    plain = re.sub(r"(?<=\d),(?=\d)", ".", HYPHEN.sub("", plain))
    kept = [sign for sign in plain if sign in ".-" or unicodedata.category(sign)[0] in "LMNS"]
    return unicodedata.normalize("NFKC", "".join(kept)) or text


def _unseen(found: str, meant: str) -> str:
    """Return which characters differ where two names look the same, '' where they do not."""
    if unicodedata.normalize("NFKC", found) != unicodedata.normalize("NFKC", meant):
        return ""
    differ = sorted(set(found) ^ set(meant))
    return f" (they differ in {', '.join(f'U+{ord(sign):04X}' for sign in differ)})"
