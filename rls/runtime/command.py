"""Build the command line of every stage from its frozen ``Settings``, and run it."""

from __future__ import annotations

import argparse
import dataclasses
import io
import operator
import os
import resource
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from rls.io.files import full_disk
from rls.runtime import locks
from rls.runtime.conversion import convert
from rls.runtime.defaults import RUN, by_hand, shipped_values, tell
from rls.runtime.errors import GRAPHS_OFF, GraphError, InputError
from rls.runtime.help import CommandParser, metavar, setting_help
from rls.runtime.names import as_arguments, spread, without_guards
from rls.runtime.outputs import need_writable
from rls.runtime.stopping import STATUS, Stopped, environment_to_start_again, requeue
from rls.runtime.yaml_file import YamlFile

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")
T = TypeVar("T")
MISSING = dataclasses.MISSING
# Settings that a run of Snakemake puts into the environment of its jobs, since no result depends on
# them. It remembers the flags of a finished job, and for others it would compute everything anew.
VARIABLES = {
    "cuda_graphs": "RLS_CUDA_GRAPHS",
    "compile": "RLS_COMPILE",
    "inception_path": "RLS_INCEPTION_PATH",
    "vgg16_path": "RLS_VGG16_PATH",
    "alexnet_path": "RLS_ALEXNET_PATH",
}


def option(
    help: str,
    *,
    choices: Sequence[str | int] | None = None,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    default: T | EllipsisType = ...,
) -> T:
    """Return a dataclass field with its help text; without ``default`` the value is required.

    The command line, the schema of the configuration and its description take all of it from here.

    Arguments:
        help: The sentence that ``--help`` shows.
        choices: The only values that are allowed; None to allow any.
        above, least: The value, or each of a list, is greater than one and not less than the other.
        below, most: It is less than one and not greater than the other.
        default: The value that the field has if none is given.
    """
    bounds = {"above": above, "least": least, "below": below, "most": most}
    metadata = {
        "help": help,
        "choices": tuple(choices) if choices else None,
        "bounds": {word: bound for word, bound in bounds.items() if bound is not None},
    }
    if isinstance(default, EllipsisType):
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def need_at_least(settings: DataclassInstance, **least: int) -> None:
    """Raise InputError unless each named setting has at least the given value."""
    for name, value in least.items():
        if getattr(settings, name) < value:
            raise InputError(
                f"Found {name} {getattr(settings, name)}, expected {value} or more. Set it higher."
            )


