"""Super-resolve microscopy images by regularised latent search, and measure what is kept of them.

Every tool of the program has a name here:

    rls run --configfile demo.yaml     runs the workflow from plates to report
    rls NAME --help                    says what a command does, and its defaults
    rls stage                          lists every stage of the workflow; rls stage NAME runs one
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence

from rls import __version__
from rls.runtime.command import run
from rls.runtime.commands import GROUPS, file_of, listed, stages, tools
from rls.runtime.errors import InputError
from rls.runtime.places import PROGRAM

ENDING = (
    "rls --version prints the version. An error is one sentence; add --traceback to a command to "
    "see more."
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the first word names, or list what there is."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
    elif words[0] == "--version":
        print(f"rls {__version__}, in {PROGRAM}")
    elif words[0] != "stage":
        call(find(words[0], tools(), "rls"), f"rls {words[0]}", words[1:])
    elif len(words) == 1 or words[1] in ("-h", "--help", "--list"):
        print("\n".join(["The stages of the workflow, as rls stage NAME runs them:", ""]))
        print("\n".join(listed(stages())))
    else:
        name = words[1].replace("-", "_")
        call(find(name, stages(), "rls stage"), f"rls stage {name}", words[2:])


def overview() -> str:
    """Return the help of ``rls``: the users' tools by group."""
    lines = [str(__doc__).strip()]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:", *listed(commands)]
    return "\n".join([*lines, "", ENDING])


def find(name: str, commands: Mapping[str, str], before: str) -> str:
    """Return the module of a command.

    Raises:
        InputError: There is none of that name.
    """
    if name in commands:
        return commands[name]
    known = {**{stage: f"rls stage {stage}" for stage in stages()}, **commands}
    near = difflib.get_close_matches(name, known, n=1)
    hint = ""
    if near:
        called = f"{before} {near[0]}" if near[0] in commands else known[near[0]]
        hint = f" Did you mean {called}?"
    raise InputError(f"There is no command '{before} {name}'. {before} lists what there is.{hint}")


def call(module: str, called: str, arguments: Sequence[str]) -> None:
    """Run the ``main`` of a command in this process, which is then called ``called``."""
    if str(PROGRAM) not in sys.path:
        sys.path.insert(1, str(PROGRAM))
    sys.argv = [called, *arguments]
    package = file_of(module).name == "__main__.py"
    found: Callable[[], None] = importlib.import_module(module + ".__main__" * package).main
    found()


def start() -> None:
    """Run ``rls``: the entry that an installation gives."""
    run(main)


if __name__ == "__main__":
    start()
