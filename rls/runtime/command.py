"""Build the command line of every stage from its frozen ``Settings``, and run it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import yaml

from rls.io.files import full_disk
from rls.runtime import locks
from rls.runtime.errors import InputError
from rls.runtime.stopping import STATUS, Stopped, requeue

S = TypeVar("S")
MISSING = dataclasses.MISSING
RUN = "RLS_RUN"  # in the environment of the jobs of Snakemake


def option(help: str, *, choices: Sequence[str] | None = None, default: Any = MISSING) -> Any:  # noqa: ANN401
    """Return a dataclass field with its help text; without ``default`` the value is required."""
    metadata = {"help": help, "choices": tuple(choices) if choices else None}
    if default is MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Parser(argparse.ArgumentParser, Generic[S]):
    """An argument parser with one flag per field of ``settings``.

    Values come from the section ``section`` of the YAML file given as ``--config``; flags
    override it. A key that ``settings`` does not have is refused by name.

    Arguments:
        doc: The module's docstring; its first line is the summary shown by ``--help``.
        settings: A frozen dataclass whose fields are made by :func:`option`.
        section: The name of the section in the configuration file.
    """

    def __init__(self, doc: str | None, settings: type[S], section: str) -> None:
        super().__init__(
            description=doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.settings = settings
        self.section = section
        self.hints = typing.get_type_hints(settings)
        self.fields = {field.name: field for field in dataclasses.fields(settings)}  # type: ignore[arg-type]  # S is a dataclass
        self.add_argument("--config", type=Path, help=f"YAML file; its section '{section}' is read")
        self.add_argument("--traceback", action="store_true", help="show the traceback of an error")
        group = self.add_argument_group(f"settings (section '{section}')")
        for field in self.fields.values():
            kind = self.hints[field.name]
            group.add_argument(
                "--" + field.name.replace("_", "-"),
                dest="setting_" + field.name,
                default=None,
                type=str,
                nargs="*" if _is_tuple(kind) else None,
                metavar=_metavar(kind, field),
                help=field.metadata.get("help", "").replace("%", "%%"),
            )

    def error(self, message: str) -> NoReturn:
        """Raise :class:`InputError` in place of argparse's exit with status 2."""
        raise InputError(f"{message[:1].upper()}{message[1:]}. See --help for the arguments.")

    def parse(self, argv: Sequence[str] | None) -> tuple[argparse.Namespace, S]:
        """Return the namespace of plain arguments and the settings.

        Where the command runs as a process, its outputs are locked until it ends.

        Raises:
            InputError: Unknown or missing key, a value of the wrong type, or another process is
                writing the same output.
        """
        args = self.parse_args(argv)
        values: dict[str, Any] = {}
        for name, value in self._section_values(args.config).items():
            if name not in self.fields:
                known = ", ".join(self.fields)
                raise InputError(
                    f"Unknown key '{name}' in section '{self.section}' of {args.config}. "
                    f"Known keys: {known}."
                )
            values[name] = convert(value, self.hints[name], f"{self.section}.{name}")
        for name in self.fields:
            given = getattr(args, "setting_" + name)
            if given is not None:
                values[name] = convert(given, self.hints[name], "--" + name.replace("_", "-"))
            delattr(args, "setting_" + name)
        made = make_settings(self.settings, values, self.section)
        locks.hold_outputs(vars(args))
        return args, made

    def _section_values(self, path: Path | None) -> Mapping[str, Any]:
        if path is None:
            return {}
        if not path.is_file():
            raise InputError(f"The configuration file {path} does not exist.")
        content = yaml.safe_load(path.read_text()) or {}
        if self.section not in content:
            raise InputError(f"{path} has no section '{self.section}'. Add it, or give flags.")
        return content[self.section]


