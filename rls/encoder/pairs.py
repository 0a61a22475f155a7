"""Generated pairs: styles w, their images x = G_s(w), and low-resolution images y = D(x) + delta.

A generator makes as many of them as one likes. What is learnt from pairs alone, such as the encoder
or a regression from y to a feature, has seen no high-resolution image of a cell; it can be only as
good as the generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rls.encoder.settings import Settings
from rls.runtime.streams import torch_stream
from rls.runtime.transfer import upload
from rls.search.degradation import Chain, degrade_low
from rls.search.forward import Forward
from rls.stylegan2.networks import Generator


@dataclass(frozen=True)
class Pairs:
    """Generated pairs on the CPU.

    Attributes:
        w: (n, L, d) styles.
        x: (n, c, size, size) float32 in [0, 1] units, not clipped.
        y: (n, c, m, m) float32 in [0, 1] units.
    """

    w: Tensor
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class PairSource:
    """A source of pairs in batches of one size; batch number b is the same whenever it is drawn.

    Attributes:
        generator: Makes the images, on its own device.
        forward: D, on the same device.
        chain: Degradations that follow D.
        quantise: ``8bit`` or ``none``, as in ``degrade``.
        batch_size: Pairs of a batch.
        mixing_probability: Share of images whose later styles come from another z, from a random
            layer on (style mixing; Karras et al. 2019, section 3.1).
        seed, purpose: Name the random streams; pairs of two purposes are independent.
    """

    generator: Generator
    forward: Forward
    chain: Chain
    quantise: str
    batch_size: int
    mixing_probability: float
    seed: int
    purpose: str = "pairs"

    @classmethod
    def of(
        cls, generator: Generator, forward: Forward, chain: Chain, quantise: str, settings: Settings
    ) -> PairSource:
        """Return the source that the settings of a training describe."""
        return cls(
            generator,
            forward,
            chain,
            quantise,
            settings.pair_batch_size,
            settings.mixing_probability,
            settings.seed,
        )

    @torch.no_grad()
    def draw(self, batch: int) -> Pairs:
        """Return the pairs of batch number ``batch``; noise maps are drawn for every image."""
        random = torch_stream(self.seed, f"batch {batch}", self.purpose)
        device = self.generator.w_mean.device
        w = self._styles(random)
        maps = [
            torch.randn((self.batch_size, *shape[1:]), generator=random)
            for shape in self.generator.noise_shapes
        ]
        noise = [upload(one, device) for one in maps]
        x = (self.generator.synthesis(w, noise).float() + 1.0) / 2.0
        low = self.forward(x).cpu().numpy()
        ids = [f"{self.purpose} {batch} {i}" for i in range(self.batch_size)]
        y = degrade_low(low, ids, self.chain, quantise=self.quantise, seed=self.seed)
        return Pairs(w.cpu(), x.cpu(), torch.from_numpy(y))

    def _styles(self, random: torch.Generator) -> Tensor:
        """Return styles (n, L, d) on the generator's device, some of them mixed."""
        generator, n = self.generator, self.batch_size
        z = torch.randn((2, n, generator.z_dim), generator=random)
        share = torch.rand(n, generator=random)
        first = torch.randint(1, max(generator.num_ws, 2), (n,), generator=random)
        device = generator.w_mean.device
        w = generator.mapping(upload(z[0], device))
        if self.mixing_probability == 0:
            return w
        other = generator.mapping(upload(z[1], device))
        layers = torch.arange(generator.num_ws)
        mixed = (layers >= first[:, None]) & (share < self.mixing_probability)[:, None]
        return torch.where(upload(mixed, device)[:, :, None], other, w)
