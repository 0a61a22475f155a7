"""The formats of the files between stages; no other module knows them.

Stacks are OME-TIFF beside a parquet table, tables parquet or CSV, weights safetensors.
Every file is written whole or not at all, and checked when it is read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rls.io.digests import check_digest, leave_digest, write_text_with_digest
    from rls.io.files import atomic_path, file_digest, write_text
    from rls.io.intensity import Intensity, read_intensity, write_intensity
    from rls.io.stacks import Stack, image_digests, read_stack, table_path, write_stack
    from rls.io.tables import read_table, write_table
    from rls.io.weights import read_weights, tensors_digest, write_weights

__all__ = [
    "Intensity",
    "Stack",
    "atomic_path",
    "check_digest",
    "file_digest",
    "image_digests",
    "leave_digest",
    "read_intensity",
    "read_stack",
    "read_table",
    "read_weights",
    "table_path",
    "tensors_digest",
    "write_intensity",
    "write_stack",
    "write_table",
    "write_text",
    "write_text_with_digest",
    "write_weights",
]

_MODULES = {
    "digests": ("check_digest", "leave_digest", "write_text_with_digest"),
    "files": ("atomic_path", "file_digest", "write_text"),
    "intensity": ("Intensity", "read_intensity", "write_intensity"),
    "stacks": ("Stack", "image_digests", "read_stack", "table_path", "write_stack"),
    "tables": ("read_table", "write_table"),
    "weights": ("read_weights", "tensors_digest", "write_weights"),
}


def __getattr__(name: str) -> object:
    # Every module is imported on first use: pandas and torch take seconds, and a command that only
    # prints its help needs neither.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"rls.io.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
