"""What each stage of the smoke run writes, and who reads it."""

from __future__ import annotations

import re

from tests.cluster.runs import ROOT

A = "results/translocation"
C = f"{A}/4x/clean"


def these(stem: str, *ends: str) -> list[str]:
    """Files of one name with these endings."""
    return [f"{stem}.{end}" for end in ends]


STACK = ("ome.tif", "parquet")
SEARCHED = (*STACK, "latents.safetensors")
# What each stage writes, for one of its jobs.
STAGES = {
    "simulate_plate": ["data/translocation/P1", f"{A}/plates/P1.truth.parquet"],
    "list_plate": [f"{A}/plates/P1.sheet.csv"],
    "crop_cells": these(f"{A}/plates/P1", *STACK, "fields.csv"),
    "select_cells": [*these(f"{A}/cells", *STACK), f"{A}/intensity.json", f"{A}/selection.csv"],
    "high_resolution": these(f"{A}/high_resolution", *STACK),
    "cut_gan": these(f"{A}/gan", *STACK),
    "train_gan": [
        *these(f"{A}/generator", "safetensors", "png", "progress.png", "training.csv"),
        f"{A}/training.safetensors",
    ],
    "sample_styles": [f"{A}/styles.safetensors"],
    "fit_flow": [f"{A}/flow.safetensors"],
    "train_encoder": [f"{C}/encoder.safetensors"],
    "train_classifier": [f"{A}/classifier.safetensors"],
    "train_low_resolution_classifier": [f"{C}/classifier.safetensors"],
    "train_pix2pix": these(f"{A}/4x/pix2pix.network", "safetensors", "training.csv"),
    "check_thresholds": [f"{A}/thresholds.csv"],
    "degrade": these(f"{C}/low_resolution", *STACK),
    "degrade_gan": these(f"{C}/gan", *STACK),
    "train_all_cells_classifier": [f"{C}/all_cells_classifier.safetensors"],
    "classify_all_cells": [f"{C}/low_resolution_all_cells.classification.parquet"],
    "super_resolve": these(f"{C}/shards/rls.1-of-2", *SEARCHED),
    "gather_shards": these(f"{C}/rls", *SEARCHED),
    "measure": these(f"{C}/rls", "features.parquet", "metrics.parquet"),
    "classify": [f"{C}/rls.classification.parquet"],
    "describe_assays": ["results/run.json"],
    "table1": ["results/tables/table1.csv"],
    "table2": ["results/tables/table2.csv", "results/tables/table2_article.csv"],
    "table_features": ["results/tables/features.csv"],
    **{
        name: these(f"results/figures/{name.removeprefix('figure_')}", "pdf", "png", "csv")
        for name in (*(f"figure{n}" for n in (1, 2, 3, 5, 6, 7)), "figure_scatter")
    },
    "report": ["results/report.html"],
}
# Intermediate files: the rule that wrote it, and a stage that reads it.
FLIPPED = {
    "data/translocation/P1/image.csv": ("simulate_plate", "list_plate"),
    "data/translocation/P1/*.tif": ("simulate_plate", "crop_cells"),
    f"{A}/plates/P1.sheet.csv": ("list_plate", "crop_cells"),
    f"{A}/plates/P1.ome.tif": ("crop_cells", "select_cells"),
    f"{A}/plates/P1.parquet": ("crop_cells", "select_cells"),
    f"{A}/cells.ome.tif": ("select_cells", "high_resolution"),
    f"{A}/intensity.json": ("select_cells", "degrade"),
    f"{A}/high_resolution.ome.tif": ("high_resolution", "degrade"),
    f"{A}/generator.safetensors": ("train_gan", "sample_styles"),
    f"{A}/styles.safetensors": ("sample_styles", "fit_flow"),
    f"{A}/flow.safetensors": ("fit_flow", "super_resolve"),
    f"{A}/classifier.safetensors": ("train_classifier", "measure"),
    f"{C}/low_resolution.ome.tif": ("degrade", "super_resolve"),
    f"{C}/shards/rls.1-of-2.ome.tif": ("super_resolve", "gather_shards"),
    f"{C}/shards/rls.2-of-2.latents.safetensors": ("super_resolve", "gather_shards"),
    f"{C}/rls.ome.tif": ("gather_shards", "measure"),
    f"{C}/rls.features.parquet": ("measure", "classify"),
    f"{C}/rls.classification.parquet": ("classify", "table2"),
    "results/run.json": ("describe_assays", "table1"),
    "results/tables/table1.csv": ("table1", "figure6"),
}


MODULES = {
    "cut_gan": "analysis.high_resolution",
    "degrade_gan": "rls.degrade",
    "train_all_cells_classifier": "rls.train_classifier",
    "classify_all_cells": "analysis.classify",
    "train_low_resolution_classifier": "rls.train_classifier",
    "table_features": "analysis.tables.features",
    "figure_scatter": "analysis.figures.scatter",
}


def module(stage: str) -> str:
    """The module that a stage's command runs."""
    if stage in MODULES:
        return MODULES[stage]
    if stage.startswith(("table", "figure")):
        return f"analysis.{re.sub('[0-9]', '', stage)}s.{stage}"
    return next(
        f"{package}.{stage}"
        for package in ("rls", "analysis")
        if (ROOT / package / f"{stage}.py").exists() or (ROOT / package / stage).is_dir()
    )
