"""Made-up results of a run, small and with known answers, for the tests of tables and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.cells.flagged_cells import count_flags, draw_examples
from analysis.cells.quality_settings import FLAGS
from analysis.run.description import Assay, Condition, Run
from rls.io import Intensity, write_intensity, write_stack, write_table, write_weights
from rls.io.names import SPLITS
from rls.io.splits import serves
from rls.search.forward import resize_matrix

CONTROLS = ("DMSO", "TNF-alpha")
CHANNELS = ("dna", "nfkb")
FACTOR, DEGRADATION, SIZE = 8, "bicubic", 32
INTENSITY = Intensity(CHANNELS, (200.0, 300.0), (4200.0, 3300.0))


def cells_table(wells: int = 6, cells: int = 10) -> pd.DataFrame:
    """Return the evaluation rows: half the wells are negative, half positive control."""
    rows = []
    for well in range(wells):
        for cell in range(cells):
            name = f"B{well + 2:02d}"
            rows.append(
                {
                    "image_id": f"P1_{name}_s1_y{cell * 40}_x{cell * 31}",
                    "plate": "P1",
                    "well": name,
                    "site": 1,
                    "treatment": CONTROLS[well % 2],
                    "compound": CONTROLS[well % 2],
                    "split": "evaluation",
                }
            )
    return pd.DataFrame(rows)


def cell_images(table: pd.DataFrame, seed: int, size: int = SIZE) -> np.ndarray:
    """Return uint16 images (n, 2, size, size): a nucleus, and a marker outside or inside it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    images = np.zeros((len(table), 2, size, size))
    for i, treatment in enumerate(table["treatment"]):
        angle, aspect = random.uniform(0, np.pi), random.uniform(1, 1.4)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = (y * np.cos(angle) - x * np.sin(angle)) * aspect
        radius = np.hypot(along, across) / (size * random.uniform(0.2, 0.26))
        nucleus = 1 / (1 + np.exp((radius - 1) * 9))
        body = 1 / (1 + np.exp((radius - 1.9) * 6))
        inside = 1.0 if treatment == CONTROLS[1] else 0.35
        marker = body * 0.45 * (1 - nucleus) + inside * nucleus * 0.8
        images[i] = np.stack([nucleus, marker]) + random.normal(0, 0.02, (2, size, size))
    return np.clip(INTENSITY.to_counts(images), 0, 65535).astype(np.uint16)


