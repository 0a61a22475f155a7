"""Select the cells of an assay, assign them to splits, and set its one intensity scale.

[0, 1] = (counts - black) / (white - black), with black and white percentiles of the gan split
(of tune where share_gan is 0).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.cells import named_plates
from analysis.cells.flagged_cells import count_flags, draw_examples
from analysis.cells.quality import FLAGS
from analysis.cells.split import (
    DROPPED,
    SPLITS,
    assign_splits,
    assign_to_plates,
    choose_cells,
    possible_levels,
    summarise,
)
from rls.io import (
    Intensity,
    image_digests,
    read_stack,
    read_table,
    table_path,
    write_intensity,
    write_stack,
    write_table,
)
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError

NEEDED = (
    *("image_id", "plate", "well", "site", "y_px", "x_px", "crop_size_px", "treatment"),
    *FLAGS,
)


@dataclass(frozen=True)
class Settings:
    """Settings of section ``select_cells``."""

    split_by: str = option(
        "Units that no two splits share.", choices=("plate", "well", "field", "tile")
    )
    share_gan: float = option("Share of the units for the generator.")
    share_tune: float = option("Share of the units for choosing settings.")
    share_classifier: float = option("Share of the units for the classifiers.")
    share_evaluation: float = option("Share of the units for the evaluation.")
    cells_gan: int = option("Cells a treatment for the generator.")
    cells_tune: int = option("Cells a treatment for choosing settings.")
    cells_classifier: int = option("Cells a treatment for the classifiers.")
    cells_evaluation: int = option("Cells a treatment for the evaluation.")
    on_few_cells: str = option(
        "What a treatment with fewer cells does.", choices=("stop", "take_all")
    )
    exclude_flags: tuple[str, ...] = option(
        f"Quality flags that exclude a cell: {', '.join(FLAGS)}."
    )
    tile_px: int = option("Side of a tile of a field, for split_by tile, in px.")
    black_percentile: float = option(
        "Percentile of the gan split (of tune where share_gan is 0) that becomes 0."
    )
    white_percentile: float = option("Percentile of the gan split that becomes 1.")
    seed: int = option("Seed of the splits and of the draw.")
    measured_plates: tuple[str, ...] = option(
        "Plates of the splits classifier and evaluation; what lies elsewhere goes to gan and tune. "
        "None: all.",
        default=(),
    )
    measured_treatments: tuple[str, ...] = option(
        "Treatments of the splits classifier and evaluation, likewise. None: all.", default=()
    )
    plates_gan: tuple[str, ...] = option(
        "Plates of split gan. None: those that no split names.", default=()
    )
    plates_tune: tuple[str, ...] = option(
        "Plates of split tune; plates_classifier may name the same, which then are divided by "
        "split_by in the proportion of the shares. None: those that no split names.",
        default=(),
    )
    plates_classifier: tuple[str, ...] = option(
        "Plates of split classifier. None: those that no split names.", default=()
    )
    plates_evaluation: tuple[str, ...] = option(
        "Plates of split evaluation, which serve no other. None: those that no split names.",
        default=(),
    )

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Plates by the split that names them."""
        return {split: getattr(self, f"plates_{split}") for split in SPLITS}

    @property
    def shares(self) -> dict[str, float]:
        """Share of the units by split."""
        return {split: getattr(self, f"share_{split}") for split in SPLITS}

    @property
    def counts(self) -> dict[str, int]:
        """Cells a treatment by split."""
        return {split: getattr(self, f"cells_{split}") for split in SPLITS}


def select(cells: pd.DataFrame, treatments: Sequence[str], settings: Settings) -> pd.DataFrame:
    """Return the selected rows of ``cells`` with their ``split``, sorted by image_id.

    Raises:
        InputError: A treatment has no cell, too few units or too few cells.
    """
    unknown = [name for name in settings.exclude_flags if name not in FLAGS]
    if unknown:
        raise InputError(
            f"Found exclude_flags {', '.join(unknown)}, expected some of {', '.join(FLAGS)}. "
            "Correct select_cells.exclude_flags."
        )
    cells = cells[cells["treatment"].isin(treatments)]
    cells = cells[~cells[list(settings.exclude_flags)].any(axis=1)]
    cells = cells.sort_values("image_id", ignore_index=True)
    lacking = [name for name in treatments if name not in set(cells["treatment"])]
    if lacking:
        raise InputError(
            f"Found no usable cell of {', '.join(lacking)} among {len(cells)} cells. Correct the "
            "assay's treatments, or look at the skipped fields and flags of its plates."
        )
    splits = assign(cells, settings)
    kept = choose_cells(
        cells, splits, settings.counts, settings.seed,
        take_all=settings.on_few_cells == "take_all",
    )  # fmt: skip
    _say_level(cells, splits, settings)
    return cells.assign(split=kept)[kept != DROPPED].reset_index(drop=True)


