"""Names of people on a command line: any text, also one that begins with a dash.

``--treatments DMSO TNF`` takes most names. One that begins with a dash looks like a flag; so each
flag has a twin that takes JSON: ``--treatments-json '["DMSO", "-DOX"]'``, ``--method-json '"-x"'``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from rls.runtime.errors import InputError

TWIN = re.compile(r"(--[a-z0-9-]+)-json(?:=(.*))?", re.DOTALL)
NUMBER = re.compile(r"-\d+|-\d*\.\d+")  # argparse takes these for values, and no other dash
GUARD = "\0"  # No argument of a process can hold it.
HINT = (
    """ A name that begins with a dash is given as JSON: --treatments-json '["-DOX", "DMSO"]', """
    """or '"-DOX"' where a flag takes one name."""
)


def as_arguments(flag: str, value: str | Sequence[str]) -> list[str]:
    """Return the arguments that hand a text or a list to ``flag``: as JSON only if need be."""
    items = [value] if isinstance(value, str) else list(value)
    if any(map(_is_dashed, items)):
        given = value if isinstance(value, str) else items
        return [f"{flag}-json", json.dumps(given, ensure_ascii=False)]
    return [flag, *items]


def spread(arguments: Sequence[str]) -> list[str]:
    """Replace the JSON of lists by its items, and guard those that begin with a dash.

    Raises:
        InputError: The text behind a flag is no list of texts in JSON, or an argument is no UTF-8.
    """
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            shown = argument.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise InputError(
                f"The argument '{shown}' is no UTF-8 text, which names in tables must be. Rename "
                "the file, and give the new name."
            )
        twin = TWIN.fullmatch(argument)
        if twin is None:
            found.append(argument)
            continue
        text = next(rest, "") if twin[2] is None else twin[2]
        items = _items(text)
        if items is None:
            raise InputError(
                f"{twin[1]}-json is '{text}', expected a text or a list of them in JSON, such as "
                '\'["DMSO", "-DOX"]\'.'
            )
        found += [twin[1], *(GUARD + item if _is_dashed(item) else item for item in items)]
    return found


def without_guards(namespace: argparse.Namespace) -> None:
    """Take the guards of :func:`spread` off the values that argparse read, in place."""
    for name, value in vars(namespace).items():
        setattr(namespace, name, _bare(value))


def _is_dashed(text: str) -> bool:
    return text.startswith("-") and not NUMBER.fullmatch(text)


def _items(text: str) -> list[str] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    items = [found] if isinstance(found, str) else found
    right = isinstance(items, list) and all(isinstance(item, str) for item in items)
    return items if right else None


def _bare(value: object) -> object:
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, str):
        return value.removeprefix(GUARD)
    return Path(str(value)[1:]) if isinstance(value, Path) and str(value)[:1] == GUARD else value
