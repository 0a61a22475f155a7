"""Simulate one plate: whole fields, named and described as in BBBC021, and the truth of each cell.

Counts = offset + Poisson((gain x light + background) x illumination) + read noise, where light is
the marker of each cell, total constant, spread over nucleus and cytoplasm by its ratio.
"""

from __future__ import annotations

from pathlib import Path

from analysis.simulation.settings import Settings
from rls.runtime.command import Parser, run
from rls.runtime.progress import Progress


def main(argv: list[str] | None = None) -> None:
    """Simulate a plate; its folder appears whole or not at all."""
    parser = Parser(__doc__, Settings, "simulate_plate")
    parser.add_argument("--plate", required=True, help="name of the plate; enters every stream")
    parser.add_argument("--output", type=Path, required=True, help="folder of the plate")
    parser.add_argument("--truth", type=Path, required=True, help="table of every cell (.parquet)")
    parser.writes("truth")
    parser.writes("output", folder=True)
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scipy.
    from analysis.plates.folder import refuse_foreign, whole_folder
    from analysis.simulation.phenotypes import find_phenotype
    from analysis.simulation.plate import lay_out, simulate_plate
    from rls.io import write_table

    find_phenotype(settings)
    refuse_foreign(args.output)
    fields = len(lay_out(settings)) * settings.sites_per_well
    size = fields * len(settings.channels) * settings.field_height_px * settings.field_width_px * 2
    print(f"simulate_plate: {args.plate}, {fields} fields, {size / 1e6:.0f} MB", flush=True)
    with whole_folder(args.output) as folder:
        with Progress(fields, "simulate_plate", "fields") as bar:
            truth = simulate_plate(settings, args.plate, folder, bar.advance)
        write_table(args.truth, truth, written_by="simulate_plate")
    print(f"simulate_plate: {len(truth)} cells in {args.output}", flush=True)


if __name__ == "__main__":
    run(main)
