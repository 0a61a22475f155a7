"""Paint the nucleus channel, and draw the expression of a cell; common to all phenotypes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.simulation.cells import Cell, Masks, texture
from analysis.simulation.settings import Settings

# Sd of the log of nuclear DNA within a well; BBBC014 has 0.17 and 0.19.
DNA_LOG_SD = 0.18
DNA_DOME = 0.25  # Loss of DNA signal from centre to rim of a nucleus.
TEXTURE_ND = 0.08  # Length of the texture of DNA and of a diffuse marker.
DNA_TEXTURE_SD = 0.10
NUCLEOLI = 2.0  # Mean number in a nucleus, from the dark holes of the marker in A-01.
NUCLEOLUS_ND = (0.06, 0.10)  # Smallest and largest radius.
NUCLEOLUS_DEPTH = 0.12  # Share of the DNA that is missing in the centre of a nucleolus.


def draw_dna(n: int, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Return the DNA signal (n,) of n nuclei, in counts."""
    return settings.dna_counts * np.exp(rng.normal(-(DNA_LOG_SD**2) / 2, DNA_LOG_SD, n))


def draw_expression(n: int, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Return the relative amount (n,) of marker of each cell, mean 1 in every treatment."""
    sd = settings.expression_log_sd
    return np.exp(rng.normal(-(sd**2) / 2, sd, n))


def paint_dna(
    masks: Masks,
    table: pd.DataFrame,
    holes: np.ndarray,
    settings: Settings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the light of the nucleus channel before any blur: (y, x) in counts.

    Arguments:
        table: The cells, with ``dna_level``.
        holes: (y, x), from :func:`nucleoli`.
    """
    shape, length = masks.nucleus.shape, TEXTURE_ND * settings.nucleus_diameter_px
    weight = (1 - DNA_DOME * masks.depth**2) * texture(shape, DNA_TEXTURE_SD, length, rng)
    weight *= 1 - NUCLEOLUS_DEPTH * holes
    return by_label(table["dna_level"], masks.nucleus) * np.where(masks.nucleus > 0, weight, 0)


def nucleoli(
    shape: tuple[int, ...], table: pd.DataFrame, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return the share of nucleolus at each pixel, (y, x) float32 in 0 to 1."""
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


def nucleus_parts(row: Cell) -> np.ndarray:
    """Return the parts of a nucleus, rows of (y, x, radius, aspect, angle), with lengths in px.

    Two parts are equal halves side by side; more are pieces of unequal size, each touching another.
    """
    rng = np.random.default_rng(int(row["parts_key"]))
    n, radius = int(row["nucleus_parts"]), row["nucleus_diameter_px"] / 2
    shares = np.array([0.55, 0.55]) if n == 2 else 1.1 * np.sort(rng.dirichlet(np.full(n, 2.0)))
    parts = np.zeros((n, 5))
    parts[:, 2] = radius * np.sqrt(shares[::-1])
    parts[:, 3] = rng.uniform(1.0, 1.5, n)
    parts[:, 4] = rng.uniform(0, np.pi, n)
    if n == 2:  # The long sides lie against each other.
        parts[:, 4] = row["nucleus_angle"] + np.pi / 2 + rng.normal(0, 0.3, n)
    for i in range(1, n):
        host = parts[min(rng.integers(i, size=2))]  # An early part, so that they cluster.
        angle = row["nucleus_angle"] if n == 2 else rng.uniform(0, 2 * np.pi)
        gap = (0.85 if n == 2 else 0.75) * (host[2] + parts[i, 2])
        parts[i, :2] = host[0] + gap * np.sin(angle), host[1] + gap * np.cos(angle)
    middle = np.average(parts[:, :2], axis=0, weights=parts[:, 2] ** 2)
    parts[:, :2] += np.array([row["y_px"], row["x_px"]]) - middle
    return parts


def by_label(values: pd.Series | np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (y, x) float32 with the value of each pixel's cell, 0 outside.

    Arguments:
        values: (n,) one for each cell.
        labels: (y, x) number of the cell, from 1.
    """
    return np.concatenate([[0], np.asarray(values)]).astype(np.float32)[labels]


def marker_levels(settings: Settings) -> np.ndarray:
    """Return the typical signal (2,) of the nucleus channel and of one marker, in counts."""
    return np.array([settings.dna_counts, settings.marker_counts])
