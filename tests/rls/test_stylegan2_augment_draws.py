"""Draws of the augmentation: probabilities, colour algebra, streams, and rows of a batch."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from rls.stylegan2.augment_draws import BAND_POWER, draw
from rls.stylegan2.pipelines import PIPELINES


def stream(seed=1):
    return torch.Generator().manual_seed(seed)


def colours_of(c, *names, n=64, p=1.0, seed=1):
    """Return the linear part (n, c, c) and the offset (n, c), float64."""
    drawn = draw((n, c, 8, 8), p, names, stream(seed)).colours.double()
    return drawn[:, :, :c], drawn[:, :, c]


def luma(c):
    return torch.full((c,), 1 / math.sqrt(c), dtype=torch.float64)


def test_every_transformation_has_its_probability():
    """Each transformation alone changes some part of the matrix; many draws are looked at."""
    n, p = 20_000, 0.4
    matrices = draw((n, 1, 32, 32), p, PIPELINES["bg"], stream(3)).matrices.double()
    linear = matrices[:, :2, :2]
    # A flip happens in half of the chosen images; nothing else changes the sign of the determinant.
    assert (linear.det() < 0).double().mean().item() == pytest.approx(p / 2, abs=0.015)
    area = linear.det().abs()
    assert (area - 1).abs().gt(1e-4).double().mean().item() == pytest.approx(p, abs=0.015)
    isotropic = 0.5 * area.log2().std().item()  # sd of log2 of the factor, zeros included
    assert isotropic == pytest.approx(0.2 * math.sqrt(p), rel=0.05)
    singular = torch.linalg.svdvals(linear)
    anisotropic = (singular[:, 0] / singular[:, 1] - 1).gt(1e-4).double().mean().item()
    assert anisotropic == pytest.approx(p, abs=0.015)
    # A rotation takes place before or after the anisotropic scale: 1 - (1 - p_rotation)^2 = p.
    similar = (singular[:, 0] / singular[:, 1] - 1) < 1e-4
    angles = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])[similar] / (math.pi / 2)
    turned = (angles - angles.round()).abs().gt(1e-4).double().mean().item()
    assert turned == pytest.approx(p, abs=0.02)


def test_probability_zero_draws_the_identity():
    drawn = draw((5, 3, 24, 24), 0.0, PIPELINES["bgcfnc"], stream())
    identity = torch.eye(3)[:2].expand(5, 2, 3)
    torch.testing.assert_close(drawn.matrices, identity, atol=0, rtol=0)
    torch.testing.assert_close(drawn.colours, torch.eye(3, 4).expand(5, 3, 4), atol=1e-6, rtol=0)
    assert torch.equal(drawn.bands, torch.ones(5, 4))
    assert not drawn.noise.any()
    assert not drawn.cutouts[:, 2].any()


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("c", [1, 3, 5])
def test_neither_count_nor_order_of_random_numbers_depends_on_p(pipeline, c):
    left = []
    for p in (0.0, 0.3, 1.0):
        random = stream()
        draw((4, c, 8, 8), p, PIPELINES[pipeline], random)
        left.append(torch.rand(3, generator=random))
    assert torch.equal(left[0], left[1])
    assert torch.equal(left[0], left[2])


def test_a_larger_p_only_adds_augmentations():
    """The random numbers stay the same: what is cut out at p is cut out at every larger p."""
    boxes = [draw((500, 1, 8, 8), p, PIPELINES["cutout"], stream()).cutouts for p in (0.3, 0.6)]
    few, many = (b[:, 2] > 0 for b in boxes)
    assert few.any() and (many & ~few).any() and not (few & ~many).any()


def test_draws_follow_their_stream():
    a, b, other = (
        draw((4, 4, 16, 16), 0.8, PIPELINES["bgcfnc"], stream(seed)) for seed in (2, 2, 3)
    )
    for field in dataclasses.fields(a):
        assert torch.equal(getattr(a, field.name), getattr(b, field.name))
        assert not torch.equal(getattr(a, field.name), getattr(other, field.name))


def test_rows_of_a_batch_are_rows_of_every_part():
    whole = draw((6, 3, 16, 16), 0.8, PIPELINES["bgcfnc"], stream())
    some = whole[2:4]
    index = whole[torch.tensor([2, 3])]
    for field in dataclasses.fields(whole):
        assert torch.equal(getattr(some, field.name), getattr(whole, field.name)[2:4])
        assert torch.equal(getattr(some, field.name), getattr(index, field.name))
    assert draw((6, 3, 16, 16), 0.8, PIPELINES["bg"], stream())[:2].colours is None


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5])
def test_hue_is_a_rotation_that_keeps_luma(c):
    linear, offset = colours_of(c, "hue")
    identity = torch.eye(c, dtype=torch.float64).expand_as(linear)
    torch.testing.assert_close(linear @ linear.mT, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(linear.det(), torch.ones(64, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(linear @ luma(c), luma(c).expand(64, c), atol=1e-5, rtol=0)
    assert not offset.any()
    moved = (linear - identity).abs().amax(dim=(1, 2))
    if c <= 2:
        assert moved.max() < 1e-6
    else:
        assert moved.median() > 0.3


def test_hue_with_three_channels_turns_about_luma_by_up_to_half_a_turn():
    linear, _ = colours_of(3, "hue", n=4000)
    angles = ((linear.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2).clamp(-1, 1).acos()
    assert angles.mean().item() == pytest.approx(math.pi / 2, rel=0.03)
    assert angles.max() > 0.99 * math.pi
    third = draw((1, 3, 8, 8), 1.0, ["hue"], stream(), percentile=0.5 + 1 / 3)
    # A third of a turn, right-handed about (1, 1, 1): x to y to z to x.
    cycle = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(third.colours[0, :, :3], cycle, atol=1e-6, rtol=0)


def test_hue_with_four_channels_turns_in_every_direction():
    """The mean square change of chroma is the same along any axis orthogonal to luma."""
    linear, _ = colours_of(4, "hue", n=8000)
    moved = linear - torch.eye(4, dtype=torch.float64)
    covariance = (moved.mT @ moved).mean(dim=0)
    # E|Rx - x|^2 = E[2 - 2 cos] E|x in the plane|^2 = 2 * 2/3 of |x|^2.
    chroma = torch.eye(4, dtype=torch.float64) - torch.outer(luma(4), luma(4))
    torch.testing.assert_close(covariance, 4 / 3 * chroma, atol=0.05, rtol=0)


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5])
def test_saturation_scales_chroma_and_keeps_luma(c):
    linear, offset = colours_of(c, "saturation")
    torch.testing.assert_close(linear @ luma(c), luma(c).expand(64, c), atol=1e-5, rtol=0)
    chroma = torch.eye(c, dtype=torch.float64)[0] - luma(c) / math.sqrt(c)
    scaled = linear @ chroma
    factor = scaled[:, 0] / chroma[0] if c > 1 else torch.ones(64)
    torch.testing.assert_close(scaled, factor[:, None] * chroma, atol=1e-6, rtol=1e-6)
    assert not offset.any()
    if c > 1:
        assert factor.log2().std().item() == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5])
def test_luma_flip_mirrors_luma_and_keeps_chroma(c):
    linear, _ = colours_of(c, "lumaflip")
    v = luma(c)
    flipped = (linear @ v @ v) < 0
    assert 0 < flipped.sum() < 64
    mirror = torch.eye(c, dtype=torch.float64) - 2 * torch.outer(v, v)
    torch.testing.assert_close(linear[flipped], mirror.expand_as(linear[flipped]))


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5])
def test_colours_are_their_augmentations_one_after_another(c):
    """At a percentile, all five as one affine map are the product of the five maps."""

    def affine(*names):
        out = torch.eye(c + 1, dtype=torch.float64)
        drawn = draw((1, c, 8, 8), 1.0, names, stream(5), percentile=0.8)
        out[:c] = drawn.colours[0].double()
        return out

    names = ("brightness", "contrast", "lumaflip", "hue", "saturation")
    product = torch.eye(c + 1, dtype=torch.float64)
    for name in names:
        product = affine(name) @ product
    torch.testing.assert_close(affine(*names), product, atol=1e-5, rtol=0)


def test_strengths_follow_the_paper():
    n = 20_000
    _, offset = colours_of(1, "brightness", n=n)
    assert offset.std().item() == pytest.approx(0.2, rel=0.03)
    linear, _ = colours_of(1, "contrast", n=n)
    assert linear.log2().std().item() == pytest.approx(0.5, rel=0.03)
    # The offset is contrast times brightness, and each knows nothing of the other.
    linear, offset = colours_of(1, "brightness", "contrast", n=n)
    pair = torch.stack([linear.flatten().log2(), (offset.flatten() / linear.flatten())])
    assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.03
    drawn = draw((n, 1, 2, 2), 1.0, PIPELINES["bgcfnc"], stream())
    per_image = drawn.noise.square().mean().sqrt().item()
    assert per_image == pytest.approx(
        0.1, rel=0.03
    )  # a half-normal has the percentiles of a normal
    assert (drawn.cutouts[:, 2] == 0.5).all()
    assert drawn.cutouts[:, :2].mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.cutouts[:, :2].std().item() == pytest.approx(1 / math.sqrt(12), rel=0.03)


def test_band_gains_keep_the_expected_power_when_one_band_changes():
    drawn = draw((4000, 1, 8, 8), 0.1, PIPELINES["filter"], stream()).bands.double()
    power = (drawn**2 * torch.tensor(BAND_POWER, dtype=torch.float64)).sum(dim=1)
    # Where one band is changed, the other three have equal gains.
    pairs = (drawn[:, :, None] - drawn[:, None]).abs() < 1e-6
    single = pairs.sum(dim=(1, 2)) == 10
    assert single.sum() > 500
    torch.testing.assert_close(
        power[single], torch.ones(int(single.sum()), dtype=torch.float64), atol=1e-5, rtol=0
    )
