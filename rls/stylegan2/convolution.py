"""Convolutions with derivatives of any order, each computed by a fast kernel.

<g, conv(x, w)> is linear in images x, weights w and the cotangent g. Its three gradients are

    y = conv(x, w),  x' = adjoint(g, w), the transposed convolution,  w' = weight gradient(x, g),

and the derivatives of each of the three are the other two: a closed family, for any order. Torch's
own second derivative of a grouped convolution works group by group, and computes the gradient of
FIR filters that nobody needs. Its first derivative with respect to the weights has half the speed
of the others on CPUs without AVX-512 when activations are channels last; here it is a few matrix
products.

``torch.compile`` refuses autograd functions that have a forward derivative. In compiled functions
torch's own convolutions take their place.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

LEAST_PIXELS = 64  # least pixels of an image for which matrix products are faster
LEAST_SIDE = 16  # least side for which four convolutions are faster than a transposed one, bfloat16

_weights_wanted = True


@contextlib.contextmanager
def only_image_gradients() -> Iterator[None]:
    """Skip the derivatives with respect to weights while the context is open.

    It is meant for ``torch.autograd.grad`` with respect to images or styles. A custom autograd
    function does not learn which of its derivatives were asked for, and would compute those of the
    weights in vain. Derivatives of the result have all parts again. The flag holds for the whole
    process, because backward passes on a GPU run in threads of their own; two threads must not
    differentiate at the same time.
    """
    global _weights_wanted
    before, _weights_wanted = _weights_wanted, False
    try:
        yield
    finally:
        _weights_wanted = before


class _Shape(NamedTuple):
    """The geometry of a convolution that its tensors do not determine.

    Attributes:
        size: Size (y, x) of the images.
        kernel: Size (y, x) of the kernels.
    """

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: int
    padding: int
    groups: int


class _Context(FunctionCtx):
    """State that the forward pass of a function saves for its derivatives."""

    shape: _Shape
    saved_tensors: tuple[Tensor, Tensor]
    needs_input_grad: tuple[bool, ...]


class _Convolution(torch.autograd.Function):
    """y = conv(x, w) + b."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, w: Tensor, bias: Tensor | None, shape: _Shape) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.save_for_forward(x, w)
        ctx.shape = shape
        return F.conv2d(x, w, bias, shape.stride, shape.padding, groups=shape.groups)

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (x, w) = gradients, ctx.saved_tensors
        needs_x, needs_w, needs_bias, _ = ctx.needs_input_grad
        return (
            _Adjoint.apply(g, w, ctx.shape) if needs_x else None,
            _WeightGradient.apply(x, g, ctx.shape) if needs_w and _weights_wanted else None,
            g.sum(dim=(0, 2, 3)) if needs_bias and _weights_wanted else None,
            None,
        )

    @staticmethod
    def jvp(
        ctx: _Context, dx: Tensor | None, dw: Tensor | None, dbias: Tensor | None, _: None
    ) -> Tensor:
        x, w = ctx.saved_tensors
        parts = [
            _Convolution.apply(dx, w, None, ctx.shape) if dx is not None else None,
            _Convolution.apply(x, dw, None, ctx.shape) if dw is not None else None,
            dbias[:, None, None] if dbias is not None else None,
        ]
        return _total(parts)


class _Adjoint(torch.autograd.Function):
    """x', the transposed convolution of g with w."""

    @staticmethod
    def forward(ctx: _Context, g: Tensor, w: Tensor, shape: _Shape) -> Tensor:
        ctx.save_for_backward(g, w)
        ctx.save_for_forward(g, w)
        ctx.shape = shape
        stride, padding = shape.stride, shape.padding
        kernels = zip(g.shape[2:], shape.kernel, strict=True)
        least = [(n - 1) * stride - 2 * padding + k for n, k in kernels]
        missing = [n - m for n, m in zip(shape.size, least, strict=True)]
        if stride > 1 and g.dtype == torch.bfloat16 and g.device.type == "cpu":
            if shape.groups == len(w) and padding < min(shape.kernel):
                return _filter_adjoint(g, w, shape)
            doubled = (stride, padding, shape.kernel, missing) == (2, 0, (3, 3), [0, 0])
            if doubled and shape.groups == 1 and min(g.shape[2:]) >= LEAST_SIDE:
                return _doubled(g, w)
        return F.conv_transpose2d(g, w, None, stride, padding, missing, shape.groups)

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,), (g, w) = gradients, ctx.saved_tensors
        needs_g, needs_w, _ = ctx.needs_input_grad
        return (
            _Convolution.apply(x, w, None, ctx.shape) if needs_g else None,
            _WeightGradient.apply(x, g, ctx.shape) if needs_w and _weights_wanted else None,
            None,
        )

    @staticmethod
    def jvp(ctx: _Context, dg: Tensor | None, dw: Tensor | None, _: None) -> Tensor:
        g, w = ctx.saved_tensors
        parts = [
            _Adjoint.apply(dg, w, ctx.shape) if dg is not None else None,
            _Adjoint.apply(g, dw, ctx.shape) if dw is not None else None,
        ]
        return _total(parts)


