"""Measure one stack of an assay that was acquired in low resolution: no HR image exists.

The two tables of :mod:`analysis.measure`, row by row: features and random convolutions are of the
image alone; of the metrics only mean |D(SR) - LR| (Eq. 5) can be measured. What needs HR is NaN
with the status ``not_measurable:no_high_resolution``, as is everything in the rows of HR itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.features import columns_of, measure_features
from analysis.measure import (
    HIGH_RESOLUTION,
    KEPT,
    LOW_RESOLUTION,
    align,
    check_cells,
    settings_class,
)
from analysis.numbers.metrics import fidelity_l1
from rls.io import Intensity, Stack, read_intensity, read_stack, write_table
from rls.networks.perceptual import random_features
from rls.runtime.command import Parser, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.search.forward import downscale

NAME = "measure_without_reference"
NO_HIGH_RESOLUTION = "not_measurable:no_high_resolution"


def feature_table(
    stack: Stack, intensity: Intensity, names: Sequence[str], roles: tuple[str, str],
    settings: Any,  # noqa: ANN401
    device: torch.device,
) -> pd.DataFrame:  # fmt: skip
    """Return the features and random convolutions of every image of ``stack``."""
    black = np.asarray(intensity.black, dtype=np.float32)[:, None, None]
    parts = []
    for first in range(0, len(stack), settings.batch_size):
        counts = stack.images[first : first + settings.batch_size]
        table = measure_features(
            names, counts.astype(np.float32) - black, channels=stack.channels,
            pixel_size_um=stack.pixel_size_um, nucleus_channel=roles[0], marker_channel=roles[1],
            settings=settings,
        )  # fmt: skip
        embedded = random_features(
            intensity.to_unit(counts), seed=settings.random_features_seed, device=device,
            batch_size=settings.batch_size,
        )  # fmt: skip
        columns = [f"random_feature_{i:02d}" for i in range(embedded.shape[1])]
        parts.append(pd.concat([table, pd.DataFrame(embedded, columns=columns)], axis=1))
    return pd.concat(parts, ignore_index=True)


def empty_features(n: int, names: Sequence[str], channels: Sequence[str]) -> pd.DataFrame:
    """Return ``n`` rows of the features' columns without a number: those of HR."""
    columns = [column for name in names for column in columns_of(name, channels)]
    table = pd.DataFrame(np.nan, index=range(n), columns=list(dict.fromkeys(columns)))
    return table.assign(status=NO_HIGH_RESOLUTION)


def metric_table(
    stack: Stack | None, low: Stack, intensity: Intensity, factor: int
) -> pd.DataFrame:
    """Return the metrics, NaN but for the fidelity of ``stack`` to ``low``, row by row.

    Arguments:
        stack: The images of a method; None where there are none to compare.
    """
    names = ("psnr_db", "ms_ssim", "fidelity_l1", "fidelity_clean_l1")
    table = pd.DataFrame(np.nan, index=range(len(low)), columns=list(names))
    if stack is not None:
        size = stack.images.shape[-2:]
        if tuple(side * factor for side in low.images.shape[-2:]) != size:
            raise InputError(
                f"Found images of {size[1]} px from low resolution of {low.images.shape[-1]} px, "
                f"expected {factor} times as many. Run the stages from low_resolution on again."
            )
        operator = downscale((size[0], size[1]), factor, str(low.table["border"].iloc[0]))
        pair = (torch.as_tensor(intensity.to_unit(one.images)) for one in (stack, low))
        values = fidelity_l1(*pair, operator).numpy()
        table = table.assign(fidelity_l1=values, fidelity_clean_l1=values)
    return table.assign(status=NO_HIGH_RESOLUTION)


def main(argv: Sequence[str] | None = None) -> None:
    """Write both tables of one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, help="the stack to measure; not of high_resolution")
    parser.add_argument("--method", required=True, help="its name; high_resolution, low_resolution")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR as acquired")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--factor", type=int, required=True, help="side of SR over side of LR")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--marker-channel", required=True, help="channel that is measured")
    parser.add_argument("--features", nargs="*", default=[], help="names in analysis/features")
    parser.add_argument("--output-features", type=Path, required=True, help="*.features.parquet")
    parser.add_argument("--output-metrics", type=Path, required=True, help="*.metrics.parquet")
    args, settings = parser.parse(argv)
    low, intensity = read_stack(args.low_resolution), read_intensity(args.intensity)
    roles = (args.nucleus_channel, args.marker_channel)
    stack = None
    if args.method == HIGH_RESOLUTION:
        features = empty_features(len(low), args.features, low.channels)
    else:
        device = choose_device(settings.device, settings.threads)
        stack = low if args.method == LOW_RESOLUTION else read_stack(args.stack)
        check_cells(args.method, stack, low, str(args.stack))
        low = align(stack, low, (str(args.stack), str(args.low_resolution)))
        features = feature_table(stack, intensity, args.features, roles, settings, device)
    compared = None if args.method in (HIGH_RESOLUTION, LOW_RESOLUTION) else stack
    metrics = metric_table(compared, low, intensity, args.factor)
    keys = low.table[[name for name in KEPT if name in low.table]].reset_index(drop=True)
    keys = keys.assign(method=args.method)
    for path, table in ((args.output_features, features), (args.output_metrics, metrics)):
        write_table(path, pd.concat([keys, table], axis=1), written_by=NAME)
    counts = features["status"].str.split(":").str[-1].value_counts()
    said = ", ".join(f"{n} {status}" for status, n in counts.items())
    print(f"{NAME} {args.method}: {said}", flush=True)


if __name__ == "__main__":
    run(main)
