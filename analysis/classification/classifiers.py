"""The classifiers that tell the controls apart, and the table of their verdicts on every cell.

Images of the size of HR go to classifiers trained on HR: the network, and a logistic regression and
a forest on the assay's features. LR images go to classifiers trained on LR: a network, and a
logistic regression and a forest on pixels. ``channel_means`` is never a candidate; it shows the
accuracy that needs no resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.classification.controls import Cells, Parts
from analysis.classification.settings import Settings
from rls.io import Stack
from rls.io.names import MAJORITY_CLASS, OK, not_measurable
from rls.io.splits import CHOOSE, CLASSIFY, Use
from rls.networks.classifier import Classifier, load_classifier
from rls.runtime.errors import InputError
from rls.runtime.streams import stream_seed

NETWORK, CHANNEL_MEANS = "cnn", "channel_means"
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Verdict:
    """The predictions of one classifier for n evaluation cells, and its accuracy on split tune.

    Attributes:
        name: Name of the classifier.
        probability: (n,) probability of the positive control, NaN where there is no prediction.
        status: (n,) ``ok``, or the reason why a cell has no prediction of its own.
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
    """Return the network in ``path``.

    Raises:
        InputError: It was trained on images of another kind than ``stack``, or on other controls.
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


def pixel_features(unit: np.ndarray) -> np.ndarray:
    """Return raw pixels, sorted pixels, and pixels over their channel's mean: (n, 3 c y x).

    Sorted values are the same for a turned cell, and normalised values for a brighter one. Raw
    pixels alone would leave the classifiers of LR weak, and SR would then win over them.
    """
    flat = unit.reshape(*unit.shape[:2], -1)
    means = np.abs(flat.mean(axis=2, keepdims=True))
    parts = (flat, np.sort(flat, axis=2), flat / np.maximum(means, 1e-6))
    return np.concatenate([part.reshape(len(unit), -1) for part in parts], axis=1)


def channel_means(cells: Cells) -> np.ndarray:
    """Return the mean of each channel (n, c), all that is left of an image at 1 x 1 px."""
    return cells.unit.mean(axis=(2, 3), dtype=np.float64)


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


def fit_and_judge(
    name: str,
    model: Pipeline | RandomForestClassifier,
    parts: Parts,
    inputs: Callable[[Cells], np.ndarray],
    *,
    candidate: bool = True,
) -> Verdict:
    """Fit ``model``, and return its verdict on the evaluation cells.

    Arguments:
        inputs: Returns the inputs (n, d) of cells. Rows with NaN are left out of training;
            elsewhere their probability is the share of the positive control in training, so they
            are given the majority class (at 1/2 the negative control).
    """
    training, tune, evaluation = (inputs(part) for part in parts.in_order)
    labels = parts.training.labels
    known = np.isfinite(training).all(axis=1)
    if len(np.unique(labels[known])) < 2:
        return _no_verdict(name, len(evaluation), "too_few_training_cells", len(tune), candidate)
    model.fit(training[known], labels[known])
    if isinstance(model, RandomForestClassifier):
        model.n_jobs = 1  # Threads add up the trees in any order, so the last bit would differ.
    prior = float(labels.mean())

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
        accuracy(probability(tune), parts.tune.labels),
        len(tune),
        candidate,
    )


def judge_cells(
    reference: Cells,
    evaluation: Cells,
    network: Classifier,
    settings: Settings,
    kind: str,
    use: Use = CLASSIFY,
) -> list[Verdict]:
    """Return the verdicts of every classifier on the evaluation cells.

    No feature can be measured on LR, so the classifiers on features have no verdict there.

    Arguments:
        reference: HR or LR cells, on which the classifiers are trained and chosen.
        evaluation: Cells of the same size as those of ``reference``.
        network: Trained on the same cells.
        kind: Inputs of the logistic regression and the forest, ``features`` (HR) or ``pixels``
            (LR).
        use: What the cells that classifiers are fitted on serve.
    """
    parts = Parts(reference.of(use), reference.of(CHOOSE), evaluation, use)
    tune = parts.tune

    def inputs(cells: Cells) -> np.ndarray:
        return cells.features if kind == "features" else pixel_features(cells.unit)

    n, n_tune, forest_name = len(evaluation.labels), len(tune.labels), f"forest_on_{kind}"
    by_network = Verdict(
        NETWORK,
        network.probabilities(evaluation.unit)[:, 1].astype(float),
        np.full(n, OK, dtype=object),
        accuracy(network.probabilities(tune.unit)[:, 1], tune.labels),
        n_tune,
        True,
    )
    verdicts = [
        by_network,
        fit_and_judge(f"logistic_on_{kind}", logistic(settings), parts, inputs),
        fit_and_judge(forest_name, forest(settings, forest_name), parts, inputs),
        fit_and_judge(CHANNEL_MEANS, logistic(settings), parts, channel_means, candidate=False),
    ]
    if kind == "pixels":
        for name in ("logistic_on_features", "forest_on_features"):
            verdicts.append(_no_verdict(name, n, "no_features", n_tune, False))
    return verdicts


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


def borrowed_network_table(
    evaluation: Cells, probability: np.ndarray | None, status: str, method: str, trained_on: str
) -> pd.DataFrame:
    """Return the rows of a network that was trained on the assay ``trained_on``.

    Arguments:
        probability: (n,) of the positive control; None leaves every row empty, with ``status``.
    """
    n = len(evaluation.labels)
    values = np.full(n, np.nan) if probability is None else probability
    # There is no split tune here; any finite accuracy makes verdict_table choose the network.
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
