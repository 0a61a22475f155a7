"""Write cells as one OME-Zarr image, with the masks of their nuclei as labels.

A cell is a time point, as in the stacks of the program, so that viewers give a slider over cells.
A nucleus has the number of its cell, from 1, and its properties say which cell that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.features.nuclei import NucleusSettings, find_nuclei
from analysis.measuring.columns import KEPT
from rls.io import Intensity, Stack
from rls.runtime.errors import InputError

if TYPE_CHECKING:
    import zarr

IMAGE, LABELS, NUCLEI = "0", "labels", "nuclei"
COLOURS = ("0000FF", "00FF00", "FF0000", "FFFFFF")  # the first for nuclei; repeated
CHUNK_BYTES = 2**20
TOGETHER = 256  # nuclei that are found at once


def nuclei_of(
    stack: Stack, intensity: Intensity, nucleus_channel: str, settings: NucleusSettings
) -> tuple[np.ndarray, list[str]]:
    """Return the mask of every cell's nucleus as ``measure`` finds it, and the status of each.

    Returns:
        ((n, 1, y, x) uint32, number of the cell from 1 inside its nucleus and 0 elsewhere; n
        statuses, ``ok`` or ``not_measurable:reason`` where there is no mask).

    Raises:
        InputError: The stack has no such channel.
    """
    if nucleus_channel not in stack.channels:
        raise InputError(
            f"Found no channel {nucleus_channel} among {', '.join(stack.channels)}, expected that "
            "of the nuclei. Correct --nucleus-channel."
        )
    place = stack.channels.index(nucleus_channel)
    n, _, height, width = stack.images.shape
    masks, statuses = np.zeros((n, 1, height, width), np.uint32), []
    for first in range(0, n, TOGETHER):
        images = stack.images[first : first + TOGETHER, place].astype(np.float32)
        images -= np.float32(intensity.black[place])
        for row, nucleus in enumerate(find_nuclei(images, stack.pixel_size_um, settings), first):
            masks[row, 0][nucleus.mask] = row + 1
            statuses.append(nucleus.status)
    return masks, statuses


def write_cells(
    folder: Path,
    stack: Stack,
    masks: np.ndarray,
    statuses: Sequence[str],
    intensity: Intensity,
    version: str,
    *,
    written_by: str,
) -> None:
    """Write a stack and the masks of its nuclei into an empty folder.

    Arguments:
        masks, statuses: From :func:`nuclei_of`.
        intensity: Its black and white are what viewers show as such.
        version: Of NGFF, 0.4 or 0.5.
        written_by: The rule that writes it.
    """
    image = _group(folder, version)
    window = [
        {"start": black, "end": white, "min": min(black, 0.0), "max": max(white, 65535.0)}
        for black, white in zip(intensity.black, intensity.white, strict=True)
    ]
    channels = [
        {"label": name, "color": COLOURS[i % len(COLOURS)], "window": window[i], "active": True}
        for i, name in enumerate(stack.channels)
    ]
    _describe(image, version, {**_multiscales(stack, version), "omero": {"channels": channels}})
    image.attrs["rls"] = {
        "image_ids": list(map(str, stack.table["image_id"])),
        "description": stack.description,
        "written_by": written_by,
    }
    _write(image, stack.images, version)
    labels = _group(folder / LABELS, version)
    _describe(labels, version, {"labels": [NUCLEI]})
    nuclei = _group(folder / LABELS / NUCLEI, version)
    about = {
        "properties": _properties(stack.table, statuses),
        "source": {"image": "../../"},
        **({"version": version} if version == "0.4" else {}),
    }
    _describe(nuclei, version, {**_multiscales(stack, version), "image-label": about})
    _write(nuclei, masks, version)


def _group(folder: Path, version: str) -> zarr.Group:
    import zarr

    return zarr.open_group(folder, mode="w", zarr_format=2 if version == "0.4" else 3)


def _describe(group: zarr.Group, version: str, said: Mapping[str, object]) -> None:
    group.attrs.update(said if version == "0.4" else {"ome": {"version": version, **said}})


def _multiscales(stack: Stack, version: str) -> dict[str, object]:
    """Return the one level of an image of cells: axes, and the size of its pixels."""
    scale = [1.0, 1.0, stack.pixel_size_um, stack.pixel_size_um]
    said = {
        "name": "cells",
        "axes": [
            {"name": "t", "type": "time"},
            {"name": "c", "type": "channel"},
            *({"name": name, "type": "space", "unit": "micrometer"} for name in "yx"),
        ],
        "datasets": [
            {"path": IMAGE, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        ],
    }
    return {"multiscales": [said | ({"version": version} if version == "0.4" else {})]}


def _properties(table: pd.DataFrame, statuses: Sequence[str]) -> list[dict[str, object]]:
    """Return what is known of the cell of each label, as JSON can hold it."""
    known = table[[name for name in KEPT if name in table]].astype(object)
    rows = known.where(known.notna(), None).to_dict("records")
    return [
        {"label-value": i, **{str(key): value for key, value in row.items()}, "status": status}
        for i, (row, status) in enumerate(zip(rows, statuses, strict=True), start=1)
    ]


def _write(group: zarr.Group, images: np.ndarray, version: str) -> None:
    """Write images (n, c, y, x) as the array of a group, each chunk of one channel."""
    n, _, height, width = images.shape
    together = max(1, min(n, CHUNK_BYTES // (height * width * images.dtype.itemsize)))
    array = group.create_array(
        IMAGE,
        shape=images.shape,
        dtype=images.dtype,
        chunks=(together, 1, height, width),
        # A chunk that is left out cannot be told from one that was lost.
        config={"write_empty_chunks": True},
        **({"dimension_names": list("tcyx")} if version != "0.4" else {}),
        chunk_key_encoding={"name": "v2" if version == "0.4" else "default", "separator": "/"},
    )
    for first in range(0, n, together):
        array[first : first + together] = images[first : first + together]
