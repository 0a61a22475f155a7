"""No loop over batches looks at a number of the GPU in every batch.

Each loop runs a few batches and then many, with the same number of looks. Three loops do look now
and then: a fit of the flow every 100 steps and Pix2Pix every 50, for losses that are not finite,
and the determinants of Jacobians once a style. Nor does a recorded step copy from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from rls.io import Intensity, Stack
from rls.io.splits import CHOOSE, TRAIN, Use
from rls.networks import classifier_training as classifier
from rls.networks import pix2pix_training as pix2pix
from rls.networks.batches import in_batches
from rls.networks.classifier import Classifier, TreatmentNet
from rls.networks.classifier_cells import Batches, Cells
from rls.networks.classifier_settings import Settings
from rls.networks.perceptual import random_features
from rls.networks.pix2pix import Pairing
from rls.prior import fitting, styles
from rls.runtime import graphs
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.search.forward import downscale
from rls.stylegan2 import jacobian, sampling
from rls.stylegan2.held_out import HeldOut
from rls.stylegan2.jacobian_settings import Settings as JacobianSettings
from rls.stylegan2.settings import SampleSettings
from rls.stylegan2.training_images import TrainingImages
from tests.rls import test_fit_flow, test_train_classifier, test_train_pix2pix
from tests.rls.looks import counted
from tests.rls.recorded_on_cpu import OneDevice, RecordedOnCpu
from tests.rls.search_stand_ins import tiny_generator
from tests.rls.test_search_steps import on_meta

CPU = torch.device("cpu")
FEW, MANY = 3, 9  # batches


def images(n_batches: int, batch: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((n_batches * batch, 2, 8, 8), np.float32)


def bar(n: int) -> Progress:
    return Progress(n, "looks", "img")


def training_of_flow(n: int) -> tuple[fitting.Fit, fitting.Steps]:
    settings = replace(test_fit_flow.SMALL, batch_size=20)
    train = test_fit_flow.correlated_gaussian(20 * n)[0]
    fit = fitting.start_fit(train, settings)
    return fit, fitting.Steps(fit, train, settings, RecordedOnCpu())


def epoch_of_flow(n: int) -> Callable[[], object]:
    fit, steps = training_of_flow(n)
    return lambda: fitting.run_epoch(fit, steps, Watch("looks"))


def judging_of_flow(n: int) -> Callable[[], object]:
    train = test_fit_flow.correlated_gaussian(20 * n)[0]
    fit = fitting.start_fit(train, test_fit_flow.SMALL)
    fit.flow.recompute_batch_norm(train)
    return lambda: fitting.mean_log_prob(fit.flow, train)


def some_cells(n: int) -> Cells:
    shown, _ = test_train_classifier.cells(n)
    scale = Intensity(test_train_classifier.CHANNELS, (0.0, 0.0), (2000.0, 2000.0))
    return Cells(shown, np.arange(n) % 2, scale, ("tune",))


def training_of_classifier(n: int, store: bool) -> tuple[classifier.Training, classifier.Steps]:
    settings = Settings(**{**test_train_classifier.SETTINGS, "batch_size": 8})
    cells = some_cells(8 * n)
    state = classifier.start(cells, settings, CPU)
    batches = Batches(cells, CPU, store=store)
    return state, classifier.Steps(state, batches, settings, RecordedOnCpu())


def epoch_of_classifier(n: int, store: bool = True) -> Callable[[], object]:
    state, steps = training_of_classifier(n, store)
    return lambda: classifier.train_epoch(state, steps, Watch("looks"))


def judging_of_classifier(n: int) -> Callable[[], object]:
    state, steps = training_of_classifier(n, True)
    return lambda: classifier.evaluate(state.net, steps.cells, 8)


def training_of_pix2pix(n: int) -> tuple[pix2pix.Training, pix2pix.Steps]:
    settings = replace(test_train_pix2pix.SETTINGS, batch_size=2)
    data, pairing = pix2pix_data(TRAIN, 2 * n)
    state = pix2pix.start(2, 1.0, settings, CPU)
    return state, pix2pix.Steps(state, data, pairing, settings, RecordedOnCpu())


def epoch_of_pix2pix(n: int) -> Callable[[], object]:
    state, steps = training_of_pix2pix(n)
    return lambda: pix2pix.train_epoch(state, steps, bar(2 * n), Watch("looks"))


def judging_of_pix2pix(n: int) -> Callable[[], object]:
    tune, pairing = pix2pix_data(CHOOSE, 2 * n)
    unet = pix2pix.start(2, 0.0, test_train_pix2pix.SETTINGS, CPU).unet
    return lambda: pix2pix.held_out_l1(unet, tune, pairing, 2)


def pix2pix_data(use: Use, n: int) -> tuple[TrainingImages, Pairing]:
    shown, table = test_train_pix2pix.cells(n)
    table = table.assign(split=use.splits[0])
    stack = Stack(shown, table, test_train_pix2pix.CHANNELS, 0.5)
    data = TrainingImages(stack, test_train_pix2pix.INTENSITY, 16, 1, use=use)
    return data, Pairing(downscale(16, 4, "renormalize"), "8bit")


def distance_to_held_out(n: int) -> Callable[[], object]:
    held_out = HeldOut(images(n), floor_images=images(n), seed=1, device=CPU, batch_size=4)
    generator = tiny_generator()
    return lambda: held_out.distance(generator)


def sampled(noise: str) -> Callable[[int], Callable[[], object]]:
    def loop(n: int) -> Callable[[], object]:
        settings = SampleSettings(n_images=4 * n, batch_size=4, noise=noise)
        return lambda: sampling.draw_images(tiny_generator(), settings)

    return loop


def lengths(n: int) -> Callable[[], object]:
    settings = JacobianSettings(n_styles=4 * n, n_draws=2, n_jacobians=0, batch_size=4)
    return lambda: jacobian.measure(tiny_generator(), settings)


def embedded(n: int) -> Callable[[], object]:
    net = TreatmentNet(2, (8, 8), 4, 0.0)
    header = {"channels": ["a", "b"], "image_size": [8, 8]}
    network = Classifier(net, header, CPU, 4)
    return lambda: network.probabilities(images(n))


LOOPS: dict[str, Callable[[int], Callable[[], object]]] = {
    "an epoch of the flow": epoch_of_flow,
    "log p of validation styles": judging_of_flow,
    "an epoch of the classifier": epoch_of_classifier,
    "an epoch of the classifier from the host": lambda n: epoch_of_classifier(n, store=False),
    "the classifier's loss on tune": judging_of_classifier,
    "an epoch of Pix2Pix": epoch_of_pix2pix,
    "the L1 of Pix2Pix on tune": judging_of_pix2pix,
    "probabilities of the classifier": embedded,
    "random features": lambda n: (
        lambda: random_features(images(n), seed=1, device=CPU, batch_size=4)
    ),
    "features in batches": lambda n: (
        lambda: in_batches(lambda x: x.mean((2, 3)), images(n), CPU, 4)
    ),
    "a kernel distance": distance_to_held_out,
    "styles": lambda n: (
        lambda: styles.draw_styles(tiny_generator(), 4 * n, torch.Generator(), 4, bar(4 * n))
    ),
    "images": sampled("const"),
    "images of random noise": sampled("random"),
    "path lengths": lengths,
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("name", LOOPS)
def test_more_batches_are_no_more_looks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "WARM_UP", 10**9)  # the steps run as a GPU records them
    monkeypatch.setattr(fitting, "ROWS_AT_ONCE", 20)
    found = []
    for n in (FEW, MANY):
        loop = LOOPS[name](n)
        with counted() as looks:
            loop()
        found.append(dict(looks))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "module"), [("an epoch of the flow", fitting), ("an epoch of Pix2Pix", pix2pix)]
)
def test_losses_are_looked_at_now_and_then(
    name: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "WARM_UP", 10**9)
    monkeypatch.setattr(module, "CHECK_STEPS", 2)
    loop = LOOPS[name](MANY)
    with counted() as looks:
        loop()
    assert MANY // 2 <= looks["__bool__"] <= MANY // 2 + 1


@pytest.mark.parametrize(
    ("training", "networks"),
    [
        (training_of_flow, {"optimiser": "flow"}),
        (lambda n: training_of_classifier(n, True), {"optimiser": "net"}),
        (training_of_pix2pix, {"optimiser": "unet", "patch_optimiser": "patch"}),
    ],
)
def test_a_recorded_step_copies_nothing_from_the_host(
    training: Callable[[int], tuple[Any, Any]], networks: dict[str, str]
) -> None:
    state, steps = training(FEW)
    for part in (state, steps):
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor | torch.nn.Module | dict):
                setattr(part, name, on_meta(value))
    for optimiser, network in networks.items():  # another Adam needs numbers
        weights = getattr(state, network).train().parameters()
        setattr(state, optimiser, torch.optim.SGD(weights, 0.0))
    steps._step()  # makes constants
    with OneDevice() as mode:
        steps._step()
    assert mode.count > 20


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool(x.sum() > 0),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: np.asarray(x),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
    ],
)
def test_every_kind_of_look_is_seen(look: Callable[[torch.Tensor], object]) -> None:
    with counted() as looks:
        look(torch.ones(3))
    assert sum(looks.values()) > 0
