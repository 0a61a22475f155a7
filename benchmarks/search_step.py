"""Time of a search step an image: our batched form over the textbook one, in one run.

Textbook: one image at a time, every convolution weight modulated and demodulated for the sample
(StyleGAN2, Eqs. 1 and 3), contiguous float32, weights that carry gradients. Both compute the same
image, which is checked first, and the gradient of the same fidelity with respect to w+. The flow
and Adam are in neither. Only the ratio means something: run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from rls.device import choose_device, has_fast_bfloat16
from rls.forward import Resize, downscale
from rls.search.objective import fidelity
from rls.search.problem import to_unit
from rls.stylegan2.networks import Architecture, Generator, SynthesisLayer, ToRGBLayer
from rls.stylegan2.operators import upsample2d

SIZES = {
    "demo": (Architecture(32, 2, 128, 128, 2, 2048, 128), 8),
    "article": (Architecture(128, 3, 512, 512, 8, 16384, 512), 16),
}


def textbook_layer(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """One sample's layer with its own weight; x (1, in, y, x), w (1, w_dim)."""
    weight = layer.weight.contiguous() * layer.affine(w)[0][:, None, None]
    weight = weight * (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()
    if layer.up:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        kernel = 4 * layer.resample_filter.flip(0, 1).expand(x.shape[1], 1, -1, -1)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1)), kernel, groups=x.shape[1])
    else:
        x = F.conv2d(x, weight, padding=1)
    x = x + noise * layer.noise_strength + layer.bias[:, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def textbook_rgb(layer: ToRGBLayer, x: Tensor, w: Tensor) -> Tensor:
    """One sample's image at one resolution, without demodulation."""
    weight = layer.weight * (layer.affine(w)[0] * layer.weight_gain)[:, None, None]
    return F.conv2d(x, weight, layer.bias)


def textbook_synthesis(generator: Generator, ws: Tensor, noise: list[Tensor]) -> Tensor:
    """Image (1, c, y, x) of ws (1, num_ws, w_dim)."""
    x = generator.synthesis.get_parameter("b4.const")[None].contiguous()
    image, i = None, 0
    maps = iter(noise)
    for block in generator.synthesis.blocks():
        layers = [block.conv1] if block.resolution == 4 else [block.conv0, block.conv1]
        for layer in layers:
            x = textbook_layer(layer, x, ws[:, i], next(maps))
            i += 1
        y = textbook_rgb(block.torgb, x, ws[:, i])
        image = y if image is None else upsample2d(image, block.resample_filter) + y
    return image


def seconds(step, repeats: int, device: torch.device) -> float:
    """Least time of one call of ``step``."""
    times = []
    for _ in range(repeats + 1):  # the first call is for warming up
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def gradient(synthesise, forward: Resize, y: Tensor, w: Tensor) -> Tensor:
    """Gradient of the fidelity with respect to w+, summed over the batch."""
    w = w.detach().requires_grad_()
    return torch.autograd.grad(fidelity(y, forward(to_unit(synthesise(w)))).sum(), w)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=tuple(SIZES), default="demo")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    device = choose_device(args.device, args.threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    architecture, factor = SIZES[args.size]
    ours = Generator(architecture).to(device).eval().requires_grad_(False)
    book = Generator(architecture).to(device).eval()
    book.load_state_dict(ours.state_dict())
    noise = [torch.randn(shape, device=device) for shape in ours.noise_shapes]
    z = torch.randn(args.batch_size, architecture.z_dim, device=device)
    w = ours.mapping(z).detach()
    forward = downscale(architecture.image_size, factor, "renormalize").to(device)
    y = torch.rand(args.batch_size, architecture.n_channels, *forward.size_out, device=device)
    with torch.no_grad():
        image = textbook_synthesis(book, w[:1], noise)
    error = float((image - ours.synthesis(w, noise)[:1]).abs().max() / image.abs().max())
    assert error < 1e-4, f"the two forms differ by {error}"

    def textbook() -> None:
        for i in range(args.batch_size):
            one = slice(i, i + 1)
            gradient(lambda v: textbook_synthesis(book, v, noise), forward, y[one], w[one])

    base = seconds(textbook, args.repeats, device) / args.batch_size
    print(f"{args.size}, batch {args.batch_size}: textbook {base * 1e3:.1f} ms a step and image")
    for precision in ("float32", "bfloat16")[: 1 + has_fast_bfloat16(device)]:

        def batched(precision: str = precision) -> None:
            gradient(lambda v: ours.synthesis(v, noise, precision=precision), forward, y, w)

        time_ours = seconds(batched, args.repeats, device) / args.batch_size
        print(f"  ours {precision}: {time_ours * 1e3:.1f} ms, {base / time_ours:.2f}x as fast")


if __name__ == "__main__":
    main()
