"""Draw Fig. 5: a feature on HR and on every method, for both controls, and whether it survived.

One block per assay, factor and feature, lettered in the order in which assays run; those that
lettered_first names come first (in the article: (a) translocation, (b) Golgi). Column panel of the
CSV holds the letter.
Boxes: negative control solid, positive control dotted. Beside them the triple: shift kept
(SR over HR difference of medians), within-treatment sd ratio, within-treatment correlation of SR
and HR. An effect size alone can be large with no information per cell, so the three stand
together. The single cells are in the figure 'scatter'. Only the clean degradation is shown. The
triple and the effect sizes are read from the table of features; the drawing is in
analysis.drawing.boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 5."""
    given = parse_figure(__doc__, argv, "features")
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.boxes import draw
    from analysis.drawing.style import save_outputs

    save_outputs(draw(given.run, given.settings, *given.tables), given.outputs, "figure5")


if __name__ == "__main__":
    run(main)
