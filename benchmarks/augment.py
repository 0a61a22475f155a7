"""Compare the speed of the augmentation with its textbook form, in one run.

The textbook form inserts zeros, has 12 x 12 taps, and pads the batch by its worst image. The ratio
of process times is printed for forward, for forward and backward, and for R1's double backward;
each time is the sum over batches of the best of alternating calls, because other work on the
machine only adds time. The largest difference between both forms is printed, too.

    python -m benchmarks.augment --image-size 64 --batch-size 8 --n-channels 3 --p 0.5 \
        --pipeline bgc --batches 12 --repeats 3 --threads 1
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from rls.runtime.device import choose_device
from rls.stylegan2 import augment
from rls.stylegan2.augment_draws import Draws, draw
from rls.stylegan2.augment_warp import SYM6
from rls.stylegan2.operators import setup_filter, upfirdn2d
from rls.stylegan2.pipelines import PIPELINES

_REACH = len(SYM6) // 4  # reach of the filter on each side, in image pixels


def textbook_warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Mirror the border, insert zeros, filter, sample, filter, drop every second pixel."""
    n, c, height, width = images.shape
    kernel = setup_filter(SYM6).to(images.device)
    left, right, top, bottom = margins(matrices, height, width)
    images = F.pad(images, (left, right, top, bottom), mode="reflect")
    padded_height, padded_width = images.shape[2:]
    images = upfirdn2d(images, kernel, up=2, padding=(6, 5, 6, 5), gain=4.0)
    x, y = (
        (torch.arange(n_fine, device=images.device) - n_fine / 2 + 1) / 2
        for n_fine in (2 * (width + 2 * _REACH), 2 * (height + 2 * _REACH))
    )
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], dim=2)
    source = torch.einsum("nij,yxj->nyxi", matrices, points)
    centre = torch.tensor([(right - left) / 2, (bottom - top) / 2], device=images.device)
    size = torch.tensor([padded_width, padded_height], device=images.device)
    grid = (2 * (source - centre) - 0.5) / size
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    crop = -2 * _REACH
    before, after = crop + (len(SYM6) - 1) // 2, crop + (len(SYM6) - 2) // 2
    return upfirdn2d(images, kernel, down=2, padding=(before, after, before, after), flip=True)


def margins(matrices: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the pixels to mirror left, right, top and bottom, which the corners can reach.

    They are at most a side less one.
    """
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-x, -y, 1.0], [x, -y, 1.0], [x, y, 1.0], [-x, y, 1.0]])
    reached = torch.einsum("nij,kj->nki", matrices.cpu(), corners)
    low, high = (-reached).amax(dim=(0, 1)), reached.amax(dim=(0, 1))
    limits = torch.tensor([x, x, y, y])
    out = torch.stack([low[0], high[0], low[1], high[1]]) + 2 * _REACH - limits
    sides = (width - 1, width - 1, height - 1, height - 1)
    found = [min(max(math.ceil(v), 0), side) for v, side in zip(out.tolist(), sides, strict=True)]
    return found[0], found[1], found[2], found[3]


def forward(images: Tensor, draws: Draws) -> Tensor:
    """Return the augmented images."""
    with torch.no_grad():
        return augment.apply(images, draws)


def backward(images: Tensor, draws: Draws) -> Tensor:
    """Return the gradient of a loss of the augmented images, as in the generator's phase."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(augment.apply(images, draws).square().sum(), images)
    return gradient


def double_backward(images: Tensor, draws: Draws) -> Tensor:
    """Return the gradient of a squared gradient, as in R1."""
    images = images.detach().requires_grad_()
    loss = augment.apply(images, draws).pow(3).sum()
    (gradient,) = torch.autograd.grad(loss, images, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)
    return second


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, by the process time of all threads or a GPU's clock time."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {
        "image-size": 64, "n-channels": 3, "batch-size": 8, "batches": 12, "repeats": 3,
        "threads": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--p", type=float, default=0.5)
    parser.add_argument("--pipeline", default="bgc", choices=tuple(PIPELINES))
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device, args.threads)
    random = torch.Generator(device).manual_seed(1)
    shape = (args.batch_size, args.n_channels, args.image_size, args.image_size)
    images = torch.randn(shape, device=device, generator=random)
    images = F.avg_pool2d(images, 5, stride=1, padding=2)
    draws = [draw(shape, args.p, PIPELINES[args.pipeline], random) for _ in range(args.batches)]
    plain = mock.patch.object(augment, "warp", textbook_warp)
    apart = []
    for drawn in draws:
        ours = forward(images, drawn)
        with plain:
            apart.append((ours - forward(images, drawn)).abs().amax(dim=(1, 2, 3)))
    print(
        f"load average {os.getloadavg()[0]:.1f}, torch {torch.__version__}, {args.threads} threads"
    )
    print(f"farthest apart in an image: median {torch.cat(apart).median().item():.1e}")
    for function in (forward, backward, double_backward):
        fast = slow = 0.0
        for drawn in draws:
            times: list[tuple[float, float]] = []
            for _ in range(args.repeats):
                first = seconds(lambda f=function, d=drawn: f(images, d), device)
                with plain:
                    times.append((first, seconds(lambda f=function, d=drawn: f(images, d), device)))
            fast += min(t for t, _ in times)
            slow += min(t for _, t in times)
        each = 1e3 / (args.batches * args.batch_size)
        print(
            f"{function.__name__}: textbook / ours {slow / fast:.2f}, "
            f"ours {fast * each:.2f} ms an image, textbook {slow * each:.2f}"
        )
    drawing = min(
        seconds(lambda: draw(shape, args.p, PIPELINES[args.pipeline], random), device)
        for _ in range(10 * args.repeats)
    )
    print(f"drawing: {1e3 * drawing / args.batch_size:.2f} ms an image, not counted above")


if __name__ == "__main__":
    main()
