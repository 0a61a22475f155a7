"""What becomes of one input: an answer or one sentence, and no file that was not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rls.runtime.errors import InputError

T = TypeVar("T")


def answer(read: Callable[[], T], folder: Path, where: str) -> T | None:
    """Return what ``read`` gives, None if it is refused in a sentence.

    Raises:
        AssertionError: Another exception, a sentence that says nothing, or a file left behind.
    """
    before = set(folder.rglob("*"))
    try:
        return read()
    except InputError as error:
        text = str(error)
        assert len(text) > 30 and "\n" not in text, f"{where}: {text}"
        return None
    except Exception as error:
        raise AssertionError(f"{where}: {error!r}") from error
    finally:
        assert set(folder.rglob("*")) == before, f"{where}: it left a file behind"
