"""Write the report: one HTML file that holds every figure and table of a run, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.run.description import Run, add_run
from rls.io import write_text
from rls.runtime.command import run
from rls.runtime.help import CommandParser
from rls.runtime.locks import hold_outputs
from rls.runtime.outputs import need_writable


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report."""
    parser = CommandParser(__doc__)
    add_run(parser)
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="long CSVs")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="figures as PNG")
    parser.add_argument(
        "--generators",
        nargs="*",
        default=[],
        metavar="NAME=FILE",
        help="generators that lie elsewhere than in results",
    )
    parser.add_argument(
        "--on-pairs",
        type=Path,
        nargs="*",
        default=[],
        help="encoders and regressions trained on generated pairs",
    )
    parser.add_argument("--benchmarks", type=Path, help="folder of Snakemake's benchmark files")
    parser.add_argument("--logs", type=Path, help="folder of logs, which name the devices")
    parser.add_argument("--output", type=Path, required=True, help="the report (.html)")
    args = parser.parse_args(argv)
    need_writable(args.output, "--output")
    hold_outputs(vars(args))
    # Imported here, so that --help does not wait for torch and matplotlib.
    from analysis.report.page import generators_from, page
    from analysis.report.sections import Sources

    sources = Sources(
        run=Run.read(args.run),
        tables=args.tables,
        figures=list(dict.fromkeys(path.with_suffix(".png") for path in args.figures)),
        benchmarks=args.benchmarks,
        logs=args.logs,
        generators=generators_from(args.generators),
        on_pairs=args.on_pairs,
    )
    write_text(args.output, page(sources))
    print("done")


if __name__ == "__main__":
    run(main)
