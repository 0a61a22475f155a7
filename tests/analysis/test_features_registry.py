"""A feature is one file: whatever lies in the folder is found, set and measured."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import analysis.features
from analysis.features.registry import all_features, columns_of, measure_features
from analysis.features.settings import feature_digest, settings_class
from tests.analysis.disc_cells import CHANNELS, cell
from tests.analysis.test_measure import OPTIONS

BRIGHTNESS = '''
"""Brightness of the marker."""
from dataclasses import dataclass

import pandas as pd

from analysis.features.nuclei import NucleusSettings
from rls.runtime.command import option

PRIMARY = "brightness_counts"
COLUMNS = ("brightness_counts",)


@dataclass(frozen=True)
class FeatureSettings(NucleusSettings):
    brightness_gain: float = option("Counts are multiplied by it.")


def measure(images, *, channels, pixel_size_um, nucleus_channel, marker_channel, settings):
    marker = images[:, channels.index(marker_channel)]
    mean = settings.brightness_gain * marker.mean(axis=(1, 2))
    return pd.DataFrame({PRIMARY: mean, "status": "ok"})
'''


@pytest.fixture
def brightness(tmp_path, monkeypatch):
    (tmp_path / "brightness.py").write_text(BRIGHTNESS)
    monkeypatch.setattr(analysis.features, "__path__", [*analysis.features.__path__, str(tmp_path)])
    yield
    sys.modules.pop("analysis.features.brightness", None)


def test_a_file_in_the_folder_is_a_feature_with_its_settings_and_columns(brightness):
    assert "brightness" in all_features()
    assert columns_of("brightness", CHANNELS) == ("brightness_counts",)
    settings = settings_class()(**OPTIONS, brightness_gain=2.0)
    images = np.stack([cell(1.0), cell(2.0)])
    found = measure_features(
        ["nucleocytoplasmic_ratio", "brightness"],
        images,
        channels=CHANNELS,
        pixel_size_um=1.0,
        nucleus_channel="dna",
        marker_channel="nfkb",
        settings=settings,
    )
    assert (found["status"] == "ok").all() and found["nucleocytoplasmic_ratio"].notna().all()
    assert found["brightness_counts"].to_numpy() == pytest.approx(2 * images[:, 1].mean((1, 2)))


def test_a_setting_of_an_added_feature_is_part_of_the_digest(brightness):
    one, two = (settings_class()(**OPTIONS, brightness_gain=gain) for gain in (1.0, 2.0))
    assert feature_digest(one) != feature_digest(two)


def test_the_settings_of_a_command_are_those_of_every_feature():
    kind = settings_class()
    for feature in all_features().values():
        assert issubclass(kind, feature.FeatureSettings)
