"""Count how often code looks at numbers of tensors, for which a GPU's host would have to wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

METHODS = (
    "cpu", "item", "tolist", "numpy",
    "__bool__", "__float__", "__int__", "__index__", "__array__",
)  # fmt: skip
# Operators whose result has a shape, or is a number, that the host must be told.
OPERATORS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero"}


class Looks(TorchDispatchMode):
    """Counts looks by methods and by operators.

    Attributes:
        found: Looks by name. A look by a method also counts its operator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(
            x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]
        )
        if name in OPERATORS or by_mask:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the looks within the context."""
    looks = Looks()

    def counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            looks.found[name] += 1
            return original(self, *args, **kwargs)

        return method

    patches = [
        patch.object(Tensor, name, counting(name, getattr(Tensor, name))) for name in METHODS
    ]
    for one in patches:
        one.start()
    try:
        with looks:
            yield looks.found
    finally:
        for one in patches:
            one.stop()
