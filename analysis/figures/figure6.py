"""Draw Fig. 6: the same cells under several degradations, a few methods each (section 4.3).

Above, one cell of each control: HR, the degraded LR image that a method was given, and its
reconstruction. Below, per degradation and method: mean |D(SR) - clean LR|, the kernel distance to
HR on random convolutions, LPIPS where weights of VGG16 are given, and the shift of each feature
that was kept. The numbers are read from Table 1 and the table of features; the drawing is in
analysis.drawing.degradations.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 6."""
    given = parse_figure(__doc__, argv, "table1", "features")
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.degradations import draw
    from analysis.drawing.style import save_outputs

    save_outputs(draw(given.run, given.settings, *given.tables), given.outputs, "figure6")


if __name__ == "__main__":
    run(main)
