"""Operators of StyleGAN2: FIR resampling, activation, equalised layers, modulated convolution.

Everything is an ordinary differentiable torch operation, so first and second derivatives exist on
CPU and GPU alike. No per-sample weight is ever built: activations are scaled by the style,
convolved with the shared weight and demodulated with norms that come from one [out, in] matrix of
squared weights (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN",
section 2.2, regrouped).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rls.stylegan2.convolution import convolve, convolve_transposed

Activation = Literal[
    "linear", "lrelu", "relu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"
]

FILTER_TAPS = (1, 3, 3, 1)  # the binomial low pass of StyleGAN2
LEAK = 0.2
MEMORY_FORMAT = torch.channels_last  # of activations and convolution weights: the fastest
_ROOT_2 = math.sqrt(2)
_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "lrelu": (lambda x: F.leaky_relu(x, LEAK), _ROOT_2),
    "relu": (torch.relu, _ROOT_2),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "elu": (F.elu, 1.0),
    "selu": (torch.selu, 1.0),
    "softplus": (F.softplus, 1.0),
    "swish": (F.silu, _ROOT_2),
}


def setup_filter(taps: Sequence[float]) -> Tensor:
    """2-D FIR filter (k, k) float32: the outer product of 1-D taps, normalised to sum 1."""
    line = torch.tensor(list(taps), dtype=torch.float32)
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


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
    """Insert zeros, pad or crop, convolve with a FIR kernel, keep every `down`-th pixel.

    x (n, c, y, x); kernel (ky, kx), or (k,) for a separable one; padding (left, right, top,
    bottom), negative crops. The kernel is applied as a convolution, or as a correlation if `flip`.
    gain multiplies the output.
    """
    n, c, height, width = x.shape
    if kernel.ndim == 1:
        kernel = torch.outer(kernel, kernel)
    if up > 1:
        x = F.pad(x.reshape(n, c, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
        x = x.reshape(n, c, height * up, width * up)
    left, right, top, bottom = padding
    symmetric = left == right == top == bottom and left >= 0
    if not symmetric:
        x = F.pad(x, padding)
    kernel = (kernel if flip else kernel.flip(0, 1)) * gain
    kernel = kernel.to(x.dtype).expand(c, 1, *kernel.shape)
    return convolve(x, kernel, stride=down, padding=left if symmetric else 0, groups=c)


def filter2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Low-pass filter at the same size, zeros outside: (n, c, y, x) -> (n, c, y, x)."""
    k = kernel.shape[-1]
    before, after = k // 2, (k - 1) // 2
    return upfirdn2d(x, kernel, padding=(before, after, before, after))


def upsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Twice the size by zero insertion and FIR, brightness kept: (n, c, y, x) -> (n, c, 2y, 2x)."""
    k = kernel.shape[-1]
    c = x.shape[1]
    if k % 2:
        before, after = (k + 1) // 2, (k - 2) // 2
        return upfirdn2d(x, kernel, up=2, padding=(before, after, before, after), gain=4.0)
    # A transposed convolution is the same sum without the inserted zeros.
    weight = (kernel * 4.0).to(x.dtype).expand(c, 1, k, k)
    return convolve_transposed(x, weight, stride=2, padding=k // 2 - 1, groups=c)


def downsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Half the size after the FIR low pass: (n, c, y, x) -> (n, c, y/2, x/2)."""
    k = kernel.shape[-1]
    before, after = (k - 1) // 2, (k - 2) // 2
    return upfirdn2d(x, kernel, down=2, padding=(before, after, before, after))