def assign(cells: pd.DataFrame, settings: Settings) -> pd.Series:
    """Return the split of each cell, by plates where the settings name them.

    Raises:
        InputError: A plate is unknown, named twice or both measured and named; or there are too
            few units.
    """
    sizes = {"tile_px": settings.tile_px, "crop_size": int(cells["crop_size_px"].max())}
    if not any(settings.named.values()):
        return assign_splits(
            cells, settings.split_by, settings.shares, settings.seed,
            measured=measured(cells, settings), **sizes,
        )  # fmt: skip
    plates = sorted(cells["plate"].unique())
    found = list(named_plates.faults(settings.named, plates))
    if settings.measured_plates or settings.measured_treatments:
        found.append(
            "select_cells.measured_plates or measured_treatments stand beside plates_gan to "
            "plates_evaluation; both say which plates are measured. Keep one of them."
        )
    if found:
        raise InputError(" ".join(found))
    served = {plate: named_plates.serves(settings.named, plate) for plate in plates}
    for plate, names in served.items():
        text = ", ".join(names) or "no split names it and each names others: left out"
        print(f"select_cells: plate {plate}: {text}", flush=True)
    return assign_to_plates(
        cells, settings.split_by, settings.shares, settings.seed, served, **sizes
    )


def measured(cells: pd.DataFrame, settings: Settings) -> pd.Series:
    """Say of each cell whether its plate and treatment may be measured, (n,) bool.

    Raises:
        InputError: A plate or treatment of the settings has no cell.
    """
    result = pd.Series(True, index=cells.index)
    for column in ("plate", "treatment"):
        names = getattr(settings, f"measured_{column}s")
        lacking = [name for name in names if name not in set(cells[column])]
        if lacking:
            raise InputError(
                f"Found no usable cell of {column} {', '.join(lacking)}, expected some. Correct "
                f"select_cells.measured_{column}s."
            )
        if names:
            result &= cells[column].isin(names)
    return result


def intensity_scale(
    images: Iterable[np.ndarray], channels: Sequence[str], black: float, white: float
) -> Intensity:
    """Return the scale of ``images``, n arrays (c, y, x) uint16, from two percentiles a channel.

    Percentiles are taken of all pixels, through histograms, so one image at a time is in memory.
    """
    histograms = np.zeros((len(channels), 2**16), np.int64)
    for image in images:
        for channel, histogram in enumerate(histograms):
            histogram += np.bincount(image[channel].ravel(), minlength=2**16)
    levels = []
    for histogram in histograms:
        cumulative = np.cumsum(histogram)
        ranks = np.array([black, white]) / 100 * cumulative[-1]
        levels.append(np.searchsorted(cumulative, np.maximum(ranks, 1)))
    lows, highs = zip(*levels, strict=True)
    return Intensity(tuple(channels), tuple(map(float, lows)), tuple(map(float, highs)))


def gather_images(
    paths: Sequence[Path], chosen: pd.DataFrame, scratch: Path
) -> tuple[np.ndarray, tuple[str, ...], float]:
    """Return (images (n, c, y, x) mapped on disk, channels, pixel size) of the rows ``chosen``.

    ``chosen`` has ``source`` (index into ``paths``). One plate at a time is in memory.

    Raises:
        InputError: Plates differ in channels, crop size or pixel size.
    """
    images: np.ndarray | None = None
    first = None
    with tempfile.TemporaryFile(dir=scratch) as file:
        for index, path in enumerate(paths):
            rows = np.flatnonzero(chosen["source"] == index)
            if not len(rows):
                continue
            stack = read_stack(path, verify=False)
            facts = (stack.channels, stack.pixel_size_um, stack.images.shape[1:])
            if images is None:
                first = (path, facts)
                shape = (len(chosen), *stack.images.shape[1:])
                # Not truncate: on a full disk a write to the map would then end in SIGBUS.
                os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * 2)
                images = np.memmap(file, np.uint16, "r+", shape=shape)
            elif first is not None and facts != first[1]:
                raise InputError(
                    f"Found channels, pixel size and shape {facts} in {path}, but {first[1]} in "
                    f"{first[0]}; an assay has one of each. Move the plate to another assay."
                )
            position = pd.Series(range(len(stack.table)), index=stack.table["image_id"])
            taken = stack.select(position[chosen["image_id"].iloc[rows]].to_numpy())
            _verify(taken.images, taken.table, path)
            images[rows] = taken.images
    if images is None or first is None:
        raise InputError("Found no selected cell, expected some. Raise the counts.")
    return images, first[1][0], first[1][1]


