"""Phenotype of drugs of the cytoskeleton: MCF7 cells as in BBBC021, nucleus, actin and tubulin.

The tubulin and actin of a cell are divided between a diffuse part and structures: microtubules that
grow from around the nucleus, bend, and run along the border; actin along the border, in straight
fibres, in clumps. A treatment changes the shares (analysis.simulation.effects). Sizes, intensities
and noise are those of BBBC021's crops (docs/simulated_plates.md).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.simulation.cells import (
    HARMONICS,
    Cell,
    Masks,
    Window,
    label_areas,
    label_means,
    nucleus_radius,
    texture,
)
from analysis.simulation.effects import MECHANISMS, states
from analysis.simulation.fibres import Course, draw_fibres, scatter, splat
from analysis.simulation.nucleus import (
    by_label,
    draw_dna,
    draw_expression,
    nucleoli,
    nucleus_parts,
)
from analysis.simulation.settings import Settings
from rls.runtime.errors import InputError

CHANNEL_NAMES = ("actin", "tubulin")  # In either order, after the nucleus channel.
VALUES = "effect_doses"  # The setting with one number per treatment.

MICROTUBULES = 160  # Number in a cell; those that run together form a bundle.
MICROTUBULE = Course((0.8, 3.2), 0.9, 0.25, 0.5, ends_at_border=0.7)
MICROTUBULE_LOG_SD = 0.5  # Sd of the log of their brightness.
BUNDLED = 0.06  # Width of a bundle, in nd.
FROM_CENTROSOME = 0.2  # Share of the microtubules that start there; others start at the nucleus.
AROUND_NUCLEUS = 0.7  # Share of the microtubules that bend around the nucleus.
REACH_ND = 1.5  # Radius of the disc around a cell in which places are tried.
STRESS_FIBRES = 60  # Number tried for a cell; those that fall into it stay.
STRESS_FIBRE = Course((0.3, 1.6), 0.3, 0.2, 0.3, ends_at_border=0.7)
CLUMPS = 230  # Number tried for a cell; those that fall into it stay.
CLUMP_SD_ND = (0.02, 0.06)  # Sd of the many small clumps, and of the few large ones.
VACUOLE_SD_ND = 0.07
CORTEX_ND = 0.03  # Thickness of the actin along the border.
HEIGHT_ND = 0.30  # A cell thins out over this distance from its nucleus.
TUBULIN_FLAT, ACTIN_FLAT = 0.30, 0.95  # Share of the light that does not follow the height.
TUBULIN_OVER_NUCLEUS, ACTIN_OVER_NUCLEUS = 0.90, 0.70  # Level over the level beside the nucleus.
FIBRES_OVER_NUCLEUS = 1.5  # Fibres pass above and below the nucleus.
# (sd, length in nd) of the textures of diffuse actin; those of tubulin have a quarter of the sd.
TEXTURES = ((0.22, 0.02), (0.14, 0.06), (0.12, 0.25))
DNA_TEXTURE = (0.10, 0.035)
DNA_ROUND = 0.35  # A nucleus thins out at its rim as (1 - depth^2) to this power.
NUCLEOLUS_DEPTH = 0.15
CONDENSED_DIAMETER, CONDENSED_TEXTURE = 0.82, (0.30, 0.035)
MITOTIC_BODY_ND = 1.5
SPREADING = 0.6  # A cell with half the area is thicker: it has 2^0.6 times the level.
# Share of the light of a thick cell that comes from above and below the focus.
HAZE_SHARE = {"dna": 0.17, "actin": 0.45, "tubulin": 0.35}
HAZE_SD_ND = 0.15
PLANTED = (
    *("fibre_share", "bundle_size", "vacuoles"),
    *("cortex_share", "stress_fibre_share", "clump_share"),
)


def draw_cells(
    table: pd.DataFrame, treatment: str, settings: Settings, rng: np.random.Generator
) -> pd.DataFrame:
    """Return ``table`` with the response of each cell, which also changes its shape.

    Returns:
        New columns ``response`` (0 to 1); ``fibre_share``, ``bundle_size``, ``vacuoles``,
        ``cortex_share``, ``stress_fibre_share``, ``clump_share``, ``mitotic`` and ``nucleus_parts``
        as planted; ``tubulin_level``, ``actin_level`` (counts over a free body) and ``dna_level``.
    """
    check(settings)
    n = len(table)
    place = settings.treatments.index(treatment)
    dose = settings.of_treatment(VALUES, treatment)
    response = np.clip(dose * np.exp(rng.normal(0, settings.effect_log_sd, n)), 0, 1)
    state = states(settings.effects[place], response)
    draws = rng.random((3, n))
    mitotic = draws[0] < state["mitotic"]
    pieces = np.where(draws[1] < state["fragmented"], 3 + rng.poisson(2.5, n), 1)
    pieces = np.where((pieces == 1) & (draws[2] < state["binucleate"]), 2, pieces)
    expressed = {name: draw_expression(n, settings, rng) for name in CHANNEL_NAMES}
    table = table.assign(
        response=response,
        **{name: state[name] for name in PLANTED},
        mitotic=mitotic,
        nucleus_parts=np.where(mitotic, 1, pieces),
        tubulin_level=settings.tubulin_counts * expressed["tubulin"] * state["tubulin_scale"],
        actin_level=settings.actin_counts * expressed["actin"] * state["actin_scale"],
        dna_level=draw_dna(n, settings, rng) / np.where(mitotic, CONDENSED_DIAMETER**2, 1.0),
        parts_key=rng.integers(2**62, size=n),
    )
    return _reshape(table, state, mitotic, settings, rng)


def _reshape(
    table: pd.DataFrame,
    state: dict[str, np.ndarray],
    mitotic: np.ndarray,
    settings: Settings,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return ``table`` with bodies and nuclei shaped by ``state``; mitotic cells are discs."""
    n, nd = len(table), settings.nucleus_diameter_px
    round_ = np.where(mitotic, 1.0, state["roundness"])
    changed = {
        "body_diameter_px": np.where(
            mitotic, MITOTIC_BODY_ND * nd, table["body_diameter_px"] * state["body_scale"]
        ),
        "body_aspect": table["body_aspect"] ** (1 - round_),
        "nucleus_diameter_px": table["nucleus_diameter_px"]
        * np.where(mitotic, CONDENSED_DIAMETER, state["nucleus_scale"]),
        "nucleus_aspect": np.where(mitotic, 1.1, table["nucleus_aspect"]),
        "body_y_px": table["y_px"] + (table["body_y_px"] - table["y_px"]) * (1 - 0.7 * round_),
        "body_x_px": table["x_px"] + (table["body_x_px"] - table["x_px"]) * (1 - 0.7 * round_),
    }
    for column in table:
        if str(column).startswith("body_lobe"):
            changed[str(column)] = table[column] * (1 - round_)
    for k in range(6, HARMONICS):  # A ragged outline; draw_shapes has the harmonics 2 to 5.
        changed[f"body_lobe{k}"] = rng.normal(0, 1, n) * state["body_lobes"] * (1 - round_)
        changed[f"body_phase{k}"] = rng.uniform(0, 2 * np.pi, n)
    return table.assign(**changed)


