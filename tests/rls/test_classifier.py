from __future__ import annotations

import numpy as np
import pytest
import torch

from rls.io import write_weights
from rls.networks.classifier import (
    FEATURES,
    Classifier,
    TreatmentNet,
    load_classifier,
    oriented,
    pixels_of_views,
    views,
)
from rls.runtime.errors import InputError

CPU = torch.device("cpu")


def net(channels=2, size=(16, 16), seed=0):
    torch.manual_seed(seed)
    return TreatmentNet(channels, size, width=4, dropout=0.2)


def header(channels=2, size=(16, 16)):
    names = [f"c{i}" for i in range(channels)]
    return {
        "kind": "classifier",
        "classes": ["DMSO", "TNF"],
        "channels": names,
        "image_size": list(size),
        "width": 4,
        "dropout": 0.2,
    }


def images(n=5, channels=2, size=(16, 16), seed=0):
    return np.random.default_rng(seed).random((n, channels, *size)).astype(np.float32)


@pytest.mark.parametrize(
    ("channels", "size"), [(1, (4, 4)), (2, (5, 5)), (3, (32, 32)), (2, (128, 128)), (1, (8, 12))]
)
def test_any_number_of_channels_and_any_size_from_four_up(channels, size):
    classifier = Classifier(net(channels, size), header(channels, size), CPU, batch_size=2)
    found = classifier.features(images(3, channels, size))
    assert found.shape == (3, FEATURES) and np.isfinite(found).all()


def test_a_turned_or_flipped_cell_has_the_same_features_and_class():
    classifier = Classifier(net(), header(), CPU, batch_size=4)
    x = images(3)
    expected = classifier.features(x)
    for turned in (np.rot90(x, 1, (2, 3)), x[..., ::-1], x.swapaxes(2, 3)):
        np.testing.assert_allclose(classifier.features(turned.copy()), expected, atol=1e-6)


def test_the_eight_views_are_eight_different_images_of_the_same_pixels():
    x = torch.as_tensor(images(1))
    found = {view.numpy().tobytes() for view in views(x)}
    assert len(found) == 8
    assert all(torch.equal(view.flatten().sort()[0], x.flatten().sort()[0]) for view in views(x))
    assert all(v.shape == (1, 1, 8, 12) for v in views(torch.zeros(1, 1, 8, 12)))


@pytest.mark.parametrize("size", [(4, 4), (4, 6)])
def test_each_image_is_shown_in_the_orientation_that_was_chosen_for_it(size):
    x = torch.rand(40, 2, *size)
    every = list(views(x))
    choice = torch.randint(len(every), (40,), generator=torch.Generator().manual_seed(0))
    found = oriented(x, pixels_of_views(*size), choice)
    assert torch.equal(found, torch.stack([every[k][i] for i, k in enumerate(choice)]))


def test_a_brighter_cell_stays_brighter_because_no_cell_is_rescaled():
    network = net()
    network.set_standardisation(np.array([0.2, 0.4]), np.array([0.1, 0.1]))
    classifier = Classifier(network, header(), CPU, batch_size=4)
    x = images(2)
    assert not np.allclose(classifier.features(x), classifier.features(2 * x), atol=1e-3)


def test_a_result_does_not_depend_on_the_other_images():
    classifier = Classifier(net(), header(), CPU, batch_size=4)
    x = images(7)
    together = classifier.features(x)
    alone = np.concatenate([classifier.features(x[i : i + 1]) for i in range(7)])
    np.testing.assert_array_equal(together, alone)


def test_probabilities_sum_to_one_and_are_those_of_the_features():
    classifier = Classifier(net(), header(), CPU, batch_size=4)
    x = images()
    found = classifier.probabilities(x)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)
    logits = classifier.net.head(torch.from_numpy(classifier.features(x)))
    np.testing.assert_array_equal(found, torch.softmax(logits, dim=1).numpy())


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "classifier.safetensors"
    write_weights(path, net().state_dict(), header())
    return path


def test_weights_come_back_as_they_were(weights):
    loaded = load_classifier(weights, image_size=(16, 16), channels=("c0", "c1"), batch_size=4)
    direct = Classifier(net(), header(), CPU, batch_size=4)
    np.testing.assert_array_equal(loaded.features(images()), direct.features(images()))


def test_another_size_or_other_channels_are_refused_in_a_sentence(weights):
    with pytest.raises(InputError, match=r"16 x 16 px; the stack has 4 x 4 px"):
        load_classifier(weights, image_size=(4, 4))
    with pytest.raises(InputError, match="channels c0, c1; the stack has dna"):
        load_classifier(weights, channels=("dna",))
    with pytest.raises(InputError, match="2 channels and 16 x 16 px"):
        load_classifier(weights).features(images(channels=3))


def test_weights_that_do_not_fit_their_header_are_refused(tmp_path):
    path = tmp_path / "classifier.safetensors"
    write_weights(path, net(channels=3).state_dict(), header(channels=2))
    with pytest.raises(InputError, match="do not fit their header"):
        load_classifier(path)
