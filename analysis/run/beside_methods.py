"""The files of what stands beside the methods: classes of LR by all cells, and generated images."""

from __future__ import annotations

from analysis.run.description import Run
from analysis.run.values import Config
from rls.io.names import LOW_RESOLUTION_ALL_CELLS

KINDS = ("features", "metrics", "classification")  # the last where all methods run


def all_cells_classes(run: Run, assay: str = "") -> list[str]:
    """Return what classifiers of LR say that saw the generator's cells, where there are any.

    Arguments:
        assay: One assay; all without.
    """
    return [
        str(at.measured(LOW_RESOLUTION_ALL_CELLS, KINDS[-1]))
        for at in run.comparisons(clean_only=True)
        if at.assay.has_gan and at.assay.name == (assay or at.assay.name)
    ]


def beside_reconstructions(run: Run, config: Config) -> list[str]:
    """Return the features of generated images, and of the HR images of split gan."""
    found = []
    for assay in run.assays:
        generator = config["assays"][assay.name]["generator"]
        if assay.has_high_resolution and generator != "none":
            found.append(f"results/{assay.name}/generated.features.parquet")
        if assay.has_gan:
            found.append(f"results/{assay.name}/gan.features.parquet")
    return found
