"""Place simulated cells and draw their shapes; nothing here depends on a treatment."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.simulation.settings import Settings

COLONY_SD_ND = 2.5  # Smoothness of the outline of colonies; those of BBBC014 have 5 to 40 cells.
NUCLEUS_ASPECT_EXCESS = 0.27  # BBBC014, A-01 and A-12: median aspect 1.28, 5 to 95 % 1.06 to 1.8.
NUCLEUS_ASPECT_LOG_SD = 0.6
NUCLEUS_LOBES = (0.0, 0.02, 0.015)  # Relative amplitude of the harmonics 2, 3, 4 of a nucleus.
BODY_LOBES = (0.0, 0.10, 0.07, 0.05)  # Relative amplitude of the harmonics 2 to 5 of a body.
HARMONICS = 12  # All harmonics of an outline are below this; a phenotype may add to BODY_LOBES.
MIN_RING = 1.25  # A body reaches at least this multiple of the nuclear radius.
PATCH_ND = 2.4  # Half the side of the window in which a cell is drawn.
TRIALS_PER_CELL = 30
NEIGHBOURHOOD_ND = 2 * 32 / 15  # Side of "2x2 crops" when 32 px hold a nucleus of 15 px.

Window = tuple[slice, ...]  # Rows and columns of a canvas.
Cell = Mapping[Hashable, float]  # A row of a table of cells, as pandas gives it.


@dataclass(frozen=True)
class Masks:
    """True masks of n cells on one canvas; label i + 1 is row i of the table.

    Attributes:
        nucleus: (y, x) int32; 0 outside.
        cytoplasm: (y, x) int32; 0 outside.
        depth: (y, x) float32, relative distance from the centre of the compartment, 0 to 1.
    """

    nucleus: np.ndarray
    cytoplasm: np.ndarray
    depth: np.ndarray


def place_cells(shape: tuple[int, int], settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Return nuclear centres (n, 2) as (y, x) px: random, at least ``nearest_centres_nd`` apart.

    Cells lie in colonies, which cover the share ``colony_share`` of the canvas; their number is
    Poisson.
    """
    ys, xs = np.nonzero(_colonies(shape, settings, rng))
    density_per_px2 = settings.neighbours / (NEIGHBOURHOOD_ND * settings.nucleus_diameter_px) ** 2
    wanted = rng.poisson(density_per_px2 * len(ys))
    nearest = (settings.nearest_centres_nd * settings.nucleus_diameter_px) ** 2
    centres = np.empty((wanted, 2))
    count = 0
    for _ in range(TRIALS_PER_CELL * wanted):
        if count == wanted:
            break
        pick = rng.integers(len(ys))
        point = np.array([ys[pick], xs[pick]]) + rng.random(2) - 0.5
        if count == 0 or ((centres[:count] - point) ** 2).sum(axis=1).min() >= nearest:
            centres[count] = point
            count += 1
    return centres[:count]


def draw_shapes(centres: np.ndarray, settings: Settings, rng: np.random.Generator) -> pd.DataFrame:
    """Return one row of geometry per cell, with lengths in px and angles in radians."""
    n, nd = len(centres), settings.nucleus_diameter_px
    area_log_sd = np.sqrt(np.log1p(settings.nucleus_area_cv**2))
    diameter = nd * np.exp(0.5 * rng.normal(-(area_log_sd**2) / 2, area_log_sd, n))
    aspect = 1 + NUCLEUS_ASPECT_EXCESS * np.exp(rng.normal(0, NUCLEUS_ASPECT_LOG_SD, n))
    low, high = settings.body_diameter_nd
    offset = rng.normal(0, settings.nucleus_offset_sd_nd * nd, (n, 2)).clip(-0.5 * nd, 0.5 * nd)
    table = pd.DataFrame(
        {
            "y_px": centres[:, 0],
            "x_px": centres[:, 1],
            "nucleus_diameter_px": diameter,
            "nucleus_aspect": np.minimum(aspect, 2.2),
            "nucleus_angle": rng.uniform(0, np.pi, n),
            "body_y_px": centres[:, 0] + offset[:, 0],
            "body_x_px": centres[:, 1] + offset[:, 1],
            "body_diameter_px": nd * rng.uniform(low, high, n),
            "body_aspect": rng.uniform(1, settings.body_aspect_max, n),
            "body_angle": rng.uniform(0, np.pi, n),
        }
    )
    for name, lobes in (("nucleus", NUCLEUS_LOBES), ("body", BODY_LOBES)):
        for k, amplitude in enumerate(lobes, start=2):
            table[f"{name}_lobe{k}"] = rng.normal(0, amplitude, n)
            table[f"{name}_phase{k}"] = rng.uniform(0, 2 * np.pi, n)
    table["in_focus"] = rng.random(n) >= settings.out_of_focus_share
    return table


