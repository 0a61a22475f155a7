"""The flags of a search beside those of the command: each method's own settings."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rls.runtime.command import Parser, convert, make_settings
from rls.runtime.errors import InputError
from rls.search import Method, load_method, method_names


def parse(parser: Parser[Any], argv: Sequence[str]) -> tuple[argparse.Namespace, Any, Method, Any]:  # noqa: ANN401
    """Return (arguments, the command's settings, the method's module, the method's settings).

    ``--search`` names the method. With ``--config`` the block of ``--method`` under ``methods``
    gives it and its settings; flags override.

    Raises:
        InputError: No or an unknown search; unknown, missing or ill-typed settings.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--method", "--search", "--config"):
        early.add_argument(flag)
    known, _ = early.parse_known_args(list(argv))
    block = _block(known.config, known.method)
    name: str | None = known.search or block.get("search")
    parser.add_argument("--method", required=True, help="name of the row in tables")
    parser.add_argument("--search", help=f"the method's file: {', '.join(method_names())}")
    method = load_method(name) if name else None
    fields = dataclasses.fields(method.Settings) if method else ()
    hints = typing.get_type_hints(method.Settings) if method else {}
    group = parser.add_argument_group(f"settings of --search {name}")
    for field in fields:
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            dest="search_" + field.name,
            nargs="*" if typing.get_origin(hints[field.name]) is tuple else None,
            help=field.metadata["help"].replace("%", "%%"),
        )
    args, settings = parser.parse(argv)
    if method is None:
        raise InputError(f"No search is named. Give --search: {', '.join(method_names())}.")
    args.search = name
    values = {key: value for key, value in block.items() if key != "search"}
    if unknown := sorted(set(values) - set(hints)):
        raise InputError(
            f"The search '{name}' has no setting {', '.join(unknown)}; it has {', '.join(hints)}. "
            f"Correct methods.{known.method} in {known.config}."
        )
    for field in fields:
        given = getattr(args, "search_" + field.name)
        values |= {} if given is None else {field.name: given}
        delattr(args, "search_" + field.name)
    values = {key: convert(value, hints[key], f"{name}.{key}") for key, value in values.items()}
    return args, settings, method, make_settings(method.Settings, values, f"search {name}")


def _block(config: str | None, method: str | None) -> Mapping[str, Any]:
    """Return the method's block of a configuration file, empty where there is none."""
    if config is None or method is None or not Path(config).is_file():
        return {}
    content = yaml.safe_load(Path(config).read_text("utf-8")) or {}
    return (content.get("methods") or {}).get(method) or {}
