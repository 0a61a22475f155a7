"""Interpretable features, one file each, found by name.

A feature is a module of this folder with ``PRIMARY`` (the column of that name is the feature),
``COLUMNS`` (every number it gives, units in the names), or ``columns(channels)`` where the names of
channels stand in them, ``FeatureSettings`` (a frozen dataclass)
and ``measure(images, *, channels, pixel_size_um, nucleus_channel, marker_channel, settings)``,
which returns one row a crop with these columns and ``status``: ``ok`` or ``not_measurable:reason``.
Images (n, c, y, x) are counts above the black level. Modules without ``measure`` are shared parts.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from rls.runtime.errors import InputError

OK = "ok"


def modules() -> dict[str, ModuleType]:
    """Return every feature by name."""
    found = {
        info.name: importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    }
    return {name: module for name, module in sorted(found.items()) if hasattr(module, "measure")}


def columns_of(name: str, channels: Sequence[str]) -> tuple[str, ...]:
    """Return every column of the feature ``name``, for a stack of these channels, in order.

    Raises:
        InputError: There is no such feature.
    """
    module = find_feature(name)
    if hasattr(module, "columns"):
        return tuple(module.columns(channels))
    return tuple(module.COLUMNS)


def find_feature(name: str) -> ModuleType:
    """Return a feature's module.

    Raises:
        InputError: There is no such feature.
    """
    known = modules()
    if name not in known:
        raise InputError(
            f"There is no feature '{name}'; there are: {', '.join(known)}. Correct 'features' "
            f"of the assay, or add analysis/features/{name}.py."
        )
    return known[name]


def measure_features(
    names: Sequence[str],
    images: np.ndarray,
    *,
    channels: Sequence[str],
    pixel_size_um: float,
    nucleus_channel: str,
    marker_channel: str,
    settings: Any,  # noqa: ANN401  # has the fields of every named feature's FeatureSettings
) -> pd.DataFrame:
    """Return the columns of every named feature, then ``status``, for images (n, c, y, x).

    ``status`` is ``ok`` where every feature is; else that of the first feature that is not.

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
        new = [column for column in found if column != "status" and column not in table]
        table[new] = found[new].to_numpy(dtype=float)
    return table.assign(status=status)
