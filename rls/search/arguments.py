"""Parse the flags that all commands of a search share, and those of the method's own settings."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rls.networks.weights_settings import Vgg16Settings
from rls.runtime.command import (
    Parser,
    convert,
    make_settings,
    missing_settings,
    values_of_environment,
)
from rls.runtime.defaults import by_hand, shipped_method, shipped_values, tell
from rls.runtime.errors import InputError
from rls.runtime.help import metavar, setting_help
from rls.runtime.yaml_file import YamlFile
from rls.search.methods import AnySettings, ChosenMethod, load_method, method_names

S = TypeVar("S", bound=AnySettings)


@dataclass(frozen=True)
class Inputs:
    """The factor, and the files that a search reads; None where a file was not given."""

    low_resolution: Path
    intensity: Path
    factor: int
    generator: Path | None
    flow: Path | None
    styles: Path | None
    network: Path | None
    encoder: Path | None


def add_files(parser: argparse.ArgumentParser, required: Collection[str] = ()) -> None:
    """Add the flags of a search's files; the networks named in ``required`` must be given."""
    parser.add_argument("--low-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    for name, use in (
        ("generator", ""),
        ("flow", ", for the prior"),
        ("styles", ", for the start"),
        ("encoder", ", for starts by the encoder"),
    ):
        parser.add_argument(
            f"--{name}", type=Path, required=name in required, help=f"{name}.safetensors{use}"
        )
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    parser.add_argument("--state", type=Path, required=True, help="folder of finished batches")


def inputs_of(args: argparse.Namespace) -> Inputs:
    """Return the values of the flags that :func:`add_files` added."""
    names = (field.name for field in dataclasses.fields(Inputs))
    values: dict[str, Any] = {name: getattr(args, name, None) for name in names}
    return Inputs(**values)


def parse(parser: Parser[S], argv: Sequence[str]) -> tuple[argparse.Namespace, S, ChosenMethod]:
    """Return the arguments, the command's settings, and the method with its own settings.

    ``--search`` names the method. With ``--config`` the block of ``--method`` under ``methods``
    gives the search and its settings; flags override. Without it, what is missing by hand comes
    from the method's block in the program's own configuration. Where the command has a setting of
    a name, its flag is the command's own.

    Raises:
        InputError: No search or an unknown one; unknown, missing or ill-typed settings.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--method", "--search", "--config"):
        early.add_argument(flag)
    known, _ = early.parse_known_args(list(argv))
    block = _block(known.config, known.method)
    shipped: Mapping[str, Any] = {}
    if known.config is None and by_hand():
        shipped = shipped_method(known.method, known.search)
    search: str | None = known.search or block.get("search")
    if search is None and not {"-h", "--help"} & set(argv):  # A search imports torch.
        search = shipped.get("search")
    parser.add_argument("--method", required=True, help="name of the row in tables")
    parser.add_argument("--search", help=f"the method's file: {', '.join(method_names())}")
    method = load_method(search) if search else None
    fields = dataclasses.fields(method.Settings) if method else ()
    fields = tuple(field for field in fields if field.name not in parser.fields)
    hints = typing.get_type_hints(method.Settings) if method else {}
    group = parser.add_argument_group(f"settings of --search {search}")
    for field in fields:
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            dest="search_" + field.name,
            nargs="*" if typing.get_origin(hints[field.name]) is tuple else None,
            metavar=metavar(hints[field.name], field),
            help=setting_help(field, shipped, parser.whose),
        )
    args, settings = parser.parse(argv)
    if search is None or method is None:
        raise InputError(f"No search is named. Give --search: {', '.join(method_names())}.")
    values = {key: value for key, value in block.items() if key != "search"}
    if unknown := sorted(set(values) - set(hints)):
        raise InputError(
            f"The search '{search}' has no setting {', '.join(unknown)}; it has "
            f"{', '.join(hints)}. Correct methods.{known.method} in {known.config}."
        )
    values |= {k: v for k, v in _weights(known.config).items() if k in hints}
    given = {field.name: getattr(args, "search_" + field.name) for field in fields}
    values |= {key: value for key, value in given.items() if value is not None}
    values = {key: convert(value, hints[key], f"{search}.{key}") for key, value in values.items()}
    values = {**values_of_environment(hints), **values}
    if known.config is None and by_hand():
        missing = missing_settings(method.Settings, values)
        found = {k: v for k, v in shipped.items() if k in missing}
        found |= shipped_values([Vgg16Settings.SECTION], missing) if missing else {}
        tell(found, f"the method '{known.method if known.search is None else search}'")
        values |= {key: convert(found[key], hints[key], key) for key in found}
    own = make_settings(method.Settings, values, f"search {search}")
    return args, settings, ChosenMethod(args.method, search, method, own)


def _block(config: str | None, method: str | None) -> Mapping[str, Any]:
    """Return the method's block of a configuration file, empty where there is none."""
    return {} if method is None else (_content(config).get("methods") or {}).get(method) or {}


def _weights(config: str | None) -> Mapping[str, Any]:
    """Return the section of weights of a configuration file, empty where there is none."""
    return _content(config).get(Vgg16Settings.SECTION) or {}


def _content(config: str | None) -> Mapping[str, Any]:
    if config is None or not Path(config).is_file():
        return {}
    return YamlFile.read(config).content
