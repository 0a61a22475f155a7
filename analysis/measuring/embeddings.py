"""Embed images by networks; kernel and Frechet distances compare these features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.features.settings import MeasureSettings
from rls.io import Stack
from rls.networks.classifier import FEATURES, Classifier, load_classifier
from rls.networks.lpips import LAYERS, AnyLpips, Lpips, load_lpips, vgg16_features
from rls.networks.perceptual import (
    inception_features,
    load_torchscript,
    random_features,
    rgb_indices,
)
from rls.networks.weights_settings import NETS, located
from rls.runtime.device import choose_device


@dataclass(frozen=True)
class Networks:
    """The networks that embed or compare images; None or missing where no file is given.

    Attributes:
        lpips: LPIPS by each network whose weights are given.
        weights: SHA-256 of the file of each network of other people.
        rgb: Positions of the channels that are red, green and blue for these networks.
        image_size: (y, x) of HR, px; images of another size, such as LR, are not embedded by
            networks that were trained for it. None without HR.
    """

    device: torch.device
    classifier: Classifier | None = None
    inception: torch.jit.ScriptModule | None = None
    lpips: Mapping[str, AnyLpips] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    rgb: tuple[int, ...] = ()
    image_size: tuple[int, int] | None = None


def load_networks(classifier: Path | None, high: Stack, settings: MeasureSettings) -> Networks:
    """Load the classifier that was trained on ``high``, and the networks whose files are given.

    An assay that gives no cells to a classifier has none.

    Prints the networks that are missing.

    Raises:
        InputError: The classifier is for other images, or a file has another SHA-256.
    """
    device = choose_device(settings.device, settings.threads)
    size = high.images.shape[-2:]
    files = given_weights(settings)
    for net in NETS:
        if net not in files:
            print(f"measure: no weights of {net}, so none of its columns", flush=True)
    inception = files.get("inception")
    trained = None
    if classifier is not None:
        trained = load_classifier(
            classifier,
            image_size=(size[0], size[1]),
            channels=high.channels,
            device=device,
            batch_size=settings.batch_size,
        )
    return Networks(
        device,
        trained,
        None if inception is None else load_torchscript(*inception, device),
        {net: load_lpips(net, *files[net], device) for net in LAYERS if net in files},
        {net: sha256 for net, (_, sha256) in files.items()},
        rgb_indices(high.channels, settings.network_rgb_channels),
        (size[0], size[1]),
    )


def given_weights(settings: MeasureSettings) -> dict[str, tuple[Path, str]]:
    """Return the file and the SHA-256 of every network whose weights are given, by its name.

    Raises:
        InputError: A path is given without its SHA-256, or the other way round.
    """
    pairs = {
        net: located(net, getattr(settings, f"{net}_path"), getattr(settings, f"{net}_sha256"))
        for net in NETS
    }
    return {net: pair for net, pair in pairs.items() if pair is not None}


def embedding_table(
    unit: np.ndarray, networks: Networks, settings: MeasureSettings
) -> pd.DataFrame:
    """Return the embeddings of images (n, c, y, x) in unit intensity, one column per dimension.

    Images of another size than HR, such as LR, have NaN for the classifier and none of VGG16.
    """
    device, batch_size = networks.device, settings.batch_size
    found = {
        "random_feature_": random_features(
            unit, seed=settings.random_features_seed, device=device, batch_size=batch_size
        )
    }
    fits = unit.shape[-2:] == networks.image_size
    if networks.classifier is not None:
        missing = np.full((len(unit), FEATURES), np.nan, np.float32)
        found["classifier_feature_"] = networks.classifier.features(unit) if fits else missing
    vgg16 = networks.lpips.get("vgg16")
    if fits and isinstance(vgg16, Lpips):
        found["vgg16_feature_"] = vgg16_features(vgg16, unit, device, batch_size, networks.rgb)
    if networks.inception is not None:
        found["inception_feature_"] = inception_features(
            networks.inception, unit, device, batch_size, networks.rgb
        )
    parts = []
    for prefix, values in found.items():
        digits = max(2, len(str(values.shape[1] - 1)))
        columns = [f"{prefix}{i:0{digits}d}" for i in range(values.shape[1])]
        parts.append(pd.DataFrame(values, columns=columns))
    return pd.concat(parts, axis=1)
