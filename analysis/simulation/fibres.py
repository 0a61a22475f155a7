"""Draw curved fibres and points of light inside cells, for all cells of a field at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TURN_AT_BORDER = 0.45  # In rad. A fibre that meets the border of its cell turns along it.
STEP_ND = 0.03  # Length of a step of a fibre.


@dataclass(frozen=True)
class Course:
    """How fibres run; lengths in nuclear diameters, curvature in rad a nuclear diameter.

    Attributes:
        length: Smallest and largest length.
        curvature_sd: Sd of the curvature of a fibre as a whole.
        wobble_sd: Sd of the curvature that varies along a fibre, in addition.
        spread_rad: Sd of the first heading about its mean.
        ends_at_border: Share of the fibres that end where they meet the border of their cell.
    """

    length: tuple[float, float]
    curvature_sd: float
    wobble_sd: float
    spread_rad: float
    ends_at_border: float


def draw_fibres(
    labels: np.ndarray,
    starts: np.ndarray,
    headings: np.ndarray,
    owner: np.ndarray,
    path: np.ndarray,
    weight: np.ndarray,
    turn: np.ndarray,
    course: Course,
    nd: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the light (y, x) float32 of n fibres, each kept inside its own cell.

    Arguments:
        labels: (y, x), the cell of each pixel.
        starts: (n, 2) as (y, x) px.
        headings: (n,) first heading in rad.
        owner: (n,) label of the fibre's cell.
        path: (n,) fibres of the same path, which form a bundle, turn alike.
        weight: (n,) light per step.
        turn: (n,) the side to which a fibre bends, -1 or 1; 0: either.
        nd: Nuclear diameter, in px.
    """
    n_paths = int(path.max(initial=-1)) + 1
    step = STEP_ND * nd
    steps = rng.uniform(*course.length, n_paths)[path] / STEP_ND
    curvature = rng.normal(0, course.curvature_sd, n_paths)[path] * STEP_ND
    curvature = np.where(turn == 0, curvature, turn * abs(curvature))
    ends = rng.random(n_paths)[path] < course.ends_at_border
    side = rng.choice([-1.0, 1.0], n_paths)[path]
    wobble = course.wobble_sd * np.sqrt(STEP_ND)
    position, heading = starts.astype(float).copy(), headings.astype(float).copy()
    light = np.zeros(labels.size, np.float64)
    for t in range(int(np.ceil(course.length[1] / STEP_ND))):
        heading += curvature + wobble * rng.standard_normal(n_paths)[path]
        there = position + step * np.stack([np.sin(heading), np.cos(heading)], axis=1)
        inside = _label_at(labels, there) == owner
        position = np.where(inside[:, None], there, position)
        heading += np.where(inside, 0.0, side * TURN_AT_BORDER)
        steps = np.where(ends & ~inside, 0, steps)
        drawn = inside & (t < steps)
        splat(light, position[drawn], weight[drawn], labels.shape)
    return light.reshape(labels.shape).astype(np.float32)


def splat(
    canvas: np.ndarray, points: np.ndarray, weights: np.ndarray, shape: tuple[int, ...]
) -> None:
    """Add ``weights`` (n,) at ``points`` (n, 2) to the flat ``canvas``.

    The weight of a point is shared by the four pixels around it; ``shape`` is that of the canvas.
    """
    low = np.floor(points).astype(int)
    part = points - low
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = low[:, 0] + dy, low[:, 1] + dx
            share = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            good = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
            np.add.at(canvas, y[good] * shape[1] + x[good], (weights * share)[good])


def scatter(
    labels: np.ndarray,
    centres: np.ndarray,
    counts: np.ndarray,
    reach_px: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points in a disc around each cell, and return those that fall into the cell itself.

    Arguments:
        labels: (y, x), the cell of each pixel, from 1.
        centres: (n, 2) as (y, x) px, one for each cell.
        counts: (n,) points that are drawn for each cell.
        reach_px: Radius of the disc.

    Returns:
        (points (k, 2), labels of their cells (k,)).
    """
    owner = np.repeat(np.arange(1, len(centres) + 1), counts)
    radius = reach_px * np.sqrt(rng.random(len(owner)))
    angle = rng.uniform(0, 2 * np.pi, len(owner))
    away = radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    points = centres[owner - 1] + away
    inside = _label_at(labels, points) == owner
    return points[inside], owner[inside]


def _label_at(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the label under each point; -1 outside the canvas."""
    rounded = np.rint(points).astype(int)
    limits = np.array(labels.shape) - 1
    inside = ((rounded >= 0) & (rounded <= limits)).all(axis=1)
    rounded = rounded.clip(0, limits)
    return np.where(inside, labels[rounded[:, 0], rounded[:, 1]], -1)
