"""The classifiers that tell the controls apart, and the table of what each says of every cell.

Images of the size of HR go to classifiers trained on HR: the network, and a logistic regression and
a forest on the assay's features. LR images go to classifiers trained on LR: a network, and a
logistic regression and a forest on pixels. ``channel_means`` is never a candidate; it shows what
needs no resolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.classification.controls import Cells
from analysis.classification.settings import Settings
from rls.io import Stack
from rls.io.names import CLASSIFIER, EVALUATION, MAJORITY_CLASS, OK, TUNE, not_measurable
from rls.networks.classifier import Classifier, load_classifier
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed

NETWORK, CHANNEL_MEANS = "cnn", "channel_means"
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Verdict:
    """What one classifier says of n evaluation cells, and how well it did on split tune.

    Attributes:
        name: Of the classifier.
        probability: (n,) of the positive control, NaN where there is no prediction.
        status: (n,) ``ok``, or why there is no prediction of the cell's own.
        accuracy_tune: Share of the ``n_tune`` cells of split tune that it classified correctly.
        candidate: Whether it may be chosen for the table.
    """

    name: str
    probability: np.ndarray
    status: np.ndarray
    accuracy_tune: float
    n_tune: int
    candidate: bool


def load_network(
    path: Path, stack: Stack, device: torch.device, settings: Settings, controls: tuple[str, str]
) -> Classifier:
    """Return the network in ``path``, which must have been trained on such images and controls.

    Raises:
        InputError: It was trained on others.
    """
    size = stack.images.shape[-2:]
    network = load_classifier(
        path,
        image_size=(size[0], size[1]),
        channels=stack.channels,
        device=device,
        batch_size=settings.batch_size,
    )
    classes = network.header["classes"]
    if list(controls) != list(classes):
        raise InputError(
            f"The classifier was trained on {' against '.join(classes)}, not "
            f"on {' against '.join(controls)}. Run the rule train_classifier again."
        )
    return network


def channel_means(unit: np.ndarray) -> np.ndarray:
    """Return the mean of each channel, (n, c): all that is left of an image at 1 x 1 px."""
    return unit.mean(axis=(2, 3), dtype=np.float64)


def pixel_features(unit: np.ndarray) -> np.ndarray:
    """Return pixels as they are, sorted, and divided by their channel's mean: (n, 3 c y x).

    Sorted values are the same for a turned cell, and normalised values for a brighter one. Raw
    pixels alone would leave the classifiers of LR weak, and SR would then win over them.
    """
    flat = unit.reshape(*unit.shape[:2], -1)
    means = np.abs(flat.mean(axis=2, keepdims=True))
    normalised = flat / np.maximum(means, 1e-6)
    parts = (flat, np.sort(flat, axis=2), normalised)
    return np.concatenate([part.reshape(len(unit), -1) for part in parts], axis=1)


def logistic(settings: Settings) -> Pipeline:
    """Return a logistic regression on standardised inputs."""
    model = LogisticRegression(C=settings.logistic_c, max_iter=MAX_ITERATIONS)
    return make_pipeline(StandardScaler(), model)


def forest(settings: Settings, name: str) -> RandomForestClassifier:
    """Return a random forest, seeded by the settings and its name."""
    return RandomForestClassifier(
        n_estimators=settings.forest_trees,
        min_samples_leaf=settings.forest_leaf,
        random_state=stream_seed(settings.seed, name, "forest") % 2**32,
        n_jobs=settings.threads,
    )


def accuracy(probability: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of cells classified correctly; a probability of exactly 1/2 is negative."""
    return float(((probability > 0.5) == (labels == 1)).mean())


def judge_inputs(
    name: str,
    model: Pipeline | RandomForestClassifier,
    inputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    labels: tuple[np.ndarray, np.ndarray],
    *,
    candidate: bool = True,
) -> Verdict:
    """Fit ``model`` and apply it.

    Arguments:
        inputs: (n, d) of training, tune and evaluation. Rows with NaN are left out of training;
            elsewhere they get the share of the positive control in training, and so the majority
            (at 1/2 the negative control).
        labels: Of training and tune.
    """
    training, tune, evaluation = inputs
    known = np.isfinite(training).all(axis=1)
    if len(np.unique(labels[0][known])) < 2:
        return _no_verdict(name, len(evaluation), "too_few_training_cells", len(tune), candidate)
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
    return Verdict(
        name,
        probability(evaluation),
        np.where(good, OK, MAJORITY_CLASS).astype(object),
        accuracy(probability(tune), labels[1]),
        len(tune),
        candidate,
    )


def judge_network(network: Classifier, tune: Cells, evaluation: np.ndarray) -> Verdict:
    """Apply a trained network to the unit images of evaluation."""
    return Verdict(
        NETWORK,
        network.probabilities(evaluation)[:, 1].astype(float),
        np.full(len(evaluation), OK, dtype=object),
        accuracy(network.probabilities(tune.unit)[:, 1], tune.labels),
        len(tune.labels),
        True,
    )


