"""Measure the assay's features on every solution of every image: what Fig. 8's intervals rest on.

One row a solution; ``source_image_id`` is the image it super-resolves. Nothing but the features is
measured. What cannot be measured is NaN with a status. The settings are those of ``measure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.features import OK, measure_features
from analysis.measure import KEPT, settings_class
from rls.io import Intensity, Stack, read_intensity, read_stack, write_table
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress

NAME = "measure_solutions"
OF_SOLUTIONS = ("source_image_id", "solution", "n_solutions", "method", "kind")
LOSSES = ("loss_total", "loss_fidelity", "sigma_mean", "search_status")


def check_solutions(stack: Stack, path: Path) -> None:
    """Refuse a stack that is not one of solutions, or in which an image lacks one.

    Raises:
        InputError: As said.
    """
    missing = [name for name in (*OF_SOLUTIONS, "split") if name not in stack.table]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: it holds no solutions. Give a stack written by "
            f"sample_solutions."
        )
    counts = stack.table.groupby("source_image_id").size()
    wanted = int(stack.table["n_solutions"].iloc[0])
    if (counts != wanted).any():
        raise InputError(
            f"{path} has {counts[counts != wanted].iloc[0]} solutions of "
            f"{counts.index[counts != wanted][0]}, expected {wanted}. Run sample_solutions again."
        )


def measure_stack(
    stack: Stack,
    intensity: Intensity,
    features: Sequence[str],
    roles: tuple[str, str],
    settings: Any,  # noqa: ANN401  # settings_class() is made while the program runs
) -> pd.DataFrame:
    """Return the features of every solution beside whose it is."""
    black = np.asarray(intensity.black, dtype=np.float32)[:, None, None]
    parts = []
    with Progress(len(stack), NAME, "img") as bar:
        for first in range(0, len(stack), settings.batch_size):
            counts = stack.images[first : first + settings.batch_size]
            found = measure_features(
                features,
                counts.astype(np.float32) - black,
                channels=stack.channels,
                pixel_size_um=stack.pixel_size_um,
                nucleus_channel=roles[0],
                marker_channel=roles[1],
                settings=settings,
            )
            parts.append(found)
            bar.advance(len(counts))
    kept = [name for name in (*KEPT, *OF_SOLUTIONS, *LOSSES) if name in stack.table]
    return pd.concat([stack.table[kept], pd.concat(parts, ignore_index=True)], axis=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack of solutions."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, required=True, help="stack of sample_solutions")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--marker-channel", required=True, help="channel that is measured")
    parser.add_argument("--features", nargs="*", default=[], help="names in analysis/features")
    parser.add_argument("--output", type=Path, required=True, help="*.features.parquet")
    args, settings = parser.parse(argv)
    stack, intensity = read_stack(args.stack), read_intensity(args.intensity)
    if stack.channels != intensity.channels:
        raise InputError(
            f"{args.stack} has the channels {', '.join(stack.channels)}, {args.intensity} has "
            f"{', '.join(intensity.channels)}. Give files of one assay."
        )
    check_solutions(stack, args.stack)
    roles = (args.nucleus_channel, args.marker_channel)
    table = measure_stack(stack, intensity, args.features, roles, settings)
    write_table(args.output, table, written_by=NAME)
    measured = int((table["status"] == OK).sum())
    print(f"{NAME}: {measured} of {len(table)} solutions measurable", flush=True)


if __name__ == "__main__":
    run(main)
