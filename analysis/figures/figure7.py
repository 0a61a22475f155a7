"""Fig. 7: the full search beside its ablations, images left, numbers right (section 4.4).

The numbers: PSNR, MS-SSIM, kernel distance to HR on random convolutions, mean |D(SR) - LR|, mean
log p_F of the styles, their mean pair distance, and of each feature the shift kept and the
within-treatment correlation with HR. Those of the styles are computed here, the others are read
from Table 1 and the table of features. Only the clean degradation is shown. The drawing is in
analysis.drawing.ablations.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.command import figure_parser
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 7."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--table1", type=Path, required=True, help="table1.csv")
    parser.add_argument("--features", type=Path, required=True, help="features.csv")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.comparison.long_table import read_long
    from analysis.drawing.ablations import draw
    from analysis.drawing.style import save_outputs

    figure, rows = draw(
        Run.read(args.run), read_long(args.table1), read_long(args.features), settings
    )
    paths = (args.output_pdf, args.output_png, args.output_csv)
    save_outputs(figure, rows, paths, "figure7")


if __name__ == "__main__":
    run(main)
