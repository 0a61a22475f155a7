"""Fetch the metadata of BBBC021: image.csv and the mechanisms of action (moa.csv)."""

from __future__ import annotations

from pathlib import Path

from analysis.plates.fetch_settings import Settings
from rls.runtime.command import Parser, run


def main(argv: list[str] | None = None) -> None:
    """Fetch the metadata."""
    parser = Parser(__doc__, Settings, "fetch_plate")
    parser.add_argument("--archives", required=True, help="address or folder that holds the CSVs")
    parser.add_argument("--checksums", type=Path, help="not used: the archives' checksums")
    parser.add_argument("--state", type=Path, required=True, help="folder of unfinished downloads")
    parser.add_argument("--output", type=Path, required=True, help="folder of the CSVs")
    parser.writes("output", folder=True)
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for pandas.
    from analysis.plates.bbbc021 import IMAGE_CSV, MOA_CSV
    from analysis.plates.fetch import fetch_csv, find_archive

    for name in (IMAGE_CSV[-1], MOA_CSV[-1]):
        fetch_csv(find_archive(args.archives, name), args.state, args.output / name, settings)


if __name__ == "__main__":
    run(main)
