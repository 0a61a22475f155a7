"""The classifiers that tell the controls apart.

Images of the size of HR go to classifiers trained on HR: the network, and a logistic regression and
a forest on the assay's features. LR images go to classifiers trained on LR: a network, and a
logistic regression and a forest on pixels. ``channel_means`` is never a candidate; it shows what
needs no resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
    training, tune = high.of(CLASSIFIER), high.of(TUNE)
    labels = (training.labels, tune.labels)
    features = (training.features, tune.features, evaluation.features)
    return [
        judge_network(network, tune, evaluation.unit),
        judge_inputs("logistic_on_features", logistic(settings), features, labels),
        _judge_by_forest("forest_on_features", features, labels, settings),
        _judge_by_means(training, tune, evaluation, settings),
    ]


def judge_low_resolution(low: Cells, network: Classifier, settings: Settings) -> list[Verdict]:
    """Return what classifiers trained on LR say of its evaluation cells.

    No feature can be measured on LR, so the classifiers on features have no verdict.
    """
    training, tune, evaluation = low.of(CLASSIFIER), low.of(TUNE), low.of(EVALUATION)
    labels = (training.labels, tune.labels)
    pixels = (
        pixel_features(training.unit),
        pixel_features(tune.unit),
        pixel_features(evaluation.unit),
    )
    n, n_tune = len(evaluation.labels), len(tune.labels)
    return [
        judge_network(network, tune, evaluation.unit),
        judge_inputs("logistic_on_pixels", logistic(settings), pixels, labels),
        _judge_by_forest("forest_on_pixels", pixels, labels, settings),
        _judge_by_means(training, tune, evaluation, settings),
        _no_verdict("logistic_on_features", n, "no_features", n_tune, False),
        _no_verdict("forest_on_features", n, "no_features", n_tune, False),
    ]


def _judge_by_forest(
    name: str,
    inputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    labels: tuple[np.ndarray, np.ndarray],
    settings: Settings,
) -> Verdict:
    return judge_inputs(name, forest(settings, name), inputs, labels)


def _judge_by_means(training: Cells, tune: Cells, evaluation: Cells, settings: Settings) -> Verdict:
    """Return the verdict of a logistic regression on the mean of each channel."""
    return judge_inputs(
        CHANNEL_MEANS,
        logistic(settings),
        (channel_means(training.unit), channel_means(tune.unit), channel_means(evaluation.unit)),
        (training.labels, tune.labels),
        candidate=False,
    )


def _no_verdict(name: str, n: int, reason: str, n_tune: int, candidate: bool) -> Verdict:
    """Return the verdict of a classifier that cannot be trained or applied."""
    status = np.full(n, not_measurable(reason), dtype=object)
    return Verdict(name, np.full(n, np.nan), status, np.nan, n_tune, candidate)
