"""A recorder for tests that behaves on a CPU as CUDA graphs do on a GPU.

Recording notes every operator with the tensors that it reads and writes, and puts back what the
function wrote, since a recording on a GPU runs nothing. A replay runs the same operators on the
same tensors, with the Python numbers of the recording. So a choice that Python made is frozen, a
tensor that moved is missed, and a look at a number, a random draw and a copy from the host's memory
are refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rls.runtime.graphs import Function, Recorder

LOOKS = {"_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select"}
DRAWS = {"rand", "randn", "normal_", "uniform_", "randint", "bernoulli", "rand_like", "randn_like"}
FROM_HOST = {"lift_fresh", "lift_fresh_copy"}
# Running statistics, which this operator writes although its schema does not say so.
UNDECLARED = {"native_batch_norm": (3, 4)}


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Note(TorchDispatchMode):
    """Notes the operators of a function.

    Attributes:
        steps: Functions that run one operator again each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Callable[[], None]] = []
        self.kept: list[Any] = []  # keeps every tensor, so that no storage is used twice
        self.made: set[int] = set()
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in LOOKS | DRAWS | FROM_HOST:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        writes = func._schema.is_mutable or name in UNDECLARED
        if writes:
            self._keep_what_is_written(func, args, kwargs)
        inputs = {x.untyped_storage()._cdata for x in tensors((args, kwargs))}
        result = func(*args, **kwargs)
        outputs = tensors(result)
        new = [x.untyped_storage()._cdata not in inputs for x in outputs]
        self.kept.append((args, kwargs, result))
        self.made |= {x.untyped_storage()._cdata for x, n in zip(outputs, new, strict=True) if n}
        if not writes and not any(new):
            return result  # a view

        def again() -> None:
            for old, fresh, is_new in zip(
                outputs, tensors(func(*args, **kwargs)), new, strict=True
            ):
                if is_new:
                    old.copy_(fresh)

        self.steps.append(again)
        return result

    def _keep_what_is_written(self, func: Any, args: Any, kwargs: Any) -> None:
        undeclared = UNDECLARED.get(func.overloadpacket.__name__, ())
        for i, argument in enumerate(func._schema.arguments):
            declared = argument.alias_info is not None and argument.alias_info.is_write
            if not declared and i not in undeclared:
                continue
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            for x in tensors(value):
                storage = x.untyped_storage()
                if storage._cdata not in self.made and storage._cdata not in self.before:
                    self.before[storage._cdata] = (storage, storage.clone())

    def put_back(self) -> None:
        for storage, saved in self.before.values():
            storage.copy_(saved)


class RecordedOnCpu(Recorder):
    """Records functions on a CPU.

    Attributes:
        n_operators: Operators of every recording, in order.
    """

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.reason = ""
        self.n_operators: list[int] = []

    def stream(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def record(self, function: Function) -> Function:
        note = Note()
        with note:
            function()
        note.put_back()
        self.n_operators.append(len(note.steps))

        def replay() -> None:
            with torch.no_grad():
                for step in note.steps:
                    step()

        return replay


class OneDevice(TorchDispatchMode):
    """Refuses operators whose tensors lie on two devices: on a GPU they copy from the host.

    A function is tried on the meta device, once without this mode, so that it makes its constants.

    Attributes:
        count: Operators that made something.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in tensors((args, kwargs, result))}
        assert len(devices) < 2, f"{func} has tensors on {devices}"
        self.count += bool(tensors(result)) and not func.is_view
        return result
