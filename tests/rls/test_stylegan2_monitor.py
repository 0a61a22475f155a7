"""Curves, pictures and alarms of a training."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rls.stylegan2.alarms import findings
from rls.stylegan2.monitor import Monitor, first_rows, thinned
from tests.conftest import ROOT


def row(kimg: float, **changes: float) -> dict[str, float]:
    """Return the row of a healthy tick."""
    values = {"loss_generator": 1.5, "loss_discriminator": 1.0, "r_t": 0.5, "r1": 0.2}
    return {"kimg": kimg, **values, "augment_p": 0.3, "path_length": math.nan, **changes}


def samples(value: float, n: int = 64) -> np.ndarray:
    """Return grey images (n, 1, 16, 16), the first of them black."""
    images = np.full((n, 1, 16, 16), value, np.float32)
    images[0] = 0
    return images


def curve(folder, name):
    """Return (step, value) of a curve as TensorBoard reads it, and all that it reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [(e.step, pytest.approx(e.value)) for e in events.Scalars(name)], events


def test_curves_are_in_tensorboard_at_the_images_seen(tmp_path):
    monitor = Monitor(tmp_path)
    monitor.tick(row(1.0, r_t=0.25))
    monitor.evaluate(1.0, samples(0.5))
    monitor.tick(row(2.0, r_t=0.75))
    monitor.close()
    found, events = curve(tmp_path, "r_t")
    assert found == [(1000, 0.25), (2000, 0.75)]
    assert set(events.Tags()["scalars"]) == {
        "loss_generator", "loss_discriminator", "r_t", "r1", "augment_p",
    }  # fmt: skip
    assert [e.step for e in events.Images("samples")] == [1000]


def test_a_resumed_training_takes_back_what_is_beyond_its_checkpoint(tmp_path):
    first = Monitor(tmp_path)
    for kimg in (1.0, 2.0, 3.0, 4.0):
        first.tick(row(kimg, kd=kimg))
        first.evaluate(kimg, samples(0.5))
    first.close()
    second = Monitor(tmp_path, resumed_at_kimg=2.0)
    assert len(list((tmp_path / "grids").iterdir())) == 4  # nothing is touched before it writes
    second.tick(row(3.0, kd=30.0))
    second.close()
    found, _ = curve(tmp_path, "kd")
    assert found == [(1000, 1), (2000, 2), (3000, 30)]
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == [
        "kimg-000001.000.png",
        "kimg-000002.000.png",
    ]


def test_a_training_that_starts_again_from_nothing_leaves_no_curve_behind(tmp_path):
    for value in (1.0, 2.0):
        monitor = Monitor(tmp_path)
        monitor.tick(row(1.0, kd=value))
        monitor.close()
    assert curve(tmp_path, "kd")[0] == [(1000, 2)]


def test_a_monitor_that_is_not_used_writes_nothing(tmp_path):
    Monitor(tmp_path).close()
    assert Monitor(tmp_path).progress_sheet(tmp_path / "sheet.png") == 0
    assert list(tmp_path.iterdir()) == []


def test_the_progress_sheet_has_a_row_of_eight_an_evaluation_oldest_first(tmp_path):
    monitor = Monitor(tmp_path / "state")
    for kimg, value in ((10.0, 0.2), (2.0, 0.4), (1000.5, 0.6)):
        monitor.evaluate(kimg, samples(value))
    monitor.close()
    assert monitor.progress_sheet(tmp_path / "sheet.png") == 3
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    side = 64
    label = sheet.shape[1] - 8 * side
    assert sheet.shape == (3 * side, label + 8 * side, 3)
    for i, value in enumerate((0.4, 0.2, 0.6)):
        strip = sheet[i * side : (i + 1) * side]
        assert (strip[:, label : label + side] == 0).all()  # the first sample stands first
        assert strip[:, label + side :] == pytest.approx(255 * value, abs=1)
        assert strip[:, :label].max() > 200  # its length is written beside it


