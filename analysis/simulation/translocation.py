"""NF-kB translocation: the marker moves between cytoplasm and nucleus at constant total."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.simulation.cells import Masks, texture
from analysis.simulation.settings import Settings

CHANNELS = 2  # nucleus, marker
DNA_LOG_SD = 0.18  # BBBC014: sd of the log of nuclear DNA within a well, 0.17, 0.19
DNA_DOME = 0.25  # loss of DNA signal from centre to rim of a nucleus
TEXTURE_ND = 0.08  # length of the texture of both channels
DNA_TEXTURE_SD = 0.10
MARKER_TEXTURE_SD = 0.12
NUCLEOLI = 2.0  # mean number in a nucleus: the dark holes of the marker in A-01
NUCLEOLUS_ND = (0.06, 0.10)  # least and greatest radius
NUCLEOLUS_DEPTH = (0.12, 0.40)  # share of DNA and of marker missing in its centre


def draw_cells(
    table: pd.DataFrame, treatment: str, settings: Settings, rng: np.random.Generator
) -> pd.DataFrame:
    """Return ``table`` with what a cell expresses: ``ratio``, ``total_marker``, ``dna_level``.

    Only ``ratio`` depends on the treatment; ``total_marker`` (counts x px) does not.
    """
    n, nd = len(table), settings.nucleus_diameter_px
    body_area = np.pi / 4 * (np.mean(settings.body_diameter_nd) * nd) ** 2
    sd = settings.expression_log_sd
    expression = np.exp(rng.normal(-(sd**2) / 2, sd, n))
    dna = np.exp(rng.normal(-(DNA_LOG_SD**2) / 2, DNA_LOG_SD, n))
    ratio_noise = np.exp(rng.normal(0, settings.ratio_log_sd, n))
    return table.assign(
        ratio=settings.ratio_median[treatment] * ratio_noise,
        total_marker=settings.marker_counts * body_area * expression,
        dna_level=settings.dna_counts * dna,
    )


def paint(
    masks: Masks, table: pd.DataFrame, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return the light of both channels before any blur: (2, y, x) float32 in counts."""
    shape, nd, n = masks.nucleus.shape, settings.nucleus_diameter_px, len(table)
    holes = _nucleoli(shape, table, settings, rng)
    length = TEXTURE_ND * nd
    inside = masks.nucleus > 0
    dna_weight = (1 - DNA_DOME * masks.depth**2) * texture(shape, DNA_TEXTURE_SD, length, rng)
    dna_weight *= 1 - NUCLEOLUS_DEPTH[0] * holes
    dna = _by_label(table["dna_level"], masks.nucleus) * np.where(inside, dna_weight, 0)

    weight = texture(shape, MARKER_TEXTURE_SD, length, rng)
    weight = weight * np.where(
        inside, 1 - NUCLEOLUS_DEPTH[1] * holes, 1 - settings.radial_falloff * masks.depth**2
    )
    nuclear = np.bincount(masks.nucleus.ravel(), weight.ravel(), n + 1)[1:]
    cytoplasmic = np.bincount(masks.cytoplasm.ravel(), weight.ravel(), n + 1)[1:]
    ratio = table["ratio"].to_numpy()
    # The ratio is of mean concentrations: nucleoli lower the level of a nucleus, not its ratio.
    mean_nuclear = nuclear / np.maximum(np.bincount(masks.nucleus.ravel(), minlength=n + 1)[1:], 1)
    mean_cytoplasmic = cytoplasmic / np.maximum(
        np.bincount(masks.cytoplasm.ravel(), minlength=n + 1)[1:], 1
    )
    boost = ratio * mean_cytoplasmic / np.maximum(mean_nuclear, 1e-6)
    level = table["total_marker"].to_numpy() / np.maximum(boost * nuclear + cytoplasmic, 1e-6)
    marker = weight * (_by_label(level * boost, masks.nucleus) + _by_label(level, masks.cytoplasm))
    return np.stack([dna, marker]).astype(np.float32)


def measure(light: np.ndarray, masks: Masks, n: int) -> pd.DataFrame:
    """Return the truth a feature can be held to: means of ``light`` in the true masks.

    ``light`` (2, y, x) is free of noise and background and blurred by the optics, neighbours
    and haze included. ``true_ratio`` is NaN for a cell without a pixel of cytoplasm.
    """
    means = {}
    for name, labels in (("nucleus", masks.nucleus), ("cytoplasm", masks.cytoplasm)):
        area = np.bincount(labels.ravel(), minlength=n + 1)[1:]
        total = np.bincount(labels.ravel(), light[1].ravel(), n + 1)[1:]
        means[f"{name}_area_px"] = area
        means[f"true_{name}_counts"] = np.divide(
            total, area, out=np.full(n, np.nan), where=area > 0
        )
    table = pd.DataFrame(means)
    table["true_ratio"] = table["true_nucleus_counts"] / table["true_cytoplasm_counts"]
    return table


def levels(settings: Settings) -> np.ndarray:
    """Return the typical signal (2,) of the channels, in counts."""
    return np.array([settings.dna_counts, settings.marker_counts])


def _nucleoli(
    shape: tuple[int, int], table: pd.DataFrame, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return how much nucleolus there is at each pixel, (y, x) float32 in 0 to 1."""
    holes = np.zeros(shape, np.float32)
    nd = settings.nucleus_diameter_px
    for y, x, diameter in table[["y_px", "x_px", "nucleus_diameter_px"]].to_numpy():
        for _ in range(rng.poisson(NUCLEOLI)):
            centre = np.array([y, x]) + rng.uniform(-0.22, 0.22, 2) * diameter
            sd = rng.uniform(*NUCLEOLUS_ND) * nd
            half = int(np.ceil(3 * sd))
            top, left = centre.astype(int) - half
            ys = np.arange(max(top, 0), min(top + 2 * half + 1, shape[0]))
            xs = np.arange(max(left, 0), min(left + 2 * half + 1, shape[1]))
            if len(ys) and len(xs):
                spot = np.exp(
                    -((ys[:, None] - centre[0]) ** 2 + (xs[None, :] - centre[1]) ** 2) / (2 * sd**2)
                )
                part = holes[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
                np.maximum(part, spot, out=part)
    return holes


def _by_label(values: pd.Series | np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (y, x) float32 with the value of each pixel's cell, 0 outside."""
    return np.concatenate([[0], np.asarray(values)]).astype(np.float32)[labels]
