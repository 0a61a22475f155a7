"""Super-resolve your own low-resolution cells with a model folder.

    python -m rls.super_resolve_files low.tif --model FOLDER --factor 8 --out high.ome.tif

The input is TIFF, OME-TIFF, ImageJ stacks or PNG, several files or a folder. Each image is one
cell, cropped around its nucleus. Beside --out the command writes a table (.parquet, and .csv to
open), a picture (.png) and the latents.

--operator and the settings after it say how your microscope and camera see a cell of the model.
bicubic is how the article reduced its images. For a camera use --operator psf_binning with
--psf-sd-um S, the blur that your images have beyond the model's. The model says which method suits
it best and brings its settings; --method rls is the article's method, and any flag of the method
overrides a setting. The column trust says how much each cell is like the model's own cells (see
rls/pretrained/trust.py).
"""

# This docstring is the help of the tool. Two commands run it: rls.super_resolve_files, and
# rls.super_resolve when it is given files or --model, which is the older form.

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rls.pretrained.files import PUBLISHED, SEARCH, default_method, need_folder, read_json
from rls.pretrained.forwards import Settings
from rls.runtime.command import Parser, flags
from rls.runtime.errors import InputError
from rls.runtime.places import shipped
from rls.search.arguments import parse
from rls.search.forward_model import WEIGHTS, kept_under

if TYPE_CHECKING:
    from rls.pretrained.application import Request

PROGRAM = "python -m rls.super_resolve_files"
SCALES = ("model", "percentiles")
MOST_THREADS = 8


def is_for_files(argv: Sequence[str]) -> bool:
    """Return whether arguments of rls.super_resolve are those of this tool."""
    with_model = any(flag.split("=")[0] == "--model" for flag in argv)
    return with_model or bool(argv and not argv[0].startswith("-"))


def super_resolve_files(argv: Sequence[str] | None = None) -> None:
    """Super-resolve the cells of a user's own files."""
    argv = sys.argv[1:] if argv is None else argv
    args, settings, method = parse(make_parser(__doc__, PROGRAM), [*model_flags(argv), *argv])
    # Imported here, so that --help does not wait for torch.
    from rls.pretrained.application import apply_model

    apply_model(request_of(args), settings, method)


def make_parser(doc: str, program: str) -> Parser[Settings]:
    """Return the parser of a command that applies a model to files.

    Arguments:
        doc: The help of the command.
        program: How the command is called.
    """
    parser = Parser(doc, Settings, "super_resolve", program=program, whose="the model's")
    parser.add_argument("files", nargs="+", type=Path, help="TIFF or PNG files, or a folder")
    parser.add_argument(
        "--model",
        type=model_folder,
        required=True,
        metavar="FOLDER",
        help="folder of the model, or the name of one that comes with the program",
    )
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    parser.add_argument("--out", type=Path, required=True, help="images to write, *.ome.tif")
    parser.add_argument("--channels", help="channels in the order of the files, such as dna,nfkb")
    parser.add_argument("--axes", help="axes of the files, such as TCYX; T is the cells")
    parser.add_argument("--intensity", type=Path, help="intensity.json of your microscope")
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="model",
        help="the model's counts, or percentiles of the input, matched to the reference's",
    )
    parser.add_argument("--percentiles", nargs=2, type=float, default=[1.0, 99.0], metavar="P")
    parser.add_argument("--network", type=Path, help="the method's own network, where it has one")
    parser.add_argument("--encoder", type=Path, help="an encoder in place of the model's own")
    parser.add_argument(
        "--state", type=Path, help="folder of finished batches; default: beside --out"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.writes("out")
    return parser


def model_folder(text: str) -> Path:
    """Return the folder of a model: a user's, or the program's of that name."""
    return shipped(Path(text), "models")


def request_of(args: argparse.Namespace) -> Request:
    """Return the request that the flags of :func:`make_parser` make."""
    from rls.pretrained.application import Request

    return Request(
        files=args.files,
        model=args.model,
        factor=args.factor,
        out=args.out,
        channels=split_names(args.channels),
        axes=args.axes,
        intensity=args.intensity,
        percentiles=args.percentiles if args.scale == "percentiles" else None,
        network=args.network,
        encoder=args.encoder,
        state=args.state,
        overwrite=args.overwrite,
    )


def split_names(text: str | None) -> list[str] | None:
    """Return the names in a text such as ``dna,nfkb``; None of an empty or missing one."""
    return [name.strip() for name in text.split(",")] if text else None


def model_flags(argv: Sequence[str]) -> list[str]:
    """Return the model's own settings as flags, to be put before the user's, which override them.

    Without --method and --search the method is the model's default for this factor. With --config,
    or a --search that is not the model's, the user gives the method's settings.

    Raises:
        InputError: The model has no settings for this factor and method.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--model", "--factor", "--method", "--search", "--config"):
        early.add_argument(flag)
    for name in ("operator", *WEIGHTS):
        early.add_argument("--" + name.replace("_", "-"), nargs="?")
    known, _ = early.parse_known_args(list(argv))
    method = known.method or known.search or PUBLISHED
    shared = {"seed": "1", "device": "auto", "threads": str(min(MOST_THREADS, os.cpu_count() or 1))}
    if known.model is None or {"-h", "--help"} & set(argv):
        return ["--method", method, *flags(shared)]
    folder = model_folder(known.model)
    need_folder(folder)
    content = read_json(folder / SEARCH)
    if not (known.method or known.search or known.config):
        method = default_method(content, known.factor)
    base = ["--method", method, *flags(shared)]
    factors = content.get("factors", {})
    block = dict(factors.get(known.factor, {}).get(method, {}))
    common = kept_under(block.pop("super_resolve", {}), vars(known))
    if known.config:
        return ["--method", method]
    defaults = {
        "batch_size": 16,
        "precision": "auto",
        "noise": "shared",
    }
    base += flags(defaults | common)
    if known.search and known.search != block.get("search"):
        return base
    if not block and known.factor is not None:
        has = [f"{m} at factor {f}" for f, methods in factors.items() for m in methods]
        raise InputError(
            f"{known.model} has no settings for {method} at factor {known.factor}; it has "
            f"{', '.join(has) or 'none at all'}. Choose one of these; or give --search and its "
            "settings as flags, or --config; or add them with python -m rls.measure_trust."
        )
    return base + flags(block)
