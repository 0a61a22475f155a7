"""The names of an assay: treatments and channels are any text, plates are names of files, too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from analysis.run.values import Config

PLATE_BYTES = 200  # The files of a plate have longer names, and 255 is the most.


def name_faults(assay: str, block: Config) -> Iterator[str]:
    """Yield the names of an assay that could be neither shown in a table nor given to a file."""
    for kind in ("treatments", "channels", "plates"):
        for name in block[kind]:
            where = f"assays.{assay}.{kind} names {name!r}"
            if not name.strip():
                yield f"{where}, which is empty. Give it a name, or take it out."
            elif any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
                yield f"{where}, which holds a line break or another control character. Rename it."
    for name in block["plates"]:
        where = f"assays.{assay}.plates names {name!r}"
        if "/" in name or name.startswith("-") or name in (".", ".."):
            yield (
                f"{where}, but files are named for their plate: expected a name without / that "
                "does not begin with a dash. Rename it, in the sheet too."
            )
        elif len(name.encode("utf-8", "replace")) > PLATE_BYTES:
            yield f"{where}, which is longer than {PLATE_BYTES} bytes. Give it a shorter name."
