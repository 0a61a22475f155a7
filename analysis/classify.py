"""Tell the controls apart on one stack, per evaluation cell (Table 2, section 4.2).

Images of the size of HR (HR itself and every method) are given to classifiers trained on HR: the
network, and a logistic regression and a forest on the assay's features. Images of LR are given to
classifiers trained on LR: a network, and a logistic regression and a forest on pixels. Training is
on the split ``classifier``; which one is ``chosen`` for the table is decided by accuracy on the
split ``tune`` (of HR, or of LR), never on evaluation. ``channel_means`` is no candidate: it shows
what needs no resolution. On LR no feature can be measured, and the rows on features are empty.

A cell whose feature could not be measured is given the majority of the training cells (the
negative control where they are equal) and counted in ``status``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rls.io import Intensity, Stack, read_intensity, read_stack, read_table, write_table
from rls.networks.classifier import Classifier, load_classifier
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed

HIGH_RESOLUTION, LOW_RESOLUTION = "high_resolution", "low_resolution"
TRAINING, TUNE, EVALUATION = "classifier", "tune", "evaluation"
KEPT = ("image_id", "plate", "well", "site", "treatment", "split")
OK = "ok"
NO_FEATURES = "not_measurable:no_features"
CHANNEL_MEANS = "channel_means"
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Settings:
    """How the controls are told apart."""

    feature_columns: tuple[str, ...] = option("Columns of the features that are classified on.")
    forest_trees: int = option("Trees of a forest.")
    forest_leaf: int = option("Least cells in a leaf.")
    logistic_c: float = option("Inverse strength of the L2 penalty, on standardised inputs.")
    batch_size: int = option("Images given to a network at once.")
    seed: int = option("Seed of the forests.")
    device: str = option("Where the networks compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads.")


@dataclass(frozen=True)
class Cells:
    """Rows of the two controls: images (n, c, y, x) unit, labels (n,) 0 or 1, features (n, d)."""

    table: pd.DataFrame
    unit: np.ndarray
    labels: np.ndarray
    features: np.ndarray

    def of(self, split: str) -> Cells:
        """Return the cells of ``split``."""
        here = (self.table["split"] == split).to_numpy()
        table = self.table[here].reset_index(drop=True)
        return Cells(table, self.unit[here], self.labels[here], self.features[here])


@dataclass(frozen=True)
class Verdict:
    """What one classifier says of every cell, and how well it did on tune."""

    name: str
    probability: np.ndarray
    status: np.ndarray
    accuracy_tune: float
    n_tune: int
    candidate: bool


def channel_means(unit: np.ndarray) -> np.ndarray:
    """Return the mean of each channel, (n, c): all that is left at 1 x 1 px."""
    return unit.mean(axis=(2, 3), dtype=np.float64)


def pixel_features(unit: np.ndarray) -> np.ndarray:
    """Return pixels as they are, sorted, and divided by their channel's mean: (n, 3 c y x).

    Sorted values do not know where a pixel is, so a turned cell is the same; normalised ones do
    not know how bright it is. Raw pixels alone would leave LR classifiers weak, and SR would win.
    """
    flat = unit.reshape(*unit.shape[:2], -1)
    means = np.abs(flat.mean(axis=2, keepdims=True))
    normalised = flat / np.maximum(means, 1e-6)
    parts = (flat, np.sort(flat, axis=2), normalised)
    return np.concatenate([part.reshape(len(unit), -1) for part in parts], axis=1)


def logistic(settings: Settings) -> Any:  # noqa: ANN401
    """Return a logistic regression on standardised inputs."""
    model = LogisticRegression(C=settings.logistic_c, max_iter=MAX_ITERATIONS)
    return make_pipeline(StandardScaler(), model)


def forest(settings: Settings, name: str) -> Any:  # noqa: ANN401
    """Return a random forest, seeded by the settings and its name."""
    return RandomForestClassifier(
        n_estimators=settings.forest_trees,
        min_samples_leaf=settings.forest_leaf,
        random_state=stream_seed(settings.seed, name, "forest") % 2**32,
        n_jobs=settings.threads,
    )


def accuracy(probability: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of cells on the right side of 1/2; exactly 1/2 is called negative."""
    return float(((probability > 0.5) == (labels == 1)).mean())


