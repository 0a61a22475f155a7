"""Find the features of this folder by name, and measure several of them at once."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import pandas as pd

import analysis.features
from analysis.features.nuclei import NucleusSettings
from rls.io.names import OK
from rls.runtime.errors import InputError


class Feature(Protocol):
    """A module of this folder that measures a feature; :mod:`analysis.features` describes it.

    A module has the function ``columns(channels)`` in place of ``COLUMNS`` where the names of its
    columns contain channels.
    """

    PRIMARY: str
    COLUMNS: tuple[str, ...]
    FeatureSettings: type[NucleusSettings]

    def measure(
        self,
        images: np.ndarray,
        *,
        channels: Sequence[str],
        pixel_size_um: float,
        nucleus_channel: str,
        marker_channel: str,
        settings: NucleusSettings,
    ) -> pd.DataFrame:
        """Return one row per crop; ``settings`` is an instance of this module's FeatureSettings."""


def all_features() -> dict[str, Feature]:
    """Return every feature by name, sorted."""
    names = sorted(info.name for info in pkgutil.iter_modules(analysis.features.__path__))
    found = {name: importlib.import_module(f"analysis.features.{name}") for name in names}
    return {
        name: cast(Feature, module) for name, module in found.items() if hasattr(module, "measure")
    }


def find_feature(name: str) -> Feature:
    """Return the module of the feature ``name``.

    Raises:
        InputError: There is no such feature.
    """
    known = all_features()
    if name not in known:
        raise InputError(
            f"There is no feature '{name}'; there are: {', '.join(known)}. Correct 'features' "
            f"of the assay, or add analysis/features/{name}.py."
        )
    return known[name]


def columns_of(name: str, channels: Sequence[str]) -> tuple[str, ...]:
    """Return every column of the feature ``name``, for a stack of these channels, in order.

    Raises:
        InputError: There is no such feature.
    """
    feature = find_feature(name)
    if hasattr(feature, "columns"):
        return tuple(feature.columns(channels))
    return tuple(feature.COLUMNS)


def measure_features(
    names: Sequence[str],
    images: np.ndarray,
    *,
    channels: Sequence[str],
    pixel_size_um: float,
    nucleus_channel: str,
    marker_channel: str,
    settings: NucleusSettings,
) -> pd.DataFrame:
    """Return the columns of every named feature, then ``status``, one row per crop.

    ``status`` is ``ok`` where every feature could be measured, and otherwise that of the first
    feature that could not.

    Arguments:
        images: (n, c, y, x), counts above the black level.
        settings: An instance of the FeatureSettings of every named feature.

    Raises:
        InputError: Unknown feature, or a channel that the images do not have.
    """
    for role, name in (("nucleus", nucleus_channel), ("marker", marker_channel)):
        if name not in channels:
            raise InputError(
                f"The {role} channel '{name}' is not one of the stack's channels: "
                f"{', '.join(channels)}. Correct {role}_channel of the assay."
            )
    table = pd.DataFrame(index=range(len(images)))
    status = np.full(len(images), OK, dtype=object)
    for name in names:
        found = find_feature(name).measure(
            images,
            channels=channels,
            pixel_size_um=pixel_size_um,
            nucleus_channel=nucleus_channel,
            marker_channel=marker_channel,
            settings=settings,
        )
        own = found["status"].to_numpy(dtype=object)
        status = np.where(status == OK, own, status)
        new = [str(name) for name in found.columns if name != "status" and name not in table]
        table[new] = found[new].to_numpy(dtype=float)
    return table.assign(status=status)
