"""Choose the device and say what it is."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Literal

import torch

from rls.runtime.errors import InputError

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # Options of mallopt, from glibc's malloc.h.
_GROW_BY = 64 << 20  # Minimum heap growth in bytes.


def choose_device(name: str, threads: int) -> torch.device:
    """Return the device for ``name``, print it, and set torch's threads.

    TF32, which rounds the factors of float32 convolutions to 10 bits of mantissa, is switched off;
    torch has it on. A command whose precision is a setting switches it on.

    Arguments:
        name: ``auto`` (CUDA if there is a device), ``cpu`` or ``cuda``.
        threads: CPU threads of torch; results on a CPU are bit-equal for equal thread counts.

    Raises:
        InputError: The name is unknown, or it is ``cuda`` and there is no CUDA device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"The device is '{name}', expected auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "The device 'cuda' was asked for, but torch finds no CUDA device here. "
            "Set device: auto or cpu, or check the driver with python -m rls.device."
        )
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    print(f"device: {describe(device)}", flush=True)
    return device


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next step; return whether it agreed.

    Otherwise activations of some MiB are returned to the system after every step, and their pages
    are mapped again one by one, which took a tenth of the time of a discriminator's step at 64 px
    and less of smaller steps. The peak memory is the same, but it is held until the end. Nothing
    changes except on Linux with glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _GROW_BY))
        return all([library.mallopt(name, value) == 1 for name, value in wanted])
    return False


def describe(device: torch.device) -> str:
    """Return one line that names the device and its threads or memory."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"cuda ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)"
    return f"cpu ({torch.get_num_threads()} threads)"


def computed_on(device: torch.device) -> dict[str, object]:
    """Return what changes the last bits of a result: the device and torch's threads."""
    return {"device": device.type, "threads": torch.get_num_threads()}


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether ``device`` has hardware for bfloat16 convolutions."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        return " avx512_bf16" in open("/proc/cpuinfo").read()
    except OSError:
        return False


def choose_precision(
    setting: str, device: torch.device, what: str
) -> Literal["float32", "bfloat16"]:
    """Return the precision of convolutions for ``auto``, ``float32`` or ``bfloat16``; print it.

    Arguments:
        setting: ``auto`` is bfloat16 where the device is fast at it.
        what: The work, as the printed line names it.
    """
    fast = setting == "bfloat16" or (setting == "auto" and has_fast_bfloat16(device))
    print(f"precision of the {what}: {'bfloat16' if fast else 'float32'}", flush=True)
    return "bfloat16" if fast else "float32"


@contextlib.contextmanager
def tensor_float32(convolutions: bool, products: bool = False) -> Iterator[None]:
    """Let CUDA round the operands of float32 convolutions and matrix products to TF32, or not.

    TF32 has 10 bits of mantissa and runs on tensor cores. A step that is recorded keeps what held
    at its recording. The flags of the process come back at the end; on a CPU nothing changes.

    Arguments:
        convolutions: Whether convolutions may use TF32.
        products: Whether matrix products may.
    """
    # torch.backends.cudnn.flags(allow_tf32=True) would switch cuDNN off.
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32, matmul.allow_tf32 = convolutions, products
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