def check(settings: Settings) -> None:
    """Raise :class:`InputError` on channels, effects or doses that this phenotype cannot paint."""
    if set(settings.channels[1:]) != set(CHANNEL_NAMES):
        raise InputError(
            f"Found the channels {', '.join(settings.channels)}, but phenotype 'cytoskeleton' "
            "paints a nucleus channel, then actin and tubulin. Correct the assay's channels."
        )
    if len(settings.effects) != len(settings.treatments):
        raise InputError(
            f"Found {len(settings.effects)} effects for {len(settings.treatments)} treatments, "
            "expected one each. Align the two lists in simulate_plate."
        )
    for effect in settings.effects:
        if effect not in MECHANISMS:
            raise InputError(
                f"Found effect '{effect}', expected one of: {', '.join(MECHANISMS)}. "
                "Correct simulate_plate.effects."
            )
    for dose in settings.effect_doses:
        if not 0 <= dose <= 1:
            raise InputError(
                f"Found the dose {dose} in effect_doses, expected 0 (no effect) to 1 (the whole). "
                "Correct simulate_plate.effect_doses."
            )


def mechanism_of(settings: Settings, treatment: str) -> str:
    """Return the mechanism of action of a treatment for moa.csv; empty where none is known."""
    return MECHANISMS[settings.effects[settings.treatments.index(treatment)]][1]


