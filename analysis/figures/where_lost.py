"""Draw where a feature is lost: its values on real, generated and reconstructed cells.

Above, cells of all treatments: the HR images that the generator was trained on, those of
evaluation, and random images of the generator. Below, for each control, HR and every method; of a
method with several solutions the one image and the mean. Beside the positive control stand shift
kept and r within treatments. If generated cells lie elsewhere than real ones, the generator has not
learnt the feature; rows ``regression`` and ``amortised`` say what LR tells and whether the
generator couples it to the feature; what is lost after them is lost by the search. The numbers are
made in analysis.comparison.where_lost, the drawing in analysis.drawing.where_lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure."""
    given = parse_figure(__doc__, argv, "features")
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.style import save_outputs
    from analysis.drawing.where_lost import draw

    save_outputs(draw(given.run, *given.tables), given.outputs, "where_lost")


if __name__ == "__main__":
    run(main)
