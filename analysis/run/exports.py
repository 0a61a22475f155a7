"""What the exports for other programs read: input functions of their rules."""

from __future__ import annotations

from collections.abc import Callable

from analysis.run.files import Files, Wildcards


def measured_features(files: Files) -> Callable[[Wildcards], list[str]]:
    """Return an input function: the measured features of an assay, under every condition."""
    return lambda wildcards: [
        path for path in files.measured(assay=wildcards.assay) if path.endswith(".features.parquet")
    ]
