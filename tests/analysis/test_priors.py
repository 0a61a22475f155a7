"""The comparison of priors: planted densities and norms come back, and so do planted searches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.comparison import priors as numbers
from analysis.drawing import priors as drawing
from analysis.drawing.style import SMALLEST_FONT
from analysis.measuring.priors import (
    GAUSSIAN,
    LEAKY,
    MAPPING,
    SAMPLES,
    Priors,
    by_gaussians,
    embed,
    find_outside,
    measure_priors,
    synthesise,
)
from rls.io import read_table, write_table
from rls.prior.flows import StyleFlow, write_flow
from rls.prior.styles import styles_and_mean, write_styles
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.generator_io import load_generator, write_generator
from rls.stylegan2.networks import Generator
from tests.analysis.test_figures import SETTINGS, all_texts
from tests.analysis.test_sweep import FEATURE, TRUTH
from tests.analysis.test_tradeoff import with_features

D = 8
HEADER = {"channels": ["dna", "nfkb"], "pixel_size_um": 1.0}


def planted_priors(n=400):
    """RealNVP 3 nats below MAF on every style; norms of chi-squared and twice as wide ones."""
    random = np.random.default_rng(0)
    level, norms = random.normal(-70, 20, n), random.chisquare(D, n)
    features = {name: random.normal(0, 1, (60, 4)) for name in (MAPPING, "maf", "realnvp")}
    features["realnvp"] += 2.0
    return Priors(
        log_densities={"maf": level, "realnvp": level - 3, "gaussian_full": level - 40},
        norms={"maf": norms, "realnvp": D + 2 * (norms - D)},
        images={name: random.random((60, 2, 16, 16)) for name in features},
        outside={name: np.arange(60) < 6 for name in features},
        features=features,
        reference=random.normal(0, 1, (60, 4)),
        channels=("dna", "nfkb"),
        image_um=16.0,
        dimensions=D,
    )


def planted_searches(root):
    """Searches of both flows on the same cells: RealNVP's PSNR is 1 dB lower in every cell."""
    run = with_features(root)
    at = next(run.comparisons(clean_only=True))
    table = read_table(at.sweep("rls"))
    table = table[table["own"]].assign(method="rls")
    random = np.random.default_rng(2)
    table[TRUTH] = random.normal(2, 0.5, len(table)) + (table["treatment"] == "TNF-alpha")
    for flow, change in (("maf", 0.0), ("realnvp", -1.0)):
        noise = 0.0 if flow == "maf" else random.normal(0, 1, len(table))
        found = table.assign(psnr_db=table["psnr_db"] + change, **{FEATURE: table[TRUTH] + noise})
        write_table(at.prior("rls", flow), found.sample(frac=1, random_state=3), written_by="test")
    return run, at


def test_densities_are_compared_style_by_style_and_norms_with_chi_squared(tmp_path):
    run, _ = planted_searches(tmp_path)
    rows = pd.DataFrame(numbers.prior_rows(run.assays[0], planted_priors(), SETTINGS))
    found = rows.set_index(["method", "metric"])
    change = found.loc[("realnvp", "held_out_log_prob_minus_maf")]
    assert change["value"] == pytest.approx(-3) and change["high"] - change["low"] < 1e-9
    level = found.loc[("realnvp", "held_out_log_prob")]
    assert level["high"] - level["low"] > 1 and level["n"] == 400
    assert found.loc[("chi_squared", "squared_norm_sd"), "value"] == pytest.approx(4)
    wide, exact = (found.loc[(name, "squared_norm_sd")] for name in ("realnvp", "maf"))
    assert wide["low"] > 4 > exact["low"] and exact["high"] > 4
    assert found.loc[("maf", numbers.BEYOND), "value"] == pytest.approx(0.1)
    near, far = (found.loc[(name, numbers.SAMPLES_DISTANCE)] for name in ("maf", "realnvp"))
    assert near["low"] < 0 < far["low"]


def test_searches_are_compared_cell_by_cell(tmp_path):
    _, at = planted_searches(tmp_path)
    rows = pd.DataFrame(numbers.search_rows(at, "rls", SETTINGS)).set_index(["method", "metric"])
    change = rows.loc[("realnvp", "psnr_db_minus_maf")]
    assert change["value"] == pytest.approx(-1) and change["high"] - change["low"] < 1e-9
    assert ("maf", "psnr_db_minus_maf") not in rows.index
    kept = rows.loc[("maf", "correlation_within_treatment")]
    assert kept["value"] == pytest.approx(1) and kept["feature"] == FEATURE
    assert rows.loc[("realnvp", "correlation_within_treatment"), "value"] < 0.9
    assert set(rows["split"]) == {"tune"} and set(rows["n"]) <= {6, 60}


