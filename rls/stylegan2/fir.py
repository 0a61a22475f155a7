"""The FIR filter of StyleGAN2, [1, 3, 3, 1] along x and along y, with resampling by 2.

Along each axis

    y[o] = sum_t k[t] u[down o + t - pad],   k = [1, 3, 3, 1] / 8,

where u is x with up - 1 zeros after every pixel and zeros outside. The kernel is symmetric, so the
adjoint is the same sum with up and down exchanged and 3 - pad in the place of pad: one function is
closed under derivatives of any order. It has four implementations:

* on a GPU one Triton kernel. cuDNN's grouped convolution takes tens of times as long there;
* on a GPU without Triton, or without the C compiler that Triton needs, averages over 2 x 2 pixels:
  the filter is three of them, one after the other;
* elsewhere a grouped convolution;
* in functions that torch compiles, sums of shifted images, which the compiler joins with the
  operations around them.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from rls.runtime.errors import first_line
from rls.stylegan2.convolution import convolve, convolve_transposed

FILTER_TAPS = (1, 3, 3, 1)  # the binomial low pass of StyleGAN2
OUTER, INNER = 0.125, 0.375  # the taps with sum 1


class Form(NamedTuple):
    """How an image is filtered; the module's docstring has the equation.

    Attributes:
        up, down: One of them is 1, the other 1 or 2.
        pad: Zeros before the first pixel.
        size: Size (y, x) of the result.
        gain: Factor of the result.
    """

    up: int
    down: int
    pad: int
    size: tuple[int, int]
    gain: float

    def adjoint(self, size: tuple[int, int]) -> Form:
        """Return the form of the adjoint, for images of ``size`` (y, x)."""
        return Form(self.down, self.up, 3 - self.pad, size, self.gain)


def low_pass(x: Tensor, *, up: int = 1, down: int = 1, pad: int, gain: float = 1.0) -> Tensor:
    """Return x (n, c, y, x) filtered; it can be differentiated any number of times.

    Arguments:
        up, down: One of them is 1, the other 1 or 2.
        pad: Zeros before the first pixel, and as many after the last one where up is 1.
        gain: Factor of the result.
    """
    height, width = ((n * up + 2 * pad - up - 3) // down + 1 for n in x.shape[2:])
    form = Form(up, down, pad, (height, width), gain)
    if torch.compiler.is_compiling():
        return shifted_sums(x, form)
    choice = choose_fir(x.device)
    if choice == "triton":
        return _Fir.apply(x, form)
    return pooled(x, form) if choice == "pooling" else grouped(x, form)


def choose_fir(device: torch.device) -> str:
    """Return what filters on ``device``: "triton", "pooling" or "convolution".

    The choice is made once. On a GPU it is printed, and Triton's first launch is tried. So the
    first filter must not run inside the recording of a CUDA graph.
    """
    return _chosen(device.type)


@functools.cache
def _chosen(kind: str) -> str:
    if kind != "cuda":
        return "convolution"
    reason = why_not_triton()
    how = f"average pooling, slower: {reason}" if reason else "a Triton kernel"
    print(f"FIR filters by {how}", flush=True)
    return "pooling" if reason else "triton"


def why_not_triton() -> str:
    """Return why Triton cannot filter on a GPU, as the end of a sentence, or an empty text.

    Without a compiler Triton would fail later at any kernel that its cache does not have.
    """
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    # Triton takes these two, or what CC names.
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "no C compiler was found for Triton"
    try:
        by_kernel(torch.zeros((1, 1, 4, 4), device="cuda"), Form(1, 1, 2, (5, 5), 1.0)).tolist()
    except Exception as error:  # Triton raises errors of many kinds, and so does a compiler.
        return f"Triton's first kernel failed ({type(error).__name__}: {first_line(error)})"
    return ""


class _Context(FunctionCtx):
    """State that the forward pass saves for its derivatives."""

    form: Form
    adjoint: Form


class _Fir(torch.autograd.Function):
    """The filter by Triton's kernel; its adjoint is the filter in another form."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, form: Form) -> Tensor:
        ctx.form, ctx.adjoint = form, form.adjoint((x.shape[2], x.shape[3]))
        return by_kernel(x, form)

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Fir.apply(gradients[0], ctx.adjoint), None

    @staticmethod
    def jvp(ctx: _Context, dx: Tensor, _: None) -> Tensor:
        return _Fir.apply(dx, ctx.form)


def by_kernel(x: Tensor, form: Form) -> Tensor:
    """Return x filtered by Triton's kernel, channels last."""
    # Imported here, because Triton is not there on every machine.
    from rls.stylegan2 import fir_kernel

    return fir_kernel.filtered(x, *form)


def grouped(x: Tensor, form: Form) -> Tensor:
    """Return x filtered by a convolution of each channel; only for forms of :func:`low_pass`."""
    c = x.shape[1]
    weight = _weight(x.device, x.dtype, form.gain).expand(c, 1, 4, 4)
    if form.up == 2:  # A transposed convolution computes the same sum without the inserted zeros.
        return convolve_transposed(x, weight, stride=2, padding=3 - form.pad, groups=c)
    return convolve(x, weight, stride=form.down, padding=form.pad, groups=c)


def pooled(x: Tensor, form: Form) -> Tensor:
    """Return x filtered by three averages over 2 x 2 pixels.

    The zeros are not left to avg_pool2d: its gradient is wrong for channels-last images on CUDA in
    torch 2.11 if it pads (pytorch issue 188344).
    """
    y = F.avg_pool2d(F.avg_pool2d(_padded(x, form), 2, 1), 2, 1)
    y = F.avg_pool2d(y, 2, form.down)
    return y if form.gain == 1.0 else y * form.gain


def shifted_sums(x: Tensor, form: Form) -> Tensor:
    """Return x filtered by sums of shifted images, which are rounded once, at the end."""
    y = _padded(x, form).to(torch.promote_types(x.dtype, torch.float32))
    for dim, n in zip((2, 3), form.size, strict=True):
        y = y.transpose(dim, -1)
        last = (n - 1) * form.down + 1
        a, b, c, d = (y[..., t : t + last : form.down] for t in range(4))
        y = ((a + d) * OUTER + (b + c) * INNER).transpose(dim, -1)
    return (y * form.gain).to(x.dtype)


def insert_zeros(x: Tensor, up: int) -> Tensor:
    """Return x (n, c, y, x) with ``up - 1`` zeros after every pixel: (n, c, up y, up x)."""
    if up == 1:
        return x
    n, c, height, width = x.shape
    x = F.pad(x.reshape(n, c, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
    return x.reshape(n, c, height * up, width * up)


def _padded(x: Tensor, form: Form) -> Tensor:
    """Return what the filter reads: x with zeros between its pixels and around it."""
    x = insert_zeros(x, form.up)
    ends = [(n - 1) * form.down + 4 for n in form.size]  # positions that the results cover
    bottom, right = (end - form.pad - n for end, n in zip(ends, x.shape[2:], strict=True))
    return F.pad(x, (form.pad, right, form.pad, bottom))


@functools.cache
def _weight(device: torch.device, dtype: torch.dtype, gain: float) -> Tensor:
    """Return the kernel (4, 4) with sum ``gain``; it is kept, since a recording may read it."""
    with torch.inference_mode(False), torch.no_grad():
        line = torch.tensor(FILTER_TAPS, dtype=torch.float32, device=device) / sum(FILTER_TAPS)
        return (torch.outer(line, line) * gain).to(dtype)
