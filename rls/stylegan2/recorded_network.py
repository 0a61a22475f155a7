"""A network as a pickle of NVlabs' stylegan2-ada-pytorch records it: attributes and tensors.

Every module in such a pickle carries the source text of its class, which NVlabs' own reader
executes. Here only attributes and tensors are read (``rls.io.inert_pickle``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rls.io.inert_pickle import (
    ADVICE,
    MODULE,
    Recorded,
    excerpt,
    plain_number,
    read_tensor,
)
from rls.runtime.errors import InputError

MOST_COPIED = 4  # largest size of all tensors in float32, in sizes of the file
MOST_MODULES = 1000  # largest number of modules in a network; one of 1024 px has about 100
LARGEST = 1 << 20  # largest count in a network


@dataclass(frozen=True)
class Network:
    """A recorded network.

    Attributes:
        where: Name and file, for messages.
        modules: Attributes of every module, by its path.
        tensors: All tensors, by their path.
    """

    where: str
    modules: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, Tensor]

    def attribute(self, path: str, name: str) -> object:
        """Return an attribute of the module at ``path``.

        Raises:
            InputError: The module has no such attribute.
        """
        value = self.modules.get(path, {}).get(name, self)
        if value is self:
            raise InputError(
                f"Found no {name} of '{path}' in {self.where}, expected one as in stylegan2-ada-"
                f"pytorch. {ADVICE}"
            )
        return plain_number(value)

    def size(self, name: str, path: str = "", least: int = 1) -> int:
        """Return an attribute of a module that is a count.

        Raises:
            InputError: The attribute is not a count.
        """
        return need_count(self.attribute(path, name), f"{name} in {self.where}", least)


def need_count(value: object, what: str, least: int) -> int:
    """Return ``value`` if it is a count from ``least`` on, else raise InputError."""
    if type(value) is not int or not least <= value <= LARGEST:
        raise InputError(
            f"Found {excerpt(value)} as {what}, expected a count from {least} on. {ADVICE}"
        )
    return value


def read_network(snapshot: Mapping[str, Any], name: str, path: Path | str) -> Network:
    """Return the network ``name`` of a snapshot that was read from ``path``.

    Raises:
        InputError: The snapshot has no such network, or the object is not a network.
    """
    if snapshot.get(name) is None:
        names = ", ".join(excerpt(key) for key in snapshot)[:200]
        raise InputError(f"Found no {name} in {path} (it holds {names}), expected one. {ADVICE}")
    where = f"{name} of {path}"
    modules = dict(_modules(snapshot[name], where))
    tensors: dict[str, Tensor] = {}
    # Tensors may share numbers in the file, but a small file must not fill the memory.
    left = MOST_COPIED * Path(path).stat().st_size
    for prefix, attributes in modules.items():
        for key, record in (*attributes["_parameters"].items(), *attributes["_buffers"].items()):
            if record is not None:
                full = f"{prefix}.{key}" if prefix else str(key)
                tensors[full] = read_tensor(record, f"{full} in {where}")
                left -= tensors[full].nbytes
                if left < 0:
                    raise InputError(
                        f"Found tensors of more than {MOST_COPIED} times the file in {where}, "
                        f"expected each to have numbers of its own. {ADVICE}"
                    )
    return Network(where, modules, tensors)


def _modules(record: object, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield paths and attributes of a recorded module and of those below it."""
    waiting = [("", record)]
    for _ in range(MOST_MODULES):
        if not waiting:
            return
        path, record = waiting.pop()
        state = _state(record)
        if state is None:
            raise InputError(
                f"Found no module at '{path}' in {where}, expected one of stylegan2-ada-pytorch. "
                f"{ADVICE}"
            )
        yield path, state
        below = {str(k): v for k, v in state["_modules"].items() if v is not None}
        waiting += [(f"{path}.{k}" if path else k, v) for k, v in below.items()]
        if len(waiting) > MOST_MODULES:
            break
    raise InputError(f"Found more than {MOST_MODULES} modules in {where}, expected fewer. {ADVICE}")


def _state(record: object) -> dict[str, Any] | None:
    """Return the attributes of a recorded module, None if it is no module."""
    if not isinstance(record, Recorded) or record.name != MODULE or len(record.args) != 1:
        return None
    state = record.args[0].get("state") if isinstance(record.args[0], dict) else None
    if not isinstance(state, dict):
        return None
    parts = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    return state if all(isinstance(part, dict) for part in parts) else None
