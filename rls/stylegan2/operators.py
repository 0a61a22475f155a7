"""Operators of StyleGAN2: FIR resampling, activation, equalised layers, modulated convolution.

All of them are differentiable torch operations, so first and second derivatives exist on CPU and
GPU alike. No weight per sample is ever built: activations are scaled by the style, convolved with
the shared weight and demodulated with norms that come from one (out, in) matrix of squared weights
(Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", section 2.2,
regrouped).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rls.stylegan2.convolution import convolve, convolve_transposed
from rls.stylegan2.fir import FILTER_TAPS, insert_zeros, low_pass

LEAK = 0.2  # slope of the leaky ReLU below 0
MEMORY_FORMAT = torch.channels_last  # the fastest layout of activations and convolution weights
_ROOT_2 = math.sqrt(2)


def setup_filter(taps: Sequence[float]) -> Tensor:
    """Return the FIR filter (k, k), float32: the outer product of 1-D taps, with sum 1."""
    line = torch.tensor(list(taps), dtype=torch.float32)
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


def other_filter(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of a FIR filter among a network's tensors that is not the standard one.

    Networks filter with the standard filter whatever the tensors say.
    """
    taps = setup_filter(FILTER_TAPS)
    for name, values in tensors.items():
        if name.endswith("resample_filter") and (
            values.shape != taps.shape or not torch.allclose(values.float().cpu(), taps, atol=1e-6)
        ):
            return name
    return None


