"""Fetch the archive of a plate and its metadata, from an address or from a folder.

Downloads lie in a folder of their own until they are used, so that a killed one can go on.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import pandas as pd

from analysis.plates.archive import ArchiveFault, unpack
from analysis.plates.download import (
    MB,
    clear,
    download,
    one_writer,
    read_checksums,
    size_of,
)
from analysis.plates.fetch_settings import Settings
from analysis.plates.folder import whole_folder
from rls.io import atomic_path, leave_digest, write_table, write_text
from rls.io.files import file_sha256
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress, format_seconds

SUMS = "SHA256SUMS"
UNPACKED_BYTES = 2.5  # Unpacked bytes per byte of archive: 720 images of 2.6 MB give 2.25.


@dataclass(frozen=True)
class Place:
    """Where a file lies: at ``url``, or on this machine at ``path``."""

    name: str
    url: str | None
    path: Path | None

    def state_folder(self, state: Path) -> Path:
        """Return the folder below ``state`` that keeps the download until it is used."""
        where = self.url or str(Path(self.path or "").resolve())
        return state / f"fetch_plate-{blake2b(where.encode(), digest_size=10).hexdigest()}"


def find_archive(archives: str, name: str) -> Place:
    """Return where ``name`` lies: below an http(s) address, or in a folder or its subfolders.

    Raises:
        InputError: The address is of another kind, or the folder has no such file.
    """
    if re.match(r"https?://", archives):
        return Place(name, f"{archives.rstrip('/')}/{name}", None)
    if "://" in archives:
        raise InputError(
            f"Found the address {archives}, expected http://, https:// or a folder. Correct the "
            "assay's archives."
        )
    folder = Path(archives)
    paths = [folder / name, *sorted(folder.glob(f"*/{name}"))]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise InputError(
            f"Found no {name} in {folder} or a folder of it. Put it there, or correct the assay's "
            "archives."
        )
    return Place(name, None, path)


def check_disk(folder: Path, needed: float, free_mb: float, what: str) -> None:
    """Raise :class:`InputError` if ``folder`` lacks ``needed`` bytes beside ``free_mb``."""
    free = shutil.disk_usage(folder).free
    if free < needed + free_mb * MB:
        raise InputError(
            f"Found {free / MB:.0f} MB free in {folder}, expected {needed / MB:.0f} MB for {what} "
            f"and {free_mb:.0f} MB to spare. Free space, or run in another --directory."
        )


def obtain(place: Place, folder: Path, share: float, n_plates: int, settings: Settings) -> Path:
    """Return the archive as a file: the user's own, or downloaded into ``folder``.

    Arguments:
        share: Share of its images that will be unpacked; it sets the disk that is needed.
        n_plates: Plates of the assay; the cost of all of them is printed.

    Raises:
        InputError: The disk is too small, or the file cannot be had.
    """
    if place.path is not None:
        print(f"fetch_plate: {place.path}, {size_of(place.path) / MB:.1f} MB", flush=True)
        return place.path

    def announce(total: int | None, have: int) -> None:
        if total is None:
            print(f"fetch_plate: {place.url}, of unknown length", flush=True)
            return
        left, unpacked = total - have, UNPACKED_BYTES * total * share
        seconds = left / (settings.expected_mb_per_s * MB)
        print(
            f"fetch_plate: {place.url}, {total / MB:.1f} MB, {have / MB:.1f} MB of it here; about "
            f"{format_seconds(seconds)} at {settings.expected_mb_per_s:g} MB/s; needs "
            f"{(left + unpacked) / MB:.0f} MB of disk, {left / MB:.0f} MB of them until it is "
            "unpacked",
            flush=True,
        )
        if n_plates > 1:
            seconds = n_plates * total / (settings.expected_mb_per_s * MB)
            print(
                f"fetch_plate: all {n_plates} plates of this assay, if alike: "
                f"{n_plates * total / MB / 1000:.1f} GB, about {format_seconds(seconds)}; each is "
                "cropped and deleted again",
                flush=True,
            )
        check_disk(folder, left + unpacked, settings.free_disk_mb, f"{place.name} and its images")

    return download(str(place.url), folder, settings, announce, "fetch_plate")


def expected_sum(name: str, checksums: Path | None, recorded: Path) -> tuple[str | None, str]:
    """Return (SHA-256 of the archive ``name`` or None, the file that says so).

    The user's file takes precedence over what was recorded when the archive was fetched before.
    """
    for path in (checksums, recorded if recorded.is_file() else None):
        if path is not None and (found := read_checksums(path).get(name)):
            return found, str(path)
    return None, ""


def unpack_plate(
    archive: Path,
    names: Sequence[str],
    output: Path,
    tables: Mapping[str, pd.DataFrame],
    settings: Settings,
    *,
    test_all: bool,
) -> None:
    """Write images and metadata into ``output``, which appears whole or not at all.

    Arguments:
        names: Files of the archive that are needed.
        tables: {name of a CSV: its content}.
        test_all: See :func:`analysis.plates.archive.unpack`.

    Raises:
        ArchiveFault: See :func:`analysis.plates.archive.unpack`.
        InputError: The disk is too small.
    """
    what = f"the images of {archive.name}"
    with whole_folder(output) as folder:
        with Progress(len(names), "fetch_plate", "images") as bar:
            unpack(
                archive,
                names,
                folder,
                test_all=test_all,
                before=lambda size: check_disk(folder, size, settings.free_disk_mb, what),
                advance=bar.advance,
            )
        for name, table in tables.items():
            write_table(folder / name, table, written_by="fetch_plate")


def fetch_plate(
    place: Place,
    folder: Path,
    names: Sequence[str],
    output: Path,
    tables: Mapping[str, pd.DataFrame],
    checksums: Path | None,
    share: float,
    n_plates: int,
    settings: Settings,
) -> None:
    """Fetch one plate into ``output``.

    Arguments:
        place: Where its archive lies.
        folder: Keeps the download and the recorded SHA-256.
        names: Files of the archive that are needed.
        tables: {name of a CSV: its content}, written beside the images.
        checksums: SHA-256 of archives, as ``sha256sum`` prints them.
        share, n_plates: See :func:`obtain`.

    Raises:
        InputError: The archive cannot be had, is not the expected one or is damaged; or the disk is
            too small.
    """
    with one_writer(folder):
        recorded = folder / SUMS
        expected, source = expected_sum(place.name, checksums, recorded)
        archive = obtain(place, folder, share, n_plates, settings)
        try:
            found = file_sha256(archive)
            if found != (expected or found):
                raise ArchiveFault(
                    f"Found the SHA-256 {found} of {place.name}, expected {expected} as {source} "
                    "says. Run the same command again to fetch it anew; if it stays so, ask where "
                    f"it comes from, and correct {source}."
                )
            unpack_plate(archive, names, output, tables, settings, test_all=expected is None)
        except ArchiveFault:
            if place.path is None:
                clear(folder)
            raise
        if expected is None:
            write_text(recorded, f"{found}  {place.name}\n")
        if place.path is None:
            clear(folder)
    how = f"as {source} says" if expected else f"recorded in {recorded}"
    print(f"fetch_plate: {len(names)} images in {output}; SHA-256 {found[:12]}..., {how}")


def fetch_csv(place: Place, state: Path, output: Path, settings: Settings) -> None:
    """Write one CSV of the metadata to ``output``, whole or not at all.

    Raises:
        InputError: The file cannot be had, or is no CSV of BBBC021 but, say, a login page.
    """
    folder = place.state_folder(state)
    with one_writer(folder):
        source = place.path
        if source is None:
            source = download(
                str(place.url), folder, settings, lambda total, have: None, "fetch_metadata"
            )
        try:
            with open(source, "rb") as handle:
                first = handle.readline(1000).lower()
            if b"," not in first or b"compound" not in first:
                raise InputError(
                    f"Found no table of BBBC021 in {place.url or place.path} (it begins with "
                    f"{first[:40]!r}), expected a CSV with a column of compounds. Correct the "
                    "assay's archives."
                )
            with atomic_path(output) as temporary:
                shutil.copyfile(source, temporary)
                leave_digest(output, temporary, "fetch_metadata")
        finally:
            if place.path is None:
                clear(folder)
    print(f"fetch_metadata: {output}, {output.stat().st_size / MB:.1f} MB", flush=True)
