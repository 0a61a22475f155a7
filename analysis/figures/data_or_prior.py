"""Draw what reconstructions keep against the share of treated cells in the training.

The generators of the run differ in that share and in the seed of their training; the cells that are
searched are the same. Above: shift kept by factor and method, and the kernel distance of every
generator to cells of evaluation, of both controls and of each. Below: where the medians of the two
treatments lie between those of HR, which says which of them moved, and which share of generated
cells looks treated. A triangle is a training whose kernel distance still fell when it ended
(analysis.comparison.trained has the rule). The drawing is in analysis.drawing.trained.
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
    from analysis.drawing.trained import BY_PREVALENCE, draw

    (table,) = given.tables
    save_outputs(draw(given.run, table, BY_PREVALENCE), given.outputs, "data_or_prior")


if __name__ == "__main__":
    run(main)