def outline(window: Window, row: Cell) -> np.ndarray:
    """Return the relative radius (y, x) of the nearest part of a nucleus: 1 at its rim."""
    if row["nucleus_parts"] == 1:
        return nucleus_radius(window, row)
    ys = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None]
    xs = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :]
    nearest = np.full((ys.size, xs.size), np.inf, np.float32)
    for y, x, radius, aspect, angle in nucleus_parts(row).astype(np.float32):
        along = (np.cos(angle) * (xs - x) + np.sin(angle) * (ys - y)) / np.sqrt(aspect)
        across = (np.cos(angle) * (ys - y) - np.sin(angle) * (xs - x)) * np.sqrt(aspect)
        np.minimum(nearest, np.hypot(along, across) / radius, out=nearest)
    return nearest


def paint(
    masks: Masks, table: pd.DataFrame, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return the light of the channels before the optics: (3, y, x) float32 in counts."""
    nd = settings.nucleus_diameter_px
    cells = masks.nucleus + masks.cytoplasm
    beside = ndimage.distance_transform_edt(masks.nucleus == 0).astype(np.float32)
    height = np.where(cells > 0, np.exp(-beside / np.float32(HEIGHT_ND * nd)), 0)
    level = _levels(cells, table, settings)
    painted = {
        "tubulin": _tubulin(masks, cells, height, table, nd, rng) * level["tubulin"],
        "actin": _actin(masks, cells, height, table, nd, rng) * level["actin"],
    }
    light = [_dna(masks, table, settings, rng)]
    light += [painted[name] for name in settings.channels[1:]]
    stack = np.stack(light).astype(np.float32)
    haze = ndimage.gaussian_filter(stack, (0, HAZE_SD_ND * nd, HAZE_SD_ND * nd))
    shares = [HAZE_SHARE[name] for name in ("dna", *settings.channels[1:])]
    return stack + np.array(shares, np.float32)[:, None, None] * (haze - stack)


def _share(light: np.ndarray, cells: np.ndarray, n: int) -> np.ndarray:
    """Return ``light`` (y, x) scaled so that its mean over each of the ``n`` cells is 1."""
    total = np.bincount(cells.ravel(), light.ravel(), n + 1)[1:]
    scale = np.divide(label_areas(cells, n), total, out=np.zeros(n), where=total > 1e-6)
    return np.asarray(light * by_label(scale, cells), np.float32)


def _levels(cells: np.ndarray, table: pd.DataFrame, settings: Settings) -> dict[str, np.ndarray]:
    """Return the mean level (y, x) of each channel: a cell that spreads less is thicker."""
    area = np.maximum(label_areas(cells, len(table)), 1)
    free = np.pi / 4 * (np.mean(settings.body_diameter_nd) * settings.nucleus_diameter_px) ** 2
    thick = np.minimum((free / area) ** SPREADING, 4.0)
    return {name: by_label(table[f"{name}_level"] * thick, cells) for name in CHANNEL_NAMES}


def _diffuse(
    masks: Masks,
    height: np.ndarray,
    table: pd.DataFrame,
    flat: float,
    over_nucleus: float,
    roughness: float,
    nd: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the light (y, x) of diffuse protein, which follows the height except for ``flat``."""
    interphase = by_label(~table["mitotic"], masks.nucleus) > 0
    light = (flat + (1 - flat) * height) * np.where(interphase, over_nucleus, 1).astype(np.float32)
    for sd, length in TEXTURES:
        light = light * texture(height.shape, roughness * sd, length * nd, rng)
    return light


def _tubulin(
    masks: Masks,
    cells: np.ndarray,
    height: np.ndarray,
    table: pd.DataFrame,
    nd: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return tubulin (y, x) of mean 1 in every cell."""
    inside = masks.nucleus > 0
    diffuse = _diffuse(masks, height, table, TUBULIN_FLAT, TUBULIN_OVER_NUCLEUS, 0.25, nd, rng)
    holes = np.zeros(cells.size)
    middles = table[["body_y_px", "body_x_px"]].to_numpy()
    points, _ = scatter(cells, middles, rng.poisson(table["vacuoles"]), REACH_ND * nd, rng)
    splat(holes, points, np.ones(len(points)), cells.shape)
    sd_px = VACUOLE_SD_ND * nd
    holes = ndimage.gaussian_filter(holes.reshape(cells.shape), sd_px) * 2 * np.pi * sd_px**2
    diffuse = diffuse * np.where(inside, 1.0, 1 - 0.85 * np.clip(holes, 0, 1))
    fibres = _microtubules(cells, table, nd, rng) * np.where(inside, FIBRES_OVER_NUCLEUS, 1.0)
    part = by_label(table["fibre_share"], cells)
    n = len(table)
    return _share(diffuse, cells, n) * (1 - part) + _share(fibres, cells, n) * part


def _microtubules(
    cells: np.ndarray, table: pd.DataFrame, nd: float, rng: np.random.Generator
) -> np.ndarray:
    """Return microtubules (y, x), which grow from the centrosome and from around the nucleus."""
    n = len(table)
    owner = np.repeat(np.arange(1, n + 1), MICROTUBULES)
    bundle = np.maximum(np.rint(table["bundle_size"].to_numpy()), 1).astype(int)
    number = np.tile(np.arange(MICROTUBULES), n) // np.repeat(bundle, MICROTUBULES)
    path = (owner - 1) * MICROTUBULES + number
    total = n * MICROTUBULES
    pole = np.repeat(rng.uniform(0, 2 * np.pi, n), MICROTUBULES)
    angle = np.where(
        rng.random(total)[path] < FROM_CENTROSOME, pole, rng.uniform(0, 2 * np.pi, total)[path]
    )
    radius = np.repeat(table["nucleus_diameter_px"].to_numpy() / 2, MICROTUBULES)
    # In a mitotic cell they grow from further inside, because it has no nucleus any more.
    radius = radius * rng.uniform(0.7, 1.35, total)[path]
    radius = radius * np.where(np.repeat(table["mitotic"].to_numpy(), MICROTUBULES), 0.6, 1.0)
    away = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    centres = np.repeat(table[["y_px", "x_px"]].to_numpy(), MICROTUBULES, axis=0)
    apart = rng.normal(0, BUNDLED * nd, (total, 2)) * (bundle > 1).repeat(MICROTUBULES)[:, None]
    turn = np.where(rng.random(total) < AROUND_NUCLEUS, rng.choice([-1, 1], total), 0)[path]
    # Microtubules that bend around the nucleus start along its rim, the others away from it.
    side = turn * np.pi / 2 + rng.normal(0, MICROTUBULE.spread_rad, total)[path]
    weight = rng.lognormal(0, MICROTUBULE_LOG_SD, total)[path]
    starts = centres + radius[:, None] * away + apart
    return draw_fibres(cells, starts, angle + side, owner, path, weight, turn, MICROTUBULE, nd, rng)


def _actin(
    masks: Masks,
    cells: np.ndarray,
    height: np.ndarray,
    table: pd.DataFrame,
    nd: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return actin (y, x) of mean 1 in every cell."""
    diffuse = _diffuse(masks, height, table, ACTIN_FLAT, ACTIN_OVER_NUCLEUS, 1.0, nd, rng)
    border = np.zeros(cells.shape, bool)
    for axis in (0, 1):
        differs = np.diff(cells, axis=axis) != 0
        border |= np.pad(differs, [(0, int(axis == 0)), (0, int(axis == 1))])
    to_border = ndimage.distance_transform_edt(~border).astype(np.float32)
    cortex = np.exp(-to_border / np.float32(CORTEX_ND * nd)) * (cells > 0)
    cortex = cortex * texture(cells.shape, 0.5, 0.25 * nd, rng).clip(0.1)
    shares = {
        name: by_label(table[f"{name}_share"], cells)
        for name in ("cortex", "stress_fibre", "clump")
    }
    parts = {
        "cortex": cortex,
        "stress_fibre": _stress_fibres(cells, table, nd, rng),
        "clump": _clumps(cells, table, nd, rng),
    }
    light = _share(diffuse, cells, len(table)) * (1 - sum(shares.values()))
    for name, part in parts.items():
        light += _share(part, cells, len(table)) * shares[name]
    return light


def _stress_fibres(
    cells: np.ndarray, table: pd.DataFrame, nd: float, rng: np.random.Generator
) -> np.ndarray:
    """Return straight fibres (y, x), nearly parallel within a cell."""
    n = len(table)
    middles = table[["body_y_px", "body_x_px"]].to_numpy()
    points, owner = scatter(cells, middles, np.full(n, STRESS_FIBRES), REACH_ND * nd, rng)
    axis = rng.uniform(0, 2 * np.pi, n)[owner - 1]
    headings = axis + rng.normal(0, STRESS_FIBRE.spread_rad, len(owner))
    weight = rng.exponential(1.0, len(owner))
    path, turn = np.arange(len(owner)), np.zeros(len(owner))
    return draw_fibres(cells, points, headings, owner, path, weight, turn, STRESS_FIBRE, nd, rng)


def _clumps(
    cells: np.ndarray, table: pd.DataFrame, nd: float, rng: np.random.Generator
) -> np.ndarray:
    """Return clumps (y, x), many small and some large, in the cells that have any."""
    middles = table[["body_y_px", "body_x_px"]].to_numpy()
    counts = np.where(table["clump_share"] > 0, CLUMPS, 0)
    light = np.zeros(cells.shape, np.float32)
    for sd_nd, share_of in zip(CLUMP_SD_ND, (1.0, 0.2), strict=True):
        trials = rng.poisson(counts * share_of)
        points, _ = scatter(cells, middles, trials, REACH_ND * nd, rng)
        canvas = np.zeros(cells.size)
        splat(canvas, points, rng.lognormal(0, 0.7, len(points)), cells.shape)
        light += ndimage.gaussian_filter(canvas.reshape(cells.shape), sd_nd * nd).astype(np.float32)
    return light


def _dna(
    masks: Masks, table: pd.DataFrame, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Return DNA (y, x) in counts: smooth in interphase, clumped where it is condensed."""
    shape, nd = masks.nucleus.shape, settings.nucleus_diameter_px
    holes = nucleoli(shape, table, settings, rng)
    fine = texture(shape, DNA_TEXTURE[0], DNA_TEXTURE[1] * nd, rng) * (1 - NUCLEOLUS_DEPTH * holes)
    sd, length = CONDENSED_TEXTURE
    clumped = texture(shape, sd, length * nd, rng).clip(0.2)
    condensed = by_label(table["mitotic"], masks.nucleus) > 0
    rim = np.clip(1 - masks.depth**2, 0, 1) ** np.float32(DNA_ROUND)
    weight = rim * np.where(condensed, clumped, fine)
    return by_label(table["dna_level"], masks.nucleus) * np.where(masks.nucleus > 0, weight, 0)


def measure(light: np.ndarray, masks: Masks, n: int) -> pd.DataFrame:
    """Return the truth with which a feature can be compared, measured in the true masks.

    Arguments:
        light: (3, y, x), free of noise and background, and blurred by the optics; it includes
            neighbours and haze.
        n: Number of cells.

    Returns:
        n rows of areas, and of means of the channels after the nucleus, ``1`` and ``2`` in the
        order of the assay.
    """
    table = {}
    for name, labels in (("nucleus", masks.nucleus), ("cytoplasm", masks.cytoplasm)):
        table[f"{name}_area_px"] = label_areas(labels, n)
        for index in range(1, len(light)):
            table[f"true_{name}_counts_{index}"] = label_means(light[index], labels, n)
    return pd.DataFrame(table)


def levels(settings: Settings) -> np.ndarray:
    """Return the typical signal (3,) of the channels, in counts."""
    named = {"actin": settings.actin_counts, "tubulin": settings.tubulin_counts}
    return np.array([settings.dna_counts, *(named[name] for name in settings.channels[1:])])