def nucleus_radius(window: Window, row: Cell) -> np.ndarray:
    """Return the relative radius (y, x) of a nucleus in ``window``: 0 at its centre, 1 at its rim.

    ``row`` is a row of :func:`draw_shapes`.
    """
    return _relative_radius(window, row, "nucleus", row["y_px"], row["x_px"])


def draw_masks(
    shape: tuple[int, int],
    table: pd.DataFrame,
    settings: Settings,
    outline: Callable[[Window, Cell], np.ndarray] = nucleus_radius,
) -> Masks:
    """Draw the cells of ``table``; where bodies meet, a pixel goes to the nearer cell.

    Nuclei come before bodies, so that a cell is squeezed by its neighbours but never covered.

    Arguments:
        outline: Relative radius of a nucleus, for a phenotype whose nuclei have parts.
    """
    nucleus = np.zeros(shape, np.int32)
    body = np.zeros(shape, np.int32)
    nucleus_depth = np.ones(shape, np.float32)
    body_depth = np.ones(shape, np.float32)
    half = int(np.ceil(PATCH_ND * settings.nucleus_diameter_px))
    for label, row in enumerate(table.to_dict("records"), start=1):
        top, left = int(round(row["y_px"])) - half, int(round(row["x_px"])) - half
        window = tuple(
            slice(max(start, 0), max(min(start + 2 * half + 1, size), 0))
            for start, size in zip((top, left), shape, strict=True)
        )
        inner = outline(window, row)
        outer = _relative_radius(window, row, "body", row["body_y_px"], row["body_x_px"])
        outer = np.minimum(outer, inner / MIN_RING)
        for depth, canvas, value in ((nucleus_depth, nucleus, inner), (body_depth, body, outer)):
            nearer = value < depth[window]
            depth[window][nearer] = value[nearer]
            canvas[window][nearer] = label
    cytoplasm = np.where(nucleus > 0, 0, body)
    return Masks(nucleus, cytoplasm, np.where(nucleus > 0, nucleus_depth, body_depth))


def texture(
    shape: tuple[int, ...], sd: float, length_px: float, rng: np.random.Generator
) -> np.ndarray:
    """Return smooth noise (y, x) float32 of mean 1 and standard deviation ``sd``."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), length_px)
    return 1 + sd * noise / max(float(noise.std()), 1e-12)


def label_areas(labels: np.ndarray, n: int) -> np.ndarray:
    """Return the area (n,) in px of the labels 1 to n of ``labels`` (y, x)."""
    return np.bincount(labels.ravel(), minlength=n + 1)[1:]


def label_means(light: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """Return the mean (n,) of ``light`` (y, x) in the labels 1 to n, NaN in one without a pixel."""
    area = label_areas(labels, n)
    total = np.bincount(labels.ravel(), light.ravel(), n + 1)[1:]
    return np.divide(total, area, out=np.full(n, np.nan), where=area > 0)


def _relative_radius(window: Window, row: Cell, name: str, y: float, x: float) -> np.ndarray:
    """Return the distance from (y, x) over the radius of the outline in that direction, float32."""
    ys = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(y)
    xs = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - np.float32(x)
    angle, aspect = row[f"{name}_angle"], row[f"{name}_aspect"]
    radius = row[f"{name}_diameter_px"] / 2
    along = np.float32(np.cos(angle)) * xs + np.float32(np.sin(angle)) * ys
    across = np.float32(np.cos(angle)) * ys - np.float32(np.sin(angle)) * xs
    along /= np.float32(radius * np.sqrt(aspect))
    across /= np.float32(radius / np.sqrt(aspect))
    theta = np.arctan2(across, along)
    outline = np.ones_like(theta)
    for k in range(2, HARMONICS):
        lobe = row.get(f"{name}_lobe{k}", 0.0)
        if lobe:
            outline += np.float32(lobe) * np.cos(k * theta + np.float32(row[f"{name}_phase{k}"]))
    return np.hypot(along, across) / np.maximum(outline, 0.5)


def _colonies(shape: tuple[int, int], settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Return the mask (y, x) of the area on which cells may lie."""
    if settings.colony_share >= 1:
        return np.ones(shape, bool)
    step = max(settings.nucleus_diameter_px / 2, 1.0)
    coarse = tuple(int(np.ceil(size / step)) + 1 for size in shape)
    noise = ndimage.gaussian_filter(
        rng.standard_normal(coarse), COLONY_SD_ND * settings.nucleus_diameter_px / step, mode="wrap"
    )
    rows = np.minimum((np.arange(shape[0]) / step).astype(int), coarse[0] - 1)
    columns = np.minimum((np.arange(shape[1]) / step).astype(int), coarse[1] - 1)
    return (noise > np.quantile(noise, 1 - settings.colony_share))[np.ix_(rows, columns)]
