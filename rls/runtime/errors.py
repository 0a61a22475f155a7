"""Exceptions that a command answers with a sentence, and the text of other exceptions."""

from __future__ import annotations

GRAPHS_OFF = "RLS_CUDA_GRAPHS_OFF"  # The environment's reason why no CUDA graph is recorded.


class InputError(ValueError):
    """A fault of input, settings or files, said in a full sentence.

    The message names what was found, what was expected and what to do next. Commands print it
    as ``error: ...`` and exit with status 1; any other exception is a fault of the program and
    keeps its traceback.
    """


class GraphError(RuntimeError):
    """A CUDA graph could not be recorded; only a new process can compute again.

    A command that ends with it starts itself anew without graphs.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"a CUDA graph of {name} could not be made ({reason})")


def first_line(error: BaseException, longest: int = 200) -> str:
    """Return the start of an error's first line, up to ``longest`` characters, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:longest]
