"""Stacks of images: OME-TIFF with axes TCYX beside a table, row *i* for image *i*."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from rls.io.digests import rerun
from rls.io.files import DIGEST_BYTES, atomic_path, json_digest, need_file
from rls.io.tables import read_table, write_table
from rls.runtime.errors import InputError, first_line

SUFFIX = ".ome.tif"
NAMESPACE = "rls/stack"  # what OME-XML calls the facts that a stack holds of itself
FREED_TOGETHER = 256  # Images of a memory-mapped stack that are read before they are freed.
KNOWN = ("facts", "image_ids", "pixel_size_um")
# Our own error reports a damaged file, so that tifffile need not log it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Stack:
    """Images of cells, and a table with a row for each.

    Attributes:
        images: Array (n, c, y, x): uint16 raw counts, or float32 counts where computed.
        table: n rows; ``image_id`` is unique, ``image_digest`` the blake2b of the pixels.
        channels: c channel names.
        pixel_size_um: Side of a pixel in micrometres.
        description: Free text in the file, e.g. "synthesised by rls, generator 1f2e...".
    """

    images: np.ndarray
    table: pd.DataFrame
    channels: tuple[str, ...]
    pixel_size_um: float
    description: str = ""

    def select(self, rows: np.ndarray) -> Stack:
        """Return the images of ``rows``, a boolean mask or integer positions."""
        rows = np.asarray(rows)
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        table = self.table.iloc[positions].reset_index(drop=True)
        return replace(self, images=self.images[positions], table=table)

    def with_others(self, other: Stack) -> Stack:
        """Return the images of this stack and then those of another, of one kind.

        Columns that only one of the tables has are left out.

        Raises:
            InputError: The two differ in size, channels or pixels, or share an image.
        """
        kinds = [(s.images.shape[1:], s.channels, s.pixel_size_um) for s in (self, other)]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"Found images of shape, channels and pixel size {kinds[0]} and {kinds[1]}, "
                "expected one kind. Give stacks of one assay, factor and degradation."
            )
        if shared := set(self.table["image_id"]) & set(other.table["image_id"]):
            raise InputError(
                f"Found {len(shared)} images in both stacks (first: {sorted(shared)[0]}), expected "
                "different cells. Give stacks of different splits."
            )
        table = pd.concat([self.table, other.table], join="inner", ignore_index=True)
        return replace(self, images=np.concatenate([self.images, other.images]), table=table)

    def __len__(self) -> int:
        return len(self.images)


def table_path(path: Path | str) -> Path:
    """Return the path of the table that belongs to the stack at ``path``."""
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise InputError(f"A stack is named *{SUFFIX}; found {path}.")
    return path.with_name(path.name[: -len(SUFFIX)] + ".parquet")


def image_digests(images: np.ndarray) -> list[str]:
    """Return the blake2b digest of each image's shape, type and pixels; images (n, c, y, x)."""
    digests = []
    head = f"{images.dtype.str}{images.shape[1:]}".encode()
    for image in _in_turn(images):
        digest = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
        digest.update(image.tobytes())
        digests.append(digest.hexdigest())
    return digests


