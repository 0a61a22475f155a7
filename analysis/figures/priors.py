"""Draw MAF beside RealNVP as the prior p_F of styles (Eq. 4, sections 3.1.2 and 4.1).

Both flows were fitted to the same styles. Compared are the density that they give to fresh styles
w = G_m(z), the squared norms of F(w), the images of their own samples w = F^-1(z), and what the
search of the same cells of split tune finds with either. The drawing is in analysis.drawing.priors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.drawing.command import figure_parser, outputs_of
from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.prior.settings import FLOWS
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the flows of one generator."""
    parser = figure_parser(__doc__, Settings)
    add_run(parser)
    parser.add_argument("--assay", help="the assay of the generator; default the first that runs")
    parser.add_argument("--method", required=True, help="the method that searched")
    parser.add_argument(
        "--generator", type=Path, required=True, help="generator whose styles are shown"
    )
    parser.add_argument(
        "--styles", type=Path, required=True, help="styles to which flows were fitted"
    )
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch and matplotlib.
    from analysis.comparison.priors import prior_rows, search_rows
    from analysis.drawing.priors import draw
    from analysis.drawing.style import save_outputs
    from analysis.measuring.priors import measure_priors

    described = Run.read(args.run)
    assay = described.assay(args.assay or described.assays[0].name)
    folder = described.results / assay.name / "priors"
    flows = {name: folder / f"{name}.safetensors" for name in FLOWS}
    priors = measure_priors(args.generator, args.styles, flows, settings.norms_shown, settings.seed)
    rows = prior_rows(assay, priors, settings)
    for at in described.comparisons(clean_only=True):
        if at.assay == assay and assay.has_high_resolution:
            rows += search_rows(at, args.method, settings)
    save_outputs((draw(assay, priors, rows, settings), rows), outputs_of(args), "priors")


if __name__ == "__main__":
    run(main)
