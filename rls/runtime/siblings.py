"""Compare what names two state folders, and say why a computation begins anew beside another."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IDENTITY = "identity.json"
MOST_NAMED = 6  # Differences that a sentence names.
ABSENT = "absent"


def write_identity_text(identity: Mapping[str, object], output: str | None) -> str:
    """Return the text of identity.json: what names the folder, and the output it leads to."""
    return json.dumps({"identity": identity, "output": output}, indent=2) + "\n"


def read_identity(folder: Path) -> tuple[dict[str, Any], str | None]:
    """Return (identity, output) of a state folder; the output is None if it is not known.

    An earlier version of the program wrote the identity alone. An unreadable file counts as empty.
    """
    try:
        content = json.loads((folder / IDENTITY).read_text())
    except (OSError, ValueError):
        return {}, None
    if set(content) == {"identity", "output"}:
        return content["identity"], content["output"]
    return content, None


def relative_output(output: Path | str, root: Path) -> str:
    """Return the path of an output as seen from the root of states, so that both can move."""
    return os.path.relpath(output, root)


def progress(folder: Path) -> str:
    """Return what a state folder holds, '' for nothing to go on from."""
    batches = len(list(folder.glob("batch-*.safetensors")))
    if batches:
        return f"{batches} finished batch{'es' if batches > 1 else ''}"
    checkpoints = sorted(folder.glob("checkpoint-*.pt"))
    return f"checkpoint {int(checkpoints[-1].stem.split('-')[1])}" if checkpoints else ""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return "key is X, was Y" for every key, given by its dotted path, whose value differs."""
    before, after = _flat(old), _flat(new)
    keys = [*after, *(key for key in before if key not in after)]
    pairs = [(key, after.get(key, ABSENT), before.get(key, ABSENT)) for key in keys]
    return [f"{key} is {_short(x)}, was {_short(y)}" for key, x, y in pairs if x != y]


def named(found: list[str]) -> str:
    """Return differences as one text, the first MOST_NAMED by name."""
    more = len(found) - MOST_NAMED
    return "; ".join(found[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def begins_anew(
    folder: Path, identity: Mapping[str, object], output: str | None, *, name: str
) -> str:
    """Return how the nearest state of the same output differs from a new one; '' without any.

    Arguments:
        folder: The new state folder, which stands beside the others.
        identity: What names it.
        output: What it leads to, see :func:`relative_output`; None is like no other.
        name: The command's name, with which the names of its folders begin.
    """
    nearest: tuple[int, float, str] | None = None
    for other in folder.parent.glob(f"{name}-*"):
        if other == folder or output is None or other.name.rpartition("-")[0] != name:
            continue
        old, its_output = read_identity(other)
        if its_output != output or not (held := progress(other)):
            continue
        found = differences(old, identity)
        sentence = f"{name}: begins anew: {named(found)} in {other} ({held})"
        key = (len(found), -(other / IDENTITY).stat().st_mtime, sentence)
        nearest = key if nearest is None else min(nearest, key)
    return nearest[2] if nearest else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, by dotted path, with values as JSON gives them back."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.loads(json.dumps(value))
    return found


def _short(value: object) -> str:
    """Return a value as text, with digests cut to ten digits."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    text = "none" if value is None else str(value)
    return f"{text[:10]}..." if re.fullmatch("[0-9a-f]{20,}", text) else text
