"""The files of generators that differ in what they were trained on, for their table."""

from __future__ import annotations

from analysis.run.files import Files
from rls.io.names import HIGH_RESOLUTION


def kept_features(files: Files) -> list[str]:
    """Return the features of HR and of every method, on the clean condition of each factor."""
    return [
        str(at.measured(name, "features"))
        for at in files.with_reference
        for name in (HIGH_RESOLUTION, *at.methods)
    ]


def generators(files: Files) -> list[str]:
    """Return what each assay's generator draws, and the curves of those that are trained."""
    trained = [assay.name for assay in files.run.assays if assay.training]
    drawn = ("generated.features.parquet", "generated.csv")
    found = [path for name in drawn for path in files.of_assays(name, high_resolution=True)]
    return found + [f"results/{name}/generator.training.csv" for name in trained]