def make_settings(settings: type[S], values: Mapping[str, Any], section: str) -> S:
    """Build ``settings`` from converted values; name every missing or ill-chosen one."""
    fields = {field.name: field for field in dataclasses.fields(settings)}  # type: ignore[arg-type]  # S is a dataclass
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        flags = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise InputError(
            f"Settings of '{section}' are missing: {', '.join(missing)}. "
            f"Give {flags}, or --config with a section '{section}'."
        )
    for name, value in values.items():
        choices = fields[name].metadata.get("choices")
        if choices and value is not None and value not in choices:
            raise InputError(
                f"{section}.{name} is '{value}', expected one of: {', '.join(choices)}."
            )
    return settings(**values)


def convert(value: Any, kind: Any, name: str) -> Any:  # noqa: ANN401
    """Return ``value`` (from YAML or the command line) as ``kind``.

    Raises:
        InputError: The value cannot be read as ``kind``; YAML's ``5e-5`` arrives as a string
            and is refused with the spelling that works.
    """
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        inner = [arg for arg in typing.get_args(kind) if arg is not type(None)][0]
        return None if value in (None, "none", "null") else convert(value, inner, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{name} is {value!r}, expected a list.")
        return tuple(convert(item, typing.get_args(kind)[0], name) for item in value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise InputError(f"{name} is {value!r}, expected true or false.")
    if kind is str:
        return str(value)
    try:
        if isinstance(value, bool):
            raise ValueError
        number = kind(value)
        if kind is int and float(value) != number:
            raise ValueError
    except (TypeError, ValueError):
        article = "an integer" if kind is int else "a number"
        raise InputError(f"{name} is {value!r}, expected {article}.") from None
    return number


def as_flags(settings: Any) -> list[str]:  # noqa: ANN401
    """Return the flags that rebuild ``settings``: what a log line shows and a test calls."""
    flags: list[str] = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        flags.append("--" + field.name.replace("_", "-"))
        items = value if isinstance(value, tuple) else (value,)
        flags.extend(_text(item) for item in items)
    return flags


def flags(values: Mapping[str, object]) -> list[str]:
    """Return values as flags: ``{"batch_size": 8}`` gives ``["--batch-size", "8"]``."""
    result: list[str] = []
    for name, value in values.items():
        items = value if isinstance(value, list | tuple) else [value]
        result += ["--" + name.replace("_", "-"), *map(_text, items)]
    return result


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command's ``main``: exit 0, or print ``error: ...`` and exit 1.

    Work that was stopped on purpose prints ``stopped: ...`` and exits with 75.
    """
    locks.active = True
    try:
        main()
    except (InputError, OSError) as error:
        if "--traceback" in sys.argv or not (isinstance(error, InputError) or full_disk(error)):
            raise
        said = str(error)
        if not isinstance(error, InputError):
            said = f"The disk is full ({error}). Free space and run the same command again."
        sys.stdout.flush()
        print(f"error: {said}", file=sys.stderr, flush=True)
        sys.exit(1)
    except Stopped as stop:
        print(f"stopped: {stop}{requeue(stop)}", file=sys.stderr, flush=True)
        sys.exit(STATUS)
    except KeyboardInterrupt:
        sys.exit(130)
    if os.environ.get(RUN):
        sys.stdout.flush()
        print(used(), file=sys.stderr, flush=True)
    sys.exit(0)


def used() -> str:
    """Return what this process and its children took, as a job's log ends with it.

    Snakemake's benchmark looks now and then, and sees little of the processor time of a short job.
    """
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in both)
    most = max(one.ru_maxrss for one in both) / 1024
    return f"used: {seconds:.2f} s of processor time, {most:.0f} MiB at most"


def _text(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_tuple(kind: Any) -> bool:  # noqa: ANN401
    inner = typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType,) else (kind,)
    return any(typing.get_origin(arg) is tuple for arg in inner)


def _metavar(kind: Any, field: dataclasses.Field[Any]) -> str:  # noqa: ANN401
    choices = field.metadata.get("choices")
    if choices:
        return "|".join(choices)
    if kind is bool:
        return "true|false"
    return getattr(kind, "__name__", "value").upper()
