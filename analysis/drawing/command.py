"""The command line of the figures: their settings, inputs and three outputs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from analysis.drawing.settings import Settings
from analysis.run.description import Run, add_run
from rls.runtime.command import Parser

if TYPE_CHECKING:
    import pandas as pd

S = TypeVar("S", bound=Settings)
Outputs = tuple[Path, Path, Path]  # PDF, PNG and CSV


class Given(NamedTuple):
    """The parsed command line of a figure; ``tables`` are in the order of their flags."""

    run: Run
    tables: list[pd.DataFrame]
    settings: Settings
    outputs: Outputs


def figure_parser(doc: str | None, settings: type[S]) -> Parser[S]:
    """Return the parser of a figure's command, which has the docstring ``doc``."""
    parser = Parser(doc, settings, "figures")
    group = parser.add_argument_group("outputs")
    for kind, text in (("pdf", "vector figure"), ("png", "at 200 dpi"), ("csv", "its numbers")):
        group.add_argument(f"--output-{kind}", type=Path, required=True, help=text)
    return parser


def outputs_of(args: argparse.Namespace) -> Outputs:
    """Return the outputs that :func:`figure_parser` asked for."""
    return args.output_pdf, args.output_png, args.output_csv


def parse_figure(doc: str | None, argv: Sequence[str] | None, *tables: str) -> Given:
    """Parse the command line of a figure of a run, and read the run and the long CSVs.

    Arguments:
        doc: The command's docstring.
        tables: Names of long CSVs, each of which is a flag.
    """
    parser = figure_parser(doc, Settings)
    add_run(parser)
    for name in tables:
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"{name}.csv")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for scipy.
    from analysis.comparison.long_table import read_long

    found = [read_long(getattr(args, name)) for name in tables]
    return Given(Run.read(args.run), found, settings, outputs_of(args))
