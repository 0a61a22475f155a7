"""The settings of ``config/config.yaml``, which a command run by hand uses where none are given.

A job of the workflow is never given them: it takes what the workflow hands over, and a setting that
is missing there stays an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from rls.runtime.places import CONFIG
from rls.runtime.yaml_file import YamlFile

RUN = "RLS_RUN"  # Names one run of Snakemake in the environment of its jobs.
FILE = CONFIG / "config.yaml"
OF_RUN = ("seed", "device", "threads", "cuda_graphs", "compile")  # keys at the top of the file


def by_hand() -> bool:
    """Return whether this command was run by a person, and not as a job of the workflow."""
    return RUN not in os.environ


def shipped_values(sections: Sequence[str], names: Collection[str]) -> dict[str, object]:
    """Return the values that the program's configuration has for some settings.

    Arguments:
        sections: Sections of the file, of which later ones override earlier ones.
        names: The settings that are asked for.
    """
    content = _content()
    found = {name: content[name] for name in OF_RUN if name in names and name in content}
    for section in sections:
        block = content.get(section) or {}
        found |= {name: block[name] for name in names if name in block}
    return found


def shipped_method(method: str | None, search: str | None) -> Mapping[str, Any]:
    """Return the block of a method in the program's configuration, empty where there is none.

    The block of the name ``method`` is taken if it runs ``search`` or none is asked for, otherwise
    the one that is named as the search.
    """
    blocks = _content().get("methods") or {}
    for name in (method, search):
        block = blocks.get(name) or {}
        if block and search in (None, block.get("search")):
            return dict(block)
    return {}


def tell(names: Collection[str], what: str) -> None:
    """Print which settings were taken from the program's configuration; nothing if none were."""
    if names:
        print(f"defaults: {', '.join(names)} of {what} in {FILE}", file=sys.stderr, flush=True)


@cache
def _content() -> Mapping[str, Any]:
    return YamlFile.read(FILE).content
