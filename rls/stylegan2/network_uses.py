"""How the phases of a training step use the networks: plainly, or in compiled form.

The six uses are functions of tensors. Each compiled use is a function of its own, because torch
compiles anew for other precisions or for weights that need no gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.losses import image_gradient, path_gradient, scaled_noise
from rls.stylegan2.networks import Generator

Synthesis = Callable[[Tensor, Sequence[Tensor]], Tensor]  # ws and noise maps -> images
Logits = Callable[[Tensor], Tensor]


class Networks:
    """The uses of generator and discriminator.

    Attributes:
        synthesis, synthesis_alone: Images of ws and noise maps, with and without derivatives.
        logits, frozen_logits: D of images; the second while D's weights need no gradient.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.synthesis: Synthesis = generator.synthesis
        self.synthesis_alone: Synthesis = generator.synthesis
        self.logits: Logits = discriminator
        self.frozen_logits: Logits = discriminator

    def path_gradient(
        self, ws: Tensor, maps: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return J^T y (n, num_ws, w_dim), differentiable, and the images.

        Arguments:
            ws: (n, num_ws, w_dim), which must require gradients.
            noise: Standard normal numbers in the shape of the images; y in another scale.
        """
        images = self.generator.synthesis(ws, maps)
        return path_gradient(images, ws, noise, create_graph=True), images

    def r1_gradient(
        self, images: Tensor, augmented: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return grad_x D(augmented(x)) (n, c, y, x), differentiable, and the logits.

        Arguments:
            images: x (n, c, y, x), which must require gradients.
        """
        logits = self.discriminator(augmented(images))
        return image_gradient(logits, images), logits


class CompiledNetworks(Networks):
    """The same uses, compiled by torch.

    A compiled function cannot be differentiated twice. So the two penalties take their inner
    derivative inside the compiled function.
    """

    def __init__(
        self, generator: Generator, discriminator: Discriminator, backend: str = "inductor"
    ) -> None:
        super().__init__(generator, discriminator)

        compiled = functools.partial(torch.compile, backend=backend, fullgraph=True, dynamic=False)

        def path_gradient(ws: Tensor, maps: Sequence[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
            def along(ws: Tensor) -> tuple[Tensor, Tensor]:
                images = generator.synthesis(ws, maps)
                return (images * y).sum(), images

            return torch.func.grad(along, has_aux=True)(ws)

        def r1_gradient(images: Tensor) -> tuple[Tensor, Tensor]:
            def total(images: Tensor) -> tuple[Tensor, Tensor]:
                logits = discriminator(images)
                return logits.sum(), logits

            return torch.func.grad(total, has_aux=True)(images)

        self.synthesis = compiled(lambda ws, maps: generator.synthesis(ws, maps))
        self.synthesis_alone = compiled(lambda ws, maps: generator.synthesis(ws, maps))
        self.logits = compiled(lambda images: discriminator(images))
        self.frozen_logits = compiled(lambda images: discriminator(images))
        self._path_gradient = compiled(path_gradient)
        self._r1_gradient = compiled(r1_gradient)

    def path_gradient(
        self, ws: Tensor, maps: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`Networks.path_gradient` returns."""
        return self._path_gradient(ws, maps, scaled_noise(noise))

    def r1_gradient(
        self, images: Tensor, augmented: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`Networks.r1_gradient` returns.

        The augmentation stays outside. It is linear in the images up to a constant, so its adjoint
        takes grad D to grad_x.
        """
        seen = augmented(images)
        gradient, logits = self._r1_gradient(seen.detach())
        if seen is not images:
            (gradient,) = torch.autograd.grad(seen, images, gradient, create_graph=True)
        return gradient, logits
