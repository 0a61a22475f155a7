"""The input and the output of every search: one signature for all methods."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from rls.prior.whitening import Whitening
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress, format_seconds
from rls.runtime.stopping import Watch
from rls.runtime.streams import torch_stream
from rls.search.steps import Searches

if TYPE_CHECKING:
    from rls.encoder.network import Encoder
    from rls.io import Intensity
    from rls.prior.flows import StyleFlow
    from rls.search.forward import Forward
    from rls.stylegan2.networks import Generator, Precision

T = TypeVar("T")
NEEDED = {
    "generator": "This search needs a generator.",
    "flow": "This search needs the flow p_F for its prior.",
    "styles": "This search needs sampled styles, for its start, scale or coordinates.",
    "network": "This method needs a network of its own.",
    "encoder": "This search starts from the encoder.",
    "intensity": "This likelihood needs the counts of 0 and 1.",
}


@dataclass(frozen=True)
class Styles:
    """Style vectors of the mapping network.

    Attributes:
        w: (n, d), w = G_m(z) for random z.
        mean: (d,), the mean of 10,000 w, at which a search starts (section 4.1).
    """

    w: Tensor
    mean: Tensor

    @property
    def sd(self) -> Tensor:
        """Return the standard deviation of w per dimension, (d,)."""
        return self.w.std(dim=0)

    @cached_property
    def whitening(self) -> Whitening:
        """The whitened coordinates of these styles, with the last activation undone."""
        return Whitening.of(self.w, leaky=True)

    @cached_property
    def distance(self) -> float:
        """The root mean square distance between two styles, a scale of the cross term."""
        return float((2.0 * self.w.double().var(dim=0).sum()).sqrt())


@dataclass(frozen=True, kw_only=True)
class Common:
    """Everything that the reconstruction of images may use and that all batches share.

    Attributes:
        generator, flow, styles: None where the command was given no file.
        factor: Side of x over side of y.
        forward: D, from (factor m) px to m px.
        precision: Precision of the convolutions during the search.
        noise: ``shared`` (one set of noise maps for all images) or ``per_image``.
        intensity: The counts of 0 and 1; None where no likelihood needs them.
        network: File of the network that the method's own training wrote, or None.
        encoder: The encoder from which a search may start; None where none was given.
        searches: Keeps the steps of a search from batch to batch.
    """

    generator: Generator | None
    flow: StyleFlow | None
    styles: Styles | None
    factor: int
    forward: Forward
    seed: int
    device: torch.device
    precision: Precision
    noise: str
    intensity: Intensity | None = None
    network: Path | None = None
    encoder: Encoder | None = None
    searches: Searches = field(default_factory=Searches)


@dataclass(frozen=True, kw_only=True)
class Problem(Common):
    """A batch of low-resolution images, and everything that their reconstruction may use.

    Attributes:
        y: (n, c, m, m) float32 in [0, 1] units.
        image_ids: n ids; with ``seed`` they determine every random draw of an image.
        lanes: Images that are searched at a time where the n images are a queue
            (:mod:`rls.search.lanes`), n at most; None: all n.
    """

    y: Tensor
    image_ids: tuple[str, ...]
    lanes: int | None = None


@dataclass(frozen=True)
class Reconstruction:
    """The super-resolved images of a batch.

    Attributes:
        images: (n, c, factor m, factor m) float32 in [0, 1] units, not clipped.
        latents: (n, L, d), the w+ that was found, or None for a method without latents.
        columns: Arrays (n,) for the table: losses (float), ``search_status`` (str) and others.
    """

    images: Tensor
    latents: Tensor | None
    columns: dict[str, np.ndarray] = field(default_factory=dict)


def need(part: T | None, name: str) -> T:
    """Return the part of a problem that a search cannot do without.

    Arguments:
        part: The generator, flow, styles or network of a :class:`Problem`.
        name: Its flag, without dashes.

    Raises:
        InputError: The command was given no such file.
    """
    if part is None:
        raise InputError(f"{NEEDED[name]} Give --{name}.")
    return part


def to_unit(images: Tensor) -> Tensor:
    """Return a generator's images, which lie in [-1, 1], in [0, 1] units."""
    return (images.float() + 1.0) / 2.0


