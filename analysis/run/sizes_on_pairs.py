"""The work of what is fitted to pairs of a low-resolution image and something known of its cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.run.assay_sizes import AssaySizes, Units
from analysis.run.values import assay_factors
from rls.encoder.settings import LARGEST_MAP
from rls.io.names import GAN, TUNE


def train_encoder_units(assay: AssaySizes, factor: int) -> Units:
    """Return the units of the encoder: images of the generator, and passes of the encoder."""
    values = assay.section("train_encoder")
    pairs, hidden = values["n_pairs"], values["hidden"]
    side = assay.block["image_size"] // factor
    w_dim = assay.section("train_gan")["w_dim"]
    # Multiplications of one image forward; a step is forward and twice backward.
    layers = hidden * (assay.n_channels * side**2 + 2 * values["blocks"] * hidden + 2 * w_dim)
    shown = values["epochs"] * pairs
    # A search step is a synthesis, forward and backward.
    images = (pairs + values["n_held_out"]) * assay.networks.search_gflop / 3
    return {
        "steps": shown / values["batch_size"],
        "gflop": images + 6 * shown * layers / 1e9,
    }


def train_amortised_units(assay: AssaySizes, factor: int) -> Units:
    """Return the units of the regression: images made and measured, and passes of its network."""
    values = assay.section("train_amortised")
    images = values["n_pairs"] + values["n_held_out"]
    steps, gflop = _regression_work(assay, values, values["n_pairs"], factor)
    made = images * assay.networks.generator_gflop
    megapixels = assay.megapixels(images)
    return {"images": images, "megapixels": megapixels, "steps": steps, "gflop": made + gflop}


def train_regression_units(assay: AssaySizes, factor: int) -> Units:
    """Return the units of the regression that is fitted to cells of split gan."""
    values = assay.section("train_regression")
    steps, gflop = _regression_work(assay, values, assay.cells(GAN), factor)
    return {"steps": steps, "gflop": gflop}


def _regression_work(
    assay: AssaySizes, values: Mapping[str, Any], n: int, factor: int
) -> tuple[float, float]:
    """Return the steps and GFLOP of a regression's network on n pairs."""
    width, hidden, side = values["width"], values["hidden"], assay.block["image_size"] // factor
    # Multiplications of one image forward; a step is forward and twice backward.
    convolutions = 9 * side**2 * width * (assay.n_channels + 3 * width)
    layers = 2 * width * min(side, LARGEST_MAP) ** 2 * hidden
    shown = values["epochs"] * n
    return shown / values["pairs_per_step"], 6 * shown * (convolutions + layers) / 1e9


def evaluate_generator_units(assay: AssaySizes) -> Units:
    """Return the units of a generator's evaluation: measured images, regressions and searches."""
    values, networks = assay.section("evaluate_generator"), assay.networks
    made, cells = (
        values["n_images"] + values["n_held_out"],
        min(values["n_cells"], assay.cells(GAN)),
    )
    searched = values["n_inverted"] + values["inversion_choose"] * len(values["inversion_rates"])
    searches = (searched if values["n_inverted"] else 0) * values["inversion_steps"]
    factors = assay_factors(assay.block, assay.config["run"]["factors"])
    pairs, images = values["n_images"] + cells, made + cells + assay.cells(TUNE)
    fitted = [_regression_work(assay, values, pairs, factor) for factor in factors]
    return {
        "images": images,
        "megapixels": assay.megapixels(images),
        "steps": sum(steps for steps, _ in fitted),
        "gflop": made * networks.generator_gflop
        + sum(gflop for _, gflop in fitted)
        + searches * networks.search_gflop,
    }
