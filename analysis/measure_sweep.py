"""Measure what sweep_lambdas searched: every image against the HR image of the same cell.

One row an image and point: PSNR, MS-SSIM, mean |D(SR) - LR|, the search's own columns (log prior,
cross, status, mean pair distance of the styles), and the assay's features on SR and on HR.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.features import measure_features
from analysis.measure import KEPT, UNIT_RANGE, settings_class
from analysis.numbers.metrics import fidelity_l1, ms_ssim, psnr
from rls.io import Intensity, Stack, read_intensity, read_stack, write_table
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.search.forward import downscale

SEARCHED = (
    "cell_id", "method", "search", "lambda_w", "lambda_c", "own", "log_prior", "loss_fidelity",
    "loss_cross", "loss_total", "mean_pair_distance", "search_status",
)  # fmt: skip
HIGH = "_high_resolution"  # behind a feature's name: its value on the HR image


def of_cells(stack: Stack, cell_ids: Sequence[str], path: Path) -> Stack:
    """Return the rows of ``stack`` that belong to ``cell_ids``, in their order, with repeats.

    Raises:
        InputError: A cell is not there.
    """
    rows = pd.Index(stack.table["image_id"]).get_indexer(list(cell_ids))
    if (rows < 0).any():
        missing = np.asarray(cell_ids)[rows < 0]
        raise InputError(
            f"{path} lacks {len(missing)} images of the sweep (first: {missing[0]}). "
            f"Run sweep_lambdas again."
        )
    return stack.select(rows)


def features_of(
    stack: Stack,
    intensity: Intensity,
    names: Sequence[str],
    roles: tuple[str, str],
    settings: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Return the assay's features and their status, one row an image."""
    black = np.asarray(intensity.black, dtype=np.float32)[:, None, None]
    parts = []
    with Progress(len(stack), "measure_sweep", "img") as bar:
        for start in range(0, len(stack), settings.batch_size):
            images = stack.images[start : start + settings.batch_size].astype(np.float32)
            parts.append(
                measure_features(
                    names, images - black, channels=stack.channels,
                    pixel_size_um=stack.pixel_size_um, nucleus_channel=roles[0],
                    marker_channel=roles[1], settings=settings,
                )
            )  # fmt: skip
            bar.advance(len(images))
    return pd.concat(parts, ignore_index=True)


def image_metrics(
    unit: np.ndarray, high: np.ndarray, low: np.ndarray, factor: int, border: str, batch_size: int
) -> pd.DataFrame:
    """Return PSNR and MS-SSIM against HR, clipped to [0, 1], and mean |D(SR) - LR|, not clipped."""
    operator = downscale((unit.shape[-2], unit.shape[-1]), factor, border)
    parts = []
    for start in range(0, len(unit), batch_size):
        here, there, given = (
            torch.as_tensor(part[start : start + batch_size]) for part in (unit, high, low)
        )
        pair = here.clamp(0.0, 1.0), there.clamp(0.0, 1.0)
        values = {
            "psnr_db": psnr(*pair, data_range=UNIT_RANGE),
            "ms_ssim": ms_ssim(*pair, data_range=UNIT_RANGE),
            "fidelity_l1": fidelity_l1(here, given, operator),
        }
        parts.append(pd.DataFrame({name: value.numpy() for name, value in values.items()}))
    return pd.concat(parts, ignore_index=True)


def measured(args: argparse.Namespace, settings: Any) -> pd.DataFrame:  # noqa: ANN401
    """Return the whole table.

    Raises:
        InputError: The stack is no sweep's, or its cells are not in HR or LR.
    """
    stack, intensity = read_stack(args.stack), read_intensity(args.intensity)
    if "cell_id" not in stack.table.columns:
        raise InputError(f"{args.stack} is no sweep. Give the stack that sweep_lambdas wrote.")
    ids = list(stack.table["cell_id"])
    high_cells = read_stack(args.high_resolution)
    cells = of_cells(high_cells, list(dict.fromkeys(ids)), args.high_resolution)
    high = of_cells(high_cells, ids, args.high_resolution)
    low = of_cells(read_stack(args.low_resolution), ids, args.low_resolution)
    unit, high_unit, low_unit = (intensity.to_unit(one.images) for one in (stack, high, low))
    border = str(low.table["border"].iloc[0])
    metrics = image_metrics(unit, high_unit, low_unit, args.factor, border, settings.batch_size)
    facts = (intensity, args.features, (args.nucleus_channel, args.marker_channel), settings)
    features = features_of(stack, *facts)
    truth = features_of(cells, *facts).assign(cell_id=list(cells.table["image_id"]))
    truth = truth.set_index("cell_id").loc[ids].reset_index(drop=True).add_suffix(HIGH)
    kept = [name for name in (*KEPT, *SEARCHED) if name in stack.table.columns]
    keys = stack.table[kept].reset_index(drop=True)
    return pd.concat([keys, metrics, features, truth], axis=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one sweep."""
    parser: Parser[Any] = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, required=True, help="what sweep_lambdas wrote")
    parser.add_argument("--high-resolution", type=Path, required=True, help="HR stack")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR that was searched")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--marker-channel", required=True, help="channel that is measured")
    parser.add_argument("--features", nargs="*", default=[], help="names in analysis/features")
    parser.add_argument("--output", type=Path, required=True, help="*.metrics.parquet")
    args, settings = parser.parse(argv)
    torch.set_num_threads(settings.threads)
    write_table(args.output, measured(args, settings), written_by="measure_sweep")


if __name__ == "__main__":
    run(main)
