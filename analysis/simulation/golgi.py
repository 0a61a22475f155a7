"""Phenotype of Golgi scattering: one compact organelle or many fragments, at equal summed area.

Nocodazole breaks the Golgi ribbon into stacks. Here only the number of fragments depends on the
treatment: their summed area, their brightness, and the sector around the nucleus in which they lie
do not. A real scattered Golgi also spreads wider, which a low-resolution image shows; the equal
footprint is the simulator's choice, so that the task needs resolution.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.simulation.cells import Cell, Masks, label_areas, texture
from analysis.simulation.nucleus import (
    TEXTURE_ND,
    by_label,
    draw_dna,
    draw_expression,
    nucleoli,
    paint_dna,
)
from analysis.simulation.settings import Settings

VALUES = "fragment_counts"  # The setting with one number per treatment.
HAZE_TEXTURE_SD = 0.12
SHARES = 8.0  # Dirichlet concentration of the fragments' areas, which are nearly equal.
APART = 1.25  # Minimum distance of two fragments' centres over their summed radii.
ASPECT_MAX = 1.6
TRIALS = 60  # Places tried for a fragment; if none fits, the one farthest from the others is taken.
# A spot of the truth is brighter than TRUTH_LEVEL times the brightness that the brightest pixels of
# the cell exceed. These cover TRUTH_BRIGHTEST_ND2, which is 2 % of the area within half a nuclear
# diameter of the nucleus, as in the detector (section measure).
TRUTH_LEVEL, TRUTH_BRIGHTEST_ND2 = 0.45, 0.067
TRUTH_MIN_PX = 4  # A smaller part is no spot, as in the detector.


def draw_cells(
    table: pd.DataFrame, treatment: str, settings: Settings, rng: np.random.Generator
) -> pd.DataFrame:
    """Return ``table`` with ``fragments``, ``golgi_area_px``, ``marker_level``, ``dna_level``.

    Only ``fragments`` depends on the treatment. ``golgi_key`` seeds the draw of a cell's fragments.
    The columns of :func:`visible_spots` are added too.
    """
    n, nd = len(table), settings.nucleus_diameter_px
    expression, dna = draw_expression(n, settings, rng), draw_dna(n, settings, rng)
    median = settings.of_treatment(VALUES, treatment)
    count = median * np.exp(rng.normal(0, settings.fragment_count_log_sd, n))
    # Round up or down by chance, so that a mean of 2.5 stays 2.5.
    whole = np.floor(count + rng.random(n)).astype(int)
    area = settings.golgi_area_nd2 * nd**2 * np.exp(rng.normal(0, settings.golgi_area_log_sd, n))
    drawn = table.assign(
        fragments=np.maximum(whole, 1),
        golgi_area_px=area,
        marker_level=settings.marker_counts * expression,
        dna_level=dna,
        golgi_key=rng.integers(2**62, size=n),
    )
    return drawn.join(visible_spots(drawn, settings))


def place_fragments(row: Cell, settings: Settings) -> np.ndarray:
    """Return the fragments of a cell, rows of (y, x, radius, aspect, angle), with lengths in px.

    They lie apart in a sector around the nucleus, ``golgi_distance_nd`` from its centre.
    """
    rng = np.random.default_rng(int(row["golgi_key"]))
    n, nd = int(row["fragments"]), settings.nucleus_diameter_px
    sector = rng.uniform(0, 2 * np.pi)
    areas = row["golgi_area_px"] * rng.dirichlet(np.full(n, SHARES))
    radii = np.sqrt(np.sort(areas)[::-1] / np.pi)
    near, far = settings.golgi_distance_nd
    placed = np.zeros((n, 5))
    for i, radius in enumerate(radii):
        angles = sector + np.deg2rad(settings.golgi_angle_sd_deg) * rng.standard_normal(TRIALS)
        distance = nd * rng.uniform(near, far, TRIALS)
        y = row["y_px"] + distance * np.sin(angles)
        x = row["x_px"] + distance * np.cos(angles)
        others = placed[:i]
        gaps = np.hypot(y[:, None] - others[:, 0], x[:, None] - others[:, 1])
        room = (gaps / (radius + others[:, 2])).min(axis=1, initial=np.inf)
        best = int(np.argmax(room >= APART)) if (room >= APART).any() else int(room.argmax())
        aspect, turn = rng.uniform(1, ASPECT_MAX), angles[best] + np.pi / 2
        placed[i] = y[best], x[best], radius, aspect, turn
    return placed


def paint(
    masks: Masks, table: pd.DataFrame, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return the light of both channels before any blur: (2, y, x) float32 in counts."""
    shape, nd = masks.nucleus.shape, settings.nucleus_diameter_px
    holes = nucleoli(shape, table, settings, rng)
    dna = paint_dna(masks, table, holes, settings, rng)
    haze = settings.golgi_haze * texture(shape, HAZE_TEXTURE_SD, TEXTURE_ND * nd, rng)
    haze *= np.where(masks.cytoplasm > 0, 1 - settings.radial_falloff * masks.depth**2, 0.5)
    level = by_label(table["marker_level"], masks.nucleus + masks.cytoplasm)
    marker = np.asarray(level * haze, dtype=np.float32)
    for row in table.to_dict("records"):
        for fragment in place_fragments(row, settings):
            _draw(marker, fragment, row["marker_level"])
    return np.stack([dna, marker]).astype(np.float32)


