"""Read cells in the form of a StyleGAN2-ADA dataset: a zip of 8-bit PNG with class labels.

Source: NVlabs, stylegan2-ada-pytorch, ``dataset_tool.py``. The labels stand in ``dataset.json``:
``{"labels": [[file, class], ...]}``, or null; images are square, grey or RGB. The format has
neither plate nor well: a CSV in the archive or beside it (column ``filename``) may give them.
"""

from __future__ import annotations

import json
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plates.bbbc021 import DOSE_UNIT, treatment_names
from analysis.plates.crop_array import BLOCK_ROWS
from analysis.plates.names import refuse_two_treatments, with_well_names
from analysis.plates.sheet import PLATE_NAME
from analysis.plates.user_numbers import check_numbers, whole_if_all_are
from analysis.plates.user_table import parse_user_table, read_user_table
from analysis.plates.zip_members import Members
from rls.io.png import read_png
from rls.runtime.errors import InputError

DATASET = "dataset.json"
UNKNOWN_WELL = "unknown"
UNUSED = "none"  # Name of a colour of the PNG that holds no channel.
PLACE = ("plate", "well", "site")
POSITION = ("y_px", "x_px")
TEXT = ("filename", "plate", "well", "compound", "moa")
NUMBERS = ("site", "concentration", *POSITION)


def read_labels(
    path: Path,
    sheet: Path | None,
    classes: Sequence[str],
    plates: Sequence[str],
    treatment_by: str,
) -> pd.DataFrame:
    """Return one row per image, sorted by its name in the archive.

    Prints the columns that are unknown.

    Arguments:
        sheet: CSV beside the archive; None: the one in the archive, if there is one.
        classes: Treatment of class 0, 1, ...; unused where the CSV names compounds.
        plates: Plates of the assay; there must be one where no CSV gives the plate.
        treatment_by: ``compound``, or ``compound_dose`` for names such as ``taxol_0.3uM``.

    Returns:
        The columns of :func:`analysis.plates.crop_array.read_labels`, and ``filename``. Without a
        CSV the well is ``unknown`` and the site 0, so that cells are never split as if their wells
        were known.

    Raises:
        InputError: The archive, its JSON or the CSV is missing, damaged or of other images; or
            the treatment is unknown.
    """
    with _opened(path) as archive:
        names = sorted(name for name in archive.found if name.lower().endswith(".png"))
        if not names:
            raise InputError(f"Found no PNG in {path}, expected one a cell. Correct crops.")
        labels = _read_classes(archive, path)
        table, said = _read_csv(archive, path, sheet)
    table = _match(table, names, said) if table is not None else pd.DataFrame({"filename": names})
    missing = [name for name in (*PLACE, *POSITION) if name not in table]
    table = _place(table, plates, said)
    written = table["well"]
    table = _treat(with_well_names(table, said), labels, classes, treatment_by, path, said)
    refuse_two_treatments(table[table["well"] != UNKNOWN_WELL], said, written)
    ids = table["plate"] + "_" + table["well"] + "_s" + table["site"].astype(str)
    number = table.groupby(ids).cumcount()
    if missing:
        text = f"import_crops: nothing says {', '.join(missing)} of the images in {path}"
        if "well" in missing:
            text += (
                ": they can train a generator, but not be split into wells to be measured. A CSV "
                "with filename, plate, well and site, in the archive or as the assay's sheet, "
                "would say where they are from."
            )
        print(text, flush=True)
    table.insert(0, "image_id", ids + "_c" + number.astype(str))
    return table


