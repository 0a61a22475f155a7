"""The files of a zip of images by their names, from whatever system it comes.

Windows separates folders by back-slashes, a Mac adds ``__MACOSX/``, and some tools put everything
into one folder of the zip's own name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rls.io.debris import is_debris
from rls.runtime.errors import InputError

LARGEST_MB = 256  # No image of a cell and no table of cells is larger; a bomb is.


@dataclass(frozen=True)
class Members:
    """The files of an open zip.

    Attributes:
        found: The entry of each file, by its name with / between folders.
    """

    path: Path
    archive: zipfile.ZipFile
    found: Mapping[str, zipfile.ZipInfo]

    @classmethod
    def of(cls, archive: zipfile.ZipFile, path: Path, root_file: str) -> Members:
        """Return the files of ``archive`` without hidden and system files.

        Arguments:
            root_file: A file that stands at the top; a folder around all files is left out of their
                names if it stands there.

        Raises:
            InputError: A name leads out of the archive or is there twice, or a file is too large.
        """
        found: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            name = entry.filename.replace("\\", "/")
            if name.endswith("/") or is_debris(PurePosixPath(name)):
                continue
            parts = PurePosixPath(name).parts
            if not parts or name.startswith("/") or name[1:2] == ":" or ".." in parts:
                raise InputError(
                    f"Found the name '{name}' in {path}, which leads out of the archive. Make the "
                    "archive anew, with names relative to its folder."
                )
            if entry.file_size > LARGEST_MB * 2**20:
                raise InputError(
                    f"Found {name} of {entry.file_size / 2**20:.0f} MB in {path}, expected at most "
                    f"{LARGEST_MB} MB a file. Take it out."
                )
            if name in found:
                raise InputError(f"Found {name} twice in {path}, expected it once. Remove one.")
            found[name] = entry
        tops = {PurePosixPath(name).parts[0] for name in found}
        if len(tops) == 1 and (folder := f"{tops.pop()}/") + root_file in found:
            found = {name.removeprefix(folder): entry for name, entry in found.items()}
        return cls(path, archive, found)

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return self.archive.read(self.found[name])
