"""Read pickles without running anything in them: every object becomes an inert record.

Nothing that a file names is imported or called. Each global of a short list is replaced by a record
of its arguments, and any other global is refused by name; the numbers of a tensor are read by
torch's weights-only reader, and those of a NumPy array are taken from its bytes. A malicious file,
for example with deeply nested tuples as keys, can still waste time or make Python crash. But it
cannot run code, and the sizes that it claims are compared with its own size.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import warnings
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from torch import Tensor

from rls.runtime.errors import InputError

MODULE = "torch_utils.persistence._reconstruct_persistent_obj"
STORAGE = "torch.storage._load_from_bytes"
TENSOR = "torch._utils._rebuild_tensor_v2"
PARAMETER = "torch._utils._rebuild_parameter"
DTYPE = "numpy.dtype"
SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # numpy 1 and 2
SETS = ("builtins.set", "__builtin__.set")
ARRAYS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
RECORDED = (MODULE, STORAGE, TENSOR, PARAMETER, DTYPE, *SCALARS, *SETS)
RECORDED_OF_ARRAYS = (*ARRAYS, "numpy.ndarray", DTYPE)
MAPPINGS = ("collections.OrderedDict", "dnnlib.util.EasyDict")
MOST_DIMENSIONS = 8  # largest number of dimensions of a tensor
# The bytes before a storage: the magic number of torch's format without a zip archive.
STORAGE_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
ADVICE = "Give a network pickle (network-snapshot-*.pkl) of stylegan2-ada-pytorch."


class Recorded:
    """An inert record of a call: the name of the global, its arguments, and the state set later."""

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        self.name, self.args = name, args
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class RecordedMapping(dict[Any, Any]):
    """An OrderedDict or EasyDict, which takes items but no attributes."""

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a mapping with attributes")


class _Global:
    """A stand-in for a function, which records its calls."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: object) -> Recorded:
        if self._name == STORAGE:
            return Recorded(STORAGE, _load_storage(*args))
        return Recorded(self._name, args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a function with a state")


class _ArrayReader(pickle.Unpickler):
    """An unpickler that knows NumPy's arrays and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> _Global:
        """Return the stand-in of a global; refuse any global that arrays do not need."""
        name = f"{module_name}.{global_name}"
        if name in RECORDED_OF_ARRAYS:
            return _Global(name)
        raise InputError(
            f"Found the global {name!r}, expected only what NumPy's arrays need. Nothing of the "
            "file was run. Do not load it elsewhere."
        )

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse references to objects outside the pickle."""
        raise InputError(f"Found a reference to outside the pickle ({excerpt(pid)!r}).")


class _Reader(pickle.Unpickler):
    """An unpickler that knows RECORDED and MAPPINGS and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> type[RecordedMapping] | _Global:
        """Return the stand-in of a global; refuse any global that networks do not need."""
        name = f"{module_name}.{global_name}"
        if name in MAPPINGS:
            return RecordedMapping
        if name in RECORDED:
            return _Global(name)
        if module_name.startswith("dnnlib.tflib"):
            raise InputError(
                f"Found the global {name!r}: a pickle of the TensorFlow repository, expected one "
                "of stylegan2-ada-pytorch. Convert it with that repository's legacy.py first."
            )
        raise InputError(
            f"Found the global {name!r}, expected only what networks of stylegan2-ada-pytorch "
            "need. Nothing of the file was run. Do not load it elsewhere unless you trust its "
            "origin."
        )

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse references to objects outside the pickle."""
        raise InputError(
            f"Found a reference to outside the pickle ({excerpt(pid)!r}), expected none. {ADVICE}"
        )


def _load_storage(*args: object) -> tuple[torch.dtype, torch.UntypedStorage]:
    """Return the numbers of a tensor, read by torch's weights-only reader.

    Only the format that torch itself writes is accepted.
    """
    if len(args) != 1 or not isinstance(args[0], bytes) or not args[0].startswith(STORAGE_START):
        raise InputError(
            "Found numbers of a tensor that torch did not write, expected a storage. Nothing of "
            f"the file was run. {ADVICE}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these files hold typed storages, which are deprecated
            storage = torch.load(io.BytesIO(args[0]), map_location="cpu", weights_only=True)
            if not isinstance(storage, torch.storage.TypedStorage):
                raise TypeError(f"a {type(storage).__name__}")
            return storage.dtype, storage.untyped()
    except Exception as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"the global '{found[1]}'" if found else f"a fault ({str(error)[:200]})"
        raise InputError(
            f"Found {what} within the numbers of a tensor, expected a storage. Nothing of the file "
            f"was run. {ADVICE}"
        ) from error


def _check_lengths(content: bytes) -> None:
    """Raise ValueError if the pickle is truncated or asks for more memory than it fills."""
    for n_before, (opcode, argument, position) in enumerate(pickletools.genops(content)):
        if "PUT" in opcode.name and int(argument or 0) > n_before:
            raise ValueError(f"memo {argument} at byte {position}")
        if isinstance(argument, int) and abs(argument) >= 1 << 63:
            raise ValueError(f"an integer of more than 64 bits at byte {position}")


def _load(reader: type[pickle.Unpickler], content: bytes, where: str) -> object:
    """Return what a pickle holds, with records in place of its objects; InputError for a fault."""
    try:
        _check_lengths(content)
        return reader(io.BytesIO(content)).load()
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # a pickle can try any operation on any stand-in
        raise InputError(
            f"Found a truncated or damaged pickle in {where} ({type(error).__name__}: "
            f"{str(error)[:200]}), expected a whole one. Fetch the file again."
        ) from error


def read_arrays(content: bytes, where: str) -> dict[str, np.ndarray]:
    """Return the float32 arrays of a pickle of nested mappings, by their keys joined with ``/``.

    Arguments:
        content: The bytes of the pickle.
        where: What errors call it.

    Raises:
        InputError: It is no such pickle, it is damaged, or it names a global that arrays do not
            need.
    """
    found: dict[str, np.ndarray] = {}
    waiting: list[tuple[str, object]] = [("", _load(_ArrayReader, content, where))]
    while waiting:
        name, item = waiting.pop()
        if isinstance(item, dict) and name.count("/") < MOST_DIMENSIONS:
            waiting += [(f"{name}/{key}" if name else str(key), item[key]) for key in item]
        else:
            found[name] = _array(item, f"{name or 'the top'} of {where}")
    return found


def _array(record: object, where: str) -> np.ndarray:
    """Return the float32 array of a record of NumPy's; every fault is an InputError."""
    try:
        if not isinstance(record, Recorded) or record.name not in ARRAYS:
            raise TypeError(excerpt(record))
        if not isinstance(record.state, tuple) or len(record.state) != 5:
            raise TypeError("an array without its values")
        _, shape, dtype, fortran, data = record.state
        if dtype.name != DTYPE or dtype.args[0] != "f4" or dtype.state[1] != "<":
            raise TypeError("values that are not float32")
        if type(data) is not bytes or any(type(n) is not int or n < 0 for n in shape):
            raise TypeError("values that are no bytes, or sides that are no numbers")
        if len(shape) > MOST_DIMENSIONS or math.prod(shape) * 4 != len(data):
            raise ValueError(f"{len(data)} bytes for an array of {shape}")
        order: Literal["C", "F"] = "F" if fortran is True else "C"
        values = np.frombuffer(data, "<f4").reshape(shape, order=order)
    except Exception as error:  # any object can stand in place of an array
        raise InputError(
            f"Found no usable array at {where} ({type(error).__name__}: {str(error)[:200]}), "
            "expected float32 values. Fetch the file again."
        ) from error
    if not np.isfinite(values).all():
        raise InputError(f"Found values at {where} that are not finite. Fetch the file again.")
    return values.copy()


def read_inert(path: Path | str) -> dict[Any, Any]:
    """Return the mapping that a pickle holds, with records in place of its objects.

    Raises:
        InputError: The file is missing, damaged or no pickle of a mapping, or it names a global
            that networks do not need.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The network pickle {path} does not exist. Give its path.")
    content = path.read_bytes()
    if content[:1] != b"\x80":
        what = "a zip archive (of torch.save?)" if content[:2] == b"PK" else "no binary pickle"
        raise InputError(f"Found {what} in {path}, expected a pickle. {ADVICE}")
    snapshot = _load(_Reader, content, str(path))
    if not isinstance(snapshot, dict):
        raise InputError(
            f"Found a pickle of a {type(snapshot).__name__} in {path}, expected the networks G, D "
            f"and G_ema by name. {ADVICE}"
        )
    return snapshot


def plain_number(value: object) -> object:
    """Return a recorded numpy scalar as a Python number, and anything else unchanged."""
    if not isinstance(value, Recorded) or value.name not in SCALARS or len(value.args) != 2:
        return value
    kind, data = value.args
    code = kind.args[0] if isinstance(kind, Recorded) and kind.name == DTYPE and kind.args else ""
    order = kind.state[1] if code and isinstance(kind.state, tuple) and len(kind.state) > 1 else "<"
    if type(code) is not str or type(order) is not str:
        return value
    if not re.fullmatch(r"f[248]|[iu][1248]|b1", code) or order not in ("<", ">", "|", "="):
        return value
    dtype = np.dtype(f"{order}{code}")
    whole = isinstance(data, bytes) and len(data) == dtype.itemsize
    return np.frombuffer(data, dtype).item() if whole else value


def excerpt(value: object) -> str:
    """Return at most 60 characters about a recorded object, without following its contents."""
    if value is None or type(value) in (bool, int, float, str):
        return str(value)[:60]
    return f"a {type(value).__name__}"


def _check_extent(offset: object, size: object, stride: object, available: int) -> None:
    """Raise ValueError unless a tensor lies within ``available`` numbers and repeats none."""
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise ValueError("sizes and strides that do not fit")
    if len(size) > MOST_DIMENSIONS:
        raise ValueError(f"{len(size)} dimensions")
    if any(type(v) is not int or v < 0 for v in (offset, *size, *stride)):
        raise ValueError("sizes that are no numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and (last >= available or math.prod(size) > available):
        raise ValueError(f"a tensor of {size} in {available} numbers")


def read_tensor(record: object, where: str) -> Tensor:
    """Return the recorded tensor in float32, contiguous, in memory of its own.

    Raises:
        InputError: The record is no tensor, or a number in it is not finite.
    """
    if isinstance(record, Recorded) and record.name == PARAMETER and record.args:
        record = record.args[0]
    try:
        if not isinstance(record, Recorded) or record.name != TENSOR:
            raise TypeError(excerpt(record))
        if record.args[0].name != STORAGE:
            raise TypeError(excerpt(record.args[0].name))
        (dtype, storage), (offset, size, stride) = record.args[0].args, record.args[1:4]
        if not dtype.is_floating_point:
            raise TypeError(str(dtype))
        _check_extent(offset, size, stride, storage.nbytes() // dtype.itemsize)
        values = torch.empty(0, dtype=dtype).set_(storage, offset, size, stride)
        values = values.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    except Exception as error:  # any object can stand in place of a tensor
        raise InputError(
            f"Found no usable tensor at {where} ({type(error).__name__}: {str(error)[:200]}), "
            f"expected the weights of a network. {ADVICE}"
        ) from error
    if not values.isfinite().all():
        raise InputError(
            f"Found numbers that are not finite at {where}, expected a network that works. Take "
            "an earlier snapshot of that training."
        )
    return values