class _WeightGradient(torch.autograd.Function):
    """w', the gradient of conv(x, w) with respect to w for the cotangent g."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, g: Tensor, shape: _Shape) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.shape = shape
        plain = shape.groups == 1 and shape.kernel[0] == shape.kernel[1]
        large = g.shape[2] * g.shape[3] >= LEAST_PIXELS
        if plain and large and x.device.type == "cpu" and x.dtype != torch.bfloat16:
            return _weight_gradient_by_products(x, g, shape)
        inner = x.shape[1] // shape.groups
        like = x.new_empty(()).expand(g.shape[1], inner, *shape.kernel)
        stride, padding = [shape.stride] * 2, [shape.padding] * 2
        geometry = (stride, padding, [1, 1], False, [0, 0], shape.groups)
        only_weights = [False, True, False]
        return torch.ops.aten.convolution_backward(g, x, like, None, *geometry, only_weights)[1]

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (w,), (x, g) = gradients, ctx.saved_tensors
        needs_x, needs_g, _ = ctx.needs_input_grad
        return (
            _Adjoint.apply(g, w, ctx.shape) if needs_x else None,
            _Convolution.apply(x, w, None, ctx.shape) if needs_g else None,
            None,
        )


def _filter_adjoint(g: Tensor, w: Tensor, shape: _Shape) -> Tensor:
    """Return the transposed convolution of each channel, as a convolution of g between zeros.

    In bfloat16 on a CPU torch's own takes about ten times as long; the results are the same bits.

    Arguments:
        g: (n, c, y', x').
        w: (c, 1, k, k).
    """
    n, c = g.shape[:2]
    size = [m + k - 1 for m, k in zip(shape.size, shape.kernel, strict=True)]
    wide = g.new_zeros((n, *size, c)).permute(0, 3, 1, 2)
    firsts = [k - 1 - shape.padding for k in shape.kernel]
    rows, columns = (
        slice(first, first + (m - 1) * shape.stride + 1, shape.stride)
        for first, m in zip(firsts, g.shape[2:], strict=True)
    )
    wide[:, :, rows, columns] = g
    return F.conv2d(wide, w.flip(2, 3), groups=shape.groups)


def _doubled(g: Tensor, w: Tensor) -> Tensor:
    """Return the transposed convolution with stride 2, as a convolution for each parity.

    The pixels of even or odd rows and columns are a convolution with the taps that reach them. In
    bfloat16 on a CPU torch's own takes about twice as long from 16 px on.

    Arguments:
        g: (n, o, y, x).
        w: (o, i, 3, 3).

    Returns:
        (n, i, 2 y + 1, 2 x + 1).
    """
    n, _, height, width = g.shape
    out = g.new_empty((n, 2 * height + 1, 2 * width + 1, w.shape[1])).permute(0, 3, 1, 2)
    turned = w.transpose(0, 1).flip(2, 3)
    for row in (0, 1):
        for column in (0, 1):
            part = turned[:, :, row::2, column::2]
            out[:, :, row::2, column::2] = F.conv2d(g, part, padding=(1 - row, 1 - column))
    return out


def _weight_gradient_by_products(x: Tensor, g: Tensor, shape: _Shape) -> Tensor:
    """Return the gradient (o, i, k, k) from one matrix product per kernel row.

    At stride 1 images and cotangent can be exchanged, with the kernel reversed; then the one with
    fewer channels is widened.

    Arguments:
        x: Images (n, i, y, x).
        g: Cotangent (n, o, y', x').
    """
    k, stride, padding = shape.kernel[0], shape.stride, shape.padding
    if stride == 1 and g.shape[1] < x.shape[1]:
        turned = _products(g, x, k, 1, k - 1 - padding)
        return turned.flip(0, 1).permute(2, 3, 0, 1)
    return _products(x, g, k, stride, padding).permute(3, 2, 0, 1)


def _products(x: Tensor, g: Tensor, k: int, stride: int, padding: int) -> Tensor:
    """Return the sum over n, y, x of x[n, :, s y + i - p, s x + j - p] g[n, :, y, x].

    ``wide`` holds for each pixel of g the k neighbouring pixels of x that a kernel row covers,
    which takes three times the memory of x and not nine. Rows of x with the same remainder modulo
    the stride are kept together, so that what a kernel row covers is contiguous in memory; rows
    outside of x are left out.

    Returns:
        (k, k, channels of x, channels of g).
    """
    n, channels, rows_of_x, columns_of_x = x.shape
    height, width = g.shape[2:]
    lines = x.permute(0, 2, 3, 1)
    pixels = g.permute(0, 2, 3, 1).reshape(n, height * width, -1)
    wide: dict[int, Tensor] = {}
    out = []
    for i in range(k):
        first, phase = divmod(i - padding, stride)
        if phase not in wide:
            wide[phase] = _widened(lines[:, phase::stride], k, stride, padding, width)
        seen = wide[phase]
        rows = seen.shape[1] // width
        top, end = max(0, -first), min(height, rows - first)
        part = seen[:, (top + first) * width : (end + first) * width]
        out.append((part.mT @ pixels[:, top * width : end * width]).sum(dim=0))
    return torch.stack(out).view(k, k, channels, -1)


def _widened(lines: Tensor, k: int, stride: int, padding: int, width: int) -> Tensor:
    """Return the pixels (n, y * width, k * c) that a kernel row covers, with zeros outside.

    Arguments:
        lines: Images (n, y, x, c).
    """
    n, rows, columns, c = lines.shape
    if k == 1 and stride == 1:
        return lines.reshape(n, rows * width, c)
    wide = lines.new_empty((n, rows, width, k, c))
    for j in range(k):
        shift = j - padding
        first = max(0, -(shift // stride))  # the first position whose pixel is inside
        end = min(width, (columns - 1 - shift) // stride + 1)
        wide[:, :, :first, j].zero_()
        wide[:, :, end:, j].zero_()
        inside = slice(first * stride + shift, (end - 1) * stride + shift + 1, stride)
        wide[:, :, first:end, j] = lines[:, :, inside]
    return wide.view(n, rows * width, k * c)


def _total(parts: list[Tensor | None]) -> Tensor:
    """Return the sum of the parts that are not None, of which there is at least one."""
    return functools.reduce(operator.add, [part for part in parts if part is not None])


def convolve(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """Convolve as torch's conv2d does: (n, i, y, x), (o, i / groups, k, k) -> (n, o, y', x').

    It can be differentiated any number of times in reverse mode with respect to x, w and bias, and
    once in forward mode.
    """
    if torch.compiler.is_compiling():
        return F.conv2d(x, w, bias, stride, padding, groups=groups)
    size, kernel = (x.shape[2], x.shape[3]), (w.shape[2], w.shape[3])
    return _Convolution.apply(x, w, bias, _Shape(size, kernel, stride, padding, groups))


def convolve_transposed(
    g: Tensor, w: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """Convolve as conv_transpose2d: (n, i, y, x), (i, o / groups, k, k) -> (n, o, y', x')."""
    if torch.compiler.is_compiling():
        return F.conv_transpose2d(g, w, None, stride, padding, groups=groups)
    kernel = (w.shape[2], w.shape[3])
    height, width = (
        (n - 1) * stride - 2 * padding + k for n, k in zip(g.shape[2:], kernel, strict=True)
    )
    return _Adjoint.apply(g, w, _Shape((height, width), kernel, stride, padding, groups))
