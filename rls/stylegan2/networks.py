"""The generator of StyleGAN2: mapping and synthesis networks.

It is the skip generator (Karras et al. 2020, "Analyzing and improving the image quality of
StyleGAN", sections 2 and 4), unconditional, for any number of channels and any image size that is a
power of two from 8 on. The parameters have the names of NVlabs' stylegan2-ada-pytorch, so its
weights of the same sizes load with ``load_state_dict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rls.io import Intensity
from rls.runtime.errors import InputError
from rls.stylegan2 import operators
from rls.stylegan2.architecture import Architecture
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
# Multiplier of the learning rate in the mapping network (Karras et al. 2019, "A style-based
# generator architecture for generative adversarial networks", appendix C).
MAPPING_RATE = 0.01
W_AVERAGE_DECAY = 0.995  # decay of the running mean of w


def convolution_dtype(precision: Precision, parameter: Tensor) -> torch.dtype:
    """Return bfloat16, or the dtype of the parameters: float32, unless they were made float64."""
    return torch.bfloat16 if precision == "bfloat16" else parameter.dtype


class MappingNetwork(nn.Module):
    """The mapping network, z (n, z_dim) -> w (n, num_ws, w_dim).

    z is normalised to unit second moment; fully connected layers with leaky ReLU follow.
    """

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
        """Return w of z, repeated for every style input: (n, num_ws, w_dim).

        Arguments:
            z: (n, z_dim).
            truncation_psi: Values under 1 pull styles towards the mean w.
            truncation_cutoff: Number of the styles, from the first, that are pulled; None is all.
            update_average: Whether this batch enters the running mean of w.
        """
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
    """A modulated 3x3 convolution, then noise, bias and leaky ReLU."""

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
        self._frozen: dict[torch.dtype, tuple[tuple[int, int], Tensor, Tensor]] = {}

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the weight in ``dtype`` and its sums of squares, cached while it is frozen.

        Each type has a cache of its own, because steps recorded in two types take turns.
        """
        if self.weight.requires_grad or torch.compiler.is_compiling():
            return self.weight.to(dtype), square_sum(self.weight)
        key = (self.weight.data_ptr(), self.weight._version)
        if dtype not in self._frozen or self._frozen[dtype][0] != key:
            with torch.inference_mode(False), torch.no_grad():
                self._frozen[dtype] = (key, self.weight.to(dtype), square_sum(self.weight))
        return self._frozen[dtype][1:]

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Return the features (n, out, y', x').

        Arguments:
            x: (n, in, y, x).
            w: (n, w_dim).
            noise: (n or 1, 1, y', x'), multiplied by the learned strength; None adds none.
        """
        gain = math.sqrt(2)
        weight, squares = self._weights(x.dtype)
        x = modulated_conv2d(
            x,
            weight,
            self.affine(w),
            up=self.up,
            squares=squares,
            gain=gain,
            bias=self.bias * gain,
        )
        if noise is not None:
            x += (noise * (self.noise_strength * gain)).to(x.dtype)
        return leaky(x, self.clamp)


class ToRGBLayer(nn.Module):
    """A modulated 1x1 convolution to image channels, without demodulation, in float32."""

    def __init__(self, n_in: int, n_out: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.affine = FullyConnectedLayer(w_dim, n_in, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.weight_gain = 1.0 / math.sqrt(n_in)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the image (n, out, y, x) of features x (n, in, y, x) and style w (n, w_dim)."""
        styles = self.affine(w, gain=self.weight_gain)
        if torch.compiler.is_compiling():
            # The compiler makes one pass over x of these sums, without a float32 copy of x.
            kernels = (styles[:, None] * self.weight[:, :, 0, 0])[..., None, None].unbind(dim=1)
            y = torch.stack([(x * kernel).sum(dim=1) for kernel in kernels], dim=1)
            y = y + self.bias[:, None, None]
        else:
            y = convolve(x.to(styles.dtype) * styles[:, :, None, None], self.weight, self.bias)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: two layers (at 4 px a learned constant and one layer) and a toRGB layer."""

    resample_filter: Tensor

    def __init__(self, architecture: Architecture, resolution: int) -> None:
        super().__init__()
        a = architecture
        n_out = a.features(resolution)
        self.resolution = resolution
        self.n_convolutions = 1 if resolution == 4 else 2  # layers with noise
        self.register_buffer("resample_filter", setup_filter(FILTER_TAPS))
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(n_out, 4, 4))
        else:
            n_in = a.features(resolution // 2)
            self.conv0 = SynthesisLayer(n_in, n_out, a.w_dim, resolution, up=True, clamp=a.clamp)
        self.conv1 = SynthesisLayer(n_out, n_out, a.w_dim, resolution, up=False, clamp=a.clamp)
        self.torgb = ToRGBLayer(n_out, a.n_channels, a.w_dim, a.clamp)

    def forward(
        self, x: Tensor, image: Tensor | None, ws: Sequence[Tensor], noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """Return the features and the accumulated image at this resolution.

        Arguments:
            x: Features of the block before, or the learned constant.
            image: Image of the block before; None at 4 px.
            ws: One style (n, w_dim) per layer, that of toRGB last.
            noise: One map per layer with noise, or None.
        """
        if self.resolution > 4:
            x = self.conv0(x, ws[0], noise[0])
        x = self.conv1(x, ws[-2], noise[-1])
        y = self.torgb(x, ws[-1])
        return x, y if image is None else upsample2d(image) + y


class SynthesisNetwork(nn.Module):
    """The synthesis network, ws (n, num_ws, w_dim) -> image (n, c, y, x), float32, about [-1, 1].

    With precision "bfloat16" the convolutions run in bfloat16, while styles, demodulation and the
    image stay float32.

    Attributes:
        noise_shapes: (1, 1, res, res) for every layer with noise, in order; given maps must match.
        compiled: What computes images of which derivatives will be asked; None is the plain form.
    """

    def __init__(self, architecture: Architecture, precision: Precision = "float32") -> None:
        super().__init__()
        self.resolutions = architecture.resolutions
        self.precision: Precision = precision
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(architecture, resolution))
        self.num_ws = 2 * len(self.resolutions)
        self.noise_shapes = [(1, 1, m.resolution, m.resolution) for m in self.layers()]
        self.compiled: Callable[..., Tensor] | None = None

    def blocks(self) -> list[SynthesisBlock]:
        """Return the blocks from 4 px up."""
        return [getattr(self, f"b{resolution}") for resolution in self.resolutions]

    def layers(self) -> list[SynthesisLayer]:
        """Return the layers that take noise, in order."""
        return [
            m for block in self.blocks() for m in block.modules() if isinstance(m, SynthesisLayer)
        ]

    def forward(
        self,
        ws: Tensor,
        noise: Noise = "const",
        *,
        random: torch.Generator | None = None,
        precision: Precision | None = None,
    ) -> Tensor:
        """Return the images (n, c, y, x) of ws.

        Arguments:
            ws: (n, num_ws, w_dim).
            noise: "const" (the stored maps), "none", "random" (drawn from ``random``, or from
                torch's own stream), or a list of tensors (n or 1, 1, res, res), one per layer as in
                ``noise_shapes``, which are multiplied by the learned strengths.
            random: Stream of random noise.
            precision: Replaces the attribute for this call.

        Raises:
            ValueError: ``ws`` or the list of noise maps has another shape.
        """
        if self.compiled is None or not torch.is_grad_enabled():
            return self.images(ws, noise, random=random, precision=precision)
        # Styles in another layout would be compiled once more.
        return self.compiled(ws.contiguous(), noise, random=random, precision=precision)

    def images(
        self,
        ws: Tensor,
        noise: Noise,
        *,
        random: torch.Generator | None,
        precision: Precision | None,
    ) -> Tensor:
        """Return what :meth:`forward` returns, in the plain form."""
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
        assert image is not None  # there is always a block of 4 px
        return image

    def _noise_maps(
        self, noise: Noise, n: int, device: torch.device, random: torch.Generator | None
    ) -> list[Tensor | None]:
        """Return one noise map per layer, or None where no noise is added."""
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
    """Mapping and synthesis networks: z (n, z_dim) -> image (n, c, y, x), about [-1, 1].

    This is the library's interface; ``rls.stylegan2.generator_io.load_generator`` returns one:

    * ``mapping(z, truncation_psi, truncation_cutoff=)``: z (n, z_dim), standard normal ->
      ws (n, num_ws, w_dim), one w repeated for every style input; psi 0 gives ``w_mean``.
    * ``synthesis(ws, noise, random=)``: ws (n, num_ws, w_dim), whose styles may differ (W+) ->
      images (n, c, y, x), float32. ``noise`` is "const", "none", "random", or a list of maps with
      the shapes in ``noise_shapes``.
    * ``to_counts(images)``: images -> raw counts.

    Attributes:
        header: What the file says about the weights. ``channels``, ``pixel_size_um`` and
            ``intensity`` are read from it, and raise InputError where it does not say.
        source: The file.
    """

    def __init__(self, architecture: Architecture, precision: Precision = "float32") -> None:
        super().__init__()
        a = self.architecture = architecture
        self.z_dim, self.w_dim = a.z_dim, a.w_dim
        self.image_size, self.n_channels = a.image_size, a.n_channels
        self.synthesis = SynthesisNetwork(a, precision)
        self.num_ws, self.noise_shapes = self.synthesis.num_ws, self.synthesis.noise_shapes
        self.mapping = MappingNetwork(a.z_dim, a.w_dim, a.mapping_layers, self.num_ws)
        self.header: dict[str, Any] = {}
        self.source = "a generator that was not read from a file"
        to_fast_layout(self)

    @property
    def w_mean(self) -> Tensor:
        """Return the running mean of w during training (w_dim,), to which truncation pulls."""
        return self.mapping.w_avg

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the names of the channels, in the order of the images."""
        self._require("channels")
        return tuple(self.header["channels"])

    @property
    def pixel_size_um(self) -> float:
        """Return the side of a pixel in micrometres."""
        self._require("pixel_size_um")
        return float(self.header["pixel_size_um"])

    @property
    def intensity(self) -> Intensity:
        """Return the intensity scale, on which -1 is black and 1 is white, both in counts."""
        self._require("intensity")
        return Intensity.from_dict(self.header["intensity"])

    def to_counts(self, images: Tensor) -> np.ndarray:
        """Return images (n, c, y, x) in [-1, 1] as raw counts, float32, not clipped."""
        return self.intensity.to_counts((images.detach().float().cpu().numpy() + 1) / 2)

    def forward(self, z: Tensor, truncation_psi: float = 1.0, noise: Noise = "const") -> Tensor:
        """Return the images (n, c, y, x) of z (n, z_dim)."""
        return self.synthesis(self.mapping(z, truncation_psi), noise)

    def _require(self, name: str) -> None:
        """Raise InputError unless the header has ``name``."""
        if self.header.get(name) is None:
            raise InputError(
                f"Found no {name} in the header of {self.source}, expected a generator written by "
                f"train_gan. Train it again, or write it with write_generator and its {name}."
            )
