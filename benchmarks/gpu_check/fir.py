"""The FIR filter against its definition in float64, and the bandwidth of its implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_check.cases import Machine
from benchmarks.gpu_check.measure import free, seconds
from benchmarks.gpu_check.report import Report
from rls.stylegan2 import fir
from rls.stylegan2 import operators as ops

USES = {  # arguments of low_pass
    "after the up-convolution": {"pad": 1, "gain": 4.0},
    "before the strided convolution": {"pad": 2},
    "down": {"down": 2, "pad": 1},
    "up": {"up": 2, "pad": 2, "gain": 4.0},
}
MOST = {
    torch.float32: 1e-6,
    torch.bfloat16: 8e-3,
}  # two of its steps of 2^-8: averages round three times


def run(machine: Machine, report: Report) -> None:
    """Check values and two derivatives, then measure."""
    device = machine.device
    chosen = fir.choose_fir(device)
    names = list(dict.fromkeys([chosen, "pooling"]))
    if device.type == "cuda" and chosen != "triton":
        report.left_out("the FIR kernel", fir.why_not_triton())
    for name in names:
        with mock.patch.object(fir, "choose_fir", lambda device, name=name: name):
            for dtype in MOST:
                check(machine, report, name, dtype)
    bandwidth(machine, report, names)


def check(machine: Machine, report: Report, name: str, dtype: torch.dtype) -> None:
    """Compare an implementation with the definition, in all forms and sizes."""
    worst, where, n = 0.0, "", 0
    for c in (3, 8) if machine.tiny else (3, 48, 512):
        for form, arguments in USES.items():
            # The last shape is large enough for large tiles.
            for shape in ((1, c, 9, 7), (2, c, 16, 17), (2 if c == 512 else 16, c, 65, 63)):
                for what, error in errors(shape, arguments, dtype, machine.device):
                    n += 1
                    if not error <= worst:
                        worst, where = error, f"{what} {form}, {c} channels, {shape[2:]} px"
    kind = str(dtype).removeprefix("torch.")
    report.at_most(f"FIR by {name} in {kind}", worst, MOST[dtype], f"the worst of {n}: {where}")


def errors(
    shape: tuple[int, ...], arguments: dict[str, float], dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[str, float]]:
    """Yield the relative errors of the value, its gradient, and the derivative of the gradient."""
    random = torch.Generator(device).manual_seed(1)

    def normal(shape: torch.Size | tuple[int, ...]) -> Tensor:
        return torch.randn(shape, device=device, generator=random).to(dtype)

    x = normal(shape)
    if shape[0] > 1:  # as the networks hold their images
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        size = fir.low_pass(x, **arguments).shape
    g, h = normal(size), normal(shape)
    found = value_and_derivatives(lambda x: fir.low_pass(x, **arguments), x, g, h)
    exact = value_and_derivatives(
        lambda x: by_definition(x, **arguments), x.double(), g.double(), h.double()
    )
    names = ("value", "gradient", "second derivative")
    for what, a, b in zip(names, found, exact, strict=True):
        yield what, float((a.double() - b).norm() / b.norm()) if a.dtype == dtype else float("nan")


def value_and_derivatives(
    function: Callable[[Tensor], Tensor], x: Tensor, g: Tensor, h: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y = A x, A' g, and the derivative of <A' g, h> with respect to g."""
    x, g = x.clone().requires_grad_(), g.clone().requires_grad_()
    y = function(x)
    (slope,) = torch.autograd.grad(y, x, g, create_graph=True)
    (second,) = torch.autograd.grad(slope, g, h)
    return y.detach(), slope.detach(), second


def by_definition(x: Tensor, *, up: int = 1, down: int = 1, pad: int, gain: float = 1.0) -> Tensor:
    """Return x filtered by the general operator."""
    kernel = ops.setup_filter(ops.FILTER_TAPS).to(x.device)
    end = pad - up + 1
    padding = (pad, end, pad, end)
    return ops.upfirdn2d(x, kernel, up=up, down=down, padding=padding, gain=gain)


def bandwidth(machine: Machine, report: Report, names: list[str]) -> None:
    """Measure the bytes a second of each implementation, beside a copy."""
    device = machine.device
    shape = (2, 8, 17, 17) if machine.tiny else (64, 64, 129, 129)
    repeats = 2 if machine.tiny else 20
    for dtype in MOST:
        x = torch.randn(shape, device=device).to(dtype, memory_format=torch.channels_last)
        target = torch.empty_like(x)
        copy = 2 * x.nbytes / seconds(lambda t=target, x=x: t.copy_(x), device, repeats, 3)
        kind = str(dtype).removeprefix("torch.")
        report.measured(f"a copy in {kind}", f"{copy / 1e9:.0f} GB/s", gb_per_second=copy / 1e9)
        for name in [*dict.fromkeys([*names, "convolution"])]:
            with mock.patch.object(fir, "choose_fir", lambda device, name=name: name):
                for form, arguments in USES.items() if name == names[0] else [*USES.items()][:1]:
                    rate(
                        report, f"FIR by {name}, {form}, {kind}",
                        lambda x=x, a=arguments: fir.low_pass(x, **a), x, repeats, copy,
                    )  # fmt: skip
        wide_convolution(report, x, repeats, copy)
        free(device)


def rate(
    report: Report, name: str, function: Callable[[], Tensor], x: Tensor, repeats: int, copy: float
) -> None:
    """Measure a filter: the bytes that it must read and write by its time."""
    with torch.no_grad():
        moved = x.nbytes + function().nbytes
        found = moved / seconds(function, x.device, repeats, 3)
    text = f"{found / 1e9:.0f} GB/s, {100 * found / copy:.0f} % of a copy"
    report.measured(name, text, gb_per_second=found / 1e9)


def wide_convolution(report: Report, x: Tensor, repeats: int, copy: float) -> None:
    """Measure the grouped convolution with a kernel of 5 x 5, for which cuDNN has other kernels."""
    line = torch.tensor([0.0, *ops.FILTER_TAPS], dtype=x.dtype, device=x.device) / 8
    weight = (4 * torch.outer(line, line)).expand(x.shape[1], 1, 5, 5)

    def filtered() -> Tensor:
        return F.conv2d(x, weight, padding=2, groups=x.shape[1])

    kind = str(x.dtype).removeprefix("torch.")
    exact = by_definition(x[:1].double(), pad=1, gain=4.0)
    error = (filtered()[:1, :, :-1, :-1].double() - exact).norm() / exact.norm()
    report.at_most(f"a 5 x 5 convolution in {kind} is the filter", float(error), 1e-2)
    rate(report, f"FIR by a 5 x 5 convolution, {kind}", filtered, x, repeats, copy)
