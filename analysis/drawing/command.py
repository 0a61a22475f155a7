"""The body of a figure's command: its parser, its three outputs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.comparison.layout import Inputs, add_inputs, inputs_from, long_table
from analysis.drawing.settings import Settings
from analysis.drawing.style import save
from rls.runtime.command import Parser

Rows = list[dict[str, Any]]


def figure_parser(doc: str | None) -> Parser[Settings]:
    """Return the parser of a figure's command, with its three outputs."""
    parser = Parser(doc, Settings, "figures")
    group = parser.add_argument_group("outputs")
    for kind, text in (("pdf", "vector figure"), ("png", "at 200 dpi"), ("csv", "its numbers")):
        group.add_argument(f"--output-{kind}", type=Path, required=True, help=text)
    return parser


def save_outputs(
    figure: Figure, rows: Sequence[Mapping[str, Any]], args: argparse.Namespace, written_by: str
) -> None:
    """Write the figure and the numbers behind it."""
    save(
        figure, long_table(rows), pdf=args.output_pdf, png=args.output_png, csv=args.output_csv,
        written_by=written_by,
    )  # fmt: skip
    print(f"{written_by}: {args.output_pdf}, {args.output_png}, {args.output_csv}")


def figure_main(
    doc: str | None,
    draw: Callable[[Inputs, Settings], tuple[Figure, Rows]],
    written_by: str,
    argv: Sequence[str] | None,
) -> None:
    """The body of every figure's command that takes the common inputs."""
    parser = figure_parser(doc)
    add_inputs(parser)
    args, settings = parser.parse(argv)
    figure, rows = draw(inputs_from(args), settings)
    save_outputs(figure, rows, args, written_by)
