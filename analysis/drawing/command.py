"""The parser of every figure's command: its settings and its three outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from analysis.drawing.settings import Settings
from rls.runtime.command import Parser

S = TypeVar("S", bound=Settings)


def figure_parser(doc: str | None, settings: type[S]) -> Parser[S]:
    """Return the parser of a figure's command.

    Arguments:
        doc: The command's docstring.
    """
    parser = Parser(doc, settings, "figures")
    group = parser.add_argument_group("outputs")
    for kind, text in (("pdf", "vector figure"), ("png", "at 200 dpi"), ("csv", "its numbers")):
        group.add_argument(f"--output-{kind}", type=Path, required=True, help=text)
    return parser
