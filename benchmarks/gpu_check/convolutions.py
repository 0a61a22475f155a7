"""The rate of each convolution of the article's network, and whether TF32 is where it should be."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu_check.cases import Machine, architecture, make_trainer
from benchmarks.gpu_check.measure import free, kernel_names, seconds
from benchmarks.gpu_check.report import Report
from rls.runtime.device import tensor_float32
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.networks import Generator

BATCH = 64
KINDS = {"bfloat16": torch.bfloat16, "TF32": torch.float32}
TF32 = re.compile("tf32|s1688", re.IGNORECASE)  # s1688 is the tensor cores' instruction for TF32
ALL_DIGITS = 1e-5  # error above which a float32 convolution has lost digits


class Layer(NamedTuple):
    """A convolution of images (n, in, y, x), without groups."""

    images: tuple[int, ...]
    weight: tuple[int, ...]
    stride: int
    padding: int
    transposed: bool

    @property
    def flop(self) -> float:
        """Return the operations of a batch."""
        side = self.images[2]
        if not self.transposed:
            side = (side + 2 * self.padding - self.weight[2]) // self.stride + 1
        n, weights = self.images[0], torch.Size(self.weight).numel()
        return 2.0 * n * side**2 * weights

    def __str__(self) -> str:
        n_in, n_out = self.images[1], self.weight[1 if self.transposed else 0]
        kind = ", up" if self.transposed else ", down" if self.stride > 1 else ""
        return f"{self.weight[2]} x {self.weight[2]}, {n_in} to {n_out}, {self.images[2]} px{kind}"


class Layers(TorchDispatchMode):
    """Counts the convolutions of what runs in this context."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Layer] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, w, _, stride, padding, _, transposed, _, groups = args
            if groups == 1:
                shapes = tuple(x.shape), tuple(w.shape)
                self.found[Layer(*shapes, stride[0], padding[0], transposed)] += 1
        return func(*args, **(kwargs or {}))


def layers(machine: Machine) -> Counter[Layer]:
    """Return how often each convolution occurs in one pass of generator and discriminator."""
    sizes = architecture(machine, "article")
    generator, discriminator = Generator(sizes).to("meta"), Discriminator(sizes).to("meta")
    batch = 4 if machine.tiny else BATCH
    counted = Layers()
    with counted, torch.no_grad():
        ws = torch.empty(batch, generator.num_ws, generator.w_dim, device="meta")
        noise = [torch.empty(shape, device="meta") for shape in generator.noise_shapes]
        discriminator(generator.synthesis(ws, noise))
    return counted.found


def run(machine: Machine, report: Report) -> None:
    """Check TF32 first, then measure the layers, those with most work first."""
    bare_convolution(machine, report)
    penalties(machine, report)
    free(machine.device)
    found = sorted(layers(machine).items(), key=lambda pair: -pair[0].flop * pair[1])
    measure(machine, report, found)


def bare_convolution(machine: Machine, report: Report) -> None:
    """Check what a float32 convolution keeps of its digits, with TF32 and without."""
    channels, side = (256, 32) if machine.on_gpu else (8, 8)
    x = torch.randn(8, channels, side, side, device=machine.device)
    w = torch.randn(channels, channels, 3, 3, device=machine.device)
    x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
    exact = F.conv2d(x.double(), w.double(), padding=1)
    for on in (False, True):
        with tensor_float32(on):
            error = float((F.conv2d(x, w, padding=1) - exact).norm() / exact.norm())
            names = kernel_names(lambda: F.conv2d(x, w, padding=1), machine.device)
        if not on:
            report.at_most("error of an IEEE float32 convolution", error, ALL_DIGITS)
        elif machine.on_gpu:
            text = f"error {error:.1e}, expected {ALL_DIGITS:g} to 0.01"
            report.check("a TF32 convolution rounds", ALL_DIGITS < error < 0.01, text, error=error)
        names_check(machine, report, "a float32 convolution", names, on)


def penalties(machine: Machine, report: Report) -> None:
    """Check which kernels the penalties of a training run in, beside bfloat16 and in float32."""
    for precision in ("bfloat16", "float32"):
        trainer = make_trainer(machine, "small64", recorded=False, augmentations="none")
        trainer.precision = precision  # decides on TF32 in the penalties
        trainer.fill_inputs()
        trainer.image_phase()
        for name, phase in (("R1", trainer.r1_phase), ("path length", trainer.path_length_phase)):
            phase()
            names = kernel_names(phase, machine.device)
            on = precision == "bfloat16"
            names_check(machine, report, f"{name} beside {precision}", names, on)


