"""Refuse outputs that cannot be written, before the work that would be lost."""

from __future__ import annotations

import os
from pathlib import Path

from rls.runtime.errors import InputError

NAME_BYTES, PATH_BYTES = 255, 4095  # the most that Linux and its disks take
# The longest that is added to the name of an output: by tables, latents and digests beside it.
ADDED_BYTES = 20


def need_writable(path: Path, flag: str, *, folder: bool = False) -> None:
    """Refuse an output that could not be written.

    Arguments:
        flag: What the sentence calls it.
        folder: Whether it is a folder, and not a file.

    Raises:
        InputError: A name or the path is too long, a file stands where a folder must be or the
            other way round, or the folder may not be written to.
    """
    whole = Path(os.path.abspath(path))
    _need_short(whole, flag)
    found = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    if found == whole and not folder:
        if whole.is_dir():
            raise InputError(f"{flag} {path} is a folder, expected the name of a file. Give one.")
        found = whole.parent
    if not found.is_dir():
        what = "is" if found == whole else f"lies below {found}, which is"
        raise InputError(f"{flag} {path} {what} no folder. Give another place.")
    if not os.access(found, os.W_OK | os.X_OK):
        raise InputError(
            f"{flag} {path} cannot be written: the folder {found} is read-only, or you have no "
            "right to write there. Give another place, or get that right."
        )


def _need_short(whole: Path, flag: str) -> None:
    names = [os.fsencode(part) for part in whole.parts[1:]]
    for place, name in enumerate(names, start=1):
        most = NAME_BYTES - ADDED_BYTES if place == len(names) else NAME_BYTES
        if len(name) > most:
            shown = os.fsdecode(name[:40])
            raise InputError(
                f"{flag} has the name {shown}... of {len(name)} bytes, expected at most {most}, so "
                "that the files beside it can have names, too. Give a shorter one."
            )
    length = len(os.fsencode(whole))
    if length > PATH_BYTES - ADDED_BYTES:
        raise InputError(
            f"{flag} has a path of {length} bytes, expected at most {PATH_BYTES - ADDED_BYTES}. "
            "Give a shorter one."
        )
