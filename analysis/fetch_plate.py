"""Fetch one plate of BBBC021: download its archive, unpack the images that are needed, delete it.

A killed download goes on where it stopped when the same command runs again. The folder of the plate
appears whole or not at all; the archive takes disk only until it is unpacked.
"""

from __future__ import annotations

from pathlib import Path

from analysis.plates.fetch_settings import Settings
from rls.runtime.command import Parser, run


def main(argv: list[str] | None = None) -> None:
    """Fetch one plate."""
    parser = Parser(__doc__, Settings, "fetch_plate")
    parser.add_argument("--plate", required=True, help="the plate to fetch, e.g. Week1_22123")
    parser.add_argument("--plates", nargs="+", required=True, help="all plates of the assay")
    parser.add_argument("--archives", required=True, help="address or folder of the zip archives")
    parser.add_argument("--metadata", type=Path, required=True, help="folder of BBBC021's CSVs")
    parser.add_argument("--channels", nargs="+", required=True, help="channels that are needed")
    parser.add_argument("--treatments", nargs="*", default=[], help="fetch these only; none: all")
    parser.add_argument(
        "--treatment-by",
        choices=("compound", "compound_dose"),
        default="compound_dose",
        help="columns that define a treatment",
    )
    parser.add_argument("--checksums", type=Path, help="SHA-256 of archives, as sha256sum prints")
    parser.add_argument("--state", type=Path, required=True, help="folder of unfinished downloads")
    parser.add_argument("--output", type=Path, required=True, help="folder of the plate")
    parser.writes("output", folder=True)
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for pandas.
    from analysis.plates import bbbc021
    from analysis.plates.fetch import fetch_plate, find_archive
    from analysis.plates.folder import refuse_foreign
    from analysis.plates.listing import check_treatments

    images, moa = bbbc021.read_metadata(args.metadata)
    everything = bbbc021.plates_and_treatments(images, args.treatment_by)
    check_treatments(everything, args.plates, args.treatments, str(args.metadata))
    rows = bbbc021.rows_of_plate(
        images, args.plate, args.treatments, args.treatment_by, str(args.metadata)
    )
    names = bbbc021.file_names(rows, args.channels)
    every_file = 3 * int((everything["plate"] == args.plate).sum())  # BBBC021 has three channels
    refuse_foreign(args.output)
    place = find_archive(args.archives, bbbc021.ARCHIVE.format(plate=args.plate))
    print(f"fetch_plate: {args.plate}, {len(names)} of {every_file} images are needed", flush=True)
    fetch_plate(
        place,
        place.state_folder(args.state),
        names,
        args.output,
        {"image.csv": rows, **({} if moa is None else {"moa.csv": moa})},
        args.checksums,
        min(len(names) / every_file, 1.0),
        len(args.plates),
        settings,
    )


if __name__ == "__main__":
    run(main)
