"""Read the values of settings, from YAML or a command line, as the types of their fields."""

from __future__ import annotations

import contextlib
import typing
from types import UnionType

from rls.runtime.errors import InputError


def convert(value: object, kind: type | UnionType, name: str) -> object:
    """Return ``value`` (from YAML or the command line) as ``kind``.

    Arguments:
        value: A number, text, truth value, list or None.
        kind: The type of a field: int, float, str, bool, a tuple of one of these, or one of these
            or None, or one of these or a word (``int | Literal["auto"]``).
        name: What the error calls the value.

    Raises:
        InputError: The value cannot be read as ``kind``.
    """
    origin = typing.get_origin(kind)
    if origin in (UnionType, typing.Union):
        inner, other = typing.get_args(kind)
        if other is type(None):
            return None if value in (None, "none", "null") else convert(value, inner, name)
        words = typing.get_args(other)
        if value in words:
            return value
        try:
            return convert(value, inner, name)
        except InputError as error:
            raise InputError(f"{str(error)[:-1]} or {' or '.join(words)}.") from None
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{name} is {value!r}, expected a list.")
        return tuple(convert(item, typing.get_args(kind)[0], name) for item in value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise InputError(f"{name} is {value!r}, expected true or false.")
    if kind is str:
        if not isinstance(value, str):
            raise InputError(f"{name} is {value!r}, expected text.")
        return value
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            if kind is float:
                return float(value)
            if float(value) == int(value):
                return int(value)
    article = "an integer" if kind is int else "a number"
    raise InputError(f"{name} is {value!r}, expected {article}.")
