"""The one exception that a user's input can cause, and the text of other exceptions."""

from __future__ import annotations


class InputError(ValueError):
    """A fault of input, settings or files, said in a full sentence.

    The message names what was found, what was expected and what to do next. Commands print it
    as ``error: ...`` and exit with status 1; any other exception is a fault of the program and
    keeps its traceback.
    """


def first_line(error: BaseException, longest: int = 200) -> str:
    """Return the start of an error's first line, up to ``longest`` characters, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:longest]
