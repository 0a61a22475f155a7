"""The fault of one image file, as a sentence and in the short form of tables."""

from __future__ import annotations

from rls.runtime.errors import InputError


class BrokenImage(InputError):
    """An image that cannot be used; ``reason`` is the short form for tables."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
