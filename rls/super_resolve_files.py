"""Super-resolve your own low-resolution cells with a model folder.

    python -m rls.super_resolve low.tif --model FOLDER --factor 8 --out high.ome.tif

Takes TIFF, OME-TIFF, ImageJ stacks and PNG, several files or a folder; each image is one cell,
cropped around its nucleus. Writes beside --out a table (.parquet, and .csv to open), a picture
(.png) and the latents. The model's own settings are used; any flag of the method overrides one.
Column trust says how like the model's own cells each cell is: see rls.pretrained.trust.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rls import __version__
from rls.io import (
    Intensity,
    image_digests,
    read_intensity,
    table_path,
    write_stack,
    write_table,
    write_weights,
)
from rls.measure_trust import search_facts, search_settings
from rls.pretrained import trust
from rls.pretrained.model_folder import (
    FLOW,
    SEARCH,
    TRUST,
    Model,
    need_folder,
    read_json,
    read_model,
)
from rls.pretrained.side_by_side import write_side_by_side
from rls.pretrained.user_cells import Cells, check_size, read_cells
from rls.runtime.checkpoint import StateFolder, identity_digest
from rls.runtime.command import Parser, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.search.arguments import parse
from rls.search.batches import Solved, solve
from rls.search.forward import BORDERS
from rls.super_resolve import Settings, latents_path, network_digest

NAME = "super_resolve"
SCALES = ("model", "percentiles")
MOST_THREADS = 8
PIXEL_TOLERANCE = 0.1  # relative; a pixel size in a file is often rounded


def model_flags(argv: Sequence[str]) -> list[str]:
    """Return the flags that the model's own settings are: those of the user come behind them.

    With --config, or another --search than the model's, the method's settings are the user's.

    Raises:
        InputError: The model has no settings for this factor and method.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--model", "--factor", "--method", "--search", "--config"):
        early.add_argument(flag)
    known, _ = early.parse_known_args(list(argv))
    method = known.method or known.search or "rls"
    shared = {"seed": "1", "device": "auto", "threads": str(min(MOST_THREADS, os.cpu_count() or 1))}
    base = ["--method", method, *_flags(shared)]
    if known.model is None or {"-h", "--help"} & set(argv):
        return base
    need_folder(Path(known.model))
    content = read_json(Path(known.model) / SEARCH)
    factors = content.get("factors", {})
    block = dict(factors.get(known.factor, {}).get(method, {}))
    common: dict[str, Any] = block.pop("super_resolve", {})
    if known.config:
        return ["--method", method]
    base += _flags({"batch_size": 16, "precision": "auto", "noise": "shared",
                    "border": "renormalize"} | common)  # fmt: skip
    if known.search and known.search != block.get("search"):
        return base
    if not block and known.factor is not None:
        has = [f"{m} at factor {f}" for f, methods in factors.items() for m in methods]
        raise InputError(
            f"{known.model} has no settings for {method} at factor {known.factor}; it has "
            f"{', '.join(has) or 'none at all'}. Choose one of these; or give --search and its "
            "settings as flags, or --config; or add them with python -m rls.measure_trust."
        )
    return base + _flags(block)


