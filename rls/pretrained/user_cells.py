"""Read a user's own low-resolution cells into one array, with channels in the model's order."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rls.io.debris import need_utf_8, without_debris
from rls.io.images import SUFFIXES, Planes, read_planes
from rls.pretrained.known_cells import known_table
from rls.runtime.errors import InputError

PIXEL_TOLERANCE = 0.1  # Relative; pixel sizes in files are often rounded.


@dataclass(frozen=True)
class Cells:
    """Low-resolution cells.

    Attributes:
        images: (n, c, m, m) float32, channels in the model's order, values as in the files.
        image_ids: n unique names: the file's, with the number in it where it holds several cells;
            of a stack of this program, those of its table.
        files, numbers: The file of each cell, and its number there, counted from 1.
        eight_bit: Whether all files are 8-bit.
        pixel_size_um: The pixel size in all files, None where it is missing or differs.
        notes: One sentence for each way in which files were understood.
        about: Tables of this program's stacks, n rows; None where a file is no such stack.
    """

    images: np.ndarray
    image_ids: tuple[str, ...]
    files: tuple[str, ...]
    numbers: tuple[int, ...]
    eight_bit: bool
    pixel_size_um: float | None
    notes: tuple[str, ...]
    about: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.images)


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return the image files, and those in folders, which are sorted by number (2 before 10).

    Raises:
        InputError: A path does not exist, a folder holds no image, or a name is no UTF-8.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.is_file()]
            found = [p for p in without_debris(inside, path) if p.suffix.lower() in SUFFIXES]
            need_utf_8(found)
            if not found:
                raise InputError(
                    f"The folder {path} holds no image ({', '.join(SUFFIXES)}). Give another."
                )
            # Numbers in names are compared as numbers, and sort after text.
            parts = {p: re.split(r"(\d+)", p.name) for p in found}
            files += sorted(
                found,
                key=lambda p: [(int(s), "") if s.isdigit() else (-1, s) for s in parts[p]],
            )
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"The image {path} does not exist. Give a file or a folder of images.")
    return files


def read_cells(
    paths: Sequence[Path],
    wanted: Sequence[str],
    said: Sequence[str] | None = None,
    axes: str | None = None,
) -> Cells:
    """Read cells and put their channels in the order ``wanted``.

    A file holds all channels of its cells, or one channel. In the second case its name contains the
    name of the channel (``cell1_dna.png`` and ``cell1_nfkb.png`` are one cell). The files of an
    OME-TIFF image that lies in several are given together; their OME-XML may name the channels.

    Arguments:
        said: Names of the channels in the order of the files; None takes the names in the files.
        axes: See :func:`rls.io.images.read_planes`.

    Raises:
        InputError: There is no file, the channels are not the model's, or sizes differ.
    """
    files = list_files(paths)
    names = tuple(said) if said else tuple(wanted)
    planes = {file: read_planes(file, len(names), axes) for file in files}
    if len(wanted) > 1 and all(p.images.shape[1] == 1 for p in planes.values()):
        groups = _join_channels(planes, names, wanted)
    else:
        groups = [(file, [(file, _choose(file, planes[file], said, wanted))]) for file in files]
    images: list[np.ndarray] = []
    ids: list[str] = []
    origins: list[str] = []
    numbers: list[int] = []
    tables: list[pd.DataFrame | None] = []
    stems = [_stem(name) for name, _ in groups]
    for (name, parts), stem in zip(groups, stems, strict=True):
        own = np.concatenate([part for _, part in parts], axis=1).astype(np.float32)
        label = stem if stems.count(stem) == 1 else f"{name.parent.name}_{stem}"
        images.append(own)
        tables.append(table := known_table(parts[0][0]) if len(parts) == 1 else None)
        ids += _ids(label, len(own)) if table is None else list(table["image_id"])
        origins += [" ".join(str(file) for file, _ in parts)] * len(own)
        numbers += range(1, len(own) + 1)
    sizes = {image.shape[-2:] for image in images}
    if len(sizes) > 1:
        named = ", ".join(" x ".join(map(str, size)) for size in sorted(sizes)[:4])
        raise InputError(f"Found images of {named} px, expected one size. Crop all cells alike.")
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise InputError(f"The cell {twice} comes twice. Give every file once, under its own name.")
    pixel_sizes = {p.pixel_size_um for p in planes.values()}
    return Cells(
        images=np.concatenate(images),
        image_ids=tuple(ids),
        files=tuple(origins),
        numbers=tuple(numbers),
        eight_bit=all(p.images.dtype.itemsize == 1 for p in planes.values()),
        pixel_size_um=pixel_sizes.pop() if len(pixel_sizes) == 1 else None,
        notes=_notes(planes),
        about=None if any(t is None for t in tables) else pd.concat(tables, ignore_index=True),
    )


def _ids(label: str, n: int) -> list[str]:
    """Return the names of the ``n`` cells of a file."""
    return [label] if n == 1 else [f"{label}_{i + 1:04d}" for i in range(n)]


def check_size(cells: Cells, image_size: int, factor: int) -> None:
    """Refuse cells whose size is not the model's over ``factor``.

    Raises:
        InputError: The size differs; the sentence tells what to do.
    """
    height, width = cells.images.shape[-2:]
    side = image_size // factor
    if (height, width) == (side, side):
        return
    found = (
        f"Found images of {height} x {width} px; a model of {image_size} px takes {side} x {side} "
        f"px at factor {factor}."
    )
    if height == width and height < image_size and image_size % height == 0:
        raise InputError(f"{found} Give --factor {image_size // height} if they are whole cells.")
    if min(height, width) > side:
        raise InputError(
            f"{found} Each image must be one cell: crop {side} x {side} px around every nucleus "
            "of the field, nucleus in the middle, and give the crops."
        )
    raise InputError(f"{found} Crop the cells larger, or use a model of smaller images.")


def check_pixel_size(cells: Cells, pixel_size_um: float, factor: int) -> None:
    """Print a warning where the pixel size in the files is not the model's times ``factor``.

    Arguments:
        pixel_size_um: Pixel size of the model's own images.
    """
    wanted, found = pixel_size_um * factor, cells.pixel_size_um
    if found is not None and abs(found / wanted - 1) > PIXEL_TOLERANCE:
        print(
            f"warning: the files say {found:g} um a pixel, and this model at factor {factor} takes "
            f"{wanted:g} um a pixel. At another magnification cells are larger or smaller than it "
            "knows.",
            flush=True,
        )


def _choose(
    file: Path, planes: Planes, said: Sequence[str] | None, wanted: Sequence[str]
) -> np.ndarray:
    """Return the images (n, c, y, x) of one file, with the wanted channels in their order."""
    n_found = planes.images.shape[1]
    names = said or planes.channels
    model = f"the model wants {len(wanted)} ({', '.join(wanted)})"
    if names is None:
        if n_found == len(wanted) == 1:
            return planes.images
        raise InputError(
            f"{file} has {n_found} channel{'s' * (n_found != 1)} and does not name them; {model}. "
            + (
                "Give their names in the order of the file, such as "
                f"--channels {','.join(wanted)}; or"
                if n_found == len(wanted)
                else "If these are raw channels and not colours, name each with --channels, those "
                "too that the model does not know; or give"
            )
            + " one grey file a channel, whose name holds the channel's."
        )
    if len(names) != n_found:
        raise InputError(
            f"{file} has {n_found} channel{'s' * (n_found != 1)}, and {len(names)} names were "
            f"given ({', '.join(names)}); {model}. Name every channel of the file, in its order."
        )
    lower = [name.strip().lower() for name in names]
    missing = [name for name in wanted if lower.count(name.lower()) != 1]
    if missing:
        raise InputError(
            f"{file} has the channels {', '.join(names)}; {model}. Found none, or several, for "
            f"{', '.join(missing)}. Say which is which, in the order of the file, such as "
            f"--channels {','.join(wanted)}."
        )
    return planes.images[:, [lower.index(name.lower()) for name in wanted]]


def _join_channels(
    planes: dict[Path, Planes], names: Sequence[str], wanted: Sequence[str]
) -> list[tuple[Path, list[tuple[Path, np.ndarray]]]]:
    """Return the cells of one-channel files, each with a part for every wanted channel.

    A cell is (its name, [(file, images (n, 1, y, x)), ...]), in the order ``wanted``.
    """
    cells: dict[Path, dict[str, Path]] = {}
    hint = (
        f"Expected one file for each of {', '.join(wanted)}, such as cell1_{wanted[0]}.png and "
        f"cell1_{wanted[-1]}.png; or one file with all channels."
    )
    for file, one in planes.items():
        cell, name = _cell_and_channel(file, one, names, len(wanted), hint)
        if name in cells.setdefault(cell, {}):
            raise InputError(f"{file} and {cells[cell][name]} are one cell and channel.")
        cells[cell][name] = file
    groups = []
    for cell, found in cells.items():
        _check_set(cell, found, planes, wanted, hint)
        parts_of = [(found[n.lower()], planes[found[n.lower()]].images) for n in wanted]
        if len({images.shape for _, images in parts_of}) > 1:
            raise InputError(f"The channels of the cell {cell.name} differ in shape. Crop alike.")
        groups.append((cell, parts_of))
    return groups


def _cell_and_channel(
    file: Path, planes: Planes, names: Sequence[str], n_wanted: int, hint: str
) -> tuple[Path, str]:
    """Return the cell that a file of one channel belongs to, and the channel in lower case.

    Raises:
        InputError: The file's name does not hold one of ``names``, or its OME-XML says another.
    """
    parts = re.split(r"([^A-Za-z0-9]+)", _stem(file))
    lower = [name.lower() for name in names]
    hits = [(i, part.lower()) for i, part in enumerate(parts) if part.lower() in lower]
    inside = planes.channels[0].lower() if planes.files and planes.channels else ""
    if inside in lower and not hits:
        common = os.path.commonprefix([name for _, name in planes.files])
        return file.with_name(common.strip("_-. ") or "cell"), inside
    if len(hits) != 1:
        raise InputError(
            f"{file} has one channel, the model wants {n_wanted}, and its name does not "
            f"hold one of the channels' names. {hint}"
        )
    i, name = hits[0]
    if inside in lower and inside != name:
        raise InputError(
            f"{file} is called {name} and holds {inside} by its OME-XML. Give the file its own "
            "name back, or export the image as one OME-TIFF."
        )
    parts[max(i - 1, 0) : i + 1] = []
    return file.with_name("".join(parts).strip("_-. ") or "cell"), name


def _check_set(
    cell: Path,
    found: Mapping[str, Path],
    planes: Mapping[Path, Planes],
    wanted: Sequence[str],
    hint: str,
) -> None:
    """Refuse a cell that lacks a channel, or whose files are of different images by their OME-XML.

    Raises:
        InputError: It is such a cell.
    """
    files = list(found.values())
    other = [file for file in files if planes[file].files != planes[files[0]].files]
    if other:
        raise InputError(
            f"By their OME-XML, {files[0]} and {other[0]} belong to different images (the UUIDs of "
            "their files differ), expected the channels of one cell. Give the files of one image; "
            "a renamed file may be another cell's."
        )
    missing = [name for name in wanted if name.lower() not in found]
    if missing:
        lies = {name.lower(): file for name, file in planes[files[0]].elsewhere.items()}
        where = lies.get(missing[0].lower())
        if where is not None:
            hint = (
                f"By the OME-XML of {files[0]} it lies in {where}, which was not given. Give the "
                "files of an image together; one of that name and another UUID is not taken."
            )
        raise InputError(f"The cell {cell.name} lacks the file for {missing[0]}. {hint}")


def _notes(planes: dict[Path, Planes]) -> tuple[str, ...]:
    """Return one sentence for each way in which files were understood."""
    hows: dict[str, list[Path]] = {}
    for file, one in planes.items():
        hows.setdefault(one.how, []).append(file)
    return tuple(
        f"{files[0].name}{f' and {len(files) - 1} more' if len(files) > 1 else ''}: {how}"
        for how, files in hows.items()
    )


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".ome.tif", ".ome.tiff", *SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