def judge_like_high_resolution(
    high: Cells, evaluation: Cells, network: Classifier, settings: Settings
) -> list[Verdict]:
    """Return what classifiers trained on HR say of ``evaluation``: cells of HR or of a method."""
    splits = (high.of(CLASSIFIER), high.of(TUNE), evaluation)
    inputs = (splits[0].features, splits[1].features, splits[2].features)
    return _judge(splits, inputs, "features", network, settings)


def judge_low_resolution(low: Cells, network: Classifier, settings: Settings) -> list[Verdict]:
    """Return what classifiers trained on LR say of its evaluation cells.

    No feature can be measured on LR, so the classifiers on features have no verdict.
    """
    training, tune, evaluation = low.of(CLASSIFIER), low.of(TUNE), low.of(EVALUATION)
    inputs = (
        pixel_features(training.unit),
        pixel_features(tune.unit),
        pixel_features(evaluation.unit),
    )
    n, n_tune = len(evaluation.labels), len(tune.labels)
    empty = [
        _no_verdict(name, n, "no_features", n_tune, False)
        for name in ("logistic_on_features", "forest_on_features")
    ]
    return _judge((training, tune, evaluation), inputs, "pixels", network, settings) + empty


def _judge(
    splits: tuple[Cells, Cells, Cells],
    inputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    kind: str,
    network: Classifier,
    settings: Settings,
) -> list[Verdict]:
    """Return the verdicts of the network and of classifiers on ``inputs`` and channel means.

    Arguments:
        splits: Cells of training, tune and evaluation.
        inputs: Of these cells, (n, d) each, of this ``kind``.
    """
    training, tune, evaluation = splits
    labels = (training.labels, tune.labels)
    means = (
        channel_means(training.unit),
        channel_means(tune.unit),
        channel_means(evaluation.unit),
    )
    forest_name = f"forest_on_{kind}"
    return [
        judge_network(network, tune, evaluation.unit),
        judge_inputs(f"logistic_on_{kind}", logistic(settings), inputs, labels),
        judge_inputs(forest_name, forest(settings, forest_name), inputs, labels),
        judge_inputs(CHANNEL_MEANS, logistic(settings), means, labels, candidate=False),
    ]


def _no_verdict(name: str, n: int, reason: str, n_tune: int, candidate: bool) -> Verdict:
    """Return the verdict of a classifier that cannot be trained or applied."""
    status = np.full(n, not_measurable(reason), dtype=object)
    return Verdict(name, np.full(n, np.nan), status, np.nan, n_tune, candidate)


def verdict_table(evaluation: Cells, verdicts: Sequence[Verdict], method: str) -> pd.DataFrame:
    """Return one row per cell and classifier; ``correct`` is empty where there is no prediction.

    ``chosen`` marks the candidate with the highest accuracy on tune, the first one among equals.
    """
    candidates = [v for v in verdicts if v.candidate and np.isfinite(v.accuracy_tune)]
    best = max(candidates, key=lambda verdict: verdict.accuracy_tune).name
    parts = []
    for verdict in verdicts:
        known = np.isfinite(verdict.probability)
        positive = verdict.probability > 0.5
        parts.append(
            evaluation.table.assign(
                method=method,
                classifier=verdict.name,
                probability_positive=verdict.probability,
                predicted_positive=pd.arrays.BooleanArray(positive, ~known),
                correct=pd.arrays.BooleanArray(positive == (evaluation.labels == 1), ~known),
                status=verdict.status,
                chosen=verdict.name == best,
                accuracy_tune=verdict.accuracy_tune,
                n_tune=verdict.n_tune,
            )
        )
    return pd.concat(parts, ignore_index=True)


def lent_network_table(
    evaluation: Cells, probability: np.ndarray | None, status: str, method: str, trained_on: str
) -> pd.DataFrame:
    """Return the rows of a network that was trained on the assay ``trained_on``.

    Arguments:
        probability: (n,); None leaves every row empty, with ``status``.
    """
    n = len(evaluation.labels)
    values = np.full(n, np.nan) if probability is None else probability
    # There is no tune to be accurate on; any finite accuracy makes verdict_table choose it.
    verdict = Verdict(NETWORK, values, np.full(n, status, dtype=object), 0.0, 0, True)
    table = verdict_table(evaluation, [verdict], method)
    return table.assign(accuracy_tune=np.nan, trained_on=trained_on)


def accuracies(table: pd.DataFrame) -> Iterator[str]:
    """Yield a line on each classifier: its accuracy, cells as units."""
    for name, rows in table.groupby("classifier", sort=False):
        known = rows["correct"].dropna()
        mark = " (chosen)" if rows["chosen"].any() else ""
        value = f"{known.mean():.3f} on {len(known)} cells" if len(known) else "not measurable"
        yield f"{name} {value}{mark}"