def judge_inputs(
    name: str,
    model: Any,  # noqa: ANN401
    inputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    labels: tuple[np.ndarray, np.ndarray],
    *,
    candidate: bool = True,
) -> Verdict:
    """Fit ``model`` and apply it.

    Arguments:
        inputs: (n, d) of training, tune and evaluation. Rows with NaN are left out of training;
            elsewhere they get the majority of training (1/2, that is negative, if equal).
        labels: Of training and tune.
    """
    training, tune, evaluation = inputs
    known = np.isfinite(training).all(axis=1)
    if len(np.unique(labels[0][known])) < 2:
        empty = np.full(len(evaluation), np.nan)
        status = np.full(len(evaluation), "not_measurable:too_few_training_cells", dtype=object)
        return Verdict(name, empty, status, np.nan, len(tune), candidate)
    model.fit(training[known], labels[0][known])
    if isinstance(model, RandomForestClassifier):
        model.n_jobs = 1  # several threads add up the trees in any order: the last bit differs
    prior = float(labels[0].mean())

    def probability(values: np.ndarray) -> np.ndarray:
        result = np.full(len(values), prior)
        good = np.isfinite(values).all(axis=1)
        if good.any():
            result[good] = model.predict_proba(values[good])[:, 1]
        return result

    good = np.isfinite(evaluation).all(axis=1)
    status = np.where(good, OK, "feature_not_measurable:majority_class").astype(object)
    return Verdict(
        name,
        probability(evaluation),
        status,
        accuracy(probability(tune), labels[1]),
        len(tune),
        candidate,
    )


def judge_network(
    name: str, classifier: Classifier, tune: Cells, evaluation: np.ndarray
) -> Verdict:
    """Apply a trained network to unit images of evaluation."""
    return Verdict(
        name,
        classifier.probabilities(evaluation)[:, 1].astype(float),
        np.full(len(evaluation), OK, dtype=object),
        accuracy(classifier.probabilities(tune.unit)[:, 1], tune.labels),
        len(tune.labels),
        True,
    )


def judge_like_high_resolution(
    high: Cells, evaluation: Cells, classifier: Classifier, settings: Settings
) -> list[Verdict]:
    """Return what classifiers trained on HR say of ``evaluation``, HR itself or a method."""
    training, tune = high.of(TRAINING), high.of(TUNE)
    labels = (training.labels, tune.labels)
    features = (training.features, tune.features, evaluation.features)
    means = tuple(channel_means(cells.unit) for cells in (training, tune, evaluation))
    name = "forest_on_features"
    return [
        judge_network("cnn", classifier, tune, evaluation.unit),
        judge_inputs("logistic_on_features", logistic(settings), features, labels),
        judge_inputs(name, forest(settings, name), features, labels),
        judge_inputs(CHANNEL_MEANS, logistic(settings), means, labels, candidate=False),
    ]


def judge_low_resolution(low: Cells, classifier: Classifier, settings: Settings) -> list[Verdict]:
    """Return what classifiers trained on LR say of its evaluation cells."""
    training, tune, evaluation = low.of(TRAINING), low.of(TUNE), low.of(EVALUATION)
    labels = (training.labels, tune.labels)
    pixels = tuple(pixel_features(cells.unit) for cells in (training, tune, evaluation))
    means = tuple(channel_means(cells.unit) for cells in (training, tune, evaluation))
    n = len(evaluation.labels)
    name = "forest_on_pixels"
    found = [
        judge_network("cnn", classifier, tune, evaluation.unit),
        judge_inputs("logistic_on_pixels", logistic(settings), pixels, labels),
        judge_inputs(name, forest(settings, name), pixels, labels),
        judge_inputs(CHANNEL_MEANS, logistic(settings), means, labels, candidate=False),
    ]
    for empty in ("logistic_on_features", "forest_on_features"):
        status = np.full(n, NO_FEATURES, dtype=object)
        found.append(Verdict(empty, np.full(n, np.nan), status, np.nan, len(tune.labels), False))
    return found


def as_table(evaluation: Cells, verdicts: Sequence[Verdict], method: str) -> pd.DataFrame:
    """Return one row a cell and classifier; ``correct`` is empty where there is no prediction.

    ``chosen`` marks the candidate with the highest accuracy on tune, the first one among equals.
    """
    candidates = [v for v in verdicts if v.candidate and np.isfinite(v.accuracy_tune)]
    best = max(candidates, key=lambda verdict: verdict.accuracy_tune).name
    parts = []
    for verdict in verdicts:
        known = np.isfinite(verdict.probability)
        positive = verdict.probability > 0.5
        correct = pd.array(positive == (evaluation.labels == 1), dtype="boolean")
        correct[~known] = pd.NA
        parts.append(
            evaluation.table.assign(
                method=method,
                classifier=verdict.name,
                probability_positive=verdict.probability,
                predicted_positive=pd.array(positive, dtype="boolean").copy(),
                correct=correct,
                status=verdict.status,
                chosen=verdict.name == best,
                accuracy_tune=verdict.accuracy_tune,
                n_tune=verdict.n_tune,
            )
        )
        parts[-1].loc[~known, "predicted_positive"] = pd.NA
    return pd.concat(parts, ignore_index=True)


