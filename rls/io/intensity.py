"""One intensity scale per assay and channel: [0, 1] = (counts - black) / (white - black)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rls.io.files import json_digest, need_file, write_text
from rls.runtime.errors import InputError

LEVELS = ("channels", "black", "white")
RERUN = "Delete it and run the workflow again (rule select_cells makes it anew)."


@dataclass(frozen=True)
class Intensity:
    """Black and white level of each channel, in counts.

    Images are never rescaled cell by cell, because intensities are features.

    Attributes:
        channels: Names of the c channels.
        black: Counts that become 0, one number a channel.
        white: Counts that become 1, one number a channel.
    """

    channels: tuple[str, ...]
    black: tuple[float, ...]
    white: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.black) == len(self.white):
            raise InputError("An intensity scale needs one black and one white level a channel.")
        for channel, black, white in zip(self.channels, self.black, self.white, strict=True):
            if not white > black:
                raise InputError(
                    f"Channel {channel} has white {white} and black {black}; white must be above "
                    f"black. Is the channel blank?"
                )

    def to_unit(self, images: np.ndarray) -> np.ndarray:
        """Return images (n, c, y, x) as float32 with black at 0 and white at 1, not clipped."""
        black, span = self.levels()
        return (images.astype(np.float32) - black) / span

    def to_counts(self, unit: np.ndarray) -> np.ndarray:
        """Return float32 counts (n, c, y, x) of unit images; the inverse of :meth:`to_unit`."""
        black, span = self.levels()
        return (np.asarray(unit, dtype=np.float32) * span + black).astype(np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Return the scale as a dictionary that JSON can hold."""
        return {name: list(values) for name, values in asdict(self).items()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Intensity:
        """Return the scale of a dictionary made by :meth:`as_dict`."""
        return Intensity(*(tuple(values[name]) for name in LEVELS))

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return black and white - black in counts, each (c, 1, 1) float32."""
        black = np.asarray(self.black, dtype=np.float32)[:, None, None]
        white = np.asarray(self.white, dtype=np.float32)[:, None, None]
        return black, white - black


def write_intensity(path: Path | str, intensity: Intensity, *, written_by: str) -> None:
    """Write the scale as JSON, with a digest of its content."""
    content = {"written_by": written_by, **intensity.as_dict()}
    write_text(path, json.dumps({**content, "digest": json_digest(content)}, indent=2) + "\n")


def read_intensity(path: Path | str) -> Intensity:
    """Read a scale written by :func:`write_intensity`, or one written by hand without a digest.

    Raises:
        InputError: The file is missing, damaged, or no intensity scale.
    """
    path = need_file(path, "intensity scale")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        intensity = Intensity.from_dict(content)
        # A key with a damaged name must not pass for a missing key.
        if unknown := set(content) - {*LEVELS, "written_by", "digest"}:
            raise KeyError(f"unknown key {', '.join(sorted(unknown))}")
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error} {RERUN}") from error
        raise InputError(f"{path} is not an intensity scale ({error}). {RERUN}") from error
    digest = content.pop("digest", None)
    # The digests of older files cover the levels alone, without the rule.
    if digest not in (None, json_digest(content), json_digest(intensity.as_dict())):
        raise InputError(
            f"{path} does not say what was written (its digest differs): damaged, or edited. "
            f"{RERUN} If you edited it, take out its digest."
        )
    return intensity
