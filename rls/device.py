"""Choose and print the device; ``python -m rls.device`` prints versions and hardware."""

from __future__ import annotations

import platform

import torch

from rls.errors import InputError


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
    print(f"device: {describe(device)}", flush=True)
    return device


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


def main() -> None:
    """Print what a bug report needs."""
    print(f"python {platform.python_version()}, torch {torch.__version__}")
    print(
        f"auto would use {describe(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))}"
    )
    print(f"fast bfloat16 on the CPU: {has_fast_bfloat16(torch.device('cpu'))}")


if __name__ == "__main__":
    main()
