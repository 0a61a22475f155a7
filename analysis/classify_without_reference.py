"""Tell the controls of an assay apart that was acquired in low resolution: no HR image exists.

LR: as in :mod:`analysis.classify`, by classifiers trained on these cells. A method: by the network
that was trained on HR of the assay whose generator it searched, where that has the same controls;
what it says is of that assay's cells, not of these. Otherwise, and for HR, every row is empty with
its status.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.classify import (
    EVALUATION,
    LOW_RESOLUTION,
    OK,
    TRAINING,
    TUNE,
    Cells,
    Settings,
    Verdict,
    as_table,
    cells_of,
    check_splits,
    judge_low_resolution,
)
from rls.io import read_intensity, read_stack, write_table
from rls.networks.classifier import load_classifier
from rls.runtime.command import Parser, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError

NAME = "classify_without_reference"
NO_TRAINING = "not_measurable:no_high_resolution_to_train_a_classifier_on"
NO_IMAGE = "not_measurable:no_high_resolution"
NETWORK = "cnn"


def verdict_table(
    evaluation: Cells, probability: np.ndarray | None, status: str, method: str, trained_on: str
) -> pd.DataFrame:
    """Return the rows of one network, (n,) probabilities; None: every row empty with ``status``."""
    n = len(evaluation.labels)
    values = np.full(n, np.nan) if probability is None else probability
    # as_table marks the best on tune; there is one only, and no tune to be good on.
    verdict = Verdict(NETWORK, values, np.full(n, status, dtype=object), 0.0, 0, True)
    table = as_table(evaluation, [verdict], method)
    return table.assign(accuracy_tune=np.nan, trained_on=trained_on)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack."""
    parser = Parser(__doc__, Settings, "classify")
    parser.add_argument("--stack", type=Path, help="the stack to classify; not of high_resolution")
    parser.add_argument("--method", required=True, help="its name; high_resolution, low_resolution")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR as acquired")
    parser.add_argument("--low-resolution-classifier", type=Path, required=True, help="of LR")
    parser.add_argument("--classifier", type=Path, help="network trained on HR of another assay")
    parser.add_argument("--trained-on", default="", help="name of that assay")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--negative-control", required=True, help="treatment of class 0")
    parser.add_argument("--positive-control", required=True, help="treatment of class 1")
    parser.add_argument("--output", type=Path, required=True, help="*.classification.parquet")
    args, settings = parser.parse(argv)
    controls = (args.negative_control, args.positive_control)
    device = choose_device(settings.device, settings.threads)
    intensity, low_stack = read_intensity(args.intensity), read_stack(args.low_resolution)
    low = cells_of(low_stack, intensity, controls, None, settings.feature_columns)
    check_splits(low, (TRAINING, TUNE, EVALUATION), args.low_resolution)
    if args.method == LOW_RESOLUTION:
        classifier = load_classifier(
            args.low_resolution_classifier, image_size=low_stack.images.shape[-2:],
            channels=low_stack.channels, device=device, batch_size=settings.batch_size,
        )  # fmt: skip
        verdicts = judge_low_resolution(low, classifier, settings)
        table = as_table(low.of(EVALUATION), verdicts, args.method)
    elif args.stack is None:
        table = verdict_table(low.of(EVALUATION), None, NO_IMAGE, args.method, "")
    else:
        stack = read_stack(args.stack)
        cells = cells_of(stack, intensity, controls, None, settings.feature_columns)
        own = cells.of(EVALUATION)
        if set(own.table["image_id"]) != set(low.of(EVALUATION).table["image_id"]):
            raise InputError(
                f"{args.stack} and {args.low_resolution} differ in their evaluation cells. Run the "
                "stages from low_resolution on again."
            )
        probability, status = None, NO_TRAINING
        if args.classifier is not None:
            network = load_classifier(
                args.classifier, image_size=stack.images.shape[-2:], channels=stack.channels,
                device=device, batch_size=settings.batch_size,
            )  # fmt: skip
            probability, status = network.probabilities(own.unit)[:, 1].astype(float), OK
        table = verdict_table(own, probability, status, args.method, args.trained_on)
    write_table(args.output, table, written_by=NAME)
    known = table[table["chosen"]]["correct"].dropna()
    said = f"{known.mean():.3f} on {len(known)} cells" if len(known) else "no cell was judged"
    print(f"{NAME} {args.method}: {said}", flush=True)


if __name__ == "__main__":
    run(main)