def test_a_long_training_is_thinned_with_its_first_and_last_and_denser_early():
    for n in (1, 12, 13, 40, 500):
        kept = thinned(n, 12)
        assert kept[0] == 0 and kept[-1] == n - 1 and min(n, 11) <= len(kept) <= 12
    gaps = np.diff(thinned(500, 12))
    assert gaps[0] < gaps[-1]


def test_the_first_rows_of_a_grid_are_its_first_samples(tmp_path):
    images = np.linspace(0, 1, 64, dtype=np.float32)[:, None, None, None]
    Monitor(tmp_path).evaluate(1.0, np.broadcast_to(images, (64, 1, 32, 32)))
    found = first_rows(tmp_path / "grids" / "kimg-000001.000.png", 2)
    assert found.shape == (128, 512, 3)
    np.testing.assert_allclose(found[32::64, 32::64, 0].ravel(), 255 / 63 * np.arange(16), atol=1)


def test_a_healthy_training_gives_no_warning():
    rows = pd.read_csv(ROOT / "models/translocation_32px/generator.training.csv")
    ticks = rows.to_dict("records")
    assert all(findings(ticks[:n]) == {} for n in range(len(ticks) + 1))


def test_a_distance_that_falls_and_wavers_about_its_floor_gives_no_warning():
    kd = [5e6, 80, 9, 3, 1.2, 0.4, -0.1, 0.5, 0.7, 0.6, 0.3, 0.55]
    spread = [8.0, 2.0, 0.9, 0.7, *[0.9] * 8]
    rows = [
        row(10.0 * i, kd=k, kd_floor=0.4, spread=s)
        for i, (k, s) in enumerate(zip(kd, spread, strict=True), 1)
    ]
    assert all(findings(rows[:n]) == {} for n in range(len(rows) + 1))


FAILING = {
    "overfitting": ([row(i, r_t=0.9 + i / 100, augment_p=0.0) for i in range(1, 6)], "r_t is 0.95"),
    "augmentation": ([row(i, augment_p=0.2 * i) for i in range(1, 6)], "augment_p is 1.00"),
    "distance": (
        [row(i, kd=k, kd_floor=0.1) for i, k in enumerate((9, 2, 1, 2.5, math.nan, 2.6, 3.0), 1)],
        "KD is 3,.*its best, 1 at 3 kimg",
    ),
    "spread": ([row(i, spread=1 - i / 6) for i in range(1, 6)], "0.17 times as diverse"),
    "discriminator": (
        [row(i, loss_discriminator=0.01, loss_generator=2.0 * i) for i in range(1, 6)],
        "loss is 0.01, under 0.05 since 2 kimg, and the generator's rises to 10.0",
    ),
}


@pytest.mark.parametrize("kind", FAILING)
def test_a_failing_training_is_told_what_was_seen_when_and_what_to_try(kind):
    rows, words = FAILING[kind]
    (sentence,) = findings(rows).values()
    last = f"{rows[-1]['kimg']:g}"
    assert sentence.startswith(f"At {last} kimg")
    assert re.search(words, sentence), sentence
    assert "r1_gamma" in sentence and sentence.endswith(".")
    assert findings(rows[:2]) == {}


def test_each_kind_is_said_once():
    rows, _ = FAILING["overfitting"]
    known = findings(rows).keys()
    assert len(known) == 1
    assert findings([*rows, row(6, r_t=0.97, augment_p=0.0)], known) == {}
    more = [*rows, row(7, r_t=0.97, augment_p=0.9), *[row(7 + i, augment_p=0.9) for i in range(4)]]
    assert len(findings(more, known)) == 1


def test_r_t_above_the_limit_is_left_to_an_adaptive_probability():
    rows = [row(i, r_t=0.97, augment_p=i / 20) for i in range(1, 9)]
    assert findings(rows) == {}


def test_numbers_that_are_missing_or_nan_are_no_reason_to_warn():
    names = ("loss_generator", "loss_discriminator", "r_t", "augment_p", "kd", "spread")
    assert findings([]) == {}
    assert findings([{"kimg": float(i)} for i in range(9)]) == {}
    broken = [{"kimg": float(i), **dict.fromkeys(names, math.nan)} for i in range(9)]
    assert findings(broken) == {}
