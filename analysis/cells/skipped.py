"""The fields of a plate that were left out: how many for each reason, and the first sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from analysis.plates.image_files import BrokenField
from rls.runtime.errors import InputError


class SkippedFields:
    """Counts the fields by reason, and keeps the whole sentence of the first of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, error: BrokenField) -> str:
        """Count a field; return the reason."""
        self.counts[error.reason] += 1
        self.first.setdefault(error.reason, str(error))
        return error.reason

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each reason, the most frequent first."""
        for reason, count in self.counts.most_common():
            yield f"{count} field{'s' * (count > 1)}: {reason}; the first: {self.first[reason]}"

    def say(self, plate: object, n_fields: int, *, nothing: bool) -> None:
        """Print a sentence for each reason.

        Arguments:
            nothing: Whether no field gave a cell.

        Raises:
            InputError: With what the first fields said, if nothing is left of the plate.
        """
        if nothing:
            raise InputError(
                f"None of the {n_fields} fields of plate {plate} can be used. "
                + " ".join(self.sentences())
            )
        for sentence in self.sentences():
            print(f"crop_cells: skipped {sentence}", flush=True)
