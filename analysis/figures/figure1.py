"""Draw Fig. 1: squared norms of Gaussianised style vectors, beside chi-squared of d degrees (3.2).

Every transform is fitted on the given styles and shown on fresh ones, w = G_m(z). A transform that
standardises has mean d by construction, so the spread (sqrt(2 d) if Gaussian) is the result. The
drawing is in analysis.drawing.style_norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.command import figure_parser, outputs_of
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Draw Fig. 1."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--assay", help="the assay of the generator; default figures.norms_assay")
    parser.add_argument(
        "--styles", type=Path, required=True, help="styles to which transforms are fitted"
    )
    parser.add_argument("--flow", type=Path, required=True, help="the fitted flow")
    parser.add_argument(
        "--generator", type=Path, required=True, help="generator whose styles are shown"
    )
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch and matplotlib.
    from analysis.drawing.style import save_outputs
    from analysis.drawing.style_norms import draw, numbers_of, read_norms

    described = Run.read(args.run)
    assay = described.assay(args.assay or settings.norms_assay or described.assays[0].name)
    norms, dimensions, n_fit = read_norms(args.styles, args.flow, args.generator, settings)
    rows = numbers_of(assay, norms, dimensions, n_fit, settings)
    drawn = draw(norms, dimensions, assay), rows
    save_outputs(drawn, outputs_of(args), "figure1")


if __name__ == "__main__":
    run(main)
