"""The help of every command: a sentence first, then a short usage, then arguments with defaults."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
import typing
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn

from rls.runtime.errors import InputError
from rls.runtime.names import HINT

WIDTH = 100
WORDS = {int: "N", float: "X", Path: "PATH"}  # what stands for a value of these types; others: TEXT


def program_name() -> str:
    """Return how the running command is called: ``rls train`` or ``python -m rls.train_gan``."""
    if sys.argv[0].startswith("rls "):  # set by rls.__main__
        return sys.argv[0]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not spec.name.startswith(("rls.", "analysis.")):
        return Path(sys.argv[0]).name
    return f"python -m {spec.name.removesuffix('.__main__')}"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """A formatter that names values by their type and adds the defaults of plain arguments."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=WIDTH)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        default = action.default
        said = "default" in text or isinstance(action, argparse._StoreTrueAction)
        if said or default in (None, argparse.SUPPRESS, [], "") or action.required:
            return text
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else default
        return f"{text} (default {shown})".strip().replace("%", "%%")

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kind = action.type if isinstance(action.type, type) else str
        return WORDS.get(kind, "TEXT")


class CommandParser(argparse.ArgumentParser):
    """A parser of the arguments of one command, whose docstring is its help.

    Arguments:
        doc: The module's docstring; its first line is the sentence that lists of commands show.
        program: How the command is called; '' for how it was called.
    """

    def __init__(self, doc: str | None, program: str = "") -> None:
        name = program_name()
        super().__init__(
            prog=program if program and not name.startswith("rls ") else name,
            description=doc,
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        self.add_argument("--traceback", action="store_true", help="show the traceback of an error")

    def error(self, message: str) -> NoReturn:
        """Raise :class:`InputError` instead of exiting with argparse's status 2."""
        hint = HINT if "unrecognized" in message or "expected " in message else ""
        raise InputError(f"{message[:1].upper()}{message[1:]}. See --help for the arguments.{hint}")

    def format_usage(self) -> str:
        """Return the usage with the arguments that must be given; the others are ``[options]``."""
        parts = [self.prog]
        formatter = self._get_formatter()
        for action in self._actions:
            if not action.option_strings:
                parts.append(str(formatter._format_args(action, action.dest)))
            elif action.required:
                default = formatter._get_default_metavar_for_optional(action)
                parts += [action.option_strings[0], str(formatter._format_args(action, default))]
        lines = textwrap.wrap(
            "usage: " + " ".join([*parts, "[options]"]),
            WIDTH,
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        return "\n".join(lines) + "\n"

    def format_help(self) -> str:
        """Return the description, the usage and the arguments."""
        formatter = self._get_formatter()
        for group in self._action_groups:
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
        parts = [(self.description or "").strip(), self.format_usage().strip()]
        return "\n\n".join([*parts, formatter.format_help()])


def metavar(kind: type | UnionType, field: dataclasses.Field[Any]) -> str:
    """Return what stands for the value of a setting in its help: ``N``, ``maf|realnvp``, ..."""
    choices = field.metadata.get("choices")
    if choices:
        return "|".join(map(str, choices))
    if kind is bool:
        return "true|false"
    if typing.get_origin(kind) is tuple:
        return WORDS.get(typing.get_args(kind)[0], "TEXT")
    if typing.get_origin(kind) in (UnionType, typing.Union):
        first, other = typing.get_args(kind)
        words = typing.get_args(other) or ("none",)
        return "|".join([metavar(first, field), *words])
    return WORDS.get(typing.cast(type, kind), "TEXT")


def setting_help(field: dataclasses.Field[Any], shipped: Mapping[str, object], whose: str) -> str:
    """Return the help of a setting with its default.

    Arguments:
        shipped: Values of the program's configuration for settings without a default of their own.
        whose: Who gives the settings without a default of their own, where it is not that file.
    """
    text = str(field.metadata.get("help", ""))
    if field.default is not dataclasses.MISSING:
        said = f"default {shown(field.default)}"
    elif whose:
        said = f"default: {whose}"
    elif field.name in shipped:
        said = f"default {shown(shipped[field.name])}, of config.yaml"
    else:
        said = "needed"
    return f"{text} ({said})".strip().replace("%", "%%")


def shown(value: object) -> str:
    """Return a value as one types it."""
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value)) or "none given"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
