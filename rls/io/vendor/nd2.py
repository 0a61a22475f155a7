"""Read Nikon ND2 by the library nd2, frame by frame; it gives zeros for a frame that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rls.io.broken_image import BrokenImage
from rls.io.vendor.series import Series

if TYPE_CHECKING:
    import nd2

LOOPS = {"P", "T", "Z"}


@contextmanager
def opened(path: Path) -> Iterator[tuple[Series, ...]]:
    """Open an ND2 and give its positions."""
    import nd2

    with nd2.ND2File(path) as file:
        _refuse_others(file, path)
        names, sizes = file._position_names(), file.sizes
        yield tuple(
            _series(file, names[place] if place < len(names) else str(place), place, path)
            for place in range(sizes.get("P", 1))
        )


def _refuse_others(file: nd2.ND2File, path: Path) -> None:
    """Raise :class:`BrokenImage` if values or axes of a file would mislead."""
    fault = ""
    others = sorted({axis for at in file.loop_indices for axis in at} - LOOPS)
    if file.is_legacy:
        fault = "is of the old kind that compresses by JPEG 2000"
    elif file.attributes.compressionType == "lossy":
        fault = "is compressed with loss, which changes intensities"
    elif file.is_rgb:
        fault = "holds colours, expected grey values"
    elif others:
        fault = f"has the axes {', '.join(others)}, expected positions, channels and planes"
    if fault:
        raise BrokenImage(
            "values not readable",
            f"The image {path} {fault}. Export the raw channels as OME-TIFF.",
        )


def _series(file: nd2.ND2File, name: str, position: int, path: Path) -> Series:
    frames: dict[tuple[int, int], int] = {}
    for number, at in enumerate(file.loop_indices or ({},)):
        if at.get("P", 0) == position:
            frames[at.get("T", 0), at.get("Z", 0)] = number
    sizes = file.sizes
    n_channels = sizes.get("C", 1)

    def read(channel: int) -> np.ndarray:
        planes = []
        for z in range(sizes.get("Z", 1)):
            number = frames[0, z]
            if number not in file._rdr._frame_offsets:
                raise BrokenImage(
                    "planes missing",
                    f"The image {path} lacks frame {number} of its {len(file.loop_indices)}, which "
                    "would be read as zeros. Copy or export the file again.",
                )
            frame = np.asarray(file.read_frame(number))
            planes.append(frame.reshape(n_channels, *frame.shape[-2:])[channel])
        return np.stack(planes)

    names = tuple(file._channel_names)
    size = file.voxel_size()
    known = file.metadata.channels and file.metadata.channels[0].volume.axesCalibrated[0]
    return Series(
        name,
        names if len(names) == n_channels else ("",) * n_channels,
        (sizes["Y"], sizes["X"]),
        sizes.get("Z", 1),
        sizes.get("T", 1),
        (size.x, size.y) if known and size.x > 0 and size.y > 0 else None,
        read,
    )
