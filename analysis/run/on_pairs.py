"""The networks of a run that are trained on generated pairs, which the report describes."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.run.description import Comparison
from analysis.run.files import Files
from rls.io.names import AMORTISED, WITHOUT_IMAGES


@dataclass
class _Job:
    """The wildcards of a search; those that it lacks are empty."""

    assay: str
    factor: str
    degradation: str
    method: str
    plate: str = ""
    stack: str = ""
    real: str = ""
    flow: str = ""
    regression: str = ""


def trained_on_pairs(files: Files) -> list[str]:
    """Return the encoder or regression of every assay, factor and degradation that reads one."""
    found = [
        path
        for at in files.run.comparisons()
        for method in at.methods
        for path in _of_method(files, at, method)
    ]
    return list(dict.fromkeys(found))


def _of_method(files: Files, at: Comparison, method: str) -> list[str]:
    if method == AMORTISED:
        return [str(at.folder / f"{AMORTISED}.safetensors")]
    if method in WITHOUT_IMAGES:
        return []  # its pairs are cells
    path = files.search_encoder(_Job(at.assay.name, str(at.factor), at.degradation, method))
    return [path] if isinstance(path, str) else path
