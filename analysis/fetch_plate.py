"""Fetch one plate of BBBC021: download its archive, unpack the images that are needed, delete it.

A killed download goes on where it stopped when the same command runs again. The folder of the plate
appears whole or not at all; the archive needs no more disk than until it is unpacked.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import pandas as pd

from analysis.list_plate import check_treatments
from analysis.plates import bbbc021
from analysis.plates.archive import ArchiveFault, check_sum, unpack
from analysis.plates.download import (
    MB,
    Settings,
    clear,
    download,
    one_writer,
    read_checksums,
    sha256,
    size_of,
)
from rls.io import write_table, write_text
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress, format_seconds

SUMS = "SHA256SUMS"
UNPACKED_BYTES = 2.5  # unpacked bytes a byte of archive: BBBC021's 720 images of 2.6 MB give 2.25


@dataclass(frozen=True)
class Place:
    """Where an archive lies: at ``url``, or as a file of our own at ``path``."""

    name: str
    url: str | None
    path: Path | None


def find_archive(archives: str, name: str) -> Place:
    """Return where ``name`` lies: below an http(s) address, or in a folder or a folder of it.

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


def state_folder(state: Path, url: str) -> Path:
    """Return where the download of ``url`` is kept until it is used."""
    return state / f"fetch_plate-{blake2b(url.encode(), digest_size=10).hexdigest()}"


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
        share: Part of its images that will be unpacked, for the disk that is asked for.
        n_plates: Plates of the assay, for what they will take together.
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

    The user's file wins over what was recorded when the archive was fetched before.
    """
    for path in (checksums, recorded if recorded.is_file() else None):
        if path is not None and (found := read_checksums(path).get(name)):
            return found, str(path)
    return None, ""


def unpack_plate(
    archive: Path, names: Sequence[str], output: Path, tables: dict[str, pd.DataFrame],
    settings: Settings, *, test_all: bool,
) -> None:  # fmt: skip
    """Write images and metadata into ``output``, which appears whole or not at all.

    Raises:
        ArchiveFault: See :func:`analysis.plates.archive.unpack`.
        InputError: The disk is too small.
    """
    temporary = output.with_name(f".tmp-fetch-{output.name}")  # one writer: what is there is dead
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with Progress(len(names), "fetch_plate", "images") as bar:
            unpack(
                archive, names, temporary, test_all=test_all, advance=bar.advance,
                before=lambda size: check_disk(
                    temporary, size, settings.free_disk_mb, f"the images of {archive.name}"
                ),
            )  # fmt: skip
        for name, table in tables.items():
            write_table(temporary / name, table, written_by="fetch_plate")
        shutil.rmtree(output, ignore_errors=True)
        os.replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_foreign(output: Path) -> None:
    """Raise :class:`InputError` if ``output`` holds something that is no plate."""
    if output.exists() and not (output / "image.csv").is_file() and any(output.iterdir()):
        raise InputError(
            f"The folder {output} is not empty and holds no plate. Give another --output."
        )


def fetch(
    place: Place, folder: Path, names: Sequence[str], output: Path,
    tables: dict[str, pd.DataFrame], checksums: Path | None, share: float, n_plates: int,
    settings: Settings,
) -> None:  # fmt: skip
    """Bring one plate into ``output``; ``folder`` keeps the download and the recorded SHA-256."""
    with one_writer(folder):
        recorded = folder / SUMS
        expected, source = expected_sum(place.name, checksums, recorded)
        archive = obtain(place, folder, share, n_plates, settings)
        try:
            found = sha256(archive)
            check_sum(found, expected, source, place.name)
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


def main(argv: list[str] | None = None) -> None:
    """Fetch one plate."""
    parser = Parser(__doc__, Settings, "fetch_plate")
    parser.add_argument("--plate", required=True, help="the plate to fetch, e.g. Week1_22123")
    parser.add_argument("--plates", nargs="+", required=True, help="all plates of the assay")
    parser.add_argument("--archives", required=True, help="address or folder of the zip archives")
    parser.add_argument("--metadata", type=Path, required=True, help="folder of BBBC021's CSVs")
    parser.add_argument("--channels", nargs="+", required=True, help="channels that are needed")
    parser.add_argument("--treatments", nargs="*", default=[], help="fetch these only; none: all")
    parser.add_argument("--treatment-by", choices=("compound", "compound_dose"),
                        default="compound_dose", help="what makes a treatment")  # fmt: skip
    parser.add_argument("--checksums", type=Path, help="SHA-256 of archives, as sha256sum prints")
    parser.add_argument("--state", type=Path, required=True, help="folder of unfinished downloads")
    parser.add_argument("--output", type=Path, required=True, help="folder of the plate")
    args, settings = parser.parse(argv)
    images, moa = bbbc021.read_metadata(args.metadata)
    everything = pd.DataFrame({"plate": images[bbbc021.PLATE],
                               "treatment": bbbc021.treatments_of(images, args.treatment_by)})  # fmt: skip  # noqa: E501
    check_treatments(everything, args.plates, args.treatments, str(args.metadata))
    rows = bbbc021.rows_of_plate(
        images, args.plate, args.treatments, args.treatment_by, str(args.metadata)
    )
    names = bbbc021.file_names(rows, args.channels)
    every_file = 3 * int((images[bbbc021.PLATE] == args.plate).sum())  # BBBC021 has three channels
    refuse_foreign(args.output)
    place = find_archive(args.archives, bbbc021.ARCHIVE.format(plate=args.plate))
    print(f"fetch_plate: {args.plate}, {len(names)} of {every_file} images are needed", flush=True)
    folder = state_folder(args.state, place.url or str(Path(place.path or "").resolve()))
    tables = {"image.csv": rows, **({} if moa is None else {"moa.csv": moa})}
    share = min(len(names) / every_file, 1.0)
    fetch(
        place, folder, names, args.output, tables, args.checksums, share, len(args.plates), settings
    )


if __name__ == "__main__":
    run(main)
