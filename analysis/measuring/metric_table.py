"""Rows of ``{method}.metrics.parquet``: how near an image is to the HR and LR of the same cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.features.settings import MeasureSettings
from analysis.measuring.embeddings import Networks
from analysis.measuring.feature_table import NO_HIGH_RESOLUTION
from analysis.measuring.reference import AlignedStacks
from analysis.numbers.metrics import fidelity_l1, ms_ssim, psnr
from rls.io import Intensity, Stack
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, OK, not_measurable
from rls.networks.perceptual import lpips_distances
from rls.runtime.errors import InputError
from rls.search.forward import downscale

UNIT_RANGE = 1.0
IS_REFERENCE = not_measurable("is_the_reference")
OTHER_GRID = not_measurable("other_pixel_grid")


def similarity(unit: Tensor, high: Tensor) -> dict[str, np.ndarray]:
    """Return PSNR in dB and MS-SSIM, (n,) each, of two sets of images (n, c, y, x).

    The images are in unit intensity. They are clipped to [0, 1] first, as the article's 8-bit
    images are.
    """
    pair = unit.clamp(0.0, 1.0), high.clamp(0.0, 1.0)
    return {
        "psnr_db": psnr(*pair, data_range=UNIT_RANGE).cpu().numpy(),
        "ms_ssim": ms_ssim(*pair, data_range=UNIT_RANGE).cpu().numpy(),
    }


def metrics_of_rows(
    inputs: AlignedStacks, rows: np.ndarray, networks: Networks, settings: MeasureSettings
) -> pd.DataFrame:
    """Return the metrics against the HR images, one row for each image in ``rows``.

    For ``high_resolution`` only the fidelity is a number: what quantisation and degradation leave
    between D(HR) and LR, which is the floor of every search. For ``low_resolution`` it is the
    distance of LR to the clean LR.
    """
    names = ["psnr_db", "ms_ssim", *(["lpips"] if networks.vgg is not None else []), "fidelity_l1"]
    table = pd.DataFrame(np.nan, index=range(len(rows)), columns=names)
    unit, low, clean = (
        torch.as_tensor(inputs.intensity.to_unit(one.images[rows]), device=networks.device)
        for one in (inputs.stack, inputs.low, inputs.clean)
    )
    if inputs.method == LOW_RESOLUTION:
        table["fidelity_clean_l1"] = fidelity_l1(low, clean, lambda same: same).cpu().numpy()
        return table.assign(status=OTHER_GRID)
    table["fidelity_l1"] = fidelity_l1(unit, low, inputs.downscale).cpu().numpy()
    table["fidelity_clean_l1"] = fidelity_l1(unit, clean, inputs.downscale).cpu().numpy()
    if inputs.method == HIGH_RESOLUTION:
        return table.assign(status=IS_REFERENCE)
    high = inputs.intensity.to_unit(inputs.high.images[rows])
    table = table.assign(**similarity(unit, torch.as_tensor(high, device=networks.device)))
    if networks.vgg is not None:
        table["lpips"] = lpips_distances(
            networks.vgg, unit.cpu().numpy(), high, networks.device, settings.batch_size
        )
    return table.assign(status=OK)


def metrics_without_reference(
    stack: Stack | None, low: Stack, intensity: Intensity, factor: int
) -> pd.DataFrame:
    """Return the metrics of a method whose assay has no HR: all NaN but the fidelity to ``low``.

    Arguments:
        stack: The images of the method, row by row those of ``low``; None where there are none.

    Raises:
        InputError: The images are not ``factor`` times as large as those of ``low``.
    """
    names = ["psnr_db", "ms_ssim", "fidelity_l1", "fidelity_clean_l1"]
    table = pd.DataFrame(np.nan, index=range(len(low)), columns=names)
    if stack is not None:
        size = stack.images.shape[-2:]
        if tuple(side * factor for side in low.images.shape[-2:]) != size:
            raise InputError(
                f"Found images of {size[1]} px from low resolution of {low.images.shape[-1]} px, "
                f"expected {factor} times as many. Run the stages from low_resolution on again."
            )
        operator = downscale((size[0], size[1]), factor, str(low.table["border"].iloc[0]))
        unit, given = (torch.as_tensor(intensity.to_unit(one.images)) for one in (stack, low))
        values = fidelity_l1(unit, given, operator).numpy()
        table = table.assign(fidelity_l1=values, fidelity_clean_l1=values)
    return table.assign(status=NO_HIGH_RESOLUTION)
