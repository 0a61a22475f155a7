"""Draw HR against SR cell by cell, with Bland-Altman below: did single cells keep their feature?

One block per assay, factor and feature, one column per method. Above, each cell's value on SR over
that on HR; dashed: equality; r is the correlation inside treatments, with its interval over wells.
Below, the difference SR - HR over the mean of the two: bias (solid) and limits of agreement
(dashed), between which 95 % of cells should lie. Negative control grey, positive control in the
method's colour. A method that knows the treatment and nothing of a cell makes two clouds that lie
flat: its r is about 0. Only the clean degradation is shown. Agreement is read from the table of
features; the drawing is in analysis.drawing.scatter.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the scatter of HR against SR."""
    given = parse_figure(__doc__, argv, "features")
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.scatter import draw
    from analysis.drawing.style import save_outputs

    save_outputs(draw(given.run, given.settings, *given.tables), given.outputs, "figure_scatter")


if __name__ == "__main__":
    run(main)
