"""Write Table 2: accuracy of telling the two controls apart on LR, on every method and on HR.

Classifiers were fitted on HR (for HR and every method) or on LR (rows LR), on cells of another
split; which one is best was decided on the split tune. Intervals are over wells; Wilson's interval
and McNemar's exact test against LR take cells as units and are named so. SR holds no more class
information than LR plus the prior (data processing): a row above LR has a better classifier, a
helpful prior or luck, not more information. The last rows of an assay say how many wells of each
control were evaluated, how many hold training cells too, and what its design confounds with the
treatment.
A second file has the accuracies in the article's form: one line per assay, one column per method.
Only the clean degradation is compared. The numbers are computed in analysis.comparison.accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.settings import Settings
from analysis.run.description import Run, add_run
from rls.io import write_table
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write Table 2."""
    parser = Parser(__doc__, Settings, "tables")
    add_run(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    parser.add_argument("--output-article", type=Path, required=True, help="the article's form")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scipy.
    from analysis.comparison.accuracy import accuracy_rows
    from analysis.comparison.design import WARNINGS, with_shared_wells
    from analysis.comparison.long_table import long_table
    from analysis.comparison.wide_table import article_form

    described = Run.read(args.run)
    table = with_shared_wells(long_table(accuracy_rows(described, settings)), described)
    write_table(args.output_csv, table, written_by="table2")
    write_table(args.output_article, article_form(table, described), written_by="table2")
    print(f"table2: {len(table)} numbers, {args.output_csv}, {args.output_article}")
    warnings = table[table["metric"].isin(WARNINGS) & (table["value"] == 1)]
    for assay, reason in warnings[["assay", "reason"]].drop_duplicates().to_numpy():
        print(f"table2: {assay}: {reason}.")


if __name__ == "__main__":
    run(main)
