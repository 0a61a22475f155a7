"""Draw what reconstructions keep against the number of cells that a generator was trained on.

Each number of cells trains two generators for as many steps: one from a model of another assay
(init_from), one from nothing. Above: shift kept by factor and method, and the kernel distance of
every generator to cells of evaluation. Below: r within treatments, and which share of generated
cells looks treated. A dotted line is the model as it was shipped. A triangle is a training whose
kernel distance still fell when it ended (analysis.comparison.trained has the rule). The drawing is
in analysis.drawing.trained.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure."""
    given = parse_figure(__doc__, argv, "generators")
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.style import save_outputs
    from analysis.drawing.trained import BY_CELLS, draw

    (table,) = given.tables
    save_outputs(draw(given.run, table, BY_CELLS), given.outputs, "transfer")


if __name__ == "__main__":
    run(main)
