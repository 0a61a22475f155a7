"""D pixel by pixel: its mirror at the border, its adjoint, and its axes, square and not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rls.search.degradation import degrade
from rls.search.forward import downscale, upscale
from tests.rls.test_degrade import FLOAT

SIZES = {"renormalize": [((24, 40), 4), ((40, 24), 8), ((64, 32), 16), ((16, 16), 2)],
         "reflect": [((24, 40), 4), ((40, 24), 8), ((48, 96), 16), ((16, 16), 2)]}  # fmt: skip
CASES = pytest.mark.parametrize(
    ("border", "size", "factor"), [(border, *case) for border in SIZES for case in SIZES[border]]
)


def keys(x: float) -> float:
    """Return Keys' cubic with a = -1/2 (Keys 1981, eq. 15)."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def plain_line(line: np.ndarray, factor: int, border: str) -> np.ndarray:
    """Return a line made shorter by ``factor``, tap by tap."""
    n, out = len(line), []
    for i in range(n // factor):
        centre, top, bottom = (i + 0.5) * factor, 0.0, 0.0
        for tap in range(-2 * n, 3 * n):
            weight = keys((tap + 0.5 - centre) / factor)
            inside = 0 <= tap < n
            if border == "renormalize" and not inside:
                continue
            mirrored = -tap if tap < 0 else 2 * (n - 1) - tap if tap >= n else tap
            if weight:
                top, bottom = top + weight * line[mirrored], bottom + weight
        out.append(top / bottom)
    return np.array(out)


def plain(image: np.ndarray, factor: int, border: str) -> np.ndarray:
    """Return an image (y, x) reduced along its columns and then along its rows."""
    across = np.stack([plain_line(row, factor, border) for row in image])
    return np.stack([plain_line(column, factor, border) for column in across.T]).T


@CASES
def test_d_equals_a_plain_computation_tap_by_tap(border, size, factor):
    x = np.random.default_rng(0).random((2, 2, *size))
    found = downscale(size, factor, border).double()(torch.as_tensor(x)).numpy()
    expected = np.stack([[plain(c, factor, border) for c in image] for image in x])
    np.testing.assert_allclose(found, expected, atol=2e-7)  # its weights are float32


@CASES
def test_the_gradient_through_d_is_its_adjoint_also_where_images_are_not_square(
    border, size, factor
):
    d = downscale(size, factor, border).double()
    random = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=random).requires_grad_()
    low = d(x)
    assert low.shape == (2, 3, size[0] // factor, size[1] // factor)
    y = torch.randn(low.shape, dtype=torch.float64, generator=random)
    (adjoint,) = torch.autograd.grad((low * y).sum(), x)
    other = torch.randn(x.shape, dtype=torch.float64, generator=random)
    with torch.no_grad():
        torch.testing.assert_close((d(other) * y).sum(), (other * adjoint).sum())
        # Entry by entry: the response of D to one pixel is the adjoint of that pixel.
        for at in ((0, 0, 0, 0), (1, 2, size[0] - 1, 3), (0, 1, 5, size[1] - 1)):
            pixel = torch.zeros_like(x)
            pixel[at] = 1.0
            torch.testing.assert_close((d(pixel) * y).sum(), adjoint[at])


def test_d_keeps_channels_and_images_apart():
    d = downscale((16, 24), 4, "renormalize")
    x = torch.rand(3, 2, 16, 24)
    alone = torch.stack([torch.stack([d(c[None, None])[0, 0] for c in image]) for image in x])
    torch.testing.assert_close(d(x), alone)


def test_the_enlargement_puts_rows_and_columns_where_they_belong():
    image = torch.zeros(1, 1, 4, 6)
    image[0, 0, 1, 4] = 1.0
    high = upscale((4, 6), 8)(image)[0, 0]
    assert high.shape == (32, 48)
    y, x = divmod(int(high.argmax()), 48)
    assert y // 8 == 1 and x // 8 == 4


def low_resolution(unit, quantise="8bit", chain=(), seed=0, ids=None):
    ids = ids or [f"c{i}" for i in range(len(unit))]
    return degrade(unit, ids, 4, chain, **{**FLOAT, "quantise": quantise, "seed": seed})


def test_low_resolution_images_are_rounded_to_the_nearest_of_256_levels():
    unit = np.stack([np.full((1, 8, 8), v / 255, np.float32) for v in (-2.0, 0.4, 0.6, 76.6, 300)])
    found = low_resolution(unit)[:, 0, 0, 0] * 255
    np.testing.assert_allclose(found, [0, 0, 1, 77, 255], atol=1e-4)
    np.testing.assert_allclose(low_resolution(unit, "none")[:, 0, 0, 0] * 255,
                               [-2.0, 0.4, 0.6, 76.6, 300], rtol=1e-4)  # fmt: skip


@pytest.mark.parametrize("step", [("gaussian_noise", 0.1), ("salt_and_pepper", 0.4)])
def test_each_image_and_channel_has_noise_of_its_own_that_its_id_and_seed_decide(step):
    unit = np.full((3, 2, 32, 32), 0.5, np.float32)
    found = low_resolution(unit, "none", (step,))
    planes = found.reshape(6, -1)
    assert len(np.unique(planes, axis=0)) == 6
    turned = low_resolution(unit, "none", (step,), ids=["c2", "c1", "c0"])
    np.testing.assert_array_equal(turned, found[::-1])
    assert not np.array_equal(low_resolution(unit, "none", (step,), seed=1), found)


def test_noise_comes_after_d_and_before_the_rounding():
    unit = np.full((1, 1, 128, 128), 0.5, np.float32)
    found = low_resolution(unit, "8bit", (("gaussian_noise", 0.1),))
    assert found.std() == pytest.approx(0.1, rel=0.1)  # D would average it away
    np.testing.assert_allclose(found * 255, np.rint(found * 255), atol=1e-4)
