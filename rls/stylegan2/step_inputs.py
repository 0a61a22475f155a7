"""The inputs of a training step: crops, random numbers and augmentations, in tensors that stay.

Everything that a phase needs besides the networks is made here, outside of the phases, and copied
into tensors that never move. A phase is then a function of tensors, which runs directly or is
replayed as a CUDA graph. What is drawn on the host is drawn for a block of steps, between two
changes of the probability of augmentations, and sent to the device in one message a kind.

The normal numbers of step k come from the stream (seed, step k), the augmentations of block b from
(seed, block b). So a training that is resumed within a block draws the same block again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rls.runtime.distributed import Processes
from rls.runtime.streams import stream, stream_seed, torch_stream
from rls.runtime.transfer import send
from rls.stylegan2.augment_draws import Draws, draw
from rls.stylegan2.crops import Crops
from rls.stylegan2.networks import Generator
from rls.stylegan2.pipelines import PIPELINES
from rls.stylegan2.settings import Settings
from rls.stylegan2.training_images import TrainingImages

NAME = "train_gan"  # purpose of the streams
# The order in which a step draws its random numbers; raise it when that order changes. In 1 the
# numbers were drawn within the phases.
DRAWS = 2
# Phases that generate images. Path length is last, so that steps without it draw nothing for it.
GENERATING = ("generator", "discriminator", "path length")
# What is augmented: the images of the generator's phase, generated and real images of the
# discriminator's phase, and real images of the R1 phase.
AUGMENTED = ("generator", "generated", "real", "R1")


@dataclass(frozen=True)
class FakeInputs:
    """What a batch of generated images is made from.

    Attributes:
        z: (n, z_dim), standard normal.
        other_z: As z, for style mixing; None where styles are never mixed.
        from_z: (num_ws,) bool; the other styles come from ``other_z``.
        maps: Noise maps (n, 1, res, res), one per layer.
    """

    z: Tensor
    other_z: Tensor | None
    from_z: Tensor
    maps: list[Tensor]


class StepInputs:
    """The inputs of one step, of the rows of this process.

    Attributes:
        fake: :class:`FakeInputs` by the name of the phase.
        pixels: (n, c, y, x), the normal numbers y of the path lengths |J^T y|.
        positions, flips, turns: (n,), which crops are shown, and how.
        augmented: Whether images are augmented in this step.
        draws: Augmentations by what is augmented, see AUGMENTED.
    """

    def __init__(
        self,
        settings: Settings,
        generator: Generator,
        data: TrainingImages,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.settings, self.data, self.device = settings, data, device
        self.processes = processes
        self.names = PIPELINES[settings.augmentations]
        side = generator.image_size
        self.shape = (settings.batch_size, generator.n_channels, side, side)
        n_mine = len(range(settings.batch_size)[processes.rows])
        self.steps = settings.augment_interval
        self.crops = Crops(data, device, self.steps * n_mine)
        turns = torch.float32 if data.turns_freely else torch.int64
        self.positions, self.flips, self.turns = (
            torch.zeros(n_mine, dtype=kind, device=device)
            for kind in (torch.int64, torch.bool, turns)
        )
        self._from_z = torch.zeros(
            (len(GENERATING), generator.num_ws), dtype=torch.bool, device=device
        )
        self._statics = (self.positions, self.flips, self.turns, self._from_z)
        self._lay_out(generator)
        self.augmented = False
        self.draws: dict[str, Draws] = {}
        self._draws = Draws()
        self._block: int | None = None
        self._of_block = tuple(x.new_zeros((self.steps, *x.shape)) for x in self._statics)
        self._draws_of_block = Draws()
        # On the meta device, where costs are counted, there are no numbers.
        self._random = None if device.type == "meta" else torch.Generator(device)

    def _lay_out(self, generator: Generator) -> None:
        """Make the tensor of normal numbers and its views, for the joint batch of all processes."""
        settings, rows = self.settings, self.processes.rows
        n, mixes = settings.batch_size, settings.style_mixing_probability > 0
        small = n // settings.path_length_batch_shrink
        shapes: list[tuple[int, ...]] = []
        for phase in GENERATING:
            count = small if phase == "path length" else n
            shapes += [(count, generator.z_dim)] * (1 + mixes)
            shapes += [(count, *shape[1:]) for shape in generator.noise_shapes]
        shapes.append((small, *self.shape[1:]))
        sizes = [math.prod(shape) for shape in shapes]
        per_phase = 1 + mixes + len(generator.noise_shapes)
        self._normal = torch.zeros(sum(sizes), device=self.device)
        self._n_without_path = sum(sizes[: 2 * per_phase])
        views = [
            part.view(shape) for part, shape in zip(self._normal.split(sizes), shapes, strict=True)
        ]
        self.pixels = views.pop()[rows]
        self.fake = {}
        for i, phase in enumerate(GENERATING):
            z, *rest = views[i * per_phase : (i + 1) * per_phase]
            other = rest.pop(0) if mixes else None
            maps = [part[rows] for part in rest]
            self.fake[phase] = FakeInputs(z, other, self._from_z[i], maps)

    def fill(self, step: int, p: float, *, with_path_length: bool) -> None:
        """Put the inputs of a step into the tensors.

        Arguments:
            p: Probability of each augmentation, the same for all steps of a block.
        """
        block, i = divmod(step, self.steps)
        if block != self._block:
            self._begin(block, p)
        for static, values in zip(self._statics, self._of_block, strict=True):
            static.copy_(values[i])
        if self.augmented:
            self._draws.copy_(self._draws_of_block[i])
        assert self._random is not None
        self._random.manual_seed(stream_seed(self.settings.seed, f"step {step}", NAME))
        n = len(self._normal) if with_path_length else self._n_without_path
        self._normal[:n].normal_(generator=self._random)

    def forget(self) -> None:
        """Draw the block again at the next step."""
        self._block = None

    def _begin(self, block: int, p: float) -> None:
        """Draw a block of steps and send it to the device."""
        self._block = block
        numbers = range(block * self.steps, (block + 1) * self.steps)
        n, rows = self.settings.batch_size, self.processes.rows
        chosen = [self.data.choices(k, n, rows) for k in numbers]
        values = (
            self.crops.place(np.stack([c.rows for c in chosen])),
            np.stack([c.flips for c in chosen]),
            np.stack([c.turns for c in chosen]),
            np.stack([self._mixing(k) for k in numbers]),
        )
        for target, value in zip(self._of_block, values, strict=True):
            send(value, target)
        self.augmented = bool(self.names) and p > 0
        if self.augmented:
            self._augment(block, p)

    def _mixing(self, step: int) -> np.ndarray:
        """Return which styles come from z in each phase of a step, (phases, num_ws) bool.

        Styles are mixed at a random layer (StyleGAN, section 3.1).
        """
        n_styles = self._from_z.shape[1]
        cuts = []
        for phase in GENERATING:
            random = stream(self.settings.seed, f"step {step}", f"{NAME} mixing {phase}")
            mixes = random.random() < self.settings.style_mixing_probability
            cuts.append(int(random.integers(1, n_styles)) if mixes else n_styles)
        return np.arange(n_styles) < np.array(cuts)[:, None]

    def _augment(self, block: int, p: float) -> None:
        """Draw the augmentations of a block for the joint batch, and keep those of this process."""
        n, c, height, width = self.shape
        random = torch_stream(self.settings.seed, f"block {block}", f"{NAME} draws", self.device)
        n_drawn = self.steps * len(AUGMENTED) * n
        drawn = draw((n_drawn, c, height, width), p, self.names, random)
        drawn = drawn.view(self.steps, len(AUGMENTED), n)
        self._draws_of_block = drawn[:, :, self.processes.rows]
        if not self.draws:
            self.keep(self._draws_of_block[0].empty_like())

    def keep(self, draws: Draws) -> None:
        """Take tensors (uses, n, ...) as those that hold the augmentations of a step."""
        self._draws = draws
        self.draws = {use: draws[i] for i, use in enumerate(AUGMENTED)}
