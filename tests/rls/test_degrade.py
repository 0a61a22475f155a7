"""Low-resolution images: noise depends on the image alone, and values keep the scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rls.degrade import main
from rls.io import Intensity, read_stack, write_intensity, write_stack
from rls.runtime.errors import InputError
from rls.search.degradation import degrade, parse_chain
from rls.search.forward_model import ForwardModel

FLOAT = {"forward": ForwardModel(), "pixel_size_um": 1.0, "quantise": "none", "seed": 5}
EIGHT_BIT = FLOAT | {"quantise": "8bit"}


@pytest.fixture
def unit() -> np.ndarray:
    return np.random.default_rng(0).random((6, 2, 32, 32), dtype=np.float32)


IDS = [f"p_A0{i}_s1_y5_x{i}" for i in range(6)]


@pytest.mark.parametrize("chain", [["gaussian_noise:0.1"], ["salt_and_pepper:0.3"], ["salt:0.1"]])
def test_the_noise_of_an_image_does_not_depend_on_its_company(
    unit: np.ndarray, chain: list[str]
) -> None:
    parsed = parse_chain(chain)
    together = degrade(unit, IDS, 8, parsed, **FLOAT)
    order = np.array([3, 0, 5])
    some = degrade(unit[order], [IDS[i] for i in order], 8, parsed, **FLOAT)
    assert np.array_equal(some, together[order])
    other_seed = FLOAT | {"seed": 6}
    assert not np.array_equal(degrade(unit, IDS, 8, parsed, **other_seed), together)


def test_gaussian_noise_has_its_sigma_and_differs_between_images(unit: np.ndarray) -> None:
    same = np.repeat(unit[:1], 6, axis=0)
    noise = degrade(same, IDS, 2, parse_chain(["gaussian_noise:0.1"]), **FLOAT)
    noise -= degrade(same, IDS, 2, (), **FLOAT)
    assert abs(noise.std() - 0.1) < 0.005
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.15


def test_salt_and_pepper_hits_its_share_with_both_ends(unit: np.ndarray) -> None:
    low = degrade(np.full_like(unit, 0.5), IDS, 2, parse_chain(["salt_and_pepper:0.2"]), **FLOAT)
    hit = np.abs(low - 0.5) > 1e-3
    assert set(np.unique(low[hit])) == {0.0, 1.0}
    assert abs(hit.mean() - 0.2) < 0.02
    assert abs(low[hit].mean() - 0.5) < 0.05


def test_a_blur_keeps_a_constant_and_lowers_variance(unit: np.ndarray) -> None:
    blur = parse_chain(["gaussian_blur:1"])
    flat = degrade(np.full_like(unit, 0.4), IDS, 4, blur, **FLOAT)
    assert np.allclose(flat, 0.4, atol=1e-6)
    assert (
        degrade(unit, IDS, 4, blur, **FLOAT).std() < 0.6 * degrade(unit, IDS, 4, (), **FLOAT).std()
    )


def test_eight_bit_equals_what_pillow_makes_of_an_eight_bit_image() -> None:
    counts = np.random.default_rng(1).integers(0, 256, (1, 1, 64, 64)).astype(np.uint8)
    low = degrade(counts / np.float32(255), ["a"], 16, (), **EIGHT_BIT)[0, 0] * 255
    pillow = np.asarray(Image.fromarray(counts[0, 0]).resize((4, 4), Image.BICUBIC))
    # Pillow's 8-bit resize rounds once more between its two passes.
    assert np.abs(low - pillow).max() <= 1.01
    assert np.allclose(low, np.rint(low), atol=1e-4)


def test_eight_bit_clips_and_float_does_not(unit: np.ndarray) -> None:
    bright = unit * 3 - 1
    assert degrade(bright, IDS, 2, (), **FLOAT).max() > 1
    low = degrade(bright, IDS, 2, (), **EIGHT_BIT)
    assert low.min() == 0 and low.max() == 1


@pytest.mark.parametrize(
    ("entry", "said"),
    [("motion:3", "motion"), ("gaussian_noise", "number"), ("salt_and_pepper:1.5", "outside"),
     ("gaussian_noise:-0.1", "outside")],
)  # fmt: skip
def test_a_wrong_chain_is_refused(entry: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_chain([entry])


def test_both_ends_of_a_range_are_allowed() -> None:
    chain = ["salt_and_pepper:0", "gaussian_noise:0"]
    assert parse_chain(chain) == (("salt_and_pepper", 0.0), ("gaussian_noise", 0.0))
    assert parse_chain(["salt_and_pepper:1"]) == (("salt_and_pepper", 1.0),)


def test_the_command_carries_the_table_on_and_scales_the_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    intensity = Intensity(("dna", "nfkb"), (100.0, 50.0), (1100.0, 2050.0))
    write_intensity(tmp_path / "intensity.json", intensity, written_by="test")
    images = rng.integers(100, 1200, (6, 2, 32, 32)).astype(np.uint16)
    table = pd.DataFrame({"image_id": IDS, "split": ["tune", "evaluation"] * 3, "well": "A01"})
    high = tmp_path / "high.ome.tif"
    write_stack(high, images, table, channels=intensity.channels, pixel_size_um=0.5, written_by="t")
    arguments = ["--high-resolution", str(high), "--intensity", str(tmp_path / "intensity.json")]
    arguments += ["--factor", "8", "--degradation", "none", "--output", str(tmp_path / "l.ome.tif")]
    arguments += ["--border", "renormalize", "--quantise", "8bit", "--seed", "1", "--threads", "1"]
    main(arguments)
    low = read_stack(tmp_path / "l.ome.tif")
    assert low.images.shape == (6, 2, 4, 4) and low.images.dtype == np.float32
    assert low.pixel_size_um == 4.0
    assert list(low.table["image_id"]) == IDS and list(low.table["split"]) == list(table["split"])
    levels = intensity.to_unit(low.images) * 255
    assert np.allclose(levels, np.rint(levels), atol=1e-2)
    with pytest.raises(InputError, match="divide"):
        main([*arguments, "--factor", "5"])
