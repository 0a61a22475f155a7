"""One command for every tool: its lists, its help, its defaults, and the page that describes it."""

import json
import os
import re
import subprocess
import sys
import time

import pytest

from analysis.run import command_list
from rls.runtime import commands
from tests.conftest import ROOT
from tests.imports import commands as doors


def rls(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "rls", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_every_command_is_a_stage_and_the_tools_are_among_them():
    assert set(commands.stages().values()) == set(doors()) - {"rls"}
    assert set(commands.tools().values()) <= set(doors())
    assert len(commands.tools()) == sum(map(len, commands.GROUPS.values())), "a name stands twice"


def test_the_page_lists_the_commands():
    text = command_list.PAGE.read_text()
    assert text == command_list.with_commands(text), "out of date: run `make schema`"


def test_each_first_line_is_a_sentence():
    for name, module in commands.stages().items():
        assert re.search(r"[.?:]$", commands.first_sentence(module)), name


def test_the_overview_is_quick_and_names_every_tool():
    code = (
        "import sys; sys.argv = ['rls', '--help']\n"
        "from rls.__main__ import main; main()\n"
        "print([m for m in ('torch', 'pandas', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    begun = time.process_time(), os.times().children_user
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert os.times().children_user - begun[1] < 2, "seconds of a processor"
    said, _, loaded = done.stdout.strip().rpartition("\n")
    assert loaded == "[]"
    for group, tools in commands.GROUPS.items():
        assert f"{group}:" in said
        for name in tools:
            assert f"\n  {name} " in said


def test_help_begins_with_a_sentence_and_shows_defaults():
    done = rls("train", "--help")
    lines, words = done.stdout.splitlines(), " ".join(done.stdout.split())
    assert lines[0] == "Train a generator of high-resolution cells (StyleGAN2-ADA)."
    assert "usage: rls train --cells PATH" in done.stdout
    assert "--r1-interval N" in done.stdout and "(default 16, of config.yaml)" in words
    assert "--image-size N" in done.stdout and "(needed)" in done.stdout
    assert not re.search(r"TUPLE|VALUE", done.stdout)


def test_a_stage_has_two_spellings():
    long, short = rls("stage", "fit-flow", "--help"), rls("stage", "fit_flow", "--help")
    assert long.stdout == short.stdout and "usage: rls stage fit_flow" in short.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sttus"], "There is no command 'rls sttus'. .* Did you mean rls status?"),
        (["fit_flow"], "Did you mean rls stage fit_flow?"),
        (["stage", "fit"], "There is no command 'rls stage fit'. rls stage lists what there is."),
        (["plan", "--configfil", "x"], "Unrecognized arguments: --configfil x."),
        (["run", "--workflow-profile", "nowhere"], "The profile nowhere has no config.yaml."),
        (["status", "no/run"], "no/run is no run folder: nothing was started there."),
        (["check", "--configfile", "no.yaml"], "The configuration file no.yaml does not exist."),
        (["run", "--configfile", "no.yaml"], "The configuration file no.yaml does not exist."),
    ],
)
def test_a_fault_is_one_sentence(words, said):
    done = rls(*words)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert re.search(said, done.stderr), done.stderr


# ---- defaults ---------------------------------------------------------------------------------

STYLES = """
import json, sys
from rls.runtime.command import Parser
from rls.sample_styles import Settings
settings = Parser("Draw.", Settings, "sample_styles").parse(["--n-mean", "7"])[1]
print(json.dumps([settings.n_mean, settings.n_styles, settings.seed]))
"""


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_by_hand_what_is_missing_comes_from_the_programs_configuration():
    from analysis.run.values import read_config

    done = python(STYLES)
    config = read_config()
    expected = [7, config["sample_styles"]["n_styles"], config["seed"]]
    assert json.loads(done.stdout) == expected, done.stderr
    assert re.search(r"defaults: .*n_styles.* of section 'sample_styles' in .*config", done.stderr)
    assert "n_mean" not in done.stderr.partition(" of section")[0]


def test_a_job_of_the_workflow_has_no_such_defaults():
    done = python(STYLES, RLS_RUN="a run")
    assert "Settings of 'sample_styles' are missing: " in done.stderr
    assert "n_styles" in done.stderr


def test_a_search_by_hand_has_the_settings_of_its_method():
    code = """
import json, sys
from rls.runtime.command import Parser
from rls.search.arguments import parse
from rls.search.settings import Settings
argv = ["--method", "rls", "--steps", "5"]
_, _, method = parse(Parser("Search.", Settings, "super_resolve"), argv)
print(json.dumps([method.search, method.settings.steps, method.settings.lambda_c]))
"""
    from analysis.run.values import read_config

    block = read_config()["methods"]["rls"]
    assert json.loads(python(code).stdout) == [block["search"], 5, block["lambda_c"]]
    done = python(code, RLS_RUN="a run")
    assert "Unrecognized arguments: --steps 5" in done.stderr, "no search, and so none of its flags"