def upfirdn2d(
    x: Tensor,
    kernel: Tensor,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    flip: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Insert zeros, pad or crop, convolve with a FIR kernel and keep every ``down``-th pixel.

    Arguments:
        x: (n, c, y, x).
        kernel: (ky, kx), or (k,) for a separable kernel.
        up, down: Integer factors of upsampling and downsampling.
        padding: (left, right, top, bottom) in px; negative numbers crop.
        flip: Whether the kernel is applied as a correlation and not as a convolution.
        gain: Factor of the output.
    """
    c = x.shape[1]
    if kernel.ndim == 1:
        kernel = torch.outer(kernel, kernel)
    x = insert_zeros(x, up)
    left, right, top, bottom = padding
    symmetric = left == right == top == bottom and left >= 0
    if not symmetric:
        x = F.pad(x, padding)
    kernel = (kernel if flip else kernel.flip(0, 1)) * gain
    kernel = kernel.to(x.dtype).expand(c, 1, *kernel.shape)
    return convolve(x, kernel, stride=down, padding=left if symmetric else 0, groups=c)


def upsample2d(x: Tensor, kernel: Tensor | None = None) -> Tensor:
    """Return x (n, c, y, x) at twice the size (n, c, 2y, 2x): zero insertion and FIR filter.

    The brightness is kept. The kernel has an even side; None is the standard filter, for which
    there are faster implementations.
    """
    if kernel is None:
        return low_pass(x, up=2, pad=2, gain=4.0)
    k, c = kernel.shape[-1], x.shape[1]
    # A transposed convolution computes the same sum without the inserted zeros.
    weight = (kernel * 4.0).to(x.dtype).expand(c, 1, k, k)
    return convolve_transposed(x, weight, stride=2, padding=k // 2 - 1, groups=c)


def downsample2d(x: Tensor, kernel: Tensor | None = None) -> Tensor:
    """Return x (n, c, y, x) at half the size (n, c, y/2, x/2), after the FIR low pass.

    The kernel None is the standard filter.
    """
    if kernel is None:
        return low_pass(x, down=2, pad=1)
    k = kernel.shape[-1]
    before, after = (k - 1) // 2, (k - 2) // 2
    return upfirdn2d(x, kernel, down=2, padding=(before, after, before, after))


def square_sum(weight: Tensor) -> Tensor:
    """Return the sum of squared weights over the kernel: (out, in, ky, kx) -> (out, in)."""
    return weight.square().sum(dim=(2, 3))


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: bool = False,
    kernel: Tensor | None = None,
    squares: Tensor | None = None,
    gain: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Convolve with a weight that is scaled by a style per sample and input, normalised per output.

    The convolution with  w''_{oik} = w'_{oik} / sqrt(sum_{i,k} w'^2_{oik} + 1e-8),  where
    w'_{oik} = s_i w_{oik}  (StyleGAN2, Eqs. 1 and 3), is computed as  d_o * conv(s_i x_i, w)  with
    d_o = 1 / sqrt(sum_i s_i^2 sum_k w_{oik}^2 + 1e-8).  It runs in the dtype of x, while styles and
    norms stay float32.

    Arguments:
        x: (n, i, y, x).
        weight: (o, i, k, k), k odd.
        styles: (n, i), float32.
        demodulate: Whether to normalise per output.
        up: Whether the result has twice the size, low-passed by ``kernel``.
        kernel: FIR kernel (k, k) of the low pass; None is the standard filter.
        squares: ``square_sum(weight)`` (o, i), where it is known.
        gain: Factor of the result.
        bias: (o,), added after the gain.
    """
    factor: Tensor | None = None
    if demodulate:
        squares = square_sum(weight) if squares is None else squares
        factor = (styles.square() @ squares.t() + 1e-8).rsqrt() * gain
    elif gain != 1.0:
        styles = styles * gain
    x = x * styles.to(x.dtype)[:, :, None, None]
    weight = weight.to(x.dtype)
    if up:
        x = upsampled_convolution(x, weight, kernel)
    else:
        x = convolve(x, weight, padding=weight.shape[-1] // 2)
    bias = None if bias is None else bias.to(x.dtype)[:, None, None]
    if factor is None:
        return x if bias is None else x + bias
    factor = factor.to(x.dtype)[:, :, None, None]
    return x * factor if bias is None else torch.addcmul(bias, x, factor)


def upsampled_convolution(x: Tensor, weight: Tensor, kernel: Tensor | None = None) -> Tensor:
    """Insert zeros, convolve and apply the FIR low pass: (n, i, y, x) -> (n, o, 2y, 2x)."""
    centre = weight.shape[-1] // 2
    x = convolve_transposed(x, weight.transpose(0, 1), stride=2)
    if kernel is None:
        return low_pass(x, pad=2 - centre, gain=4.0)
    k = kernel.shape[-1]
    before, after = (k + 1) // 2 - centre, (k - 2) // 2 - centre + 1
    return upfirdn2d(x, kernel, padding=(before, after, before, after), gain=4.0)


def downsampled_convolution(
    x: Tensor, weight: Tensor, kernel: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Apply the FIR low pass and convolve with stride 2: (n, i, y, x) -> (n, o, y/2, x/2)."""
    centre = weight.shape[-1] // 2
    if centre == 0:
        return convolve(downsample2d(x, kernel), weight, bias)
    if kernel is None:
        x = low_pass(x, pad=1 + centre)
    else:
        k = kernel.shape[-1]
        before, after = (k - 1) // 2 + centre, (k - 2) // 2 + centre
        x = upfirdn2d(x, kernel, padding=(before, after, before, after))
    return convolve(x, weight, bias, stride=2)


def leaky(x: Tensor, clamp: float | None) -> Tensor:
    """Apply the leaky ReLU in place, then the optional clamp.

    The gain of the activation is already in x: lrelu is positively homogeneous, so g * lrelu(x) =
    lrelu(g x) for g > 0, which saves one pass over memory.
    """
    x = F.leaky_relu(x, LEAK, inplace=True)
    return x if clamp is None else x.clamp(-clamp, clamp)


def to_fast_layout(module: nn.Module) -> None:
    """Store the convolution weights in the layout for which convolutions are fastest."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=MEMORY_FORMAT)


class FullyConnectedLayer(nn.Module):
    """A fully connected layer (n, in) -> (n, out) with equalised learning rate.

    It computes y = act(x W^T g + b m), where W has unit variance, g = m / sqrt(in), and m is the
    multiplier of the learning rate (0.01 in the mapping network). Source: Karras et al. 2018,
    progressive growing, section 4.1.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        activation: Literal["linear", "lrelu"] = "linear",
        rate_multiplier: float = 1.0,
        bias_start: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / rate_multiplier)
        self.bias = nn.Parameter(torch.full((n_out,), float(bias_start)))
        self.activation: Literal["linear", "lrelu"] = activation
        self.weight_gain = rate_multiplier / math.sqrt(n_in)
        self.bias_gain = rate_multiplier

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Return y (n, out) for x (n, in); ``gain`` multiplies the input of the activation."""
        weight = self.weight * (self.weight_gain * gain)
        bias = self.bias * (self.bias_gain * gain)
        y = F.linear(x, weight, bias)
        return y if self.activation == "linear" else F.leaky_relu(y, LEAK) * _ROOT_2


class Conv2dLayer(nn.Module):
    """A convolution with equalised learning rate, FIR resampling by 2, bias and activation.

    It maps (n, in, y, x) to (n, out, y', x') with y' = y, 2y (up) or y/2 (down), and computes in
    the dtype of x.

    Attributes:
        resample_filter: The standard filter, for files in NVlabs' layout; nothing computes with it.
    """

    resample_filter: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activation: Literal["linear", "lrelu"] = "linear",
        up: bool = False,
        down: bool = False,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.register_buffer("resample_filter", setup_filter(FILTER_TAPS))
        self.activation = activation
        self.up, self.down, self.clamp = up, down, clamp
        self.weight_gain = 1.0 / math.sqrt(n_in * kernel_size**2)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Return the layer's output; ``gain`` multiplies its activation and its clamp."""
        gain_of_activation = gain if self.activation == "linear" else gain * _ROOT_2
        weight = (self.weight * (self.weight_gain * gain_of_activation)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * gain_of_activation).to(x.dtype)
        clamp = None if self.clamp is None else self.clamp * gain
        if self.up:
            x = upsampled_convolution(x, weight)
            x = x if bias is None else x + bias[:, None, None]
        elif self.down:
            x = downsampled_convolution(x, weight, bias=bias)
        else:
            x = convolve(x, weight, bias, padding=weight.shape[-1] // 2)
        if self.activation == "lrelu":
            return leaky(x, clamp)
        return x if clamp is None else x.clamp(-clamp, clamp)
