"""Write Table 1: how near reconstructions are to HR images, per image and as a set (section 4.2).

Per assay, factor, degradation and method: MS-SSIM, PSNR and fidelity |D(SR) - LR| as means over
cells, and |D(SR) - clean LR| where LR is degraded; kernel distance (KD) and Frechet distance (FD)
between the sets, both on features of the treatment classifier and on random convolutions that know
nothing of treatments. With the weights of make weights there are LPIPS by VGG16 and AlexNet, and KD
on VGG16's middle layers; with those of Inception, FID and KID. The floor row is HR against other HR
cells. FD is biased upwards, so each value names n and the FD of two disjoint HR sets;
..._against_other_cells is FD to the floor's other HR cells, at one n in all rows, and
..._extrapolated the intercept of a line in 1/n (Chong & Forsyth 2020), from five images a feature
on. A second file has the numbers in the article's form: one line per method, the best two marked,
beside the article's own numbers. The numbers are computed in analysis.comparison.image_quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.settings import Settings
from analysis.run.description import Run, add_run
from rls.io import write_table
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write Table 1."""
    parser = Parser(__doc__, Settings, "tables")
    add_run(parser)
    parser.add_argument("--output-csv", type=Path, required=True, help="the long table")
    parser.add_argument("--output-article", type=Path, required=True, help="the article's form")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from analysis.comparison.article_quality import article_quality
    from analysis.comparison.design import with_shared_wells
    from analysis.comparison.image_quality import quality_rows
    from analysis.comparison.long_table import long_table

    described = Run.read(args.run)
    table = with_shared_wells(long_table(quality_rows(described, settings)), described)
    write_table(args.output_csv, table, written_by="table1")
    write_table(args.output_article, article_quality(table, described), written_by="table1")
    print(f"table1: {len(table)} numbers, {args.output_csv}, {args.output_article}")


if __name__ == "__main__":
    run(main)