def bias_act(
    x: Tensor,
    bias: Tensor | None,
    *,
    activation: Activation = "linear",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias per channel (dimension 1), apply the activation, multiply by its gain, clamp.

    gain None is the activation's own (sqrt 2 for the rectifiers), which keeps unit variance.
    """
    function, own_gain = _ACTIVATIONS[activation]
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *([1] * (x.ndim - 2)))
    x = function(x)
    gain = own_gain if gain is None else gain
    if gain != 1.0:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def square_sum(weight: Tensor) -> Tensor:
    """Sum of squared weights over the kernel: (out, in, ky, kx) -> (out, in)."""
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
    """Convolution whose weight a style scales per sample and input, normalised per output.

    w'_{oik} = s_i w_{oik};  w''_{oik} = w'_{oik} / sqrt(sum_{i,k} w'^2_{oik} + 1e-8)   (StyleGAN2,
    Eqs. 1 and 3) is computed as  d_o * conv(s_i x_i, w)  with  d_o = 1 / sqrt(sum_i s_i^2 sum_k
    w_{oik}^2 + 1e-8).

    x (n, i, y, x); weight (o, i, k, k), k odd; styles (n, i) float32; squares (o, i) =
    square_sum(weight) if it is known. With `up` the result has twice the size, low-passed by
    `kernel`. The convolution runs in x.dtype; styles and norms stay float32. gain multiplies the
    result; then bias (o,) is added.
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
        if kernel is None:
            raise ValueError("Found no FIR kernel, expected one: upsampling needs it.")
        x = upsampled_convolution(x, weight, kernel)
    else:
        x = convolve(x, weight, padding=weight.shape[-1] // 2)
    bias = None if bias is None else bias.to(x.dtype)[:, None, None]
    if factor is None:
        return x if bias is None else x + bias
    factor = factor.to(x.dtype)[:, :, None, None]
    return x * factor if bias is None else torch.addcmul(bias, x, factor)


def upsampled_convolution(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """Zero insertion, convolution, FIR low pass: (n, i, y, x) -> (n, o, 2y, 2x)."""
    k = kernel.shape[-1]
    centre = weight.shape[-1] // 2
    if weight.shape[-1] == 1:
        return upsample2d(convolve(x, weight), kernel)
    x = convolve_transposed(x, weight.transpose(0, 1), stride=2)
    before, after = (k + 1) // 2 - centre, (k - 2) // 2 - centre + 1
    return upfirdn2d(x, kernel, padding=(before, after, before, after), gain=4.0)


def downsampled_convolution(
    x: Tensor, weight: Tensor, kernel: Tensor, bias: Tensor | None
) -> Tensor:
    """FIR low pass and convolution with stride 2: (n, i, y, x) -> (n, o, y/2, x/2)."""
    if weight.shape[-1] == 1:
        return convolve(downsample2d(x, kernel), weight, bias)
    k = kernel.shape[-1]
    centre = weight.shape[-1] // 2
    before, after = (k - 1) // 2 + centre, (k - 2) // 2 + centre
    x = upfirdn2d(x, kernel, padding=(before, after, before, after))
    return convolve(x, weight, bias, stride=2)


def leaky(x: Tensor, clamp: float | None) -> Tensor:
    """Leaky ReLU in place, then an optional clamp; its gain is folded into what x was made of.

    The activation is positively homogeneous, so g * lrelu(x) = lrelu(g x) for g > 0: one pass less
    over memory.
    """
    x = F.leaky_relu(x, LEAK, inplace=True)
    return x if clamp is None else x.clamp(-clamp, clamp)


def to_fast_layout(module: nn.Module) -> None:
    """Store the convolution weights in the layout that convolutions are fast in."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=MEMORY_FORMAT)


class FullyConnectedLayer(nn.Module):
    """y = act(x W^T g + b m), W of unit variance and g = m / sqrt(in): equalised learning rate.

    x (n, in) -> (n, out). m is the multiplier of the learning rate (0.01 in the mapping network).
    Source: Karras et al. 2018, progressive growing, section 4.1.
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
        weight = self.weight * (self.weight_gain * gain)
        bias = self.bias * (self.bias_gain * gain)
        y = F.linear(x, weight, bias)
        return y if self.activation == "linear" else F.leaky_relu(y, LEAK) * _ROOT_2


class Conv2dLayer(nn.Module):
    """Convolution at equalised learning rate, with FIR resampling by 2, bias and activation.

    (n, in, y, x) -> (n, out, y', x'), y' = y, 2y (up) or y/2 (down). Computed in x.dtype.
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
        gain_of_activation = gain if self.activation == "linear" else gain * _ROOT_2
        weight = (self.weight * (self.weight_gain * gain_of_activation)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * gain_of_activation).to(x.dtype)
        clamp = None if self.clamp is None else self.clamp * gain
        if self.up:
            x = upsampled_convolution(x, weight, self.resample_filter)
            x = x if bias is None else x + bias[:, None, None]
        elif self.down:
            x = downsampled_convolution(x, weight, self.resample_filter, bias)
        else:
            x = convolve(x, weight, bias, padding=weight.shape[-1] // 2)
        if self.activation == "lrelu":
            return leaky(x, clamp)
        return x if clamp is None else x.clamp(-clamp, clamp)
