"""Draw how often a compound's nearest neighbour shares its mechanism: HR, LR, methods and chance.

One block a factor. NSC: the neighbour is not of the same compound; NSCB: nor of the same week.
Methods are judged by the assay's own features, LR by its pixels. Dashed: HR; dotted: the best of
LR's pixels and bicubic. Intervals are over compounds; that of the shuffles is their range. The
drawing is in analysis.drawing.mechanism.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure of mechanisms."""
    given = parse_figure(__doc__, argv, "mechanism")
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.mechanism import draw
    from analysis.drawing.style import save_outputs

    save_outputs(draw(given.run, given.settings, *given.tables), given.outputs, "mechanism")


if __name__ == "__main__":
    run(main)