def read_images(
    path: Path,
    names: Sequence[str],
    channels: Sequence[str],
    rgb_channels: Sequence[str],
    size: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images ``names`` block by block, in their order.

    Arguments:
        channels: Channels of the assay, in its order.
        rgb_channels: Channels that red, green and blue hold, ``none`` for an unused one; () where
            they hold ``channels``.
        size: Side of an image in px.

    Yields:
        (positions (k,) in ``names``, counts of 0 to 255 (k, c, y, x) uint16).

    Raises:
        InputError: An image is damaged, not 8-bit grey or RGB, of another size, or has a signal in
            a colour that is declared unused.
    """
    order = tuple(rgb_channels) or tuple(channels)
    lacking = [channel for channel in channels if order.count(channel) != 1]
    if lacking:
        raise InputError(
            f"Found import_crops.rgb_channels {', '.join(order)}, expected {lacking[0]} once "
            "in it. Name what red, green and blue hold, and 'none' for an unused one."
        )
    with _opened(path) as archive:
        for first in range(0, len(names), BLOCK_ROWS):
            block = names[first : first + BLOCK_ROWS]
            images = np.empty((len(block), len(channels), size, size), np.uint16)
            for image, name in zip(images, block, strict=True):
                _fill(image, archive.read(name), f"{name} in {path}", channels, order)
            yield first + np.arange(len(block)), images


def _fill(
    image: np.ndarray, content: bytes, name: str, channels: Sequence[str], order: Sequence[str]
) -> None:
    """Fill ``image`` (c, y, x) with the channels of a PNG whose colours hold ``order``.

    Raises:
        InputError: The PNG has other colours, or a signal in one that is declared unused.
    """
    planes = _planes(content, name, image.shape[-1])
    if len(planes) != len(order):
        raise InputError(
            f"Found {len(planes)} channels in {name}, expected {len(order)} "
            f"({', '.join(order)}). Correct the assay's channels, or name red, green and "
            "blue in import_crops.rgb_channels ('none': unused)."
        )
    for channel, plane in zip(order, planes, strict=True):
        if channel in channels:
            image[channels.index(channel)] = plane
        elif channel == UNUSED and plane.any():
            raise InputError(
                f"Found a signal in {name} where import_crops.rgb_channels says "
                "'none', expected 0. Name the channel, or leave it out of the images."
            )


@contextmanager
def _opened(path: Path) -> Iterator[Members]:
    """Open the archive; a failure inside the block becomes :class:`InputError`."""
    if not path.is_file():
        raise InputError(f"The crops {path} do not exist. Correct the assay's crops.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield Members.of(archive, path, DATASET)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise InputError(
            f"The archive {path} is cut off, damaged or encrypted ({error}). Make or fetch it "
            "again."
        ) from error


def _read_classes(archive: Members, path: Path) -> Mapping[str, int] | None:
    """Return {file: class}, None where the labels are null.

    Raises:
        InputError: The archive has no labels, or they are not of the format.
    """
    if DATASET not in archive.found:
        raise InputError(
            f"Found no {DATASET} in {path}, expected StyleGAN2-ADA's dataset format. Make the "
            'archive with dataset_tool.py, or add the file with {"labels": null}.'
        )
    try:
        labels = json.loads(archive.read(DATASET))["labels"]
        pairs = None if labels is None else {str(n).replace("\\", "/"): c for n, c in labels}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'The {DATASET} in {path} is no {{"labels": [[file, class], ...]}} '
            f"({type(error).__name__}: {error}). Make the archive anew."
        ) from error
    for name, label in (pairs or {}).items():
        if isinstance(label, bool) or not isinstance(label, int) or label < 0:
            raise InputError(
                f"Found the label {label!r} of {name} in {path}, expected the number of a class. "
                "Label each image with its class from 0."
            )
    return pairs


def _read_csv(archive: Members, path: Path, sheet: Path | None) -> tuple[pd.DataFrame | None, str]:
    """Return (CSV beside or in the archive or None, its name).

    Raises:
        InputError: The CSV is missing or damaged, has no column filename, or is one of several.
    """
    inside = [name for name in archive.found if name.lower().endswith(".csv")]
    if sheet is None and not inside:
        return None, str(path)
    if sheet is None and len(inside) > 1:
        raise InputError(
            f"Found {len(inside)} CSV in {path} ({', '.join(inside[:3])}), expected one. Name the "
            "right one as the assay's sheet."
        )
    said = str(sheet) if sheet else f"{inside[0]} in {path}"
    if sheet is None:
        table = parse_user_table(archive.read(inside[0]), TEXT, NUMBERS, said)
    else:
        table = read_user_table(sheet, TEXT, NUMBERS, "table of crops")
    if "filename" not in table:
        raise InputError(
            f"Found no column filename in {said}, expected the images' names in the archive, and "
            f"{', '.join(PLACE)} beside them. Add it."
        )
    return table, said


def _match(table: pd.DataFrame, names: Sequence[str], said: str) -> pd.DataFrame:
    """Return the rows of the CSV in the order of ``names``; its index stays.

    Names in a Mac's archive have their accents apart, which looks the same.

    Raises:
        InputError: Rows and images do not correspond one to one.
    """
    inside = {unicodedata.normalize("NFC", name): name for name in names}
    found = (
        table["filename"].fillna("").str.replace("\\", "/").map(lambda name: inside.get(name, name))
    )
    faults = {
        "a row without an image": sorted(set(found) - set(names)),
        "an image without a row": sorted(set(names) - set(found)),
        "two rows": sorted(found[found.duplicated()]),
    }
    for what, lacking in faults.items():
        if lacking:
            raise InputError(
                f"Found {what}, {lacking[0]}, in {said} ({len(lacking)} in all), expected one row "
                "an image. Correct the table."
            )
    return table.assign(filename=found).sort_values("filename")


def _place(table: pd.DataFrame, plates: Sequence[str], said: str) -> pd.DataFrame:
    """Return the table with plate, well, site and position, filled where a column is missing.

    Raises:
        InputError: The plate is unknown, or a value is empty or impossible.
    """
    if "plate" not in table and len(plates) > 1:
        raise InputError(
            f"Found no plate of the images in {said} and {len(plates)} plates in the assay, "
            "expected a column plate. Add it, or list one plate."
        )
    filled: dict[str, str | float] = {
        "plate": plates[0],
        "well": UNKNOWN_WELL,
        "site": 0,
        "y_px": np.nan,
        "x_px": np.nan,
    }
    table = table.assign(**{k: v for k, v in filled.items() if k not in table})
    faults = {
        "plate": ~table["plate"].fillna("").str.fullmatch(PLATE_NAME),
        "well": table["well"].isna(),
    }
    for column, bad in faults.items():
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            name = table["filename"].iloc[row]
            raise InputError(
                f"Found the {column} '{table[column].iloc[row]}' of {name} in {said}, "
                "expected a name. Correct it."
            )
    check_numbers(table["site"], said, whole=True)
    return table.assign(site=table["site"].astype(int))


def _treat(
    table: pd.DataFrame,
    labels: Mapping[str, int] | None,
    classes: Sequence[str],
    treatment_by: str,
    path: Path,
    said: str,
) -> pd.DataFrame:
    """Return the table with its treatment, from the CSV's compounds or from the classes.

    Raises:
        InputError: Neither gives a treatment, or the two disagree.
    """
    by_class = _class_names(table["filename"], labels, classes, path)
    if "compound" in table:
        compound = table["compound"].fillna("")
        dose = table.get("concentration", pd.Series(np.nan, index=table.index))
        named = treatment_by == "compound_dose" and "concentration" in table
        treatment = treatment_names(compound, dose, treatment_by) if named else compound
        bad = (compound == "") | (dose.isna() if named else False)
        if bad.any():
            first = table["filename"][bad].iloc[0]
            raise InputError(
                f"Found no compound or concentration of {first} in {said}, expected both. Fill the "
                "table."
            )
    elif by_class is not None:
        treatment = compound = by_class
        dose = pd.Series(np.nan, index=table.index)
    else:
        raise InputError(
            f"Found nothing that says the treatment of the images in {path}: its labels are null "
            "or import_crops.class_treatments is empty, and no CSV has a column compound. Give one."
        )
    if by_class is not None and (by_class != treatment).any():
        row = int(np.flatnonzero(by_class != treatment)[0])
        raise InputError(
            f"Found {table['filename'].iloc[row]} as {treatment.iloc[row]} in {said} and as "
            f"{by_class.iloc[row]} by its class in {path}, expected one treatment. Correct the "
            "table or import_crops.class_treatments."
        )
    moa = table["moa"].fillna("") if "moa" in table else ""
    return table[["filename", "plate", "well", "site"]].assign(
        treatment=treatment,
        compound=compound,
        dose=dose,
        dose_unit=DOSE_UNIT,
        moa=moa,
        y_px=whole_if_all_are(table["y_px"]),
        x_px=whole_if_all_are(table["x_px"]),
    )


def _class_names(
    names: pd.Series, labels: Mapping[str, int] | None, classes: Sequence[str], path: Path
) -> pd.Series | None:
    """Return the treatment of each image by its class; None without labels or ``classes``.

    Raises:
        InputError: An image has no label, or a class has no name.
    """
    if labels is None or not classes:
        return None
    lacking = [name for name in names if name not in labels]
    if lacking:
        raise InputError(
            f"Found {len(lacking)} images without a label in {DATASET} of {path} (first "
            f"{lacking[0]}), expected one each. Make the archive anew."
        )
    highest = max(labels[name] for name in names)
    if highest >= len(classes):
        raise InputError(
            f"Found class {highest} in {path} and {len(classes)} names ({', '.join(classes)}) in "
            "import_crops.class_treatments, expected a treatment for each class from 0. Add it."
        )
    return names.map(lambda name: classes[labels[name]])


def _planes(content: bytes, where: str, size: int) -> np.ndarray:
    """Return the colours (c, y, x) of a PNG.

    Raises:
        InputError: The image is damaged, of another size, or not 8-bit grey or RGB.
    """
    pixels = read_png(content, where)
    if pixels.dtype != np.uint8:
        raise InputError(
            f"Found a PNG of 16 bits in {where}, expected 8-bit grey or RGB. Save it so: 16-bit "
            "images come in as .ome.tif or .npy."
        )
    if pixels.shape[:2] != (size, size):
        raise InputError(
            f"Found {pixels.shape[0]} x {pixels.shape[1]} px in {where}, expected "
            f"crop_size {size} a side. Correct the assay's crop_size."
        )
    return np.moveaxis(pixels, -1, 0)
