"""Generator and discriminator of StyleGAN2, with the parameter names of NVlabs' state_dict.

Skip generator and residual discriminator (Karras et al. 2020, "Analyzing and improving the image
quality of StyleGAN", sections 2 and 4), unconditional, for any channel count and any power-of-two
size from 8. Weights of NVlabs' stylegan2-ada-pytorch of the same sizes load by name with
``load_state_dict``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rls.io import Intensity
from rls.runtime.errors import InputError
from rls.stylegan2 import operators
from rls.stylegan2.convolution import convolve
from rls.stylegan2.operators import (
    FILTER_TAPS,
    FullyConnectedLayer,
    leaky,
    modulated_conv2d,
    setup_filter,
    square_sum,
    to_fast_layout,
    upsample2d,
)

Precision = Literal["float32", "bfloat16"]
Noise = Literal["const", "none", "random"] | Sequence[Tensor]
MAPPING_RATE = (
    0.01  # multiplier of the learning rate in the mapping network (StyleGAN, section A.1 of 2019)
)
W_AVERAGE_DECAY = 0.995  # of the running mean of w


def convolution_dtype(precision: Precision, parameter: Tensor) -> torch.dtype:
    """bfloat16, or the dtype of the parameters: float32, unless a network was made float64."""
    return torch.bfloat16 if precision == "bfloat16" else parameter.dtype


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of both networks.

    image_size in px (a power of two, at least 8); n_channels of an image; features at resolution r
    are min(channel_base // r, channel_max); clamp limits activations (NVlabs' conv_clamp, 256 in
    nets trained in fp16; None: no limit); mbstd_group_size of the minibatch standard deviation.
    """

    image_size: int
    n_channels: int
    z_dim: int
    w_dim: int
    mapping_layers: int
    channel_base: int
    channel_max: int
    mbstd_group_size: int = 4
    clamp: float | None = None

    def __post_init__(self) -> None:
        if self.image_size < 8 or self.image_size & (self.image_size - 1):
            raise InputError(
                f"Found image_size {self.image_size}, expected a power of two from 8 on. Set "
                f"image_size to {2 ** max(3, round(math.log2(max(self.image_size, 1))))} and crop "
                "the cells to it."
            )

    @property
    def resolutions(self) -> list[int]:
        """4, 8, ..., image_size."""
        return [2**i for i in range(2, int(math.log2(self.image_size)) + 1)]

    def features(self, resolution: int) -> int:
        """Feature maps at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)


class MappingNetwork(nn.Module):
    """z (n, z_dim) -> w (n, num_ws, w_dim): z to unit second moment, then leaky layers."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, n_layers: int, num_ws: int) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.n_layers, self.num_ws = z_dim, w_dim, n_layers, num_ws
        for i in range(n_layers):
            layer = FullyConnectedLayer(
                z_dim if i == 0 else w_dim, w_dim, activation="lrelu", rate_multiplier=MAPPING_RATE
            )
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor,
        truncation_psi: float = 1.0,
        *,
        truncation_cutoff: int | None = None,
        update_average: bool = False,
    ) -> Tensor:
        """w of z; psi < 1 pulls the first `truncation_cutoff` (None: all) styles to the mean w."""
        w = z.to(self.w_avg.dtype)
        w = w * (w.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.n_layers):
            w = self.get_submodule(f"fc{i}")(w)
        if update_average:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, W_AVERAGE_DECAY))
        ws = w.unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi != 1.0:
            cut = self.num_ws if truncation_cutoff is None else truncation_cutoff
            ws = torch.cat([self.w_avg.lerp(ws[:, :cut], truncation_psi), ws[:, cut:]], dim=1)
        return ws


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU: x (n, in, y, x), w (n, w_dim)."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self, n_in: int, n_out: int, w_dim: int, resolution: int, *, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.affine = FullyConnectedLayer(w_dim, n_in, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", setup_filter(FILTER_TAPS))
        self.resolution, self.up, self.clamp = resolution, up, clamp
        self._frozen: tuple[tuple[int, int, torch.dtype], Tensor, Tensor] | None = None

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The weight in `dtype` and its sums of squares; kept while the weight is frozen."""
        if self.weight.requires_grad:
            return self.weight.to(dtype), square_sum(self.weight)
        key = (self.weight.data_ptr(), self.weight._version, dtype)
        if self._frozen is None or self._frozen[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                self._frozen = (key, self.weight.to(dtype), square_sum(self.weight))
        return self._frozen[1], self._frozen[2]

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """noise (n or 1, 1, y', x') is multiplied by the learned strength; None adds none."""
        gain = math.sqrt(2)
        weight, squares = self._weights(x.dtype)
        x = modulated_conv2d(
            x,
            weight,
            self.affine(w),
            up=self.up,
            kernel=self.resample_filter,
            squares=squares,
            gain=gain,
            bias=self.bias * gain,
        )
        if noise is not None:
            x += (noise * (self.noise_strength * gain)).to(x.dtype)
        return leaky(x, self.clamp)


class ToRGBLayer(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation, in float32."""

    def __init__(self, n_in: int, n_out: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.affine = FullyConnectedLayer(w_dim, n_in, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.weight_gain = 1.0 / math.sqrt(n_in)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w, gain=self.weight_gain)
        y = convolve(x.to(styles.dtype) * styles[:, :, None, None], self.weight, self.bias)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: two layers (at 4 px a learned constant and one layer) and a toRGB."""

    resample_filter: Tensor

    def __init__(self, architecture: Architecture, resolution: int) -> None:
        super().__init__()
        a = architecture
        n_out = a.features(resolution)
        self.resolution = resolution
        self.register_buffer("resample_filter", setup_filter(FILTER_TAPS))
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(n_out, 4, 4))
        else:
            n_in = a.features(resolution // 2)
            self.conv0 = SynthesisLayer(n_in, n_out, a.w_dim, resolution, up=True, clamp=a.clamp)
        self.conv1 = SynthesisLayer(n_out, n_out, a.w_dim, resolution, up=False, clamp=a.clamp)
        self.torgb = ToRGBLayer(n_out, a.n_channels, a.w_dim, a.clamp)

    @property
    def n_convolutions(self) -> int:
        """Layers with noise in this block: 1 at 4 px, else 2."""
        return 1 if self.resolution == 4 else 2

    def forward(
        self, x: Tensor, image: Tensor | None, ws: Sequence[Tensor], noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """Features and accumulated image at this resolution; ws: (n, w_dim) a layer, toRGB last."""
        if self.resolution > 4:
            x = self.conv0(x, ws[0], noise[0])
        x = self.conv1(x, ws[-2], noise[-1])
        y = self.torgb(x, ws[-1])
        return x, y if image is None else upsample2d(image, self.resample_filter) + y


class SynthesisNetwork(nn.Module):
    """ws (n, num_ws, w_dim) -> image (n, c, y, x), about [-1, 1], float32.

    precision "bfloat16" runs the convolutions in bfloat16; styles, demodulation and the image stay
    float32.
    """

    def __init__(self, architecture: Architecture, precision: Precision = "float32") -> None:
        super().__init__()
        self.resolutions = architecture.resolutions
        self.precision: Precision = precision
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(architecture, resolution))
        self.num_ws = 2 * len(self.resolutions)

    def blocks(self) -> list[SynthesisBlock]:
        """Blocks from 4 px up."""
        return [getattr(self, f"b{resolution}") for resolution in self.resolutions]

    def layers(self) -> list[SynthesisLayer]:
        """Layers that take noise, in order."""
        return [
            m for block in self.blocks() for m in block.modules() if isinstance(m, SynthesisLayer)
        ]

    @property
    def noise_shapes(self) -> list[tuple[int, int, int, int]]:
        """(1, 1, res, res) of every noise layer, in order: what a list of noise maps must match."""
        return [(1, 1, layer.resolution, layer.resolution) for layer in self.layers()]

    def forward(
        self,
        ws: Tensor,
        noise: Noise = "const",
        *,
        random: torch.Generator | None = None,
        precision: Precision | None = None,
    ) -> Tensor:
        """Image of ws.

        noise: "const" (the stored maps), "none", "random" (drawn from `random`, or torch's own
        stream), or a list of tensors (n or 1, 1, res, res), one a layer as in `noise_shapes`,
        multiplied by the learned strengths. precision: for this call only, in place of the
        attribute. Raises ValueError if ws or the list does not fit.
        """
        if ws.ndim != 3 or ws.shape[1] != self.num_ws:
            raise ValueError(
                f"Found ws of shape {tuple(ws.shape)}, expected (n, {self.num_ws}, w_dim)."
            )
        maps = self._noise_maps(noise, len(ws), ws.device, random)
        const = self.get_parameter("b4.const")
        dtype = convolution_dtype(precision or self.precision, const)
        styles = ws.to(const.dtype).unbind(dim=1)
        x = (
            const.to(dtype)
            .expand(len(ws), -1, -1, -1)
            .contiguous(memory_format=operators.MEMORY_FORMAT)
        )
        image: Tensor | None = None
        first = 0
        for block in self.blocks():
            n = block.n_convolutions
            x, image = block(x, image, styles[first : first + n + 1], maps[first : first + n])
            first += n
        assert image is not None  # there is always a 4 px block
        return image

    def _noise_maps(
        self, noise: Noise, n: int, device: torch.device, random: torch.Generator | None
    ) -> list[Tensor | None]:
        layers = self.layers()
        if noise == "const":
            return [layer.noise_const[None, None] for layer in layers]
        if noise == "none":
            return [None] * len(layers)
        if noise == "random":
            return [
                torch.randn((n, 1, *layer.noise_const.shape), device=device, generator=random)
                for layer in layers
            ]
        if isinstance(noise, str):
            raise ValueError(f"Found noise '{noise}', expected const, none, random or a list.")
        if [tuple(m.shape[1:]) for m in noise] != [s[1:] for s in self.noise_shapes]:
            shapes = [tuple(m.shape) for m in noise]
            raise ValueError(f"Found noise maps {shapes}, expected {self.noise_shapes}.")
        return list(noise)


class Generator(nn.Module):
    """Mapping and synthesis: z (n, z_dim) -> image (n, c, y, x), about [-1, 1].

    The library's interface; `rls.stylegan2.generator_io.load_generator` returns one:

    * `mapping(z, truncation_psi, truncation_cutoff=)`: z (n, z_dim), standard normal ->
      ws (n, num_ws, w_dim), one w repeated for every style input; psi 0 is `w_mean`.
    * `synthesis(ws, noise, random=)`: ws (n, num_ws, w_dim), its styles free to differ (W+) ->
      images (n, c, y, x) float32. noise: "const", "none", "random", or a list of maps, one of
      every shape in `noise_shapes`.
    * `to_counts(images)`: images -> raw counts.

    `header` is what the file says of the weights; `channels`, `pixel_size_um` and `intensity` are
    read from it, and raise InputError where it does not say. `source` is the file.
    """

    def __init__(self, architecture: Architecture, precision: Precision = "float32") -> None:
        super().__init__()
        a = self.architecture = architecture
        self.z_dim, self.w_dim = a.z_dim, a.w_dim
        self.image_size, self.n_channels = a.image_size, a.n_channels
        self.synthesis = SynthesisNetwork(a, precision)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(a.z_dim, a.w_dim, a.mapping_layers, self.num_ws)
        self.header: dict[str, Any] = {}
        self.source = "a generator that was not read from a file"
        to_fast_layout(self)

    @property
    def precision(self) -> Precision:
        """Precision of the convolutions."""
        return self.synthesis.precision

    @precision.setter
    def precision(self, value: Precision) -> None:
        self.synthesis.precision = value

    @property
    def noise_shapes(self) -> list[tuple[int, int, int, int]]:
        """(1, 1, res, res) of every noise layer, in order."""
        return self.synthesis.noise_shapes

    @property
    def w_mean(self) -> Tensor:
        """Running mean of w during training, (w_dim,): what truncation pulls to."""
        return self.mapping.w_avg

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the n_channels channels, in the order of the images."""
        return tuple(self._said("channels"))

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel of the images in micrometres."""
        return float(self._said("pixel_size_um"))

    @property
    def intensity(self) -> Intensity:
        """Scale of the images: -1 is black and 1 is white, both in counts."""
        return Intensity.from_dict(self._said("intensity"))

    def to_counts(self, images: Tensor) -> np.ndarray:
        """Raw counts, float32 (n, c, y, x), of images (n, c, y, x) from [-1, 1]; not clipped."""
        return self.intensity.to_counts((images.detach().float().cpu().numpy() + 1) / 2)

    def forward(self, z: Tensor, truncation_psi: float = 1.0, noise: Noise = "const") -> Tensor:
        """Image of z."""
        return self.synthesis(self.mapping(z, truncation_psi), noise)

    def _said(self, name: str) -> Any:  # noqa: ANN401
        if self.header.get(name) is None:
            raise InputError(
                f"Found no {name} in the header of {self.source}, expected a generator written by "
                f"train_gan. Train it again, or write it with write_generator and its {name}."
            )
        return self.header[name]
