"""Searches in which every image stops by itself and leaves its place in the batch to the next one.

Once mean |y - D(x)| is as small as the noise of y, further steps fit that noise (the discrepancy
principle, Morozov 1966). Images get there after different numbers of steps. A batch therefore has
lanes: each has its own image, number of the step and rates, and takes the next image of a queue
when its own has stopped. The batch never shrinks, since matrix products of other sizes round
differently; at one number of lanes an image takes the same path in every lane, whatever its
neighbours, its place in the queue and the end of a shard.

An image stops on the device, in the very step in which it reaches the goal, fails or takes its last
step. The host looks for lanes that have stopped between steps; how often it looks decides how long
a lane waits, and no bit of a result.

Such a search is in float32 throughout, so that the goal is judged by what is reported: bfloat16
changes an image by 0.7 %, as much as a good search leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rls.io.names import NON_FINITE, OK, RESTARTED
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.search.descent import Found, exactly, search
from rls.search.optimisers import Adam, Optimiser, Variables
from rls.search.problem import BatchProgress
from rls.search.schedule import course
from rls.search.steps import Given, Losses, Objective, Searches, Steps, Walk, all_finite
from rls.stylegan2.networks import Precision


def steps_at_once(device: torch.device) -> int:
    """Return how many steps lie between two looks for lanes that have stopped."""
    return 1 if device.type == "cpu" else 5  # A look waits for the GPU.


def check_goal(stop_fidelity: float | None) -> None:
    """Refuse a goal that no image reaches."""
    if stop_fidelity is not None and not stop_fidelity > 0:
        raise InputError(
            f"Found stop_fidelity {stop_fidelity:g}, expected a number above 0, such as the mean "
            f"absolute noise of y. Correct it, or leave it out and every image takes all steps."
        )


def search_in_lanes(
    start: Sequence[Tensor],
    objective: Objective,
    *,
    given: Given,
    lanes: int,
    stop_fidelity: float | None,
    steps: int,
    learning_rate: float,
    schedule: str,
    precision: Precision,
    progress: BatchProgress,
    searches: Searches | None = None,
    optimiser: type[Optimiser] = Adam,
) -> Found:
    """Return for each of n images its first iterate that reaches the goal, or else its best one.

    The best iterate is that of least total loss, as :func:`rls.search.descent.search` returns it.
    An image whose loss or gradient becomes non-finite is searched again at half the rate.

    Arguments:
        start: The variables' first values, tensors (n, ...).
        objective: As ``search`` takes it; its loss ``loss_fidelity`` is held to the goal.
        given: The tensors that the objective uses, each with n rows, or with 1 row for all images.
        lanes: Images of a batch, n at most.
        stop_fidelity: The goal. None is ``search`` itself, of n = ``lanes`` images.
        precision: Precision of a search without a goal.

    Raises:
        InputError: The course is impossible, or there are fewer images than lanes.
    """
    if stop_fidelity is None:
        return search(
            start,
            objective,
            given=given,
            steps=steps,
            learning_rate=learning_rate,
            schedule=schedule,
            precision=precision,
            progress=progress,
            searches=searches,
            optimiser=optimiser,
        )
    check_goal(stop_fidelity)
    rates = [course(schedule, rate, steps) for rate in (learning_rate, learning_rate / 2)]
    queue = Queue(tuple(start), given, lanes, steps)
    walk = Walk(objective, optimiser, None, steps, "float32")
    kept = (searches or Searches()).of_kind(LaneSteps, walk, *queue.first())
    kept.begin(rates, stop_fidelity)
    at_once, walked = steps_at_once(kept.number.device), 0
    while queue.serve(kept):
        for _ in range(at_once):
            kept.run["float32"]()
        walked += at_once
        progress.step(walked, queue.expected_steps(walked))
    with exactly():
        losses = by_lanes(lambda x, its: objective(x, its, "float32"), queue.best, given, lanes)
    return Found(queue.best, losses, queue.status, queue.steps_taken)


class LaneSteps(Steps):
    """Steps whose rows begin and stop one by one; ``rewind`` is of no use here.

    The table of rates holds those of a first search and, behind them, those of a second.

    Attributes:
        running: (n,) whether a lane moves, until the goal, a failure or its last step.
        last: (n,) the row of ``table`` that is the last step of a lane.
        goal: (n,) the fidelity at which a lane stops.
    """

    def __init__(self, walk: Walk, start: Variables, given: Given, recorder: Recorder) -> None:
        super().__init__(walk, start, given, recorder)
        self.running = torch.zeros_like(self.alive)
        self.last = torch.zeros_like(self.number)
        self.goal = torch.zeros_like(self.best_total)
        self.table = torch.cat([self.table, self.table])

    @property
    def moving(self) -> Tensor:
        """Return which lanes move, (n,)."""
        return self.running

    def begin(self, rates: Sequence[Sequence[float]], goal: float) -> None:
        """Stop all lanes, and take the rates of first and second searches and the goal."""
        self.running.fill_(False)
        self.goal.fill_(goal)
        numbers = [row for some in rates for row in self.walk.optimiser.numbers(some)]
        self.table.copy_(torch.tensor(numbers, dtype=torch.float64))

    def load(self, lanes: Tensor, start: Variables, given: Given, first: Tensor) -> None:
        """Begin the search of an image in each of some lanes.

        Arguments:
            lanes: (k,) indices of lanes.
            start, given: Their rows, (k, ...), and what all images share, which is left as it is.
            first: (k,) the row of ``table`` that is the first step of each.
        """
        for x, best, rows in zip(self.x, self.best, start, strict=True):
            x.index_copy_(0, lanes, rows)
            best.index_copy_(0, lanes, rows)
        for name, tensors in given.items():
            for mine, rows in zip(self.given[name], tensors, strict=True):
                if len(mine) == len(self.alive):
                    mine.index_copy_(0, lanes, rows)
        self.best_total.index_fill_(0, lanes, torch.inf)
        self.alive.index_fill_(0, lanes, True)
        self.running.index_fill_(0, lanes, True)
        self.number.index_copy_(0, lanes, first)
        self.last.index_copy_(0, lanes, first + self.walk.steps - 1)
        self.optimiser.reset(lanes)

    def _judge(self, losses: Losses, gradients: Variables) -> None:
        """Keep the iterate that reaches the goal or is better than all before; stop lanes."""
        total = losses["loss_total"]
        counts = self.running & torch.isfinite(total)
        reached = counts & (losses["loss_fidelity"] <= self.goal)
        self._keep(reached | counts & (total < self.best_total), total)
        sound = all_finite(total, gradients)
        self.alive.logical_and_(sound | reached | ~self.running)
        self.running.logical_and_(sound & ~reached & (self.number < self.last))


class Queue:
    """Images that wait for a lane, those in a lane, and what was found of the others.

    Attributes:
        best: What was found, tensors (n, ...).
        status: As in :class:`Found`; empty while a first search goes on.
        steps_taken: (n,) steps of both searches of each image.
    """

    def __init__(self, start: Variables, given: Given, lanes: int, steps: int) -> None:
        n = len(start[0])
        if not 1 <= lanes <= n:
            raise InputError(f"Found {n} images for {lanes} lanes. Fill the queue up by repeats.")
        self.start, self.given, self.steps = start, given, steps
        self.best = tuple(tensor.detach().clone() for tensor in start)
        self.total = np.full(n, np.inf)
        self.status = np.full(n, "", dtype=object)
        self.steps_taken = np.zeros(n, dtype=np.int64)
        self.in_lane: list[int | None] = [None] * lanes
        self.n_begun = self.n_found = 0

    def first(self) -> tuple[Variables, Given]:
        """Return start and given of a full batch."""
        return self._rows(self._indices(range(len(self.in_lane))))

    def expected_steps(self, walked: int) -> int:
        """Return about how many steps of the batch all images need, from ``walked`` steps."""
        n, lanes = len(self.total), len(self.in_lane)
        most = -(-n // lanes) * self.steps
        expected = walked * n // self.n_found if self.n_found else most
        return max(walked, min(most, expected))

    def serve(self, kept: LaneSteps) -> bool:
        """Take what stopped lanes have found and fill them; return whether a lane has an image."""
        stopped = [lane for lane, runs in enumerate(kept.running.tolist()) if not runs]
        if stopped:
            self._take(kept, [lane for lane in stopped if self.in_lane[lane] is not None])
            self._fill(kept, stopped)
        return any(cell is not None for cell in self.in_lane)

    def _take(self, kept: LaneSteps, stopped: Sequence[int]) -> None:
        """Take what lanes have found; those that must search again keep their image."""
        alive, number, total = (x.tolist() for x in (kept.alive, kept.number, kept.best_total))
        better: list[tuple[int, int]] = []
        for lane in stopped:
            cell = self.in_lane[lane]
            assert cell is not None
            again = self.status[cell] == NON_FINITE
            self.steps_taken[cell] += number[lane] + 1 - again * self.steps
            # An image that failed twice keeps the better iterate.
            if not again or alive[lane] or total[lane] < self.total[cell]:
                self.total[cell] = total[lane]
                better.append((lane, cell))
            if alive[lane] or again:
                self.in_lane[lane], self.n_found = None, self.n_found + 1
            self.status[cell] = (RESTARTED if again else OK) if alive[lane] else NON_FINITE
        if better:
            lanes, cells = (self._indices(some) for some in zip(*better, strict=True))
            for mine, found in zip(self.best, kept.best, strict=True):
                mine.index_copy_(0, cells, found.index_select(0, lanes))

    def _fill(self, kept: LaneSteps, stopped: Sequence[int]) -> None:
        """Begin the next images, and the second searches, in lanes that have stopped."""
        n = len(self.total)
        for lane in stopped:
            if self.in_lane[lane] is None and self.n_begun < n:
                self.in_lane[lane], self.n_begun = self.n_begun, self.n_begun + 1
        begun = [(lane, cell) for lane in stopped if (cell := self.in_lane[lane]) is not None]
        if begun:
            lanes, cells = (self._indices(some) for some in zip(*begun, strict=True))
            second = [self.steps * (self.status[cell] == NON_FINITE) for _, cell in begun]
            kept.load(lanes, *self._rows(cells), self._indices(second))

    def _rows(self, cells: Tensor) -> tuple[Variables, Given]:
        """Return start and given of some images."""
        given = {name: rows_of(tensors, cells) for name, tensors in self.given.items()}
        return rows_of(self.start, cells), given

    def _indices(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.int64, device=self.start[0].device)


def rows_of(tensors: Sequence[Tensor], rows: Tensor) -> Variables:
    """Return the rows of tensors at indices (k,); a tensor of one row belongs to all images."""
    return tuple(x if len(x) == 1 else x.index_select(0, rows) for x in tensors)


def by_lanes(
    function: Callable[[Variables, Given], Losses], x: Variables, given: Given, lanes: int
) -> Losses:
    """Return what ``function`` computes of n images, ``lanes`` at a time.

    The last ones are filled up by repeats, so that the numbers of an image do not depend on n.
    Losses, images and starts of a queue that come from a network are computed so.

    Arguments:
        function: Returns tensors by name, with a row for each image.
    """
    n = len(x[0])
    if n == lanes:
        return function(x, given)
    parts = []
    for first in range(0, n, lanes):
        rows = torch.arange(first, first + lanes, device=x[0].device).clamp(max=n - 1)
        some = {name: rows_of(tensors, rows) for name, tensors in given.items()}
        parts.append(function(rows_of(x, rows), some))
    return {name: torch.cat([part[name] for part in parts])[:n] for name in parts[0]}
