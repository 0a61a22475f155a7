"""Files that systems leave beside people's images, and that are none: ``._a.tif``, ``Thumbs.db``.

A Mac writes ``._NAME`` beside every file on a network drive and ``__MACOSX/`` into every zip; they
have the suffix of an image and are refused by every reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TypeVar

from rls.runtime.errors import InputError

P = TypeVar("P", bound=PurePath)
OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin")


def is_debris(path: PurePath) -> bool:
    """Return whether a path, from the folder that is listed on, is hidden or a system's own."""
    return any(
        (part.startswith(".") and part not in (".", "..")) or part.lower() in OF_SYSTEMS
        for part in path.parts
    )


def without_debris(paths: Sequence[P], folder: PurePath) -> list[P]:
    """Return the paths below ``folder`` that are people's own; print how many are not."""
    kept = [path for path in paths if not is_debris(path.relative_to(folder))]
    if passed := len(paths) - len(kept):
        print(
            f"{folder}: passed over {passed} hidden or system files, such as ._NAME and Thumbs.db.",
            flush=True,
        )
    return kept


def need_utf_8(paths: Sequence[PurePath]) -> None:
    """Refuse files whose names could not be written to a table.

    Raises:
        InputError: The name of one is no UTF-8 text.
    """
    for path in paths:
        if any("\ud800" <= letter <= "\udfff" for letter in path.name):
            name = path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise InputError(
                f"The name of the file {name} in {path.parent} is no UTF-8 text, which names in "
                "tables must be. Rename it."
            )