def test_the_figure_shows_samples_of_both_flows_and_every_panel(tmp_path):
    run, at = planted_searches(tmp_path)
    priors = planted_priors()
    own = numbers.prior_rows(run.assays[0], priors, SETTINGS)
    rows = own + numbers.search_rows(at, "rls", SETTINGS)
    figure = drawing.draw(run.assays[0], priors, rows, SETTINGS)
    panels = [axes for axes in figure.axes if axes.get_gid() == "panel"]
    assert len(panels) == 3 * drawing.SHOWN
    texts = all_texts(figure)
    assert min(text.get_fontsize() for text in texts) >= SMALLEST_FONT
    density = next(row for row in own if row["metric"] == numbers.LOG_DENSITY)
    named = {"MAF", "RealNVP", "Gaussian", f"{density['value']:.1f}", "log p_F, own flow, nats"}
    assert named <= {text.get_text() for text in texts}
    alone = drawing.draw(run.assays[0], priors, own, SETTINGS)
    assert len(alone.axes) == len(figure.axes) - 4


def test_a_sample_is_outside_by_the_covariance_of_the_styles_not_by_its_length():
    random = torch.Generator().manual_seed(0)
    scale = torch.tensor([10.0, 0.1])
    fitted = torch.randn(4000, 2, generator=random) * scale
    along, across = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert not find_outside(fitted, {"a": along})["a"][0]
    assert find_outside(fitted, {"a": across})["a"][0]
    same = find_outside(fitted, {"a": torch.randn(4000, 2, generator=random) * scale})["a"]
    assert same.mean() == pytest.approx(0.01, abs=0.006)


def test_a_singular_covariance_leaves_the_gaussian_out(tmp_path):
    run, _ = planted_searches(tmp_path)
    whole = planted_priors()
    densities = {k: v for k, v in whole.log_densities.items() if k != "gaussian_full"}
    rows = numbers.prior_rows(
        run.assays[0], dataclasses.replace(whole, log_densities=densities), SETTINGS
    )
    assert "gaussian_full" not in {row["method"] for row in rows}


def test_the_gaussian_after_a_leaky_relu_has_a_density_of_w():
    """Of Gaussian vectors through LeakyReLU(0.2) it is the true density, and integrates to 1."""
    random = torch.Generator().manual_seed(1)
    mix = torch.tensor([[1.0, 0.6], [0.0, 0.8]])
    v = torch.randn(20000, 2, generator=random) @ mix
    w = torch.where(v < 0, 0.2 * v, v)
    found = by_gaussians(w[:10000], w[10000:])
    covariance = (mix.T @ mix).double()
    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), covariance)
    truth = exact.log_prob(v[10000:].double()) + np.log(5) * (v[10000:] < 0).sum(1)
    np.testing.assert_allclose(found[LEAKY][0].mean(), truth.mean(), atol=0.01)
    assert found[LEAKY][0].mean() > found[GAUSSIAN][0].mean() + 0.3
    assert found[LEAKY][1].std() == pytest.approx(2.0, rel=0.05)
    axis = torch.arange(-3.0, 6.0, 0.01)
    mass = np.exp(by_gaussians(w, torch.cartesian_prod(axis, axis))[LEAKY][0]).sum() * 1e-4
    assert mass == pytest.approx(1.0, abs=0.02)
    assert by_gaussians(w[:2], w) == {}


def test_samples_fitted_styles_and_reference_images_are_all_of_different_styles(tmp_path):
    torch.manual_seed(1)
    generator, styles, flow = (tmp_path / f"{n}.safetensors" for n in ("g", "styles", "maf"))
    write_generator(generator, Generator(Architecture(8, 2, 6, 5, 2, 32, 4)), HEADER)
    network = load_generator(generator)
    fitted, mean = styles_and_mean(network, 400, 10, seed=5, batch_size=400, label="test")
    write_styles(styles, fitted, mean, network, {"seed": 5})
    own = StyleFlow("maf", 5, 8, 1)
    own.set_scale(fitted)
    own.recompute_batch_norm(fitted)
    write_flow(flow, own, {})
    found = measure_priors(generator, styles, {"maf": flow}, 50, seed=5)
    assert set(found.features) == {MAPPING, "maf"} and len(found.log_densities["maf"]) == 50
    of_styles = embed(synthesise(network, fitted), seed=5)
    sets = [*found.features.values(), found.reference, of_styles]
    everything = np.concatenate(sets)
    assert len(np.unique(everything, axis=0)) == len(everything) == 3 * SAMPLES + 400