def noise_maps(problem: Problem) -> list[Tensor]:
    """Return the fixed N(0, 1) maps of the noise layers, each (1 or n, 1, y, x).

    They are drawn on the CPU, so that every device gets the same maps.
    """
    shapes = need(problem.generator, "generator").noise_shapes
    keys = ("all images",) if problem.noise == "shared" else problem.image_ids
    drawn: dict[str, list[Tensor]] = {}
    for key in keys:
        if key not in drawn:
            random = torch_stream(problem.seed, key, "noise maps")
            drawn[key] = [torch.randn(shape[1:], generator=random) for shape in shapes]
    layers = range(len(shapes))
    return [torch.stack([drawn[key][i] for key in keys]).to(problem.device) for i in layers]


def select_rows(problem: Problem, rows: np.ndarray) -> Problem:
    """Return the problem of the images at ``rows``."""
    ids = tuple(problem.image_ids[row] for row in rows)
    return replace(problem, y=problem.y[torch.as_tensor(rows)], image_ids=ids)


class Draws:
    """Standard normal draws for the rows of a batch, each from a stream of its own.

    A row's draws therefore do not depend on the rest of the batch.

    Arguments:
        ids: One id for each row.
        purpose: What the draws are for; each purpose has other streams.
    """

    def __init__(self, seed: int, ids: Sequence[str], purpose: str) -> None:
        self.streams = [torch_stream(seed, name, purpose) for name in ids]

    def next(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Return the next draws, (rows, *shape), made on the CPU to be the same on every device."""
        drawn = [torch.randn(tuple(shape), generator=random) for random in self.streams]
        together = torch.stack(drawn)
        if device.type == "cuda":  # A copy from other memory would wait for all steps before it.
            together = together.pin_memory()
        return together.to(device, non_blocking=True)


class BatchProgress:
    """Report the steps of one batch within the progress over all images.

    A step adds no finished image but refreshes the line. After a few steps the first batch prints
    how long all batches will take, by the time since its first report: on a GPU the steps before
    that one also load and record kernels.

    Arguments:
        bar: Progress over all images.
        n_batches: Batches still to be searched, this one included.
        watch: Tells when a signal asks to stop; None where nothing can interrupt.
    """

    def __init__(self, bar: Progress, n_batches: int, watch: Watch | None = None) -> None:
        self.bar, self.n_batches, self.watch = bar, n_batches, watch
        self.first: tuple[int, float] | None = None  # steps of the first report, and its time
        self.told = self.bar.done > self.bar.done_at_start

    def step(self, done: int, steps: int) -> None:
        """Report that ``done`` of the ``steps`` steps of this batch are finished.

        Raises:
            Stopped: A signal asked to stop; the work on this batch is lost.
        """
        if self.watch is not None:
            self.watch.stop_if_asked(f"after {self.bar.done} of {self.bar.total} images")
        self.bar.advance(0, f"step {done} of {steps}")
        if self.told:
            return
        now = time.monotonic()
        if self.first is None or done <= self.first[0]:
            self.first = done, now
        elif done >= max(3, steps // 20):
            self.told = True
            batch = (now - self.first[1]) / (done - self.first[0]) * steps
            print(
                f"{self.bar.label}: about {format_seconds(batch)} a batch, {self.n_batches} "
                f"batches: about {format_seconds(batch * self.n_batches)} in all",
                flush=True,
            )

    def part(self, before: int, total: int) -> BatchProgress:
        """Return the progress of one phase, whose steps count among ``total`` steps of all.

        Arguments:
            before: Steps of the phases before this one.
        """
        return PhaseProgress(self, before, total)


class PhaseProgress(BatchProgress):
    """Report the steps of one phase as steps of all phases."""

    def __init__(self, whole: BatchProgress, before: int, total: int) -> None:
        self.whole, self.before, self.total = whole, before, total

    def step(self, done: int, steps: int) -> None:
        """Report that ``done`` steps of this phase are finished.

        A phase in lanes walks more steps than its images take.
        """
        self.whole.step(self.before + done, max(self.total, self.before + steps))
