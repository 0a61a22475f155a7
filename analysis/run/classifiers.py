"""Whether a classifier of an assay's treatments is trained, and what is measured with it.

An assay that is judged in another way, such as by mechanisms of action, needs none: it gives no
cell to split classifier, and every cell that is measured can be one of evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from analysis.run.description import trains_classifier
from analysis.run.values import Config, section_values


class OfAssay(Protocol):
    """The wildcards of a job that has an assay."""

    assay: str


def own_classifier(config: Config) -> Callable[[OfAssay], str | list[str]]:
    """Return an input function: the classifier of a job's assay, where one is trained."""
    return lambda wildcards: (
        f"results/{wildcards.assay}/classifier.safetensors"
        if trains_classifier(section_values(config, "select_cells", wildcards.assay))
        else []
    )