class Parser(CommandParser, Generic[S]):
    """An argument parser with one flag per field of ``settings``.

    Values come from the section ``section`` of the YAML file given as ``--config``; flags
    override it. A key that ``settings`` does not have is refused by name. What neither names may
    stand in the environment (:data:`VARIABLES`). Where a person runs the command without
    ``--config``, settings that are still missing have the values of the program's own file
    (:mod:`rls.runtime.defaults`).

    Arguments:
        doc: The module's docstring, which ``--help`` shows.
        settings: A frozen dataclass whose fields are made by :func:`option`.
        section: The name of the section in the configuration file.
        shared: The name of another section, whose values ``section`` overrides.
        program, whose: How the command is called, and who gives settings without a default of their
            own, where it is not the program's configuration; both for its help.
    """

    def __init__(
        self,
        doc: str | None,
        settings: type[S],
        section: str,
        shared: str = "",
        *,
        program: str = "",
        whose: str = "",
    ) -> None:
        super().__init__(doc, program)
        self.settings, self.whose = settings, whose
        self.section, self.shared = section, shared
        self.written = {"state": True}
        self.hints = typing.get_type_hints(settings)
        self.fields = {field.name: field for field in dataclasses.fields(settings)}
        self.add_argument("--config", type=Path, help=f"YAML file; its section '{section}' is read")
        self.group = self.add_argument_group(f"settings (section '{section}')")
        for field in self.fields.values():
            kind = self.hints[field.name]
            self.group.add_argument(
                "--" + field.name.replace("_", "-"),
                dest="setting_" + field.name,
                default=None,
                type=str,
                nargs="*" if typing.get_origin(kind) is tuple else None,
                metavar=metavar(kind, field),
            )

    def format_help(self) -> str:
        """Return the help; the defaults are read only now, since most calls need none."""
        shipped = shipped_values(self.sections, self.fields)
        for action in self.group._group_actions:
            field = self.fields[action.dest.removeprefix("setting_")]
            action.help = setting_help(field, shipped, self.whose)
        return super().format_help()

    @property
    def sections(self) -> list[str]:
        """The sections of a configuration that hold its settings; later ones override."""
        # A class whose fields several commands inherit names the section that they share.
        shared = [str(vars(base).get("SECTION", "")) for base in self.settings.__mro__]
        return [*shared, self.shared, self.section]

    def writes(self, *names: str, folder: bool = False) -> None:
        """Declare arguments as outputs, which are refused where they could not be written.

        Those named ``output...`` need not be declared unless they are folders.
        """
        self.written.update(dict.fromkeys(names, folder))

    def parse(self, argv: Sequence[str] | None) -> tuple[argparse.Namespace, S]:
        """Return (the namespace of plain arguments, the settings).

        If the command runs as a process of its own, its outputs are locked until it ends.

        Raises:
            InputError: A key is unknown or missing, a value has the wrong type, or another process
                is writing the same output.
        """
        args = self.parse_args(spread(sys.argv[1:] if argv is None else argv))
        without_guards(args)
        values = values_of_environment(self.hints)
        if args.config is not None:
            values |= self._section_values(YamlFile.read(args.config))
        for name in self.fields:
            given = getattr(args, "setting_" + name)
            if given is not None:
                values[name] = convert(given, self.hints[name], "--" + name.replace("_", "-"))
            delattr(args, "setting_" + name)
        if args.config is None and by_hand():
            values |= self._values_of_program(values)
        made = make_settings(self.settings, values, self.section)
        for name, path in vars(args).items():
            if isinstance(path, Path) and (name.startswith("output") or name in self.written):
                flag = "--" + name.replace("_", "-")
                need_writable(path, flag, folder=self.written.get(name, False))
        locks.hold_outputs(vars(args))
        return args, made

    def _section_values(self, file: YamlFile) -> dict[str, object]:
        if self.section not in file.content:
            raise InputError(f"{file.path} has no section '{self.section}'. Add it, or give flags.")
        values: dict[str, object] = {}
        for section in self.sections:
            for name, value in (file.content.get(section) or {}).items():
                if name not in self.fields:
                    raise InputError(
                        f"Unknown key '{name}' in section '{section}' of {file.path}. "
                        f"Known keys: {', '.join(self.fields)}."
                    )
                try:
                    values[name] = convert(value, self.hints[name], f"{section}.{name}")
                except InputError as error:
                    hint = file.misread((section, name), value)
                    raise InputError(f"{error}{hint}") from None
        return values

    def _values_of_program(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the program's own values of the settings that are still missing, and say so."""
        missing = missing_settings(self.settings, values)
        found = shipped_values(self.sections, missing) if missing else {}
        tell(found, f"section '{self.section}'")
        return {name: convert(found[name], self.hints[name], name) for name in found}


def missing_settings(settings: type[DataclassInstance], values: Mapping[str, object]) -> list[str]:
    """Return the names of settings that have neither a value nor a default of their own."""
    return [
        field.name
        for field in dataclasses.fields(settings)
        if field.name not in values
        and field.default is MISSING
        and field.default_factory is MISSING
    ]


def values_of_environment(hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that stand in the environment, among those with these types."""
    return {
        name: convert(os.environ[variable], hints[name], variable)
        for name, variable in VARIABLES.items()
        if name in hints and variable in os.environ
    }


def make_settings(settings: type[S], values: Mapping[str, Any], section: str) -> S:
    """Return ``settings`` built from converted values.

    Raises:
        InputError: A value is missing, or is not among its field's choices.
    """
    fields = {field.name: field for field in dataclasses.fields(settings)}
    if missing := missing_settings(settings, values):
        flags = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise InputError(
            f"Settings of '{section}' are missing: {', '.join(missing)}. "
            f"Give {flags}, or --config with a section '{section}'."
        )
    for name, value in values.items():
        choices = fields[name].metadata.get("choices")
        if choices and value is not None and value not in choices:
            known = ", ".join(map(str, choices))
            raise InputError(f"{section}.{name} is '{value}', expected one of: {known}.")
        bounds = fields[name].metadata.get("bounds") or {}
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not within(number, bounds):
                raise InputError(
                    f"Found {name} {number}, expected {describe(bounds)}. Correct "
                    f"{section}.{name}, or --{name.replace('_', '-')}."
                )
    return settings(**values)


def within(value: float, bounds: Mapping[str, float]) -> bool:
    """Return whether a number keeps the bounds of :func:`option`, which NaN never does."""
    tests = {"above": operator.gt, "least": operator.ge, "below": operator.lt, "most": operator.le}
    return all(tests[word](value, bound) for word, bound in bounds.items())


def describe(bounds: Mapping[str, float]) -> str:
    """Return the bounds of :func:`option` in words: '1 or more', '0 to 1', 'more than 0'."""
    if bounds.keys() == {"least", "most"}:
        return f"{bounds['least']:g} to {bounds['most']:g}"
    words = {"above": "more than {:g}", "least": "{:g} or more", "below": "less than {:g}"}
    words["most"] = "{:g} or less"
    return " and ".join(words[word].format(bound) for word, bound in bounds.items())


def flags(values: Mapping[str, object]) -> list[str]:
    """Return settings as flags: ``{"batch_size": 8}`` gives ``["--batch-size", "8"]``.

    Names that begin with a dash are handed over as :mod:`rls.runtime.names` says.
    """
    result: list[str] = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, list | tuple):
            result += as_arguments(flag, [_text(item) for item in value])
        else:
            result += as_arguments(flag, _text(value))
    return result


def advice(error: Exception) -> str:
    """Return what was wrong and what to do about it, '' for a fault of the program."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and full_disk(error):
        return f"The disk is full ({error}). Free space and run the same command again."
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which need not be imported here
        found = str(error).partition("\n")[0]
        return (
            f"The memory of the GPU is full ({found}). Set batch_size lower, or that of a search "
            "to auto, and run the same command again."
        )
    return ""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command's ``main`` and exit with 0; print ``error: ...`` and exit with 1 on a fault.

    Work that was stopped on purpose prints ``stopped: ...`` and exits with 75.
    """
    locks.active = True
    for stream in (sys.stdout, sys.stderr):  # Names in them may be more than the terminal can show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except Stopped as stop:
        print(f"stopped: {stop}{requeue(stop)}", file=sys.stderr, flush=True)
        sys.exit(STATUS)
    except GraphError as error:
        start_again(f"{error}; the command starts again without graphs, slower", str(error))
    except (InputError, OSError, RuntimeError) as error:
        said = advice(error)
        if "--traceback" in sys.argv or not said:
            raise
        sys.stdout.flush()
        print(f"error: {said}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    if os.environ.get(RUN):
        sys.stdout.flush()
        print(used(), file=sys.stderr, flush=True)
    sys.exit(0)


def start_again(sentence: str, reason: str) -> NoReturn:
    """Print ``sentence`` and replace this process by the same command, without CUDA graphs.

    It resumes from its checkpoint and has what is left of a time limit. Locks of outputs are given
    back first, because the new process takes them again.
    """
    print(f"warning: {sentence}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    locks.release_outputs()
    environment = {**environment_to_start_again(), GRAPHS_OFF: reason}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def used() -> str:
    """Return a line with the processor time and the peak memory of this process and its children.

    The line ends the log of a job. Snakemake's benchmark samples the process only now and then, and
    so misses most of the processor time of a short job.
    """
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in both)
    most = max(one.ru_maxrss for one in both) / 1024
    return f"used: {seconds:.2f} s of processor time, {most:.0f} MiB at most"


def _text(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
