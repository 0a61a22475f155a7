"""Phenotype of NF-kB translocation: the marker moves between cytoplasm and nucleus.

The total of a cell stays constant.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.simulation.cells import Masks, label_areas, label_means, texture
from analysis.simulation.nucleus import (
    TEXTURE_ND,
    by_label,
    draw_dna,
    draw_expression,
    nucleoli,
    paint_dna,
)
from analysis.simulation.settings import Settings

VALUES = "ratio_medians"  # The setting with one number per treatment.
MARKER_TEXTURE_SD = 0.12
NUCLEOLUS_DEPTH = 0.40  # Share of the marker that is missing in the centre of a nucleolus.


def draw_cells(
    table: pd.DataFrame, treatment: str, settings: Settings, rng: np.random.Generator
) -> pd.DataFrame:
    """Return ``table`` with ``ratio``, ``total_marker`` and ``dna_level`` of each cell.

    Only ``ratio`` depends on the treatment; ``total_marker`` (counts x px) does not.
    """
    n, nd = len(table), settings.nucleus_diameter_px
    body_area = np.pi / 4 * (np.mean(settings.body_diameter_nd) * nd) ** 2
    expression = draw_expression(n, settings, rng)
    dna = draw_dna(n, settings, rng)
    ratio_noise = np.exp(rng.normal(0, settings.ratio_log_sd, n))
    return table.assign(
        ratio=settings.of_treatment(VALUES, treatment) * ratio_noise,
        total_marker=settings.marker_counts * body_area * expression,
        dna_level=dna,
    )


def paint(
    masks: Masks, table: pd.DataFrame, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return the light of both channels before any blur: (2, y, x) float32 in counts."""
    shape, nd, n = masks.nucleus.shape, settings.nucleus_diameter_px, len(table)
    holes = nucleoli(shape, table, settings, rng)
    length = TEXTURE_ND * nd
    inside = masks.nucleus > 0
    dna = paint_dna(masks, table, holes, settings, rng)

    weight = texture(shape, MARKER_TEXTURE_SD, length, rng)
    weight = weight * np.where(
        inside, 1 - NUCLEOLUS_DEPTH * holes, 1 - settings.radial_falloff * masks.depth**2
    )
    nuclear = np.bincount(masks.nucleus.ravel(), weight.ravel(), n + 1)[1:]
    cytoplasmic = np.bincount(masks.cytoplasm.ravel(), weight.ravel(), n + 1)[1:]
    ratio = table["ratio"].to_numpy()
    # The ratio is that of the means, so nucleoli lower the level of a nucleus but not its ratio.
    mean_nuclear = nuclear / np.maximum(label_areas(masks.nucleus, n), 1)
    mean_cytoplasmic = cytoplasmic / np.maximum(label_areas(masks.cytoplasm, n), 1)
    boost = ratio * mean_cytoplasmic / np.maximum(mean_nuclear, 1e-6)
    level = table["total_marker"].to_numpy() / np.maximum(boost * nuclear + cytoplasmic, 1e-6)
    marker = weight * (by_label(level * boost, masks.nucleus) + by_label(level, masks.cytoplasm))
    return np.stack([dna, marker]).astype(np.float32)


def measure(light: np.ndarray, masks: Masks, n: int) -> pd.DataFrame:
    """Return the truth with which a feature can be compared: means of ``light`` in the true masks.

    Arguments:
        light: (2, y, x), free of noise and background, and blurred by the optics; it includes
            neighbours and haze.
        n: Number of cells.

    Returns:
        n rows; ``true_ratio`` is NaN for a cell without a pixel of cytoplasm.
    """
    means = {}
    for name, labels in (("nucleus", masks.nucleus), ("cytoplasm", masks.cytoplasm)):
        means[f"{name}_area_px"] = label_areas(labels, n)
        means[f"true_{name}_counts"] = label_means(light[1], labels, n)
    table = pd.DataFrame(means)
    table["true_ratio"] = table["true_nucleus_counts"] / table["true_cytoplasm_counts"]
    return table
