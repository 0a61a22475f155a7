"""Draw how constant the Jacobian term of Eq. 2, which the article drops, is over w.

Reads what rls.path_lengths measured on one or several generators. Left, how far the image moves for
a unit step in W, over its mean: the narrower, the more constant, as the path-length penalty asks
(StyleGAN2, section 3.2). Right, the dropped term itself, 1/2 log det J^T J, centred, in nats,
beside log p_F(w) where a flow was given: the term may be dropped where it is much the narrower. Of
a run (--run) a table lies in the folder of its assay, whose title is its label; else --labels names
them. The drawing is in analysis.drawing.path_lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.command import figure_parser, outputs_of
from analysis.drawing.settings import Settings
from rls.runtime.command import run

NAME = "path_lengths"


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure."""
    parser = figure_parser(__doc__, Settings)
    parser.add_argument(
        "--tables", type=Path, nargs="+", required=True, help="tables of rls.path_lengths"
    )
    named = parser.add_mutually_exclusive_group(required=True)
    named.add_argument("--labels", nargs="+", help="a name for every table")
    named.add_argument("--run", type=Path, help="results/run.json, which has the titles of assays")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch and matplotlib.
    import pandas as pd

    from analysis.drawing.path_lengths import draw, numbers_of, read_lengths
    from analysis.drawing.style import save
    from analysis.run.description import Run

    labels = args.labels
    if args.run:
        labels = [Run.read(args.run).assay(path.parent.name).label for path in args.tables]
    tables = read_lengths(args.tables, labels)
    numbers = pd.DataFrame(numbers_of(tables, settings))
    pdf, png, csv = outputs_of(args)
    save(draw(tables), numbers, pdf=pdf, png=png, csv=csv, written_by=NAME)
    print(f"{NAME}: {pdf}, {png}, {csv}")


if __name__ == "__main__":
    run(main)
