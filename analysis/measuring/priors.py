"""Measure the flows of one generator: densities and norms of fresh styles, and their samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rls.io import read_weights
from rls.networks.perceptual import random_features
from rls.prior.fitting import gaussian_log_probs
from rls.prior.flows import StyleFlow, read_flow
from rls.prior.gaussianize import LEAKY_SLOPE, fit_whiten, leaky_relu
from rls.runtime.errors import InputError
from rls.runtime.streams import torch_stream
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.networks import Generator

# Rows beside those of the flows. GAUSSIAN has the mean and the full covariance of the styles. LEAKY
# has those after LeakyReLU(5), which undoes the last activation of the mapping network (PULSE).
MAPPING, GAUSSIAN, LEAKY = "mapping", "gaussian_full", "leaky_relu_gaussian_full"
SAMPLES = 256  # images of each flow and of the mapping network
SHARE = 0.99  # what is farther from the mean than this share of the styles counts as outside
AT_ONCE = 1024  # styles


@dataclass(frozen=True)
class Priors:
    """What was measured of the flows of one generator; every mapping is by the flow's name.

    Attributes:
        log_densities: log p in nats (n,) of fresh styles, also by the two Gaussians unless their
            covariance is singular.
        norms: |F(w)|^2 (n,) of the same styles; for a Gaussian F is its whitening.
        images: Images (m, c, y, x) in unit intensity of samples, also of the mapping network.
        outside: Whether a sample is farther from the mean of the styles, by their covariance, than
            99 % of them (m,).
        features: Random features (m, 96) of the images.
        reference: Random features of as many other images of the mapping network.
        image_um: Side of an image in um.
        dimensions: d.
    """

    log_densities: Mapping[str, np.ndarray]
    norms: Mapping[str, np.ndarray]
    images: Mapping[str, np.ndarray]
    outside: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]
    reference: np.ndarray
    channels: tuple[str, ...]
    image_um: float
    dimensions: int


def measure_priors(
    generator: Path, styles: Path, flows: Mapping[str, Path], n_fresh: int, seed: int
) -> Priors:
    """Return what fresh styles and samples say of the flows.

    Arguments:
        generator: Its mapping network makes the styles.
        styles: The styles to which the flows were fitted.
        flows: Files by name.
        n_fresh: Styles whose densities and norms are taken.
        seed: Seed of all samples, and of the random convolutions.

    Raises:
        InputError: The styles are not of the generator.
    """
    fitted, network = read_weights(styles, kind="styles")[0]["w"].float(), load_generator(generator)
    if fitted.shape[1] != network.w_dim:
        raise InputError(
            f"{styles} holds styles of {fitted.shape[1]} dimensions and {generator} makes "
            f"{network.w_dim}. Run sample_styles again for this generator."
        )
    found = {name: read_flow(path)[0] for name, path in flows.items()}
    fresh = draw_fresh(network, n_fresh, seed, "fresh")
    densities = {name: log_densities(flow, fresh) for name, flow in found.items()}
    norms = {name: squared_norms(flow, fresh) for name, flow in found.items()}
    for name, (log_density, norm) in by_gaussians(fitted, fresh).items():
        densities[name], norms[name] = log_density, norm
    samples = {MAPPING: draw_fresh(network, SAMPLES, seed, "samples")}
    z = torch.randn(SAMPLES, network.w_dim, generator=torch_stream(seed, "noise", "priors"))
    samples |= {name: sample(flow, z) for name, flow in found.items()}
    images = {name: synthesise(network, w) for name, w in samples.items()}
    reference = synthesise(network, draw_fresh(network, SAMPLES, seed, "reference"))
    return Priors(
        densities,
        norms,
        images,
        find_outside(fitted, samples),
        {name: embed(unit, seed) for name, unit in images.items()},
        embed(reference, seed),
        network.channels,
        network.image_size * network.pixel_size_um,
        network.w_dim,
    )


@torch.no_grad()
def draw_fresh(network: Generator, n: int, seed: int, key: str) -> Tensor:
    """Return n styles (n, d) from a random stream of their own, to which no flow was fitted."""
    z = torch.randn(n, network.z_dim, generator=torch_stream(seed, key, "priors"))
    return torch.cat([network.mapping(part)[:, 0] for part in z.split(AT_ONCE)])


@torch.no_grad()
def sample(flow: StyleFlow, z: Tensor) -> Tensor:
    """Return the styles F^-1(z), (n, d)."""
    return torch.cat([flow.from_noise(part) for part in z.split(AT_ONCE)])


@torch.no_grad()
def log_densities(flow: StyleFlow, w: Tensor) -> np.ndarray:
    """Return log p_F in nats of styles (n, d), (n,)."""
    found: np.ndarray = torch.cat([flow.log_prob(part) for part in w.split(AT_ONCE)]).numpy()
    return found.astype(np.float64)


@torch.no_grad()
def squared_norms(flow: StyleFlow, w: Tensor) -> np.ndarray:
    """Return |F(w)|^2 of styles (n, d), (n,)."""
    found = [flow.to_noise(part).double().square().sum(1) for part in w.split(AT_ONCE)]
    norms: np.ndarray = torch.cat(found).numpy()
    return norms


@torch.no_grad()
def synthesise(network: Generator, w: Tensor) -> np.ndarray:
    """Return images (n, c, y, x) in unit intensity of styles (n, d), one style for all inputs."""
    parts = w[:, None].expand(-1, network.num_ws, -1).split(32)
    images: np.ndarray = torch.cat([network.synthesis(part, "const") for part in parts]).numpy()
    return (images + 1) / 2


def by_gaussians(fitted: Tensor, fresh: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (log p in nats of styles w, squared norms after whitening), (m,) each, by Gaussians.

    LeakyReLU(5) stretches a negative dimension five times, which adds its log 5 to log p of w.

    Arguments:
        fitted: Styles (n, d) that give means and covariances.
        fresh: Other styles (m, d).

    Returns:
        Nothing of a Gaussian whose covariance is singular.
    """
    leaky = [leaky_relu(w.double().numpy()) for w in (fitted, fresh)]
    stretched = math.log(LEAKY_SLOPE) * (fresh < 0).double().sum(1)
    plain = [w.double().numpy() for w in (fitted, fresh)]
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, (of_fit, of_fresh), more in (
        (GAUSSIAN, plain, torch.zeros_like(stretched)),
        (LEAKY, leaky, stretched),
    ):
        log_p = gaussian_log_probs(torch.as_tensor(of_fit), torch.as_tensor(of_fresh), full=True)
        if log_p is not None:
            norms = (fit_whiten(of_fit)(of_fresh) ** 2).sum(axis=1)
            found[name] = ((log_p + more).numpy(), norms)
    return found


def embed(unit: np.ndarray, seed: int) -> np.ndarray:
    """Return the random features (n, 96) of images in unit intensity."""
    found = random_features(unit, seed=seed, device=torch.device("cpu"), batch_size=64)
    return found.astype(np.float64)


def find_outside(fitted: Tensor, samples: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return by name which samples (m, d) are outside the ellipsoid of 99 % of the styles (n, d).

    The ellipsoid has the shape of the covariance of the styles.
    """
    whiten = fit_whiten(fitted.double().numpy())

    def norms(w: Tensor) -> np.ndarray:
        squares: np.ndarray = (whiten(w.double().numpy()) ** 2).sum(axis=1)
        return squares

    limit = np.quantile(norms(fitted), SHARE)
    return {name: norms(w) > limit for name, w in samples.items()}
