"""What a dry run says about a training: work against counts by hand, memory, time, and words."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rls.stylegan2 import cost, dry_run
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages
from tests.rls.test_stylegan2_training import SCALE, make_stack
from tests.rls.test_train_gan import SETTINGS as BASE

F4, F8, C, W = 32, 16, 2, 8  # feature maps at 4 and 8 px, image channels, w_dim
SETTINGS = dataclasses.replace(
    BASE, image_size=8, batch_size=4, channel_base=128, channel_max=F4, mbstd_group_size=2,
    path_length_weight=2.0, path_length_interval=4, path_length_batch_shrink=2,
    r1_gamma=1.0, r1_interval=16, augmentations="none",
)  # fmt: skip
ARCHITECTURE = Architecture(8, C, W, W, 2, 128, F4, mbstd_group_size=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data() -> TrainingImages:
    return TrainingImages(make_stack(n=12, side=14), SCALE, 8, seed=1)


@pytest.fixture(scope="module")
def work(data) -> dict[str, cost.Cost]:
    return {c.name: c for c in cost.costs(SETTINGS, ARCHITECTURE, data, "float32")}


# Multiplications and additions per image, counted by hand, of layers and of fixed filters.
GENERATOR = 2 * (
    9 * F4 * F4 * 16  # b4.conv1
    + F4 * C * 16  # b4.torgb
    + 9 * F4 * F8 * 16  # b8.conv0, transposed: 16 pixels go in
    + 9 * F8 * F8 * 64  # b8.conv1
    + F8 * C * 64  # b8.torgb
    + 2 * W * W  # mapping
    + W * (F4 + F4 + F4 + F8 + F8)  # affine
    + F4 * F4 + F4 * F8 + F8 * F8  # demodulation
)  # fmt: skip
GENERATOR_FILTERS = 2 * 16 * (F8 * 64 + C * 16)  # after b8.conv0, and upsampling of the image
FROM_RGB = 2 * C * F8 * 64
DISCRIMINATOR = FROM_RGB + 2 * (
    9 * F8 * F8 * 64  # b8.conv0
    + 9 * F8 * F4 * 16  # b8.conv1, stride 2
    + F8 * F4 * 16  # b8.skip
    + 9 * (F4 + 1) * F4 * 16  # b4.conv
    + 16 * F4 * F4 + F4  # b4.fc, b4.out
)  # fmt: skip
DISCRIMINATOR_FILTERS = 2 * 16 * F8 * (81 + 16)  # before b8.conv1 and b8.skip


def test_the_generators_phase_is_three_of_it_and_two_of_the_discriminator(work):
    """G is passed forward and twice backward; D needs no gradient of its weights."""
    expected = 3 * GENERATOR + 2 * GENERATOR_FILTERS + 2 * (DISCRIMINATOR + DISCRIMINATOR_FILTERS)
    assert work["generator"].flop / 4 == pytest.approx(expected, rel=0.02)


def test_the_discriminators_phase_shows_it_two_images_and_one_is_made(work):
    of_one = 3 * DISCRIMINATOR + 2 * DISCRIMINATOR_FILTERS - FROM_RGB  # no gradient of an image
    expected = GENERATOR + GENERATOR_FILTERS + 2 * of_one
    assert work["discriminator"].flop / 4 == pytest.approx(expected, rel=0.02)


def test_the_second_derivatives_of_r1_and_path_length_are_counted(work):
    """Forward, gradient and the gradients of both make 6 passes of layers, 4 of fixed filters."""
    expected = 6 * DISCRIMINATOR + 4 * DISCRIMINATOR_FILTERS
    assert work["R1"].flop / 4 == pytest.approx(expected, rel=0.05)
    expected = 6 * GENERATOR + 4 * GENERATOR_FILTERS
    assert work["path length"].flop / 2 == pytest.approx(expected, rel=0.05)


def test_rare_phases_are_shared_out_over_the_steps(work):
    rates = {"generator": 1, "path length": 4, "discriminator": 1, "R1": 16}
    assert {name: c.every for name, c in work.items()} == rates
    expected = sum(c.flop / rates[name] for name, c in work.items()) / 4
    assert cost.flop_per_image(SETTINGS, list(work.values())) == pytest.approx(expected)


def test_the_work_of_an_image_does_not_depend_on_the_batch(data, work):
    large = dataclasses.replace(SETTINGS, batch_size=16)
    for c in cost.costs(large, ARCHITECTURE, data, "float32"):
        assert c.flop / 16 == pytest.approx(work[c.name].flop / 4, rel=1e-3)
        small = work[c.name].peak_bytes
        assert 1.5 * small < c.peak_bytes <= 4 * small  # gradients of weights do not grow


def test_phases_that_are_off_cost_nothing(data):
    off = dataclasses.replace(SETTINGS, path_length_weight=0.0, r1_gamma=0.0)
    found = cost.costs(off, ARCHITECTURE, data, "float32")
    assert [c.name for c in found] == ["generator", "discriminator"]


def test_live_memory_is_counted_and_given_back():
    counter = cost.Counter()
    with counter:
        a = torch.ones(1000, device="meta")  # 4,000 bytes
        b = a * 2
        b.add_(1)  # in place, so nothing new
        view = b[10:]
        del b
        assert counter.now == 8000  # the view keeps it
        del view
        assert counter.now == 4000
        torch.ones(10, device="meta")
    assert counter.peak == 8000
    assert a.shape == (1000,)


def test_timing_shares_out_rare_phases_and_changes_no_random_stream(data):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trainer = Trainer(SETTINGS, ARCHITECTURE, data, CPU, "float32")
    timing = cost.measure_steps(trainer)
    assert torch.equal(before, torch.get_rng_state())
    names = ["inputs", "images", "generator", "path length", "discriminator", "R1", "average"]
    assert list(timing.seconds) == names and min(timing.seconds.values()) > 0
    assert timing.batch_size == 4
    by_hand = cost.Timing({"generator": 1.0, "R1": 8.0}, {"generator": 1, "R1": 16}, 3, 1.0)
    assert by_hand.images_per_second == pytest.approx(2.0)


def test_a_slow_device_is_timed_with_the_smallest_whole_batch(data, monkeypatch):
    monkeypatch.setattr(cost, "PATIENCE_S", 0.0)
    settings = dataclasses.replace(SETTINGS, batch_size=24, path_length_batch_shrink=3)
    timing = cost.measure_steps(Trainer(settings, ARCHITECTURE, data, CPU, "float32"))
    assert timing.batch_size == 6
    assert "1 step of 6 images" in dry_run.basis(settings, timing)
    assert "because 24 would take" in dry_run.basis(settings, timing)


def test_a_dry_run_names_sizes_images_work_memory_disk_and_time(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = dry_run.describe(SETTINGS, ARCHITECTURE, data, CPU, "float32")
    headings = [line for line in text.splitlines() if line and not line.startswith((" ", "train"))]
    assert headings == ["settings", "networks", "images", "work", "memory", "disk", "time"]
    trainer = Trainer(SETTINGS, ARCHITECTURE, data, CPU, "float32")
    for network in (trainer.generator, trainer.discriminator):
        assert f"{sum(p.numel() for p in network.parameters()):,}" in text
    assert "12 crops of 14 px" in text and "margin of 3 px" in text and "any angle" in text
    assert "each is shown 3 times" in text  # 32 images of 12
    assert "learning_rate             0.002" in text
    assert "every 16 steps" in text and "images/s" in text and "2 steps of 4 images" in text
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_as_large_as_said(data, tmp_path):
    trainer = Trainer(SETTINGS, ARCHITECTURE, data, CPU, "float32")
    (said, _) = dry_run.describe_disk(SETTINGS, dry_run.checkpoint_bytes(trainer))
    trainer.run_step()
    torch.save(trainer.state(), tmp_path / "state.pt")
    buffers = sum(b.numel() for net in (trainer.generator, trainer.average) for b in net.buffers())
    found = (tmp_path / "state.pt").stat().st_size / 2**20
    assert float(said.split()[0]) == pytest.approx(found - 4 * buffers / 2**20, abs=0.15)


def test_a_busy_machine_is_said_and_allowed_for(work):
    for share, words in ((0.1, "had 10% of its threads' time"), (0.9, None)):
        timing = cost.Timing({"generator": 4.0}, {"generator": 1}, 4, 1.0, share)
        settings = dataclasses.replace(SETTINGS, total_kimg=36.0)
        lines = dry_run.describe_time(settings, timing, list(work.values()), CPU)
        assert any("10 h 00 min for 36 kimg at 1 images/s" in line for line in lines)
        said = [line for line in lines if "threads" in line]
        assert (
            (len(said) == 1 and words in said[0] and "1 h 00 min" in said[0]) if words else not said
        )


def test_crops_without_a_margin_are_said_to_turn_by_quarters():
    data = TrainingImages(make_stack(n=4, side=8), SCALE, 8, seed=1)
    _, turns = dry_run.describe_data(SETTINGS, data)
    assert "quarters only" in turns and "12 px" in turns
