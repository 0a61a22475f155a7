"""Classify the evaluation cells of a stack as negative or positive control (Table 2, section 4.2).

Images of the size of HR (HR itself and every method) are given to classifiers trained on HR: the
network, and a logistic regression and a forest on the assay's features. LR images are given to
classifiers trained on LR: a network, and a logistic regression and a forest on pixels. Training
uses the split ``classifier``. The classifier with the highest accuracy on the split ``tune`` of HR
or LR is ``chosen`` for the table; evaluation cells never decide it. ``channel_means`` is not a
candidate: it shows the accuracy that needs no resolution. On LR no feature can be measured, so its
rows on features are empty.

``--method low_resolution_all_cells`` is the row of LR whose classifiers have seen as many cells as
the generator has: those of ``--more-cells``, the LR images of split gan, train them too.

A cell whose feature could not be measured is given the majority class of the training cells (the
negative control where they are equal), and ``status`` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.classification.settings import Settings
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, LOW_RESOLUTION_ALL_CELLS
from rls.io.splits import CHOOSE, CLASSIFY, CLASSIFY_ALL, REPORT
from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError

NAME = "classify"
# Files that the rows of LR do without.
OF_HIGH = ("high_resolution", "classifier", "features", "method_features")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack."""
    parser = Parser(__doc__, Settings, "classify")
    parser.add_argument("--stack", type=Path, required=True, help="the stack to classify")
    parser.add_argument(
        "--method", required=True, help="its name, or high_resolution or low_resolution"
    )
    parser.add_argument("--more-cells", type=Path, help="LR of split gan, to train on too")
    parser.add_argument("--high-resolution", type=Path, help="HR stack; not needed for LR")
    parser.add_argument("--classifier", type=Path, help="network trained on HR; not for LR")
    parser.add_argument(
        "--low-resolution-classifier", type=Path, required=True, help="trained on LR"
    )
    parser.add_argument("--features", type=Path, help="features of HR; not for LR")
    parser.add_argument("--method-features", type=Path, help="features of the stack; not for LR")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--negative-control", required=True, help="treatment of class 0")
    parser.add_argument("--positive-control", required=True, help="treatment of class 1")
    parser.add_argument("--output", type=Path, required=True, help="*.classification.parquet")
    args, settings = parser.parse(argv)

    # Imported here, so that --help does not wait for torch and sklearn.
    from analysis.classification import classifiers
    from analysis.classification.controls import cells_of, check_same_cells, check_splits
    from rls.io import read_intensity, read_stack, read_table, write_table
    from rls.runtime.device import choose_device

    controls, columns = (args.negative_control, args.positive_control), settings.feature_columns
    device = choose_device(settings.device, settings.threads)
    intensity, stack = read_intensity(args.intensity), read_stack(args.stack)
    if args.more_cells is not None:
        stack = stack.with_others(read_stack(args.more_cells))
    is_low = args.method in (LOW_RESOLUTION, LOW_RESOLUTION_ALL_CELLS)
    missing = [name for name in OF_HIGH if getattr(args, name) is None]
    if missing and not is_low:
        raise InputError(f"Found no --{missing[0].replace('_', '-')}, expected one: give the file.")
    path = args.low_resolution_classifier if is_low else args.classifier
    network = classifiers.load_network(path, stack, device, settings, controls)
    if is_low:
        low = cells_of(stack, intensity, controls, None, columns)
        use = CLASSIFY_ALL if args.more_cells else CLASSIFY
        check_splits(low, args.stack, (use, CHOOSE, REPORT))
        evaluation = low.of(REPORT)
        verdicts = classifiers.judge_cells(low, evaluation, network, settings, "pixels", use)
    else:
        needed = ("image_id", *columns)
        high_features = read_table(args.features, columns=needed)
        own_features = read_table(args.method_features, columns=needed)
        high_stack = stack if args.method == HIGH_RESOLUTION else read_stack(args.high_resolution)
        high = cells_of(high_stack, intensity, controls, high_features, columns)
        check_splits(high, args.high_resolution)
        evaluation = cells_of(stack, intensity, controls, own_features, columns).of(REPORT)
        paths = (args.stack, args.high_resolution)
        check_same_cells(evaluation.table, high.of(REPORT).table, paths, "degrade")
        verdicts = classifiers.judge_cells(high, evaluation, network, settings, "features")
    table = classifiers.verdict_table(evaluation, verdicts, args.method)
    write_table(args.output, table, written_by=NAME)
    for line in classifiers.accuracies(table):
        print(f"{NAME} {args.method}: {line}", flush=True)


if __name__ == "__main__":
    run(main)
