"""The tables of every row, and what stands beside rows: classes by all cells, generated images."""

from __future__ import annotations

from analysis.run.description import Comparison, Run
from analysis.run.values import Config
from rls.io.names import LOW_RESOLUTION_ALL_CELLS, WITHOUT_IMAGES

KINDS = ("features", "metrics", "classification")  # the last where all methods run


def kinds_of(method: str, at: Comparison) -> tuple[str, ...]:
    """Return the kinds of tables that are made of a row; without an image there are features."""
    if method in WITHOUT_IMAGES:
        return KINDS[:1]
    return KINDS[: 2 + (at.clean and at.assay.has_classifier)]


def all_cells_classes(run: Run, assay: str = "") -> list[str]:
    """Return what classifiers of LR say that saw the generator's cells, where there are any.

    Arguments:
        assay: One assay; all without.
    """
    return [
        str(at.measured(LOW_RESOLUTION_ALL_CELLS, KINDS[-1]))
        for at in run.comparisons(clean_only=True)
        if at.assay.has_gan
        and at.assay.has_classifier
        and at.assay.name == (assay or at.assay.name)
    ]


def beside_reconstructions(run: Run, config: Config) -> list[str]:
    """Return the features of generated images, and of the HR images of split gan."""
    found = []
    for assay in run.assays:
        generator = config["assays"][assay.name]["generator"]
        if assay.has_high_resolution and generator != "none":
            found.append(f"results/{assay.name}/drawn.features.parquet")
        if assay.has_gan:
            found.append(f"results/{assay.name}/gan.features.parquet")
    return found
