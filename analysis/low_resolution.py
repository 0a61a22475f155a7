"""Take low-resolution cells as they were acquired: nothing is degraded, and no HR image exists.

Their counts stay as they are. The scale on which [0, 1] lies is the model's, or one that puts two
percentiles of all these cells on those of the model's reference cells. Where the model knows what
its own cells look like (trust.json), columns trust and trust_why say how alike each of these is by
its image alone; see :mod:`rls.pretrained.trust`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.high_resolution import KEPT
from rls.io import (
    Intensity,
    Stack,
    read_intensity,
    read_stack,
    read_weights,
    write_intensity,
    write_stack,
)
from rls.io.names import BORDERS
from rls.pretrained import trust
from rls.pretrained.files import read_json
from rls.pretrained.scale import percentile_scale
from rls.pretrained.trust import say_trust
from rls.pretrained.user_cells import PIXEL_TOLERANCE
from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError

NAME = "low_resolution"


@dataclass(frozen=True)
class Settings:
    """Settings of section ``low_resolution``."""

    scale: str = option(
        "The model's scale of counts, or percentiles of these cells put on its reference's.",
        choices=("model", "percentiles"),
    )
    percentile_low: float = option("The lower of the two percentiles.")
    percentile_high: float = option("The upper of the two percentiles.")


def read_reference(path: Path | None, factor: int, generator: str) -> dict[str, Any] | None:
    """Return what trust.json knows of the model's own cells at ``factor``; None without a file.

    Raises:
        InputError: It was measured with another generator.
    """
    if path is None:
        return None
    content = read_json(path)
    if content.get("generator_digest") != generator:
        raise InputError(f"{path} was measured with another generator. Run measure_trust again.")
    methods = content.get("factors", {}).get(str(factor), {})
    return next(iter(methods.values()), None)


def check_cells(cells: Stack, header: dict[str, Any], factor: int, name: str) -> None:
    """Hold the cells against the generator that is to super-resolve them.

    Raises:
        InputError: Channels, size or pixel size do not fit.
    """
    if list(cells.channels) != list(header["channels"]):
        raise InputError(
            f"{name} has the channels {', '.join(cells.channels)}, and the generator makes "
            f"{', '.join(header['channels'])}. Name the assay's channels so, in this order."
        )
    size, wanted = cells.images.shape[-1], np.ravel(header["image_size"])[0] / factor
    if size != wanted:
        raise InputError(
            f"{name} has cells of {size} px, and the generator at factor {factor} takes {wanted:g} "
            "px. Give the right factor, or crop the cells to this size."
        )
    pixel, expected = cells.pixel_size_um, header["pixel_size_um"] * factor
    if abs(pixel / expected - 1) > PIXEL_TOLERANCE:
        raise InputError(
            f"{name} has {pixel:g} um a pixel, and the generator at factor {factor} takes "
            f"{expected:g}. Resample the cells, or correct the assay's pixel_size_um."
        )


def choose_scale(
    images: np.ndarray, own: Intensity, reference: dict[str, Any] | None, settings: Settings
) -> Intensity:
    """Return the scale of ``images`` (n, c, y, x): the model's ``own``, or by percentiles.

    Raises:
        InputError: Percentiles are asked for, and the model has no reference.
    """
    if settings.scale == "model":
        return own
    if reference is None:
        raise InputError(
            "Found low_resolution.scale percentiles and no trust.json of the model for this "
            "factor, expected one to put them on. Make it (python -m rls.measure_trust), "
            "or set scale: model."
        )
    percentiles = (settings.percentile_low, settings.percentile_high)
    return percentile_scale(images, own.channels, reference["pixels"], percentiles)


def main(argv: list[str] | None = None) -> None:
    """Take the cells of an assay."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--cells", type=Path, required=True, help="selected cells (.ome.tif)")
    parser.add_argument("--generator", type=Path, required=True, help="that will be searched")
    parser.add_argument("--model-intensity", type=Path, required=True, help="its intensity.json")
    parser.add_argument("--trust", type=Path, help="its trust.json")
    parser.add_argument("--factor", type=int, required=True, help="side of SR over side of these")
    parser.add_argument("--border", choices=BORDERS, required=True, help="rule of D at the border")
    parser.add_argument("--degradation", required=True, help="name of the folder, for the table")
    parser.add_argument("--output", type=Path, required=True, help="low-resolution stack")
    parser.add_argument("--intensity", type=Path, required=True, help="the scale that is used")
    args, settings = parser.parse(argv)
    cells = read_stack(args.cells)
    header = read_weights(args.generator, kind="generator")[1]
    check_cells(cells, header, args.factor, str(args.cells))
    kept = cells.select(cells.table["split"].isin(KEPT).to_numpy())
    reference = read_reference(args.trust, args.factor, str(header["digest"]))
    own = read_intensity(args.model_intensity)
    scale = choose_scale(kept.images, own, reference, settings)
    table = kept.table.drop(columns="image_digest").assign(
        factor=args.factor, degradation=args.degradation, chain="", border=args.border,
        trust=np.nan, trust_why="",
    )  # fmt: skip
    if reference is not None:
        facts = trust.image_facts(scale.to_unit(kept.images), kept.channels)
        values, why = trust.judge(facts, trust.Reference.from_dict(reference))
        table = table.assign(trust=values, trust_why=why)
        say_trust(values, why)
    write_intensity(args.intensity, scale, written_by=NAME)
    write_stack(
        args.output, kept.images, table, channels=kept.channels,
        pixel_size_um=kept.pixel_size_um, written_by=NAME,
        description="acquired in low resolution; not degraded",
    )  # fmt: skip
    print(f"{NAME}: {len(kept)} cells of {kept.images.shape[-1]} px, as they are", flush=True)


if __name__ == "__main__":
    run(main)
