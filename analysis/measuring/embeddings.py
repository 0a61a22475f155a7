"""Embed images by networks; kernel and Frechet distances compare these features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.features.settings import MeasureSettings
from rls.io import Stack
from rls.networks.classifier import FEATURES, Classifier, load_classifier
from rls.networks.perceptual import inception_features, load_torchscript, random_features
from rls.runtime.device import choose_device


@dataclass(frozen=True)
class Networks:
    """The networks that embed or compare images; None where no file is given."""

    device: torch.device
    classifier: Classifier | None = None
    inception: torch.jit.ScriptModule | None = None
    vgg: torch.jit.ScriptModule | None = None


def load_networks(classifier: Path, high: Stack, settings: MeasureSettings) -> Networks:
    """Load the classifier that was trained on ``high``, and Inception and VGG where they are given.

    Prints the columns that will be missing without Inception or VGG.

    Raises:
        InputError: The classifier is for other images, or a file has another SHA-256.
    """
    device = choose_device(settings.device, settings.threads)
    size = high.images.shape[-2:]
    loaded: dict[str, torch.jit.ScriptModule] = {}
    for name, columns in (("inception", "FID and KID"), ("vgg", "LPIPS")):
        path, sha256 = getattr(settings, f"{name}_path"), getattr(settings, f"{name}_sha256")
        if path is None:
            print(f"measure: no {name}_path in the settings, so no {columns}", flush=True)
        else:
            loaded[name] = load_torchscript(path, sha256 or "", device)
    return Networks(
        device,
        load_classifier(
            classifier,
            image_size=(size[0], size[1]),
            channels=high.channels,
            device=device,
            batch_size=settings.batch_size,
        ),
        **loaded,
    )


def embedding_table(
    unit: np.ndarray, networks: Networks, settings: MeasureSettings
) -> pd.DataFrame:
    """Return the embeddings of images (n, c, y, x) in unit intensity, one column per dimension.

    Those of the classifier are NaN for images of another size than it was trained on, such as LR.
    """
    device, batch_size = networks.device, settings.batch_size
    found = {
        "random_feature_": random_features(
            unit, seed=settings.random_features_seed, device=device, batch_size=batch_size
        )
    }
    if networks.classifier is not None:
        missing = np.full((len(unit), FEATURES), np.nan, np.float32)
        fits = list(unit.shape[-2:]) == list(networks.classifier.header["image_size"])
        found["classifier_feature_"] = networks.classifier.features(unit) if fits else missing
    if networks.inception is not None:
        found["inception_feature_"] = inception_features(
            networks.inception, unit, device, batch_size
        )
    parts = []
    for prefix, values in found.items():
        digits = max(2, len(str(values.shape[1] - 1)))
        columns = [f"{prefix}{i:0{digits}d}" for i in range(values.shape[1])]
        parts.append(pd.DataFrame(values, columns=columns))
    return pd.concat(parts, axis=1)