def main(argv: list[str] | None = None) -> None:
    """Select the cells of an assay."""
    parser = Parser(__doc__, Settings, "select_cells")
    parser.add_argument("--plates", type=Path, nargs="+", required=True, help="stacks of plates")
    parser.add_argument("--fields", type=Path, nargs="+", required=True, help="tables of fields")
    parser.add_argument("--treatments", nargs="+", required=True, help="treatments of the assay")
    parser.add_argument("--output", type=Path, required=True, help="stack of cells (.ome.tif)")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity scale (.json)")
    parser.add_argument("--selection", type=Path, required=True, help="what was selected (.csv)")
    parser.add_argument("--flags", type=Path, required=True, help="cells by quality flag (.csv)")
    parser.add_argument("--flagged", type=Path, required=True, help="examples of each (.ome.tif)")
    args, settings = parser.parse(argv)
    tables = [
        read_table(table_path(path), columns=NEEDED).assign(source=index)
        for index, path in enumerate(args.plates)
    ]
    everything = pd.concat(tables, ignore_index=True)
    chosen = select(everything, args.treatments, settings)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    images, channels, pixel_size = gather_images(args.plates, chosen, args.output.parent)
    # An assay that trains no generator may do without gan; of evaluation nothing is taken.
    split = "gan" if settings.share_gan > 0 or settings.plates_gan else "tune"
    seen = chosen["split"].to_numpy() == split
    if not seen.any():
        raise InputError(
            f"Found no cell for {split}, which sets the intensity scale, expected some. Raise "
            f"select_cells.cells_{split}, or name a plate for it in select_cells.plates_{split}."
        )
    scale = intensity_scale(
        (images[row] for row in np.flatnonzero(seen)),
        channels, settings.black_percentile, settings.white_percentile,
    )  # fmt: skip
    selection = summarise(chosen, settings.split_by, args.treatments, settings.counts)
    fields = pd.concat([read_table(path, columns=["treatment", "status"]) for path in args.fields])
    skipped = fields[fields["status"] != "ok"]["treatment"].value_counts()
    selection["n_fields_skipped"] = selection["treatment"].map(skipped).fillna(0).astype(int)
    flagged = everything[everything[list(settings.exclude_flags)].any(axis=1)]
    selection["n_cells_flagged"] = (
        selection["treatment"].map(flagged["treatment"].value_counts()).fillna(0).astype(int)
    )
    write_stack(
        args.output, images, chosen.drop(columns=["source", "image_digest"], errors="ignore"),
        channels=channels, pixel_size_um=pixel_size, written_by="select_cells", compress=False,
    )  # fmt: skip
    cells = everything[everything["treatment"].isin(args.treatments)].reset_index(drop=True)
    examples = draw_examples(cells, settings.seed)
    write_stack(
        args.flagged, gather_images(args.plates, examples, args.output.parent)[0],
        examples.drop(columns=["source", "image_digest"], errors="ignore"),
        channels=channels, pixel_size_um=pixel_size, written_by="select_cells",
    )  # fmt: skip
    write_table(args.flags, count_flags(cells, settings.exclude_flags), written_by="select_cells")
    write_intensity(args.intensity, scale, written_by="select_cells")
    write_table(args.selection, selection, written_by="select_cells")
    for split in SPLITS:
        part = selection[selection["split"] == split]
        print(
            f"select_cells: {split}: {part['n_cells'].sum()} cells, at least "
            f"{part['n_wells'].min()} wells a treatment",
            flush=True,
        )


def _verify(images: np.ndarray, table: pd.DataFrame, path: Path) -> None:
    """Hold the selected images against their digests; the others are not used."""
    wrong = np.asarray(image_digests(images)) != table["image_digest"].to_numpy()
    if wrong.any():
        first = table["image_id"].iloc[int(np.flatnonzero(wrong)[0])]
        raise InputError(
            f"Found {wrong.sum()} damaged images in {path} (first {first}). Delete it and run "
            "crop_cells again."
        )


def _say_level(cells: pd.DataFrame, splits: pd.Series, settings: Settings) -> None:
    """Print the level of the split, what it dropped, and whether a stricter one was possible."""
    stricter: list[str] = []
    if not any(settings.named.values()):
        among = cells[measured(cells, settings)]
        levels = possible_levels(among, settings.shares, settings.tile_px)
        stricter = levels[: levels.index(settings.split_by)] if settings.split_by in levels else []
    dropped = int((splits == DROPPED).sum())
    text = f"select_cells: splits share no {settings.split_by}"
    if dropped:
        why = "reach into another split or are of plates that serve none"
        text += f"; {dropped} of {len(cells)} crops {why} and are left out"
    if stricter:
        text += f"; these cells would also allow split_by: {', '.join(stricter)}"
    elif settings.split_by == "tile":
        text += "; no stricter split is possible: treatment and well may be one"
    print(text, flush=True)


if __name__ == "__main__":
    run(main)
