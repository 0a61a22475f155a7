"""What the targets fetch and exports read and say: input functions of their rules."""

from __future__ import annotations

from collections.abc import Callable

from analysis.run.files import Files, Wildcards
from rls.io.names import LOW_RESOLUTION


def measured_features(files: Files) -> Callable[[Wildcards], list[str]]:
    """Return an input function: the measured features of an assay, under every condition."""
    return lambda wildcards: [
        path for path in files.measured(assay=wildcards.assay) if path.endswith(".features.parquet")
    ]


def zarr_cells(files: Files) -> list[str]:
    """Return every stack of the clean degradation as OME-Zarr, cells as well as reconstructions."""
    return [
        f"{at.folder}/{name}.ome.zarr"
        for at in files.run.comparisons(clean_only=True)
        for name in dict.fromkeys((at.reference, LOW_RESOLUTION, *at.methods_with_images))
    ]


def fetch_message(files: Files) -> str:
    """Return what the target fetch says: that all is here, or why nothing was fetched."""
    if files.fetched_cells():
        return "fetch: everything that comes over the network is here, cropped and selected."
    return (
        "fetch: nothing was fetched, because no assay of run.assays comes over the network "
        f"({', '.join(files.config['run']['assays'])}). For BBBC021 give --configfile "
        "config/article.yaml, or name bbbc021 in run.assays."
    )
