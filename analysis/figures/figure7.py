"""Draw Fig. 7: the full search beside its ablations, images left, numbers right (section 4.4).

The numbers: PSNR, MS-SSIM, kernel distance to HR on random convolutions, mean |D(SR) - LR|, mean
log p_F of the styles, their mean pair distance, and of each feature the shift kept and the
within-treatment correlation with HR. Those of the styles are computed here, the others are read
from Table 1 and the table of features. Only the clean degradation is shown. The drawing is in
analysis.drawing.ablations.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.drawing.command import parse_figure
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 7."""
    given = parse_figure(__doc__, argv, "table1", "features")
    # Imported here, so that --help does not wait for matplotlib.
    from analysis.drawing.ablations import draw
    from analysis.drawing.style import save_outputs

    save_outputs(draw(given.run, given.settings, *given.tables), given.outputs, "figure7")


if __name__ == "__main__":
    run(main)
