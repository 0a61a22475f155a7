"""Write what each generator of a run has seen, how near it is, and what its reconstructions keep.

For runs whose assays share the cells of split evaluation and differ in what their generators were
trained on (``like`` of an assay): the share of treated cells, their number, the seed, or the model
that the training started from. One number per row:

* of a generator: the kernel distance to cells of evaluation, both controls together and each
  alone, with its floor; ``generated_prevalence``, the share of its images whose feature lies beyond
  the midpoint of HR's medians; ``still_falling``, 1 where the last two kernel distances of the
  training's curve lie above their floor and more than a tenth below the two before;
* of a method: shift kept, sd ratio and correlation within treatments, with intervals over wells,
  and ``median_position`` of each control, whose difference is the shift kept: 0 and 1 are the
  medians of HR.

The columns prevalence, gan_cells, training_seed and init_from say what was varied. The numbers are
computed in analysis.comparison.trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.settings import Settings
from analysis.run.description import Run, add_run
from rls.io import write_table
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of generators."""
    parser = Parser(__doc__, Settings, "tables")
    add_run(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.comparison.long_table import long_table
    from analysis.comparison.trained import trained_rows

    table = long_table(trained_rows(Run.read(args.run), settings))
    write_table(args.output_csv, table, written_by="table_generators")
    print(f"table_generators: {len(table)} numbers, {args.output_csv}")


if __name__ == "__main__":
    run(main)
