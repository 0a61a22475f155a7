"""What is asked of zarr without the package: whether it is there, and the digest of an array."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rls.io.files import file_digest, json_digest
from rls.runtime.errors import InputError

ARRAY_FILES = (".zarray", "zarr.json")  # the metadata of an array of zarr 2 and 3
NOT_ITS = (".DS_Store", "Thumbs.db")  # what desktops leave behind


def need_zarr() -> None:
    """Raise :class:`InputError` unless the package zarr is installed."""
    if importlib.util.find_spec("zarr") is None:
        raise InputError(
            "Found no package zarr, expected it for OME-Zarr. Run pip install 'zarr>=3.1,<4' and "
            "the same command again."
        )


def is_array(path: Path) -> bool:
    """Return whether ``path`` is the metadata file of a zarr array, by its name."""
    return path.name in ARRAY_FILES


def array_digest(path: Path) -> str:
    """Return the digest of an array: of the names and bytes of its metadata and all its chunks.

    Arguments:
        path: The array's metadata file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    found = {path.name: file_digest(path)}
    for file in path.parent.rglob("*"):
        if file.is_file() and file.name not in NOT_ITS and not file.name.startswith("._"):
            found[file.relative_to(path.parent).as_posix()] = file_digest(file)
    return json_digest(found)
