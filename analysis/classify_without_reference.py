"""Classify cells as controls in an assay acquired in low resolution, where no HR image exists.

LR is classified as by ``classify``, with classifiers trained on its cells. A method is classified
by the network that was trained on HR of the assay whose generator it searched, where that assay has
the same controls; the network knows the cells of that assay, not these. Otherwise, and for HR,
every row is empty with its status.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.classification.settings import Settings
from rls.io.names import LOW_RESOLUTION, OK, not_measurable
from rls.io.splits import REPORT
from rls.runtime.command import Parser, run

NAME = "classify_without_reference"
NO_TRAINING = not_measurable("no_high_resolution_to_train_a_classifier_on")
NO_IMAGE = not_measurable("no_high_resolution")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack."""
    parser = Parser(__doc__, Settings, "classify")
    parser.add_argument("--stack", type=Path, help="the stack to classify; not of high_resolution")
    parser.add_argument(
        "--method", required=True, help="its name, or high_resolution or low_resolution"
    )
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR as acquired")
    parser.add_argument(
        "--low-resolution-classifier", type=Path, required=True, help="trained on LR"
    )
    parser.add_argument("--classifier", type=Path, help="network trained on HR of another assay")
    parser.add_argument("--trained-on", default="", help="name of that assay")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--negative-control", required=True, help="treatment of class 0")
    parser.add_argument("--positive-control", required=True, help="treatment of class 1")
    parser.add_argument("--output", type=Path, required=True, help="*.classification.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for torch and sklearn.
    from analysis.classification import classifiers
    from analysis.classification.controls import cells_of, check_same_cells, check_splits
    from rls.io import read_intensity, read_stack, write_table
    from rls.runtime.device import choose_device

    controls = (args.negative_control, args.positive_control)
    device = choose_device(settings.device, settings.threads)
    intensity, low_stack = read_intensity(args.intensity), read_stack(args.low_resolution)
    low = cells_of(low_stack, intensity, controls, None, settings.feature_columns)
    check_splits(low, args.low_resolution)
    evaluation = low.of(REPORT)
    if args.method == LOW_RESOLUTION:
        path = args.low_resolution_classifier
        network = classifiers.load_network(path, low_stack, device, settings, controls)
        verdicts = classifiers.judge_cells(low, evaluation, network, settings, "pixels")
        table = classifiers.verdict_table(evaluation, verdicts, args.method)
    elif args.stack is None:
        table = classifiers.borrowed_network_table(evaluation, None, NO_IMAGE, args.method, "")
    else:
        stack = read_stack(args.stack)
        cells = cells_of(stack, intensity, controls, None, settings.feature_columns)
        own, paths = cells.of(REPORT), (args.stack, args.low_resolution)
        check_same_cells(own.table, evaluation.table, paths, "low_resolution")
        probability, status = None, NO_TRAINING
        if args.classifier is not None:
            network = classifiers.load_network(args.classifier, stack, device, settings, controls)
            probability, status = network.probabilities(own.unit)[:, 1].astype(float), OK
        table = classifiers.borrowed_network_table(
            own, probability, status, args.method, args.trained_on
        )
    write_table(args.output, table, written_by=NAME)
    for line in classifiers.accuracies(table):
        print(f"{NAME} {args.method}: {line}", flush=True)


if __name__ == "__main__":
    run(main)
