"""Record what a function launches on a GPU as a CUDA graph, and launch it all at once afterwards.

A step of a small network launches some two thousand kernels of a few microseconds each, so Python
needs far longer to launch them than the GPU needs to run them. A recorded function is launched by
one call. Its addresses and its Python numbers are those of the recording: such a function takes and
returns nothing, reads and writes tensors that never move, and never looks at a number of the GPU.
On a CPU it is called as it is.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator

import torch

from rls.runtime.errors import GRAPHS_OFF, GraphError, first_line

# A function runs this many times before it is recorded. These runs make everything that must not be
# made inside a recording: the optimiser's moments, the plans of cuDNN, compiled kernels, constants.
WARM_UP = 3

Function = Callable[[], object]


def why_not(device: torch.device, setting: str, n_processes: int) -> str:
    """Return why nothing is recorded, as the end of a sentence; an empty text if it is.

    Arguments:
        setting: ``auto`` or ``off``.
        n_processes: Processes of one training; messages between them cannot be recorded.
    """
    if device.type != "cuda":
        return f"the device is {device.type}"
    if setting == "off":
        return "cuda_graphs is off"
    if n_processes > 1:
        return f"{n_processes} processes exchange gradients"
    return os.environ.get(GRAPHS_OFF, "")


class Recorder:
    """Records functions into graphs that share one memory pool.

    Arguments:
        setting: ``auto`` or ``off``.
        n_processes: Processes of one training.

    Attributes:
        reason: Why nothing is recorded; empty if functions are recorded.
    """

    def __init__(self, device: torch.device, setting: str = "auto", n_processes: int = 1) -> None:
        self.device = device
        self.reason = why_not(device, setting, n_processes)
        self._stream: torch.cuda.Stream | None = None
        self._graphs: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()

    @property
    def active(self) -> bool:
        """Return whether functions are recorded."""
        return not self.reason

    def describe(self, what: str) -> str:
        """Return a line that says whether ``what`` runs in CUDA graphs."""
        return f"{what} in CUDA graphs" + (f": no, {self.reason}" if self.reason else "")

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Open a context in which all work of a recorded computation must run.

        A recording is not allowed on the default stream, and parts of autograd remember the stream
        on which they were made. Work within waits for what was given to the GPU before, and what
        comes after waits for it.
        """
        if not self.active:
            yield
            return
        outside = torch.cuda.current_stream(self.device)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        # Not after an error: a stream whose recording failed cannot be waited for.
        outside.wait_stream(self._stream)

    def record(self, function: Function) -> Function:
        """Return a function that launches what ``function`` launches; nothing is run now."""
        if not self._graphs:  # a pool ends with its last graph
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        self._graphs.add(graph)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            function()
        return graph.replay


class Replayed:
    """A function that runs a few times, is recorded, and is then replayed.

    Arguments:
        name: Its name in messages.
        function: Takes and returns nothing, as the module's docstring says.
        before: Called just before the recording.
        after: Called just after it.
    """

    def __init__(
        self,
        name: str,
        function: Function,
        recorder: Recorder,
        *,
        before: Function | None = None,
        after: Function | None = None,
    ) -> None:
        self.name, self.function, self.recorder = name, function, recorder
        self.before, self.after = before, after
        self.replay: Function | None = None
        self.count = 0

    @property
    def is_due(self) -> bool:
        """Return whether the next call records the function."""
        return self.recorder.active and self.replay is None and self.count >= WARM_UP

    def __call__(self) -> None:
        """Run the function, or replay it.

        Raises:
            GraphError: It could not be recorded. Nothing can be computed in this process any more.
        """
        if self.is_due:
            self.replay = self._recorded()
        (self.replay or self.function)()
        self.count += 1

    def forget(self) -> None:
        """Drop the recording: its tensors have moved. The function warms up again."""
        self.replay, self.count = None, 0

    def _recorded(self) -> Function:
        if self.before is not None:
            self.before()
        cause: list[Exception] = []

        def function() -> None:
            try:
                self.function()
            except Exception as error:
                cause.append(error)
                raise

        try:
            replay = self.recorder.record(function)
        except Exception as error:  # whatever it was, torch's allocator is in an unknown state
            # The end of a recording that failed fails, too, and does not say why.
            raise GraphError(self.name, first_line((cause or [error])[0])) from error
        if self.after is not None:
            self.after()
        return replay