def visible_spots(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the truth with which a feature can be compared: fragments as the optics show them.

    A cell's own fragments are painted alone and blurred by the point spread function, without
    noise, haze or neighbours. Parts above the detector's level are spots, so fragments that the
    optics merge count once.

    Returns:
        One row per cell: ``true_spot_count``, ``true_spot_area_px`` (mean), ``true_total_area_px``,
        ``true_largest_fraction``; NaN out of focus, where no fragment is visible.
    """
    names = ("spot_count", "spot_area_px", "total_area_px", "largest_fraction")
    found = np.full((len(table), len(names)), np.nan)
    for i, row in enumerate(table.to_dict("records")):
        if row["in_focus"]:
            sizes = spot_sizes(place_fragments(row, settings), settings)
            found[i] = len(sizes), sizes.mean(), sizes.sum(), sizes.max() / sizes.sum()
    return pd.DataFrame(found, columns=[f"true_{name}" for name in names], index=table.index)


def spot_sizes(fragments: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the areas in px of the spots that the ``fragments`` of a cell in focus make."""
    nd = settings.nucleus_diameter_px
    sd = settings.psf_sd_nd * nd
    margin = np.ceil(4 * sd + 2 * fragments[:, 2].max()) + 2
    corner = np.floor(fragments[:, :2].min(axis=0) - margin)
    shape = np.ceil(fragments[:, :2].max(axis=0) + margin - corner).astype(int) + 1
    light = np.zeros(shape, np.float32)
    for fragment in fragments:
        _draw(light, np.concatenate([fragment[:2] - corner, fragment[2:]]), 1.0)
    light = ndimage.gaussian_filter(light, sd, mode="constant", truncate=4.0)
    brightest = min(round(TRUTH_BRIGHTEST_ND2 * nd**2), light.size - 1)
    level = TRUTH_LEVEL * np.partition(light.ravel(), -1 - brightest)[-1 - brightest]
    labels, count = ndimage.label(light > level, np.ones((3, 3)))
    sizes = label_areas(labels, count)
    return sizes[sizes >= min(TRUTH_MIN_PX, sizes.max())]


def measure(light: np.ndarray, masks: Masks, n: int) -> pd.DataFrame:
    """Return ``nucleus_area_px``; the truth of the spots comes from :func:`visible_spots`."""
    return pd.DataFrame({"nucleus_area_px": label_areas(masks.nucleus, n)})


def _draw(canvas: np.ndarray, fragment: np.ndarray, level: float) -> None:
    """Draw an ellipse of even brightness with an edge of one pixel; brighter pixels stay."""
    y, x, radius, aspect, angle = fragment
    half = int(np.ceil(radius * np.sqrt(aspect))) + 2
    top, left = int(round(y)) - half, int(round(x)) - half
    rows = slice(max(top, 0), max(min(top + 2 * half + 1, canvas.shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + 2 * half + 1, canvas.shape[1]), 0))
    ys = np.arange(rows.start, rows.stop)[:, None] - y
    xs = np.arange(columns.start, columns.stop)[None, :] - x
    along = np.cos(angle) * xs + np.sin(angle) * ys
    across = np.cos(angle) * ys - np.sin(angle) * xs
    inside = radius - np.hypot(along / np.sqrt(aspect), across * np.sqrt(aspect)) + 0.5
    part = canvas[rows, columns]
    np.maximum(part, level * np.clip(inside, 0, 1), out=part)
