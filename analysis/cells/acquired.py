"""Check cells acquired in low resolution against a model, and choose their intensity scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rls.io import Intensity, Stack
from rls.pretrained.files import read_json
from rls.pretrained.intensity_scale import percentile_scale
from rls.pretrained.user_cells import PIXEL_TOLERANCE
from rls.runtime.errors import InputError


def read_reference(path: Path | None, factor: int, generator: str) -> dict[str, Any] | None:
    """Return the statistics of the model's own cells at ``factor``; None without a file.

    Arguments:
        path: The model's trust.json, if it has one.
        factor: Side of a super-resolved image over the side of a cell as it is.
        generator: Digest of the generator.

    Raises:
        InputError: The file was measured with another generator.
    """
    if path is None:
        return None
    content = read_json(path)
    if content.get("generator_digest") != generator:
        raise InputError(f"{path} was measured with another generator. Run measure_trust again.")
    return next(iter(content.get("factors", {}).get(str(factor), {}).values()), None)


def check_cells(cells: Stack, header: Mapping[str, Any], factor: int, name: str) -> None:
    """Compare the cells with the ``header`` of the generator that is to super-resolve them.

    Raises:
        InputError: Channels, size or pixel size do not fit.
    """
    if list(cells.channels) != list(header["channels"]):
        raise InputError(
            f"{name} has the channels {', '.join(cells.channels)}, and the generator makes "
            f"{', '.join(header['channels'])}. Name the assay's channels so, in this order."
        )
    size, wanted = cells.images.shape[-1], np.ravel(header["image_size"])[0] / factor
    if size != wanted:
        raise InputError(
            f"{name} has cells of {size} px, and the generator at factor {factor} takes {wanted:g} "
            "px. Give the right factor, or crop the cells to this size."
        )
    pixel, expected = cells.pixel_size_um, header["pixel_size_um"] * factor
    if abs(pixel / expected - 1) > PIXEL_TOLERANCE:
        raise InputError(
            f"{name} has {pixel:g} um a pixel, and the generator at factor {factor} takes "
            f"{expected:g}. Resample the cells, or correct the assay's pixel_size_um."
        )


def choose_scale(
    images: np.ndarray,
    own: Intensity,
    reference: Mapping[str, Any] | None,
    percentiles: tuple[float, float] | None,
) -> Intensity:
    """Return the scale of ``images`` (n, c, y, x).

    Arguments:
        own: The model's own scale.
        reference: The model's reference cells, from :func:`read_reference`.
        percentiles: The two percentiles that are put on those of the reference; None for ``own``.

    Raises:
        InputError: Percentiles are asked for, and the model has no reference.
    """
    if percentiles is None:
        return own
    if reference is None:
        raise InputError(
            "Found low_resolution.scale percentiles and no trust.json of the model for this "
            "factor, expected one to put them on. Make it (python -m rls.measure_trust), "
            "or set scale: model."
        )
    return percentile_scale(images, own.channels, reference["pixels"], percentiles)
