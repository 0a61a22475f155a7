"""Draw Fig. 4: LR left, super-resolved middle, HR right, for the assays that measure the Golgi.

The drawing is in analysis.drawing.example_cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 4."""
    given = parse_figure(__doc__, argv)
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.example_cells import draw_controls
    from analysis.drawing.style import save_outputs

    save_outputs(draw_controls(given.run, given.settings, golgi=True), given.outputs, "figure4")


if __name__ == "__main__":
    run(main)
