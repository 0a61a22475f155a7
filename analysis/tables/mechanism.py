"""Write how often a compound's nearest neighbour shares its mechanism of action, by method.

All assays of the run are folds of the same cells: each cell is super-resolved by networks that
never saw its well, and evaluated once. A cell's features less the median of its batch, over the
batch's robust sd (of the negative control where a batch has enough of it, else of all cells), are
aggregated to one profile per compound and concentration by the median. Each profile takes the
mechanism of its nearest neighbour by cosine:

* ``nsc_accuracy``: the neighbour is not of the same compound;
* ``nscb_accuracy``: nor shares it a batch, a week of BBBC021;
* ``..._mean_average_precision``: of all neighbours in their order, not of the nearest alone;
* ``..._minus_high_resolution``, ``..._minus_bicubic``: differences on the same profiles;
* ``..._profiles_left_out``: profiles that no neighbour could be right for, with the reason.

``feature`` is the assay's own, interpretable features; ``random``, of random convolutions;
``bands``, of whole images by scale; and for LR ``pixels``, ``sorted_pixels`` and ``channel_means``.
``..._sphered`` are the same features, turned and scaled so that the cells of the negative control
vary alike in every direction. Intervals are over compounds, drawn with
replacement, the same draws for all rows. ``shuffled_labels`` is what neighbours of HR reach where
mechanisms are shuffled among compounds. ``n_profiles``, ``n_compounds`` and ``n_cells`` are what a
number rests on. The numbers are computed in analysis.mechanism.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.mechanism.settings import Settings
from analysis.run.description import Run, add_run
from rls.io import write_table
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of mechanisms."""
    parser = Parser(__doc__, Settings, "mechanism")
    add_run(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from analysis.comparison.long_table import long_table
    from analysis.mechanism.rows import mechanism_rows

    table = long_table(mechanism_rows(Run.read(args.run), settings))
    write_table(args.output_csv, table, written_by="mechanism")
    print(f"mechanism: {len(table)} numbers, {args.output_csv}")


if __name__ == "__main__":
    run(main)