def write_results(
    root: Path,
    methods: tuple[str, ...] = ("rls", "pulse"),
    *,
    assay: str = "translocation",
    wells: int = 6,
    cells: int = 10,
    size: int = SIZE,
    degradation: str = DEGRADATION,
) -> Path:
    """Write the stacks of one assay, its intensity scale and run.json; return the last.

    Styles of method number k lie k apart, and their log prior is -k.
    """
    table = cells_table(wells, cells)
    folder = root / assay / f"{FACTOR}x" / degradation
    write_intensity(root / assay / "intensity.json", INTENSITY, written_by="test")
    high = cell_images(table, 1, size)
    facts = {"channels": CHANNELS, "written_by": "test"}
    write_stack(root / assay / "high_resolution.ome.tif", high, table, pixel_size_um=1.25, **facts)
    matrix = resize_matrix(size, size // FACTOR, "renormalize")
    low = (matrix @ high @ matrix.T).astype(np.float32)
    write_stack(folder / "low_resolution.ome.tif", low, table, pixel_size_um=1.25 * FACTOR, **facts)
    for index, method in enumerate(methods):
        images = cell_images(table, 2 + index, size).astype(np.float32)
        rows = table.assign(log_prior=-float(index))
        write_stack(folder / f"{method}.ome.tif", images, rows, pixel_size_um=1.25, **facts)
        styles = np.zeros((len(table), 2, 4), np.float32)
        styles[:, 1, 0] = index
        header = {"kind": "latents", "image_ids": list(table["image_id"])}
        latents = folder / f"{method}.latents.safetensors"
        write_weights(latents, {"w": torch.as_tensor(styles)}, header)
    return write_run(root, methods, assay, degradations=(degradation,))


def run_of(
    root: Path,
    methods: tuple[str, ...],
    *names: str,
    degradations: tuple[str, ...] = (DEGRADATION,),
    degraded: tuple[str, ...] | None = None,
) -> Run:
    """Return a run of assays that measure the ratio, but for ``golgi``, which measures the Golgi.

    ``degraded`` are the methods that run on the degradations after the first; default all.
    """
    conditions = tuple(
        Condition(FACTOR, name, methods if rank == 0 or degraded is None else degraded, rank == 0)
        for rank, name in enumerate(degradations)
    )
    assays = tuple(
        Assay(
            name=name,
            title="Golgi" if name == "golgi" else "Translocation",
            simulated=True,
            negative_control=CONTROLS[0],
            positive_control=CONTROLS[1],
            channels=CHANNELS,
            nucleus_channel="dna",
            marker_channel="nfkb",
            features=("golgi",) if name == "golgi" else ("nucleocytoplasmic_ratio",),
            has_high_resolution=True,
            split_by="well",
            conditions=conditions,
            has_gan=False,
        )
        for name in names or ("translocation",)
    )
    return Run(1, "cpu", methods, assays, root)


def write_run(root: Path, methods: tuple[str, ...], *names: str, **options) -> Path:
    """Write the file that --run reads."""
    path = root / "run.json"
    path.write_text(run_of(root, methods, *names, **options).to_json())
    return path


def write_features(
    root: Path,
    values: dict[str, np.ndarray],
    *,
    assay: str = "translocation",
    wells: int = 6,
    cells: int = 10,
    column: str = "nucleocytoplasmic_ratio",
) -> None:
    """Write ``{method}.features.parquet`` with the given values."""
    table = cells_table(wells, cells)
    folder = root / assay / f"{FACTOR}x" / DEGRADATION
    write_cells(root, table, assay)
    for method, numbers in values.items():
        frame = table.assign(**{column: numbers})
        write_table(folder / f"{method}.features.parquet", frame, written_by="test")


def write_metrics(
    root: Path,
    quality: dict[str, float],
    *,
    assay: str = "translocation",
    wells: int = 6,
    cells: int = 10,
    dimensions: int = 4,
    features: dict[str, np.ndarray] | None = None,
    degradation: str = DEGRADATION,
) -> None:
    """Write features and metrics of methods whose features are HR's plus noise of sd 1 - quality.

    ``features`` are values of the assay's feature by method; default all 1.
    """
    table = cells_table(wells, cells)
    write_cells(root, table, assay)
    folder = root / assay / f"{FACTOR}x" / degradation
    random = np.random.default_rng(5)
    base = random.normal(size=(len(table), dimensions))
    for method, level in quality.items():
        noise = 3 * (1 - level)
        values = (features or {}).get(method, np.ones(len(table)))
        frame = table.assign(nucleocytoplasmic_ratio=values)
        for prefix in ("classifier_feature_", "random_feature_"):
            drawn = base + noise + random.normal(0, noise, base.shape)
            frame = frame.assign(**{f"{prefix}{i}": drawn[:, i] for i in range(dimensions)})
        write_table(folder / f"{method}.features.parquet", frame, written_by="test")
        metrics = table.assign(
            ms_ssim=level, psnr_db=10 + 20 * level, fidelity_l1=0.1 * (1 - level),
            fidelity_clean_l1=0.1 * (1 - level),
        )  # fmt: skip
        if method == "high_resolution":
            metrics = metrics.assign(psnr_db=np.inf)
        write_table(folder / f"{method}.metrics.parquet", metrics, written_by="test")
    low = table.assign(ms_ssim=np.nan, psnr_db=np.nan, fidelity_l1=np.nan, fidelity_clean_l1=0.08)
    write_table(folder / "low_resolution.metrics.parquet", low, written_by="test")


def write_cells(root: Path, table: pd.DataFrame, assay: str) -> None:
    """Write the table of HR, unless write_results wrote it with the images."""
    if not (root / assay / "high_resolution.parquet").exists():
        write_table(root / assay / "high_resolution.parquet", table, written_by="test")


def write_classification(
    root: Path,
    accuracy: dict[str, float],
    *,
    assay: str = "translocation",
    wells: int = 6,
    cells: int = 10,
) -> None:
    """Write classifications that are right in the first ``accuracy`` of the cells of each well."""
    table = cells_table(wells, cells)
    write_cells(root, table, assay)
    rank = table.groupby("well").cumcount()
    folder = root / assay / f"{FACTOR}x" / DEGRADATION
    for method, share in accuracy.items():
        right, half = rank < round(share * cells), rank < cells / 2
        low = method.startswith("low_resolution")
        judged = {  # name: right or not, accuracy on tune
            "cnn": (half if low else right, 0.7),
            "forest_on_pixels" if low else "forest_on_features": (right, 0.9 if low else 0.6),
            "logistic_on_features": (None if low else half, np.nan if low else 0.4),
            "channel_means": (half, 0.95),
        }
        parts = [
            table.assign(
                classifier=name,
                correct=pd.array([pd.NA] * len(table) if good is None else good, dtype="boolean"),
                chosen=name == ("forest_on_pixels" if low else "cnn"),
                accuracy_tune=tune,
                status="ok",
            )
            for name, (good, tune) in judged.items()
        ]
        everything = pd.concat(parts, ignore_index=True)
        write_table(folder / f"{method}.classification.parquet", everything, written_by="test")


def write_selection(root: Path, *, assay: str = "translocation", split_by: str = "well") -> None:
    """Write selection.csv and the fields of one plate, one of them skipped."""
    rows = [
        {
            "treatment": treatment,
            "split": split,
            "serves": serves(split),
            "split_by": split_by,
            "n_wells": 3,
            "n_fields": 6,
            "n_cells": 300 if split == "gan" else 30,
        }
        for treatment in CONTROLS
        for split in SPLITS
    ]
    write_table(root / assay / "selection.csv", pd.DataFrame(rows), written_by="test")
    fields = pd.DataFrame(
        {
            "plate": "P1",
            "well": ["B02", "B03", "B04"],
            "site": 1,
            "treatment": CONTROLS[0],
            "n_cells": [9, 0, 8],
            "status": ["ok", "skipped", "ok"],
            "reason": ["", "out of focus <blur & haze>", ""],
        }
    )
    write_table(root / assay / "plates" / "P1.fields.csv", fields, written_by="test")
    write_flagged(root / assay)


def write_flagged(folder: Path) -> None:
    """Write flags.csv, flagged.ome.tif and intensity.json: three cells of noise, six without."""
    n, random = 9, np.random.default_rng(0)
    cells = pd.DataFrame({"image_id": [f"c{i}" for i in range(n)], "treatment": CONTROLS[0]})
    cells = cells.assign(**{name: False for name in FLAGS})
    cells.loc[:2, "noise"] = True
    write_table(folder / "flags.csv", count_flags(cells, ("noise",)), written_by="test")
    images = random.integers(0, 900, (n, len(CHANNELS), 20, 20)).astype(np.uint16)
    write_stack(folder / "flagged.ome.tif", images, draw_examples(cells, 0), channels=CHANNELS,
                pixel_size_um=1.0, written_by="test")  # fmt: skip
    write_intensity(folder / "intensity.json", INTENSITY, written_by="test")
