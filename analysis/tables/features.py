"""Write which features survive, by method: the triple, effect sizes and agreement.

For every column of the assay's features, on the same evaluation cells of both controls:

* the triple: shift kept (SR over HR difference of medians), within-treatment sd ratio,
  within-treatment correlation of SR and HR; 1 is right in all three. ``triple_above_zero`` is 0,
  with the reason, where one of them cannot be told from 0. That is a minimum, and no proof that a
  feature is well kept;
* how far the controls are apart: Cohen's d and AUC over cells (AUC with its interval over wells),
  SSMD, Z' and robust Z' over well medians, which are empty under three wells per side;
* agreement in the feature's own unit: Bland-Altman bias SR - HR and its limits over cells, with
  intervals over wells;
* what LR can know, by the row ``regression`` and on the method's own cells: ``ceiling_c`` (c),
  ``ceiling_one_draw`` (c^2), ``ceiling_of_n_solutions`` (what K solutions owe) and
  ``correlation_over_ceiling`` (r over that), for both treatments and, with
  ``correlation_in_treatment``, for each (docs/what_lr_knows.md);
* ``one_image_``: the triple and these numbers of the one image that stands for a cell, where all
  other rows of the method are of the mean over its solutions;
* for a row that predicts a feature with a spread (amortised, regression): how often HR of a cell
  lies in its interval of the confidence level, calibrated on split calibration, and the intervals'
  mean width;
* the number of cells that could be measured, and why others could not;
* ``n_solutions``: the solutions of a cell over which the method's values are means. A mean varies
  less than one solution, and its sd ratio says so;
* ``caution``: what the number of wells or cells cannot carry (fewer than three wells or thirty
  cells of a control, or less than half of its cells measured).

Each is compared with the row of HR, and none alone says that biology survived. A row of LR stands
beside the methods to show that nothing can be measured there. The numbers are computed in
analysis.comparison.kept_features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.settings import Settings
from analysis.run.description import Run, add_run
from rls.io import write_table
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of features."""
    parser = Parser(__doc__, Settings, "tables")
    add_run(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scikit-image.
    from analysis.comparison.design import with_shared_wells
    from analysis.comparison.kept_features import kept_rows
    from analysis.comparison.long_table import long_table

    described = Run.read(args.run)
    table = with_shared_wells(long_table(kept_rows(described, settings)), described)
    write_table(args.output_csv, table, written_by="table_features")
    print(f"table_features: {len(table)} numbers, {args.output_csv}")


if __name__ == "__main__":
    run(main)
