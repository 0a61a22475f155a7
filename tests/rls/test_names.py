"""Names of people reach a command as they were written, whatever stands in them."""

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rls.runtime.command import Parser, flags, option
from rls.runtime.errors import InputError
from rls.runtime.names import as_arguments, spread
from tests.conftest import ROOT

NAMES = [
    *("-DOX", "+DOX", "--DOX", "-h", "-1", "-1e-3", "-", "--", "a b", " a", "a'b", 'a"b', "a#b"),
    *("a;b", "$HOME", "${x}", "a\\b", "{a}", "{{a}}", "{wildcards.plate}", "a|b", "`ls`", "a&b"),
    *("TNF-\u03b1", "\u9634\u6027", "\u043a", "50%", "%s", "[a]", "~", "*", "a=b", "@file", "None"),
]


@dataclass(frozen=True)
class Settings:
    """A list and a text, as settings have them."""

    treatments: tuple[str, ...] = option("Treatments.")
    column: str | None = option("Column.", default=None)


def parser():
    made = Parser("Test.", Settings, "fit")
    made.add_argument("--channels", nargs="+", required=True)
    made.add_argument("--plates", nargs="*", type=Path, default=[])
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_name_goes_through_flags_and_a_shell_unchanged(name):
    given = flags({"treatments": ["DMSO", name], "column": name, "channels": [name, "dna"]})
    args, settings = parser().parse(shlex.split(shlex.join(given)))
    assert settings == Settings(("DMSO", name), name)
    assert args.channels == [name, "dna"]


def test_names_without_a_dash_are_given_as_ever():
    """Finished jobs are not repeated because their flags have another form."""
    assert as_arguments("--treatments", ["DMSO", "+DOX", "-1", "-0.5"]) == [
        *("--treatments", "DMSO", "+DOX", "-1", "-0.5")
    ]
    assert as_arguments("--treatments", ["-DOX", "\u03b1"]) == [
        *("--treatments-json", '["-DOX", "\u03b1"]')
    ]
    assert flags({"column": "-x"}) == ["--column-json", '"-x"']


def test_the_twin_of_a_list_takes_json():
    required = ["--channels", "dna"]
    args, settings = parser().parse([*required, '--treatments-json=["-a", "--b"]'])
    assert settings.treatments == ("-a", "--b")
    args, settings = parser().parse([*required, "--treatments", "--plates-json", '["-p/q", "r"]'])
    assert settings.treatments == () and args.plates == [Path("-p/q"), Path("r")]
    args, settings = parser().parse(["--channels-json", '["-c"]', "--treatments-json", "[]"])
    assert args.channels == ["-c"] and settings.treatments == ()


@pytest.mark.parametrize("text", ["-DOX", "[1]", "1", "{}", ""])
def test_what_is_no_json_of_names_is_refused(text):
    with pytest.raises(InputError, match="--treatments-json is .*expected a text or a list of"):
        spread(["--treatments-json", text])


def test_a_dash_by_hand_is_told_its_form():
    with pytest.raises(InputError, match="arguments: -DOX .*--treatments-json '..-DOX"):
        parser().parse(["--channels", "dna", "--treatments", "-DOX", "DMSO"])
    with pytest.raises(InputError, match="column: expected one.*where a flag takes one name"):
        parser().parse(["--channels", "dna", "--treatments", "--column", "-DOX"])


def test_an_argument_that_is_no_utf_8_is_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"'caf\\xe9.tif' is no UTF-8 text"):
        spread([b"caf\xe9.tif".decode("utf-8", "surrogateescape")])


def test_guards_are_no_part_of_what_argparse_gives():
    plain = argparse.ArgumentParser()
    plain.add_argument("--x", nargs="*")
    assert plain.parse_args(spread(["--x-json", '["-a"]'])).x == ["\0-a"]


def test_a_name_beyond_the_terminal_is_printed_all_the_same():
    code = (
        "from rls.runtime.command import run\n"
        "from rls.runtime.errors import InputError\n"
        "def main():\n"
        "    print('plate \\u9634 \\udce9')\n"
        "    raise InputError('file \\u9634 \\udce9')\n"
        "run(main)\n"
    )
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert done.stdout == b"plate \\u9634 \\udce9\n"
    assert done.stderr == b"error: file \\u9634 \\udce9\n"
