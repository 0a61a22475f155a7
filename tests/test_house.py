"""What holds the house together: doors and rooms, arrows one way, cheap doors, lists that agree."""

import ast
import io
import json
import re
import statistics
import subprocess
import sys
import tokenize
import tomllib

import pytest
import yaml

import rls
from tests.conftest import ROOT
from tests.imports import arrows, circles, commands, imported, modules

HEAVY = ("torch", "matplotlib", "skimage", "sklearn", "cellpose", "nflows", "torchmetrics")
RULES = ROOT / "workflow" / "rules"
TYPE_SETTERS = ("fmt: skip", "noqa", "type: ignore")


# ---- doors and rooms --------------------------------------------------------------------------


def test_what_stands_at_the_top_is_a_command():
    """A rule of the same name, or named in the README or a page that it leads to."""
    pages = "".join(p.read_text() for p in [ROOT / "README.md", ROOT / "Makefile"])
    pages += "".join(p.read_text() for p in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
    pages += "".join(path.read_text() for path in RULES.glob("*.smk"))
    for package in ("rls", "analysis"):
        for path in (ROOT / package).glob("*.py"):
            if path.stem != "__init__":
                name = f"{package}.{path.stem}".removesuffix(".__main__")
                assert name in commands(), path
                assert f"python -m {name}" in pages, path


def test_no_module_imports_a_command():
    for name, others in arrows().items():
        doors = {other for other in others if other.removesuffix(".__main__") in commands()}
        # A package that is run has its command in __main__.py; the package itself may be imported.
        doors = {door for door in doors if f"{door}.__main__" not in modules()}
        assert not doors, f"{name} imports {', '.join(sorted(doors))}"


def test_imports_run_from_analysis_to_rls_and_no_further():
    for package, forbidden in (
        ("rls", {"analysis", "snakemake", "workflow", "tests"}),
        ("analysis", {"snakemake", "workflow", "tests"}),
    ):
        paths = [path for name, path in modules().items() if name.split(".")[0] == package]
        assert len(paths) > 50
        for path in paths:
            assert not forbidden & {name.split(".")[0] for name in imported(path)}, path


def test_there_is_no_circle_of_imports():
    assert circles(arrows()) == []


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


# ---- cheap doors ------------------------------------------------------------------------------

SHOW_HELP = """
import contextlib, importlib, io, json, sys
heavy, said, loaded = set(sys.argv[1].split()), {}, []
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        module.main()
    said[name] = len(out.getvalue())
    loaded += [f"{name}: {found}" for found in heavy & set(sys.modules)]
    heavy -= set(sys.modules)
print(json.dumps([said, loaded]))
"""


def test_no_help_waits_for_a_heavy_library():
    """All commands one after the other in one process: each would leave its imports behind."""
    names = [f"{name}.__main__" if f"{name}.__main__" in modules() else name for name in commands()]
    names.remove("rls.device")  # it prints the versions of these libraries
    command = [sys.executable, "-c", SHOW_HELP, " ".join(HEAVY), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    said, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    assert [name for name, length in said.items() if length < 100] == [], "no help"


@pytest.mark.workflow
def test_no_dry_run_waits_for_a_heavy_library(tmp_path):
    command = [
        *(sys.executable, "-X", "importtime", "-m", "snakemake", "--dry-run", "--quiet", "all"),
        *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--cores", "1"),
        *("--configfile", str(ROOT / "config" / "demo.yaml")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "snakemake" in loaded and not loaded & set(HEAVY)


# ---- sizes, types, marks ----------------------------------------------------------------------


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_and_functions_are_short():
    lengths = []
    for path in modules().values():
        assert len(path.read_text().splitlines()) <= 400, path
        for function in functions(path):
            length = function.end_lineno - function.lineno + 1
            assert length <= 60, f"{path}: {function.name} has {length} lines"
            lengths.append(length)
    assert statistics.median(lengths) <= 11  # The aim is 10; one line more lets a function come in.


def test_every_function_is_typed():
    for path in modules().values():
        for function in functions(path):
            arguments = [*function.args.args, *function.args.kwonlyargs, *function.args.posonlyargs]
            bare = [
                a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")
            ]
            assert not bare and function.returns is not None, f"{path}: {function.name} {bare}"


def test_rules_hold_no_logic():
    """What rules call is in analysis/run, where a test reaches it."""
    defined = 0
    for path in RULES.glob("*.smk"):
        text = path.read_text()
        defined += len(re.findall(r"^\s*def ", text, re.M))
        assert len(text.splitlines()) < 150 or path.name in ("plates.smk", "results.smk"), path
    assert defined < 30


def comments():
    paths = [*modules().values(), *(ROOT / "workflow" / "rules").glob("*.smk")]
    for path in paths:
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        for token in tokens:
            if token.type == tokenize.COMMENT:
                yield path, token.start[0], token.string.lstrip("# ").strip()


def test_marks_for_the_tools_are_rare_and_have_a_reason():
    marks = []
    for path, line, text in comments():
        if any(setter in text for setter in TYPE_SETTERS):
            marks.append(f"{path.relative_to(ROOT)}:{line}")
            rest = re.sub(r"fmt: skip|noqa(: [A-Z0-9, ]+)?|type: ignore(\[[\w, -]+\])?", "", text)
            assert len(re.findall(r"[A-Za-z]{2,}", rest)) >= 2, f"{marks[-1]} gives no reason"
    assert len(marks) < 60


def test_no_comment_lacks_its_subject():
    for path, line, text in comments():
        assert not re.match(r"[oO]f (?!course)", text), f"{path}:{line}: {text}"


# ---- lists that agree -------------------------------------------------------------------------


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.partition(";")[0] for line in lines if line and not line.startswith("#")]
    pairs = [pin.split("==") for pin in pins]
    assert all(len(pair) == 2 for pair in pairs)
    return {normal(name): version.strip() for name, version in pairs}


def asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in project["dependencies"] + project["optional-dependencies"]["test"]:
        name, limits = re.fullmatch(r"([\w-]+)([^;]*)(;.*)?", wanted).groups()[:2]
        yield name, [limit.strip() for limit in limits.split(",") if limit.strip()]


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def test_the_lock_holds_what_pyproject_asks_for():
    for name, limits in asked_for():
        assert normal(name) in locked(), name
        version = numbers(locked()[normal(name)])
        for limit in limits:
            sign, number = re.fullmatch(r"(>=|==|<)(.*)", limit).groups()
            held = {">=": version >= numbers(number), "<": version < numbers(number)}
            assert held.get(sign, version == numbers(number)), f"{name}: {limit}"


def test_pyproject_has_ranges_and_the_lock_has_pins():
    pinned = [
        name for name, limits in asked_for() if any(limit.startswith("==") for limit in limits)
    ]
    assert len(pinned) <= 3, pinned


def test_the_lock_names_no_local_build_and_no_cuda_package():
    for name, version in locked().items():
        assert "+" not in version, name
        assert not name.startswith(("nvidia", "cuda")), name


def test_the_conda_environment_installs_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(item for item in environment["dependencies"] if isinstance(item, dict))["pip"]
    assert pip == ["-r requirements.lock"]
    python = next(item for item in environment["dependencies"] if str(item).startswith("python="))
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert python == "python=3.11" and requires == ">=3.11,<3.14"


def test_no_name_is_called_lr():
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [getattr(node, key, None) for key in ("id", "arg", "name")]
            # torch's optimisers name their argument so; a keyword handed to them is not ours.
            assert isinstance(node, ast.keyword) or "lr" not in names, f"{path}: lr"


def test_the_version_is_the_same_wherever_it_stands():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    heading = re.search(r"^## (\S+), (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading, "the changelog's first heading is a version and its date"
    assert {citation["version"], project["version"], heading[1]} == {rls.__version__}
    assert str(citation["date-released"]) == heading[2]
    assert citation["preferred-citation"]["authors"][0]["family-names"] == "Gheisari"
