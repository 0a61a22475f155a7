"""Choose and print the device; ``python -m rls.device`` prints versions and hardware."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from typing import Literal

import torch

from rls.runtime.errors import InputError

# glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_GROW_BY = 64 << 20  # bytes that the heap is grown by at least


def choose_device(name: str, threads: int) -> torch.device:
    """Return the device for ``name`` and set torch's threads.

    Arguments:
        name: ``auto`` (CUDA if there is one), ``cpu`` or ``cuda``.
        threads: CPU threads of torch; results on CPU are bit-equal for equal thread counts.

    Raises:
        InputError: ``cuda`` was asked for and there is none, or the name is unknown.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"The device is '{name}', expected auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "The device 'cuda' was asked for, but torch finds no CUDA device here. "
            "Set device: auto or cpu, or check the driver with python -m rls.device."
        )
    torch.set_num_threads(threads)
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    print(f"device: {describe(device)}", flush=True)
    return device


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next step; return whether it could be asked.

    Activations of some MiB are otherwise given back to the system after every step and come back
    page by page: of a discriminator's step at 64 px this was a tenth of the time, of smaller ones
    little. The peak memory is the same, but it is held to the end. Linux with glibc; elsewhere
    nothing changes.
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


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 convolutions have hardware on ``device``."""
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


def main() -> None:
    """Print what a bug report needs."""
    print(f"python {platform.python_version()}, torch {torch.__version__}")
    print(
        f"auto would use {describe(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))}"
    )
    print(f"fast bfloat16 on the CPU: {has_fast_bfloat16(torch.device('cpu'))}")


if __name__ == "__main__":
    main()