def _flags(values: dict[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in values.items():
        text = "none" if value is None else value
        text = str(text).lower() if isinstance(text, bool) else text
        items = text if isinstance(text, list) else [text]
        flags += ["--" + name.replace("_", "-"), *map(str, items)]
    return flags


def choose_scale(
    args: argparse.Namespace, cells: Cells, model: Model, pixels: dict[str, list[float]]
) -> Intensity:
    """Return the scale of the input's counts, and print which it is.

    The model's own; that of a file; or one that puts two percentiles of each channel of the whole
    input on those of the reference's low-resolution cells: never of a single cell.

    Raises:
        InputError: The file is of other channels, or a channel is the same everywhere.
    """
    channels = model.intensity.channels
    if args.intensity and args.scale == "percentiles":
        raise InputError("Found both --intensity and --scale percentiles. Give one of them.")
    if args.intensity:
        own = read_intensity(args.intensity)
        missing = [channel for channel in channels if channel not in own.channels]
        if missing:
            raise InputError(
                f"{args.intensity} has no level for {', '.join(missing)}; it has "
                f"{', '.join(own.channels)}. Give black and white of each of the model's channels."
            )
        places = [own.channels.index(channel) for channel in channels]
        scale = Intensity(channels, *(tuple(getattr(own, side)[i] for i in places)
                                      for side in ("black", "white")))  # fmt: skip
        print(f"intensity: scale of {args.intensity}", flush=True)
        return scale
    if args.scale == "model":
        print(f"intensity: the model's scale, {_levels(model.intensity)}", flush=True)
        if cells.eight_bit and max(model.intensity.white) > 255:
            print("warning: the images are 8-bit, and the model's scale reaches "
                  f"{max(model.intensity.white):g} counts. If they were rescaled when they were "
                  "saved, give the raw images, --intensity, or --scale percentiles.",
                  flush=True)  # fmt: skip
        return model.intensity
    return percentile_scale(cells.images, channels, pixels, args.percentiles)


def percentile_scale(
    images: np.ndarray, channels: Sequence[str], pixels: dict[str, list[float]],
    percentiles: Sequence[float],
) -> Intensity:  # fmt: skip
    """Return the scale that puts two percentiles of ``images`` (n, c, y, x) on the reference's.

    Arguments:
        pixels: 101 quantiles of the reference's low-resolution pixels, by channel; {}: 0 and 1.

    Raises:
        InputError: Percentiles that are none, or a channel that is the same everywhere.
    """
    low, high = percentiles
    if not 0 <= low < high <= 100:
        raise InputError(f"Found --percentiles {low:g} {high:g}, expected two of 0 to 100.")
    black, white = [], []
    for i, channel in enumerate(channels):
        dark, bright = np.percentile(images[:, i], [low, high])
        if not bright > dark:
            raise InputError(
                f"Channel {channel} is {dark:g} nearly everywhere, so it has no scale. Is it blank?"
            )
        # percentile k of the reference is entry k of its 101 quantiles
        first, last = (
            np.interp([low, high], np.linspace(0, 100, len(pixels[channel])), pixels[channel])
            if channel in pixels
            else (0.0, 1.0)
        )
        span = (bright - dark) / (last - first)
        black.append(float(dark - first * span))
        white.append(float(dark - first * span + span))
    scale = Intensity(tuple(channels), tuple(black), tuple(white))
    print(f"intensity: percentiles {low:g} and {high:g} of the whole input were put on those of "
          f"{'the reference cells' if pixels else '0 and 1'}, {_levels(scale)}. Counts of other "
          "runs do not compare, and trust cannot see a wrong brightness.", flush=True)  # fmt: skip
    return scale


def _levels(scale: Intensity) -> str:
    levels = zip(scale.channels, scale.black, scale.white, strict=True)
    return ", ".join(f"{c} {black:.6g} to {white:.6g} counts" for c, black, white in levels)


def reference_of(
    model: Model, factor: int, method: str, settings: dict[str, Any], network: str
) -> tuple[trust.Reference | None, dict[str, list[float]], bool]:
    """Return (reference, its pixel quantiles by channel, whether the search is the reference's).

    Another method or other settings still leave what the images themselves show.
    """
    content = read_json(model.folder / TRUST)
    methods = content.get("factors", {}).get(str(factor), {})
    entry = methods.get(method) or next(iter(methods.values()), None)
    if entry is None:
        print(f"trust: unknown, {model.folder / TRUST} has nothing of factor {factor}. "
              "python -m rls.measure_trust adds it.", flush=True)  # fmt: skip
        return None, {}, False
    if content.get("generator_digest") != model.digests["generator"]:
        raise InputError(
            f"{model.folder / TRUST} was measured with another generator. Run measure_trust again."
        )
    same = (
        method in methods
        and entry["settings"] == settings
        and entry["flow_digest"] == model.digests.get("flow", "")
        and entry.get("network_digest", "") == network
    )
    if not same:
        print("trust: judged by the images alone; the reference was searched with other settings "
              "or another method", flush=True)  # fmt: skip
    return trust.Reference.from_dict(entry), entry["pixels"], same


def judge(
    y: np.ndarray, solved: Solved, channels: Sequence[str], reference: trust.Reference | None,
    same: bool,
) -> tuple[np.ndarray, list[str]]:  # fmt: skip
    """Return (trust, why) of all cells; NaN and '' where there is no reference."""
    if reference is None:
        return np.full(len(y), np.nan), [""] * len(y)
    found = search_facts(solved) if same else {}
    return trust.judge(trust.image_facts(y, channels) | found, reference)


def say_trust(values: np.ndarray, why: Sequence[str]) -> None:
    """Print how many cells are unlike the reference, with a warning where chance is no reason."""
    if not np.isfinite(values).any():
        return
    flagged = values < trust.FLAGGED
    n, expected = len(values), trust.FLAGGED * len(values)
    if not trust.more_than_expected(values):
        print(f"trust: {flagged.sum()} of {n} cells are under {trust.FLAGGED:g}; of cells like the "
              f"model's own about {expected:.1f} would be", flush=True)  # fmt: skip
        return
    facts = pd.Series([w.split(" ")[0] for w, hit in zip(why, flagged, strict=True) if hit])
    worst = ", ".join(f"{name} ({count})" for name, count in facts.value_counts().head(3).items())
    print(
        f"WARNING: {flagged.sum()} of {n} cells look unlike the cells that this model has learned "
        f"({expected:.1f} would by chance). Most often by: {worst}. Their super-resolved images "
        "may look like cells all the same; there is no reason to believe them. Check the order of "
        "the channels, the intensity scale, the magnification and the cropping. Columns trust and "
        "trust_why of the table say more.",
        flush=True,
    )


def outputs(out: Path) -> dict[str, Path]:
    """Return what is written, by kind.

    Raises:
        InputError: The name does not end in .ome.tif.
    """
    if not out.name.endswith(".ome.tif"):
        raise InputError(f"Found --out {out}, expected a name that ends in .ome.tif. Name it so.")
    stem = out.name.removesuffix(".ome.tif")
    return {
        "images": out,
        "table": table_path(out),
        "csv": out.with_name(stem + ".csv"),
        "picture": out.with_name(stem + ".png"),
        "latents": latents_path(out),
    }


def check_pixels(cells: Cells, model: Model, factor: int) -> None:
    """Warn where the files' own pixel size is not the model's."""
    wanted = model.generator.pixel_size_um * factor
    found = cells.pixel_size_um
    if found is not None and abs(found / wanted - 1) > PIXEL_TOLERANCE:
        print(f"warning: the files say {found:g} um a pixel, and this model at factor {factor} "
              f"takes {wanted:g} um a pixel. At another magnification cells are larger or smaller "
              "than it knows.", flush=True)  # fmt: skip


def make_parser() -> Parser[Settings]:
    """Return the parser of the tool."""
    parser = Parser(__doc__, Settings, NAME)
    parser.prog = "python -m rls.super_resolve"
    parser.add_argument("files", nargs="+", type=Path, help="TIFF or PNG files, or a folder")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--factor", type=int, required=True, help="side of x over side of y")
    parser.add_argument("--out", type=Path, required=True, help="images to write, *.ome.tif")
    parser.add_argument("--channels", help="names in the order of the files, such as dna,nfkb")
    parser.add_argument("--axes", help="of the files, such as TCYX; T is the cells")
    parser.add_argument("--intensity", type=Path, help="intensity.json of your microscope")
    parser.add_argument("--scale", choices=SCALES, default="model", help="the model's counts, or percentiles of the whole input put on the reference's")  # fmt: skip  # noqa: E501
    parser.add_argument("--percentiles", nargs=2, type=float, default=[1.0, 99.0], metavar="P")
    parser.add_argument("--network", type=Path, help="the method's own network, where it has one")
    parser.add_argument("--state", type=Path, help="folder of finished batches; beside --out")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    return parser


def write(
    args: argparse.Namespace, cells: Cells, y: np.ndarray, solved: Solved, scale: Intensity,
    model: Model, judged: tuple[np.ndarray, list[str]],
) -> None:  # fmt: skip
    """Write images, table, picture and latents."""
    paths, digests = outputs(args.out), model.digests
    table = pd.DataFrame(
        {"image_id": cells.image_ids, "trust": judged[0], "trust_why": judged[1], **solved.columns,
         "file": cells.files, "number_in_file": cells.numbers, "factor": args.factor,
         "method": args.method, "search": args.search, "generator_digest": digests["generator"],
         "low_resolution_digest": image_digests(cells.images), "program_version": __version__}
    )  # fmt: skip
    name = model.folder.resolve().name
    said = (
        f"Synthesised, not acquired: super-resolved {args.factor}x by {args.method} (search "
        f"{args.search}) with the model {name}, generator {digests['generator']}, rls "
        f"{__version__}. Detail beyond the low-resolution pixels is what the generator has learned."
    )
    header = {"kind": "latents", "image_ids": list(cells.image_ids), "method": args.method,
              "generator": digests["generator"]}  # fmt: skip
    write_weights(paths["latents"], {"w": torch.as_tensor(solved.latents)}, header)
    write_table(paths["csv"], table, written_by=NAME)
    title = f"{args.factor}x by {args.method}, model {name}: synthesised, not acquired"
    write_side_by_side(paths["picture"], y, solved.images, scale.channels, cells.image_ids,
                       *judged, title)  # fmt: skip
    write_stack(
        paths["images"],
        scale.to_counts(solved.images),
        table,
        channels=scale.channels,
        pixel_size_um=model.generator.pixel_size_um,
        written_by=NAME,
        description=said,
    )
    for kind, path in paths.items():
        print(f"{NAME}: {kind:8s} {path}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Super-resolve the cells of files."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args, settings, method, own = parse(make_parser(), [*model_flags(argv), *argv])
    if settings.batch_size < 1:
        raise InputError(f"Found batch_size {settings.batch_size}, expected 1 or more.")
    if settings.border == "as_degraded":
        settings = replace(settings, border=BORDERS[0])
    existing = [str(path) for path in outputs(args.out).values() if path.exists()]
    if existing and not args.overwrite:
        raise InputError(
            f"{' and '.join(existing[:2])} would be replaced. Give --overwrite, or another --out."
        )
    device = choose_device(settings.device, settings.threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    model = read_model(args.model, device)
    said = [name.strip() for name in args.channels.split(",")] if args.channels else None
    cells = read_cells(args.files, model.intensity.channels, said, args.axes)
    for note in cells.notes:
        print(f"read {note}", flush=True)
    # one cell must not cost a batch: a whole batch is filled up
    settings = replace(settings, batch_size=min(settings.batch_size, len(cells)))
    check_size(cells, model.generator.image_size, args.factor)
    check_pixels(cells, model, args.factor)
    if getattr(own, "lambda_w", 0) and model.flow is None:
        raise InputError(
            f"{args.model} has no {FLOW}, which the prior of this search needs. Fit one "
            "(README, 'Super-resolve your own cells'), or give --lambda-w 0."
        )
    digests = model.digests | network_digest(args.network, model.intensity)
    reference, pixels, same = reference_of(model, args.factor, args.method,
                                           search_settings(own, settings),
                                           digests.get("network", ""))  # fmt: skip
    scale = choose_scale(args, cells, model, pixels)
    y = scale.to_unit(cells.images)
    problem = model.problem(y, cells.image_ids, args.factor, settings, device, args.network)
    kept = {name: v for name, v in asdict(settings).items() if name not in ("device", "threads")}
    kept |= {"precision": problem.precision}
    identity = {
        "settings": kept | asdict(own), "method": args.method, "search": args.search,
        "factor": args.factor, "models": digests, "scale": scale.as_dict(),
        "images": identity_digest({"all": image_digests(cells.images)}),
        "image_ids": identity_digest({"all": list(cells.image_ids)}),
    }  # fmt: skip
    print(f"{NAME}: {len(cells)} cells by {args.method}, {args.factor}x, to "
          f"{model.generator.image_size} px", flush=True)  # fmt: skip
    root = args.state or args.out.with_name(args.out.name.removesuffix(".ome.tif") + ".state")
    with StateFolder(root, NAME, identity) as state:
        solved = solve(method, own, problem, settings.batch_size, state)
        judged = judge(y, solved, scale.channels, reference, same)
        write(args, cells, y, solved, scale, model, judged)
    shutil.rmtree(state.folder, ignore_errors=True)
    if not any(root.iterdir()):
        root.rmdir()
    status = pd.Series(solved.columns.get("search_status", np.array([], dtype=object)))
    for name, count in status[status != "ok"].value_counts().items():
        print(f"warning: {count} cells ended with search_status {name}", flush=True)
    say_trust(*judged)


if __name__ == "__main__":
    run(main)
