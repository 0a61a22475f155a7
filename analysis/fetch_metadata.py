"""Fetch what describes BBBC021's plates: image.csv and the mechanisms of action (moa.csv)."""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.fetch_plate import Place, find_archive, state_folder
from analysis.plates import bbbc021
from analysis.plates.download import MB, Settings, clear, download, one_writer
from rls.io import atomic_path, leave_digest
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError

FILES = (bbbc021.IMAGE_CSV[-1], bbbc021.MOA_CSV[-1])


def fetch_file(place: Place, state: Path, output: Path, settings: Settings) -> None:
    """Write one file to ``output``, whole or not at all.

    Raises:
        InputError: It cannot be had, or is no CSV of BBBC021: a page of a login, say.
    """
    folder = state_folder(state, place.url or str(place.path))
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


def main(argv: list[str] | None = None) -> None:
    """Fetch the metadata."""
    parser = Parser(__doc__, Settings, "fetch_plate")
    parser.add_argument("--archives", required=True, help="address or folder that holds the CSVs")
    parser.add_argument("--checksums", type=Path, help="not used: the archives' checksums")
    parser.add_argument("--state", type=Path, required=True, help="folder of unfinished downloads")
    parser.add_argument("--output", type=Path, required=True, help="folder of the CSVs")
    args, settings = parser.parse(argv)
    for name in FILES:
        place = find_archive(args.archives, name)
        fetch_file(place, args.state, args.output / name, settings)


if __name__ == "__main__":
    run(main)