def _in_turn(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images one by one; of a memory-mapped array, free those that were read.

    Otherwise the pages that were read count as memory of the process, although the file holds
    them.
    """
    mapped = getattr(images, "_mmap", None)
    shared = isinstance(images, np.memmap) and images.mode != "c"
    for number, image in enumerate(images, start=1):
        yield np.ascontiguousarray(image)
        if number % FREED_TOGETHER == 0 and mapped and shared and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def write_stack(
    path: Path | str,
    images: np.ndarray,
    table: pd.DataFrame,
    *,
    channels: Sequence[str],
    pixel_size_um: float,
    written_by: str,
    compress: bool = True,
    description: str = "",
) -> None:
    """Write images (n, c, y, x) and their table, each whole or not at all.

    Arguments:
        path: ``*.ome.tif``; the table lies beside it.
        images: uint8, uint16 or float32.
        table: n rows with a unique ``image_id``; ``image_digest`` is added.
        channels: Names of the c channels.
        pixel_size_um: Side of a pixel in micrometres.
        written_by: The rule that writes it.
        compress: Whether to use zlib; False for a stack that will be memory-mapped.
        description: Free text for the file.

    Raises:
        InputError: Shapes, ids or channel names do not fit, or an image is not finite.
    """
    path = Path(path)
    _check_fit(path, images, table, channels)
    table = table.reset_index(drop=True).assign(image_digest=image_digests(images))
    facts = {"written_by": written_by, "channels": list(channels), "description": description}
    known = {
        "facts": json.dumps(facts),
        "image_ids": json.dumps(list(table["image_id"])),
        "pixel_size_um": repr(float(pixel_size_um)),
    }
    metadata = {
        "axes": "TCYX",
        "Channel": {"Name": list(channels)},
        "PhysicalSizeX": pixel_size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel_size_um,
        "PhysicalSizeYUnit": "µm",
        "Description": description,
        "MapAnnotation": {"Namespace": NAMESPACE, **known, "digest": _digest(known)},
    }
    planes = (plane for image in _in_turn(images) for plane in image)
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            planes if isinstance(images, np.memmap) else images,
            shape=images.shape,
            dtype=images.dtype,
            ome=True,
            photometric="minisblack",
            compression="zlib" if compress else None,
            metadata=metadata,
        )
    write_table(table_path(path), table, written_by=written_by)


def read_stack(path: Path | str, *, memory_map: bool = False, verify: bool = True) -> Stack:
    """Read a stack and its table, and check every image against its digest.

    Arguments:
        path: A stack written by :func:`write_stack`.
        memory_map: Leave the pixels on disk (needs a stack written with ``compress=False``).
        verify: Whether to compute the digests, at about 1 GB/s; False if the caller has done so.

    Raises:
        InputError: A file is missing, cut off or damaged, or stack and table do not belong
            together. The sentence names the file, the image and the rule to run again.
    """
    path = need_file(path, "stack")
    table = read_table(table_path(path), columns=["image_id", "image_digest"])
    written_by = table.attrs["written_by"]
    images, facts = _read_tiff(path, memory_map, written_by)
    channels = tuple(facts["channels"])
    if images.shape[0] != len(table):
        raise InputError(
            f"The stack {path} holds {images.shape[0]} images and its table {len(table)} rows. "
            f"{rerun(path, written_by)}"
        )
    ids = facts["image_ids"]
    if ids != list(table["image_id"]):
        first = next(
            i for i, (a, b) in enumerate(zip(ids, table["image_id"], strict=True)) if a != b
        )
        raise InputError(
            f"The stack {path} and its table differ in their ids: image {first} is {ids[first]} in "
            f"the stack and {table['image_id'][first]} in the table. {rerun(path, written_by)}"
        )
    if verify:
        wrong = np.flatnonzero(
            np.asarray(image_digests(images)) != table["image_digest"].to_numpy()
        )
        if len(wrong):
            raise InputError(
                f"{len(wrong)} of {len(table)} images in {path} are not those that were written "
                f"(first: {ids[wrong[0]]}); the stack was damaged or swapped. "
                f"{rerun(path, written_by)}"
            )
    return Stack(images, table, channels, facts["pixel_size_um"], facts["description"])


def _check_fit(
    path: Path, images: np.ndarray, table: pd.DataFrame, channels: Sequence[str]
) -> None:
    if images.ndim != 4 or images.shape[1] != len(channels):
        raise InputError(
            f"A stack for {path} has shape {images.shape}; expected (n, {len(channels)}, y, x) for "
            f"the channels {', '.join(channels)}."
        )
    if len(images) == 0:
        raise InputError(f"There is no image to write to {path}.")
    if len(images) != len(table):
        raise InputError(f"{len(images)} images and {len(table)} rows do not fit for {path}.")
    if images.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(
            f"Images of type {images.dtype} for {path}; expected uint8, uint16, float32."
        )
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        raise InputError(f"The image id {repeated.iloc[0]} occurs more than once in {path}.")
    if images.dtype == np.float32:
        finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
        if not finite.all():
            bad = int(np.flatnonzero(~finite)[0])
            raise InputError(
                f"Image {table['image_id'].iloc[bad]} for {path} has values that are not finite."
            )


def _read_tiff(path: Path, memory_map: bool, written_by: str) -> tuple[np.ndarray, dict]:
    try:
        with tifffile.TiffFile(path) as tiff:
            annotation = tifffile.xml2dict(tiff.ome_metadata or "")
            series = tiff.series[0]
            facts = _facts(annotation)
            # Readers squeeze axes of length one, so n and c are taken from the metadata.
            shape = (len(facts["image_ids"]), len(facts["channels"]), *series.shape[-2:])
            if int(np.prod(series.shape)) != int(np.prod(shape)):
                raise ValueError(f"it holds {series.shape} pixels, expected {shape}")
            images = tiff.series[0].asarray(out="memmap") if memory_map else series.asarray()
    except Exception as error:  # Damaged bytes raise whatever the parser or codec meets first.
        raise InputError(
            f"The stack {path} is damaged or cut off ({first_line(error)}). "
            f"{rerun(path, written_by)}"
        ) from error
    return images.reshape(shape), facts


def _digest(known: Mapping[str, str]) -> str:
    # The XML reader would take digits without letters before them for a number.
    return f"blake2b:{json_digest(known)}"


def _facts(ome: dict) -> dict:
    annotation = ome["OME"]["StructuredAnnotations"]["MapAnnotation"]
    values = {entry["K"]: str(entry["value"]) for entry in annotation["Value"]["M"]}
    if values.pop("digest") != _digest({name: values[name] for name in KNOWN}):
        raise ValueError("what it says of itself is not what was written")
    facts = json.loads(values["facts"])
    facts["image_ids"] = json.loads(values["image_ids"])
    facts["pixel_size_um"] = float(values["pixel_size_um"])
    return facts
