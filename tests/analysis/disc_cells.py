"""Tiny cells whose truth is known: a nucleus and a body, discs of given brightness, blurred."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
from scipy import ndimage

from analysis.features.nucleocytoplasmic_ratio import FeatureSettings

CHANNELS = ("dna", "nfkb")
SETTINGS = {
    "nucleus_diameter_um": 15.0,
    "nucleus_smoothing_um": 1.0,
    "nucleus_separability": 0.7,
    "nucleus_seed_sd_um": 3.0,
    "nucleus_split_depth": 0.35,
    "nucleus_centre_tolerance_um": 4.0,
    "nucleus_min_area_um2": 50.0,
    "nucleus_max_area_um2": 500.0,
    "nucleus_min_diameter_px": 6.0,
    "golgi_tophat_um": 14.0,
    "golgi_reach_um": 8.0,
    "golgi_share": 0.45,
    "golgi_percentile": 98.0,
    "golgi_floor_counts": 60.0,
    "golgi_spot_min_um2": 0.6,
    "golgi_spot_min_px": 4.0,
    "golgi_pixel_max_um": 1.2,
    "morphology_reach_um": 5.0,
    "morphology_texture_um": 2.0,
    "morphology_grey_levels": 16,
    "morphology_granularity_um": 1.0,
    "ring_gap_um": 0.75,
    "ring_width_um": 2.5,
    "ring_min_area_um2": 30.0,
    "ring_statistic": "median",
    "marker_background": "scale",
    "marker_background_percentile": 2.0,
}


def settings(kind=FeatureSettings, **changes):
    """Return the settings of one feature: of ``SETTINGS``, what its class has."""
    own = {field.name for field in fields(kind)}
    return kind(**{**{k: v for k, v in SETTINGS.items() if k in own}, **changes})


def disc(size, centre, radius):
    ys, xs = np.indices((size, size))
    return np.hypot(ys - centre[0], xs - centre[1]) <= radius


def cell(
    ratio, *, size=32, diameter=15.0, centre=None, blur=0.75, marker=200.0, dna=500.0, body=1.0
):
    """Return (2, size, size) counts above black of one cell with a given ratio, no noise."""
    middle = (size - 1) / 2
    centre = centre or (middle, middle)
    nucleus = disc(size, centre, diameter / 2)
    whole = disc(size, centre, diameter * body)
    image = np.stack([dna * nucleus, marker * (whole & ~nucleus) + marker * ratio * nucleus])
    return ndimage.gaussian_filter(image.astype(np.float64), (0, blur, blur))


def stack_of_cells(n=240, size=32, seed=0):
    """Counts (n, 2, size, size) uint16 of two treatments that differ in ratio, and their table."""
    random = np.random.default_rng(seed)
    treated = np.arange(n) % 2
    ratios = np.where(treated, 2.3, 0.9) * np.exp(random.normal(0, 0.12, n))
    diameter = 15.0 * size / 32
    images = [
        cell(r, size=size, diameter=diameter, marker=200 * np.exp(random.normal(0, 0.3)) / (1 + r))
        for r in ratios
    ]
    counts = np.stack(images) + 100 + random.normal(0, 4, (n, 2, size, size))
    split = np.array(["classifier", "classifier", "tune", "evaluation"])[np.arange(n) // 2 % 4]
    well = 2 * (np.arange(n) // 2 // 4 % 3) + treated
    table = pd.DataFrame(
        {
            "image_id": [f"P1_w{w}_s1_y{i}_x0" for i, w in enumerate(well)],
            "plate": "P1",
            "well": [f"B{w:02d}" for w in well],
            "site": 1 + np.arange(n) // 2 % 2,
            "treatment": np.array(["DMSO", "TNF"])[treated],
            "compound": np.array(["DMSO", "TNF"])[treated],
            "split": split,
        }
    )
    return counts.clip(0).round().astype(np.uint16), table, ratios
