"""Write two small simulated plates, to try config/my_plates.yaml on before using your own.

    python -m analysis.example_plates

Two plates of 12 wells with two treatments, one OME-TIFF for each field, with the channels DAPI and
FITC. They are simulated, so they show how a run works, and nothing about biology.
config/my_plates.csv is their sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.help import CommandParser
from rls.runtime.progress import Progress

FOLDER = Path("runs") / "example_plates"  # image_folder of config/my_plates.yaml


def main(argv: Sequence[str] | None = None) -> None:
    """Write the plates; their folder appears whole or not at all."""
    parser = CommandParser(__doc__)
    place = f"their folder (left out: {FOLDER} in the program's folder)"
    parser.add_argument("--output", type=Path, help=place)
    args = parser.parse_args(argv)
    # Imported here, so that --help does not wait for scipy.
    from analysis.plates.folder import whole_folder
    from analysis.run.keys import ROOT
    from analysis.simulation.example import PLATES, example_settings, n_fields, write_plates

    output, settings = args.output or ROOT / FOLDER, example_settings()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(
            f"{output} is there already and is not empty; nothing was written. If it holds the "
            "example plates, they are ready: run python -m analysis.check --configfile "
            "config/my_plates.yaml. Else give another --output."
        )
    bar = Progress(n_fields(settings), "example_plates", "fields")
    with whole_folder(output) as folder, bar:
        sheet = write_plates(folder, settings, bar.advance)
    print(f"example_plates: {len(sheet)} fields of {', '.join(PLATES)} in {output}", flush=True)


if __name__ == "__main__":
    run(main)
