"""The folder of a plate: it appears whole or not at all, and replaces nothing but a plate."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rls.runtime.errors import InputError


def refuse_foreign(output: Path) -> None:
    """Raise :class:`InputError` if ``output`` holds something that is no plate."""
    if output.exists() and not (output / "image.csv").is_file() and any(output.iterdir()):
        raise InputError(
            f"The folder {output} is not empty and holds no plate. Give another --output."
        )


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``output`` when the block succeeds.

    The command holds the lock of ``output``, so a leftover of the same name is of a dead process.
    """
    temporary = output.with_name(f".tmp-plate-{output.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(output, ignore_errors=True)
        os.replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