def cells_of(
    stack: Stack,
    intensity: Intensity,
    controls: tuple[str, str],
    features: pd.DataFrame | None,
    columns: Sequence[str],
) -> Cells:
    """Return the rows of the two controls with their features (NaN columns without a table).

    Raises:
        InputError: A column is missing, or the features are of other images.
    """
    missing = [name for name in KEPT if name not in stack.table]
    if missing:
        raise InputError(
            f"The table of the stack lacks the column{'s' * (len(missing) > 1)} "
            f"{', '.join(missing)}. Run the rule that writes the stack again."
        )
    here = stack.table["treatment"].isin(controls).to_numpy()
    table = stack.table.loc[here, list(KEPT)].reset_index(drop=True)
    values = np.full((len(table), len(columns)), np.nan)
    if features is not None:
        index = pd.Index(features["image_id"])
        rows = index.get_indexer(table["image_id"])
        if (rows < 0).any():
            first = table["image_id"][int(np.flatnonzero(rows < 0)[0])]
            raise InputError(
                f"{int((rows < 0).sum())} images have no row in the table of features (first: "
                f"{first}): it was measured on other cells. Run the rule measure again."
            )
        values = features[list(columns)].to_numpy(dtype=float)[rows]
    labels = (table["treatment"] == controls[1]).to_numpy().astype(int)
    unit = intensity.to_unit(stack.images[here])
    return Cells(table, unit, labels, values)


def check_splits(cells: Cells, splits: Sequence[str], path: Path) -> None:
    """Raise unless both controls are in every one of ``splits``."""
    for split in splits:
        counts = np.bincount(cells.of(split).labels, minlength=2)
        if counts.min() == 0:
            raise InputError(
                f"The split '{split}' of {path} has {counts[0]} cells of the negative and "
                f"{counts[1]} of the positive control; both are needed. Give cells to the split "
                f"in the section select_cells."
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one stack."""
    parser = Parser(__doc__, Settings, "classify")
    parser.add_argument("--stack", type=Path, required=True, help="the stack to classify")
    parser.add_argument("--method", required=True, help="its name; high_resolution, low_resolution")
    parser.add_argument("--high-resolution", type=Path, required=True, help="HR stack")
    parser.add_argument("--classifier", type=Path, required=True, help="network trained on HR")
    parser.add_argument("--low-resolution-classifier", type=Path, required=True, help="and on LR")
    parser.add_argument("--features", type=Path, required=True, help="features of HR")
    parser.add_argument("--method-features", type=Path, required=True, help="of the stack")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--negative-control", required=True, help="treatment of class 0")
    parser.add_argument("--positive-control", required=True, help="treatment of class 1")
    parser.add_argument("--output", type=Path, required=True, help="*.classification.parquet")
    args, settings = parser.parse(argv)
    evaluation, verdicts = judge(args, settings)
    table = as_table(evaluation, verdicts, args.method)
    write_table(args.output, table, written_by="classify")
    _report(args.method, table)


def judge(args: argparse.Namespace, settings: Settings) -> tuple[Cells, list[Verdict]]:
    """Read the files, check them, and apply every classifier of the stack's kind."""
    controls = (args.negative_control, args.positive_control)
    columns = settings.feature_columns
    device = choose_device(settings.device, settings.threads)
    intensity = read_intensity(args.intensity)
    is_low = args.method == LOW_RESOLUTION
    stack = read_stack(args.stack)
    classifier = load_classifier(
        args.low_resolution_classifier if is_low else args.classifier,
        image_size=(stack.images.shape[-2], stack.images.shape[-1]),
        channels=stack.channels,
        device=device,
        batch_size=settings.batch_size,
    )
    _check_classes(classifier, controls)
    if is_low:
        low = cells_of(stack, intensity, controls, None, columns)
        check_splits(low, (TRAINING, TUNE, EVALUATION), args.stack)
        return low.of(EVALUATION), judge_low_resolution(low, classifier, settings)
    needed = ("image_id", *columns)
    high_features = read_table(args.features, columns=needed)
    own_features = read_table(args.method_features, columns=needed)
    high_stack = stack if args.method == HIGH_RESOLUTION else read_stack(args.high_resolution)
    high = cells_of(high_stack, intensity, controls, high_features, columns)
    check_splits(high, (TRAINING, TUNE, EVALUATION), args.high_resolution)
    own = cells_of(stack, intensity, controls, own_features, columns).of(EVALUATION)
    missing = set(high.of(EVALUATION).table["image_id"]) ^ set(own.table["image_id"])
    if missing:
        raise InputError(
            f"{args.stack} and {args.high_resolution} differ in {len(missing)} evaluation cells "
            f"(first: {sorted(missing)[0]}). Run the stages from degrade on again."
        )
    return own, judge_like_high_resolution(high, own, classifier, settings)


def _check_classes(classifier: Classifier, controls: tuple[str, str]) -> None:
    if list(controls) != list(classifier.header["classes"]):
        raise InputError(
            f"The classifier was trained on {' against '.join(classifier.header['classes'])}, not "
            f"on {' against '.join(controls)}. Run the rule train_classifier again."
        )


def _report(method: str, table: pd.DataFrame) -> None:
    """Print the accuracy of each classifier, cells as units."""
    for name, rows in table.groupby("classifier", sort=False):
        known = rows["correct"].dropna()
        mark = " (chosen)" if rows["chosen"].any() else ""
        value = f"{known.mean():.3f} on {len(known)} cells" if len(known) else "not measurable"
        print(f"classify {method}: {name} {value}{mark}", flush=True)


if __name__ == "__main__":
    run(main)
