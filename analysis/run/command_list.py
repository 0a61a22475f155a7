"""The list of commands in ``docs/commands.md``, made from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.run.keys import ROOT
from analysis.run.reference import BEGIN, END
from rls.runtime.commands import GROUPS, first_sentence, stages, tools

PAGE = ROOT / "docs" / "commands.md"


def with_commands(text: str) -> str:
    """Return the text of the page with its derived part written again."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return head + BEGIN + "\n".join(["", *_tables(), ""]) + END + tail


def _tables() -> Iterator[str]:
    for group, commands in GROUPS.items():
        yield from (f"## {group}", "", "| command | what it does | the same as |", "| - | - | - |")
        for name, module in commands.items():
            yield f"| `rls {name}` | {_cell(module)} | `python -m {module}` |"
        yield ""
    yield from ("## Stages of the workflow", "")
    yield from ("| command | what it does | the same as |", "| - | - | - |")
    known = set(tools().values())
    for name, module in stages().items():
        if module not in known:
            yield f"| `rls stage {name}` | {_cell(module)} | `python -m {module}` |"


def _cell(module: str) -> str:
    return first_sentence(module).replace("|", "\\|")
