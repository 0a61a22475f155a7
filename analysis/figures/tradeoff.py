"""Draw fidelity against realism along the lambdas of Eq. 5, on cells of split tune (section 4.1).

One point is one pair of weights: the mean |D(SR) - LR| of its reconstructions against their mean
log p_F, and against their kernel distance to the HR images of the same cells. Each weight is varied
while the other keeps the method's own value. The drawing is in analysis.drawing.tradeoff.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import figure_parser, outputs_of
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the trade-off."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--method", required=True, help="the method that was swept")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.style import save_outputs
    from analysis.drawing.tradeoff import draw

    save_outputs(draw(Run.read(args.run), args.method, settings), outputs_of(args), "tradeoff")


if __name__ == "__main__":
    run(main)