def names_check(machine: Machine, report: Report, what: str, names: list[str], on: bool) -> None:
    """Check that TF32 is among the names of kernels, or that it is not."""
    name = f"{what} runs {'' if on else 'no '}TF32 kernels"
    if not machine.on_gpu or not names:
        why = "the profiler may not see kernels here" if machine.on_gpu else "there is no GPU"
        return report.left_out(name, why)
    tf32 = sorted({n for n in names if TF32.search(n)})
    convolutions = sorted({n for n in names if re.search("conv|xmma|fprop|dgrad|wgrad|gemm", n)})
    shown = ", ".join(n[:100] for n in (tf32 or convolutions)[:3])
    text = f"{len(tf32)} of {len(set(names))} names, such as {shown}"
    report.check(name, bool(tf32) == on, text, tf32_names=len(tf32))


def measure(machine: Machine, report: Report, found: list[tuple[Layer, int]]) -> None:
    """Measure each layer in each precision: by cuDNN's own choice, then by its timed choice.

    A timed choice tries every kernel first. So it is left out where the time is over.
    """
    own = {layer: rates(machine, report, layer, count, False) for layer, count in found}
    total(report, "cuDNN's own choice", found, own)
    timed: dict[Layer, dict[str, float]] = {}
    for layer, count in found:
        if report.left < 0:
            report.left_out(f"{len(found) - len(timed)} timed choices", "the time is over")
            break
        timed[layer] = rates(machine, report, layer, count, True)
    part = [pair for pair in found if pair[0] in timed]
    if part:
        total(report, "a timed choice (cudnn.benchmark)", part, timed)
        total(report, "cuDNN's own choice, the same layers", part, own)


def rates(
    machine: Machine, report: Report, layer: Layer, count: int, timed: bool
) -> dict[str, float]:
    """Measure a layer; return the seconds of both directions by precision."""
    said, taken = [], {}
    for kind, dtype in KINDS.items():
        with benchmark(timed), tensor_float32(True):
            forward, backward = times(machine, layer, dtype)
        there, back = layer.flop / forward / 1e12, 2 * layer.flop / backward / 1e12
        said.append(f"{kind} {there:.3g} and {back:.3g}")
        taken[kind] = forward + backward
    name = f"{layer} (of these {count}){', timed choice' * timed}"
    report.measured(name, f"TFLOP/s forward and backward: {'; '.join(said)}")
    return taken


def total(
    report: Report,
    how: str,
    found: list[tuple[Layer, int]],
    taken: dict[Layer, dict[str, float]],
) -> None:
    """Note the rate of all layers together, each as often as it occurs."""
    flop = sum(3 * layer.flop * count for layer, count in found)
    for kind in KINDS:
        spent = sum(taken[layer][kind] * count for layer, count in found)
        rate = flop / spent / 1e12
        text = f"{rate:.4g} TFLOP/s, {1e3 * spent:.3g} ms forward and backward"
        n = sum(count for _, count in found)
        report.measured(f"{n} convolutions in {kind} by {how}", text, tflop_per_second=rate)


@contextlib.contextmanager
def benchmark(on: bool) -> Iterator[None]:
    """Let cuDNN choose its kernels by timing them."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def times(machine: Machine, layer: Layer, dtype: torch.dtype) -> tuple[float, float]:
    """Return the seconds of a convolution and of its two gradients."""
    device = machine.device

    def random(shape: tuple[int, ...]) -> Tensor:
        x = torch.randn(shape, device=device, dtype=dtype)
        return x.contiguous(memory_format=torch.channels_last).requires_grad_()

    x, w = random(layer.images), random(layer.weight)
    function: Callable[..., Tensor] = F.conv_transpose2d if layer.transposed else F.conv2d

    def forward() -> Tensor:
        return function(x, w, stride=layer.stride, padding=layer.padding)

    y = forward()
    g = torch.randn_like(y)

    def backward() -> tuple[Tensor, ...]:
        return torch.autograd.grad(y, (x, w), g, retain_graph=True)

    repeats = 1 if machine.tiny else 3 if machine.quick else 8
    return seconds(forward, device, repeats, 2), seconds(backward, device, repeats, 2)
