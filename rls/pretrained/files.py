"""The files of a model folder, and the two of them that are JSON for people to read.

``generator.safetensors`` and ``intensity.json`` must be there; ``flow.safetensors`` (the prior),
``encoder_8x.safetensors`` (the start of a search, for one factor), ``search.json`` (settings by
factor and method, and the default method of each factor) and ``trust.json`` (what the model's own
cells look like) may be. The results of an assay, ``runs/NAME/results/ASSAY``, are such a folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rls.io import write_text
from rls.runtime.errors import InputError

FLOW, STYLES, INTENSITY = "flow.safetensors", "styles.safetensors", "intensity.json"
SEARCH, TRUST = "search.json", "trust.json"
QUALITY = "generator_quality.json"  # what evaluate_generator found, for people and the card
DEFAULT, PUBLISHED = "default", "rls"  # key of search.json; the method where it names none


def need_folder(folder: Path) -> None:
    """Raise InputError unless ``folder`` exists."""
    if not folder.is_dir():
        raise InputError(
            f"The model folder {folder} does not exist. Give one such as "
            "models/translocation_32px, or the results of an assay, runs/NAME/results/ASSAY."
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of the model, empty where there is none.

    Raises:
        InputError: The file does not hold a JSON dictionary.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}). Run measure_trust again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no dictionary. Run measure_trust again.")
    return content


def default_method(search: Mapping[str, Any], factor: int | str | None) -> str:
    """Return the method that users get where they name none, by the content of search.json."""
    return str(search.get(DEFAULT, {}).get(str(factor), PUBLISHED))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file of the model, with each list of numbers on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    # Only the indentation has line breaks: inside a text, JSON writes them as two characters.
    short = re.sub(
        r"\[\n\s*([^][{}]*?)\n\s*\]",
        lambda found: "[" + re.sub(r"\n\s*", " ", found[1]) + "]",
        text,
    )
    write_text(path, short + "\n")
