"""Faults that were planted into the code, each with the tests that must fail with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault, as an exchange of text in one file.

    Attributes:
        name: What the fault does, in a few words.
        file: The file, relative to the root of the repository.
        old, new: The text that stands once in the file, and what the fault makes of it.
        tests: Tests that must fail, as pytest names them; of a parametrised test, one case.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
