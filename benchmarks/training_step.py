"""How much faster a step of the generator's training is than its textbook form, in the same run.

Textbook: a weight per sample, grouped convolutions, float32, channels first. Prints the ratio of
the best of alternating steps (other work on the machine only ever adds time), images a second, and
GFLOP/s beside the best that a bare convolution reached here.

    python -m benchmarks.training_step --image-size 32 --channel-base 2048 --channel-max 128 \
        --w-dim 128 --mapping-layers 2 --batch-size 16 --precision auto --threads 2 --repeats 5
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rls.device import choose_device
from rls.io import Intensity, Stack
from rls.stylegan2 import networks, operators
from rls.stylegan2.data import TrainingImages
from rls.stylegan2.settings import Settings
from rls.stylegan2.training import Trainer
from rls.train_gan import architecture_of, choose_precision


def textbook_modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: bool = False,
    kernel: Tensor | None = None,
    squares: Tensor | None = None,
    gain: float = 1.0,
) -> Tensor:
    """StyleGAN2, Eqs. 1 and 3 as printed: a weight per sample and a grouped convolution."""
    n, n_in = styles.shape
    n_out, size = weight.shape[0], weight.shape[-1]
    w = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, n * n_in, *x.shape[2:])
    if up:
        assert kernel is not None
        w = w.transpose(1, 2).reshape(n * n_in, n_out, size, size)
        y = F.conv_transpose2d(x, w, stride=2, groups=n)
        y = operators.upfirdn2d(y, kernel, padding=(1, 1, 1, 1), gain=4.0)
    else:
        y = F.conv2d(x, w.reshape(n * n_out, n_in, size, size), padding=size // 2, groups=n)
    return y.reshape(n, n_out, *y.shape[2:]) * gain


@contextlib.contextmanager
def textbook() -> Iterator[None]:
    """The textbook form inside the context."""
    ours = networks.modulated_conv2d, operators.MEMORY_FORMAT
    networks.modulated_conv2d = textbook_modulated_conv2d
    operators.MEMORY_FORMAT = torch.contiguous_format
    try:
        yield
    finally:
        networks.modulated_conv2d, operators.MEMORY_FORMAT = ours


def noise_images(n_channels: int, image_size: int, n: int) -> tuple[Stack, Intensity]:
    """Images of noise with the rotation margin: what they show costs no time."""
    side = -(-image_size * 3 // 4) * 2
    images = np.random.default_rng(1).integers(0, 4096, (n, n_channels, side, side))
    names = tuple(f"channel{i}" for i in range(n_channels))
    table = pd.DataFrame({"image_id": map(str, range(n)), "image_digest": "", "split": "gan"})
    levels = (0.0,) * n_channels, (4095.0,) * n_channels
    return Stack(images.astype(np.uint16), table, names, 1.0, ""), Intensity(names, *levels)


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_gflops(device: torch.device, dtype: torch.dtype, batch_size: int) -> float:
    """Best rate of a bare 3x3 convolution over a few shapes, GFLOP/s."""
    best = 0.0
    for features, side in ((64, 32), (128, 16), (128, 32), (256, 32)):
        shape = (batch_size, features, side, side)
        x = torch.randn(shape, device=device, dtype=dtype)
        w = torch.randn((features, features, 3, 3), device=device, dtype=dtype)
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
        work = 2 * batch_size * features**2 * 9 * side**2 / 1e9
        F.conv2d(x, w, padding=1)
        times = [seconds(lambda x=x, w=w: F.conv2d(x, w, padding=1), device) for _ in range(5)]
        best = max(best, work / min(times))
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {
        "image-size": 32, "n-channels": 2, "channel-base": 2048, "channel-max": 128, "w-dim": 128,
        "mapping-layers": 2, "batch-size": 16, "threads": 2, "repeats": 5,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device, args.threads)
    precision = choose_precision(args.precision, device)
    settings = Settings(
        image_size=args.image_size, total_kimg=1.0, batch_size=args.batch_size,
        learning_rate=0.002, r1_gamma=0.1, r1_interval=16, ema_kimg=10, ema_rampup=0.05,
        z_dim=args.w_dim, w_dim=args.w_dim, mapping_layers=args.mapping_layers,
        channel_base=args.channel_base, channel_max=args.channel_max, mbstd_group_size=4,
        style_mixing_probability=0.9, augment_p=0.0, precision=precision, checkpoint_kimg=1.0,
        tick_kimg=1.0, seed=1, device=device.type, threads=args.threads,
    )  # fmt: skip
    stack, scale = noise_images(args.n_channels, args.image_size, 4 * args.batch_size)
    data = TrainingImages(stack, scale, args.image_size, 1)
    sizes = architecture_of(settings, args.n_channels)
    ours = Trainer(settings, sizes, data, device, precision)
    with textbook():
        plain = Trainer(settings, sizes, data, device, "float32")
    for trainer in (ours, plain):
        trainer.step = 1  # a step without R1, counted before it is warm
    with FlopCounterMode(display=False) as counter:
        ours.run_step()
    gflop = counter.get_total_flops() / 1e9
    with textbook():
        plain.run_step()
    times: dict[str, list[float]] = {"ours": [], "textbook": []}
    r1_times: list[float] = []
    for _ in range(args.repeats):
        for trainer in (ours, plain):
            trainer.step = 1
        times["ours"].append(seconds(ours.run_step, device))
        with textbook():
            times["textbook"].append(seconds(plain.run_step, device))
        ours.step = 0
        r1_times.append(seconds(ours.run_step, device))
    fast, slow = (min(times[k]) for k in ("ours", "textbook"))
    extra = (min(r1_times) - fast) / settings.r1_interval
    peak = peak_gflops(device, networks.convolution_dtype(precision, torch.ones(1)), 16)
    print(f"load average {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    print(f"textbook / ours: {slow / fast:.2f} (best of {args.repeats}, alternating)")
    print(f"ours: {args.batch_size / (fast + extra):.1f} images/s with R1 every 16 steps")
    print(
        f"{gflop / args.batch_size:.2f} GFLOP an image: {gflop / fast:.0f} GFLOP/s, "
        f"{100 * gflop / fast / peak:.0f} % of the best convolution here ({peak:.0f} GFLOP/s)"
    )


if __name__ == "__main__":
    main()
