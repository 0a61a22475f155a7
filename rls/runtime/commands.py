"""The commands of ``rls``: which module each one runs, and what its first sentence says.

Users' tools stand in :data:`GROUPS`; every other command of the program is a stage, which
``rls stage NAME`` runs. Nothing is imported here but the standard library, since a list of commands
must not wait for more: first sentences are read from the sources.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from rls.runtime.places import PACKAGE, PROGRAM, source

DOOR = re.compile(r"^if __name__ == .__main__.:$", re.M)  # what a module has that one can run
# Heading -> name -> module.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "Plan, run and watch": {
        "check": "analysis.check",
        "plan": "analysis.plan",
        "run": "analysis.run_workflow",
        "status": "analysis.status",
        "headline": "analysis.headline",
        "example-plates": "analysis.example_plates",
    },
    "Super-resolve your own images": {
        "super-resolve": "rls.super_resolve_files",
        "super-resolve-field": "analysis.super_resolve_field",
        "models": "analysis.models",
    },
    "Make a model of your own": {
        "train": "rls.train_gan",
        "train-encoder": "rls.train_encoder",
        "measure-trust": "rls.measure_trust",
        "export-model": "rls.export_model",
        "import-nvlabs": "rls.import_nvlabs",
        "pack-training": "rls.pack_training",
        "sample-images": "rls.sample_images",
    },
    "Measure, simulate and export": {
        "measure": "analysis.measure",
        "measure-without-reference": "analysis.measure_without_reference",
        "simulate-plate": "analysis.simulate_plate",
        "compare-simulation": "analysis.compare_simulation",
        "export-profiles": "analysis.export_profiles",
        "export-zarr": "analysis.export_zarr",
    },
    "The program itself": {
        "device": "rls.device",
        "fetch-weights": "analysis.fetch_weights",
        "measure-speed": "analysis.plan.measure",
    },
}
# Commands with which the program itself is developed; rls stage runs them too.
FOLDERS = ("rls", "analysis", "analysis/figures", "analysis/tables", "analysis/plan")


def tools() -> dict[str, str]:
    """Return the module of each of the users' tools by its name."""
    return {name: module for group in GROUPS.values() for name, module in group.items()}


def stages() -> dict[str, str]:
    """Return the module of every command by its name: ``train_gan``, ``tables.table1``, ..."""
    found = {}
    for folder in FOLDERS:
        place = source(folder) if folder != "rls" else PACKAGE
        for path in sorted([*place.glob("*.py"), *place.glob("*/__main__.py")]):
            if path.parent == PACKAGE and path.stem == "__main__":
                continue
            if path.stem != "__init__" and DOOR.search(path.read_text(encoding="utf-8")):
                root = PACKAGE.parent if folder == "rls" else PROGRAM
                parts = path.relative_to(root).with_suffix("").parts
                module = ".".join(parts).removesuffix(".__main__")
                found[module.partition(".")[2]] = module
    return dict(sorted(found.items()))


def file_of(module: str) -> Path:
    """Return the source file of a command; of a package its ``__main__``."""
    path = source(module.replace(".", "/"))
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


def first_sentence(module: str) -> str:
    """Return the first line of a command's docstring."""
    text = ast.get_docstring(ast.parse(file_of(module).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def listed(commands: Mapping[str, str], indent: str = "  ") -> list[str]:
    """Return a line for each command: its name and its first sentence."""
    width = max(map(len, commands), default=0)
    return [
        f"{indent}{name:{width}}  {first_sentence(module)}" for name, module in commands.items()
    ]
