"""Settings of the section ``measure``: those of every assay, and those of every feature found."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass, fields, make_dataclass

from analysis.features.nuclei import NucleusSettings
from analysis.features.registry import all_features
from rls.networks.weights_settings import WeightsSettings
from rls.runtime.command import option


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(NucleusSettings, WeightsSettings):
    """The settings of the commands that measure, whatever the features are."""

    batch_size: int = option("Number of images measured at once.", least=1)
    random_features_seed: int = option(
        "Seed of the random convolutions; features of two seeds cannot be compared.", least=0
    )
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.", least=1)
    network_rgb_channels: tuple[str, ...] = option(
        "Channels that Inception, AlexNet and VGG16 get as red, green and blue, at most three; "
        "none: the first three. One is repeated; with two, blue is empty.",
        default=(),
    )


@dataclass(frozen=True)
class Measurement:
    """The features that are measured on the cells of an assay, and their settings.

    Attributes:
        features: Names of files in ``analysis/features``.
        nucleus_channel, marker_channel: Names of channels.
        settings: An instance of :func:`settings_class`.
    """

    features: tuple[str, ...]
    nucleus_channel: str
    marker_channel: str
    settings: MeasureSettings


def settings_class() -> type[MeasureSettings]:
    """Return MeasureSettings with the fields of the FeatureSettings of every feature found.

    The class extends the FeatureSettings of every feature, so an instance serves each of them.
    """
    parts = [feature.FeatureSettings for feature in all_features().values()]
    return make_dataclass("Settings", [], bases=(MeasureSettings, *parts), frozen=True)


def feature_digest(settings: MeasureSettings) -> str:
    """Return a digest of every setting of every feature: equal where no threshold was changed."""
    parts = [feature.FeatureSettings for feature in all_features().values()]
    names = {field.name for part in parts for field in fields(part)}
    text = json.dumps({name: getattr(settings, name) for name in sorted(names)})
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def add_measurement_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags whose values make a :class:`Measurement`."""
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--marker-channel", required=True, help="channel that is measured")
    parser.add_argument("--features", nargs="*", default=[], help="names in analysis/features")
