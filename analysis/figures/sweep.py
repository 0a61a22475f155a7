"""Draw image metrics, prior and features over the lambdas of Eq. 5, on cells of split tune (4.1).

Each weight is varied while the other keeps the method's own value (dashed). The article says that
results are best and stable for lambda_w of 1e-6 to 5e-4 and lambda_c of 0.005 to 0.05 (shaded); its
images have 128 px and three channels. A filled dot differs from the method's own weights on the
same cells: the interval of the paired difference, in the CSV, excludes 0. The drawing is in
analysis.drawing.sweep.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import figure_parser, outputs_of
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the sweep."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--method", required=True, help="the method that was swept")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.style import save_outputs
    from analysis.drawing.sweep import draw

    save_outputs(draw(Run.read(args.run), args.method, settings), outputs_of(args), "sweep")


if __name__ == "__main__":
    run(main)
