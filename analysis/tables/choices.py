"""Write which settings serve each search best, on cells of split tune (section trace_search).

Every method is searched with its own number of steps on the same cells. The table has, for each
assay and factor: mean |D(SR) - LR|, PSNR, MS-SSIM, mean log p_F, the kernel distance to the HR
images of the same cells, and of the assay's first feature the error |SR - HR| over the standard
deviation of HR within treatments and the triple of the table of features. ``chosen`` marks, among
the methods of one search (pulse, brgm, rls, ...), the one with the smallest error. Intervals are
over wells.

So a rival's search has a row with its published settings and rows with others, and all searches are
chosen in the same way. No evaluation cell is used. The numbers are computed in
analysis.comparison.choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.settings import Settings
from analysis.run.description import Run, add_run
from rls.io import write_table
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of choices."""
    parser = Parser(__doc__, Settings, "tables")
    add_run(parser)
    parser.add_argument("--methods", nargs="+", required=True, help="the methods to compare")
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.comparison.choices import choice_rows, chosen_lines
    from analysis.comparison.long_table import long_table

    rows = choice_rows(Run.read(args.run), args.methods, settings)
    write_table(args.output_csv, long_table(rows), written_by="choices")
    print("\n".join([*chosen_lines(rows), f"choices: {len(rows)} numbers, {args.output_csv}"]))


if __name__ == "__main__":
    run(main)
