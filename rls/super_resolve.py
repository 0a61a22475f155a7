"""Super-resolve low-resolution images: w^ of Eq. 5 by regularised search, or another method.

``--search NAME`` runs ``rls/search/NAME.py`` on the rows of split ``evaluation``, batch by batch;
``--help --search NAME`` shows its own settings too. Every finished batch is kept under ``--state``:
the same command goes on after an interruption, with the same bits. Every batch is filled up (the
last by repeats), so that on one kind of CPU the result does not depend on the number of shards.

With a file first, or --model, it is a tool for your own cells: see ``low.tif --help``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rls.io import (
    Intensity,
    Stack,
    read_intensity,
    read_stack,
    read_weights,
    write_stack,
    write_weights,
)
from rls.networks.pix2pix import check_assay
from rls.runtime.checkpoint import StateFolder, identity_digest
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device, has_fast_bfloat16
from rls.runtime.errors import InputError
from rls.search import Problem, Styles
from rls.search.arguments import parse
from rls.search.batches import Solved, clear, solve
from rls.search.forward import BORDERS, downscale
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.networks import Precision

SPLIT = "evaluation"
# columns of the low-resolution table that speak of its own pixels
RENAMED = {"image_digest": "low_resolution_digest"}


@dataclass(frozen=True)
class Settings:
    """What all searches share."""

    batch_size: int = option("Images searched at a time; every batch is filled to it.")
    precision: str = option("Of the convolutions while searching; auto is bfloat16 where the device is fast at it. Results are evaluated in float32.", choices=("auto", "float32", "bfloat16"))  # fmt: skip  # noqa: E501
    noise: str = option("Noise maps of the generator: shared by all images, or per_image.", choices=("shared", "per_image"))  # fmt: skip  # noqa: E501
    border: str = option("Border rule of D in the search; as_degraded is that of the images.", choices=("as_degraded", *BORDERS))  # fmt: skip  # noqa: E501
    seed: int = option("Seed of noise maps and of random starts.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")


@dataclass(frozen=True)
class Shard:
    """Number ``index`` (from 1) of ``count`` parts of the images."""

    index: int
    count: int

    @staticmethod
    def parse(text: str) -> Shard:
        """Return the shard of ``2-of-4``.

        Raises:
            InputError: It is not written so, or lies outside.
        """
        parts = text.split("-of-")
        if len(parts) != 2 or not all(part.isdigit() for part in parts):
            raise InputError(f"The shard is '{text}', expected I-of-N such as 1-of-4.")
        index, count = map(int, parts)
        if not 1 <= index <= count:
            raise InputError(f"The shard is '{text}', expected a first number of 1 to {count}.")
        return Shard(index, count)

    def rows(self, n: int) -> np.ndarray:
        """Return its rows of ``n``: consecutive, and all shards' sizes within one.

        Raises:
            InputError: There are fewer rows than shards.
        """
        if n < self.count:
            raise InputError(
                f"{n} images cannot be cut into {self.count} shards. Set run.shards to {n} or less."
            )
        return np.array_split(np.arange(n), self.count)[self.index - 1]


@dataclass(frozen=True)
class Models:
    """Networks of a search, None where no file was given, and their digests by name."""

    generator: Any
    flow: Any
    styles: Styles | None
    network: Path | None
    digests: dict[str, str]


def read_split(path: Path, *splits: str) -> Stack:
    """Return the rows of some splits of a low-resolution stack, sorted by image id.

    Raises:
        InputError: The table has no column ``split``, or no such row.
    """
    stack = read_stack(path)
    if "split" not in stack.table.columns:
        raise InputError(f"The table of {path} has no column 'split'. Run degrade again.")
    rows = np.flatnonzero(stack.table["split"].isin(splits))
    if not len(rows):
        named = " or ".join(splits)
        raise InputError(f"{path} has no image of split '{named}'. Check selection.csv.")
    return stack.select(rows[np.argsort(stack.table["image_id"].to_numpy()[rows], kind="stable")])


def read_models(
    args: argparse.Namespace, image_size: int, channels: Sequence[str], device: torch.device
) -> Models:
    """Read what was given of generator, flow and styles, and hold them against each other.

    Raises:
        InputError: The generator makes other images, or the flow or the styles are of another.
    """
    generator = flow = styles = None
    digests: dict[str, str] = {}
    if args.generator:
        generator = load_generator(args.generator, device, image_size=image_size, channels=channels)
        digests["generator"] = str(generator.header["digest"])
    if args.styles:
        tensors, header = read_weights(args.styles, kind="styles")
        styles = Styles(tensors["w"].float().to(device), tensors["w_mean"].float().to(device))
        digests["styles"] = header["digest"]
        _same(args.styles, header, "generator", digests, "sample_styles")
    if args.flow:
        from rls.prior.flows import (
            read_flow,  # nflows takes a second that other methods need not wait
        )

        flow, header = read_flow(args.flow, device)
        digests["flow"] = header["digest"]
        # a model folder's flow names its generator: its styles may be drawn anew
        of = "generator" if header.get("generator_digest") else "styles"
        _same(args.flow, header, of, digests, "fit_flow")
    if args.network:
        digests |= network_digest(args.network, read_intensity(args.intensity))
    return Models(generator, flow, styles, args.network, digests)


def network_digest(path: Path | None, intensity: Intensity) -> dict[str, str]:
    """Return the digest of a method's own network, by name; empty where there is none.

    Raises:
        InputError: It was trained on other channels or another scale than the model's.
    """
    if path is None:
        return {}
    header = read_weights(path)[1]
    if "intensity" in header:
        check_assay(path, header, intensity)
    return {"network": str(header["digest"])}


def _same(
    path: Path, header: Mapping[str, Any], of: str, digests: Mapping[str, str], rule: str
) -> None:
    """Refuse weights that were made with another file than the one given."""
    made_with = header.get(f"{of}_digest")
    if made_with and of in digests and made_with != digests[of]:
        raise InputError(
            f"{path} was made with the {of} {made_with[:12]}, and the {of} given here is "
            f"{digests[of][:12]}. Run {rule} again with this one."
        )


def choose_border(setting: str, table: pd.DataFrame, path: Path) -> str:
    """Return the border rule of D: as set, or that of the images."""
    if setting != "as_degraded":
        return setting
    found = list(table["border"].unique()) if "border" in table.columns else []
    if len(found) != 1:
        raise InputError(
            f"The table of {path} does not name one border rule of D (column 'border'). "
            f"Set super_resolve.border to {' or '.join(BORDERS)}."
        )
    return str(found[0])


def choose_precision(setting: str, device: torch.device) -> Precision:
    """Return float32 or bfloat16, and print it."""
    fast = setting == "bfloat16" or (setting == "auto" and has_fast_bfloat16(device))
    print(f"precision of the search: {'bfloat16' if fast else 'float32'}", flush=True)
    return "bfloat16" if fast else "float32"


def make_problem(
    args: argparse.Namespace, settings: Settings, stack: Stack, device: torch.device
) -> tuple[Problem, Models]:
    """Return the problem of all images of ``stack``, after holding every file against it.

    Raises:
        InputError: Channels, sizes or models do not fit each other.
    """
    intensity = read_intensity(args.intensity)
    if stack.channels != intensity.channels:
        raise InputError(
            f"{args.low_resolution} has the channels {', '.join(stack.channels)} and "
            f"{args.intensity} has {', '.join(intensity.channels)}. Give the scale of this assay."
        )
    height, width = (side * args.factor for side in stack.images.shape[-2:])
    made_by = stack.table["factor"].unique() if "factor" in stack.table.columns else [args.factor]
    if list(made_by) != [args.factor]:
        raise InputError(
            f"{args.low_resolution} was reduced by {', '.join(map(str, made_by))}, and the factor "
            f"given is {args.factor}. Give the factor of these images."
        )
    if args.generator and height != width:
        raise InputError(f"Images of {height} x {width} px are not square, as a generator's are.")
    border = choose_border(settings.border, stack.table, args.low_resolution)
    models = read_models(args, height, stack.channels, device)
    problem = Problem(
        y=torch.as_tensor(intensity.to_unit(stack.images)).to(device),
        image_ids=tuple(stack.table["image_id"]),
        generator=models.generator,
        flow=models.flow,
        styles=models.styles,
        factor=args.factor,
        forward=downscale((height, width), args.factor, border).to(device),
        seed=settings.seed,
        device=device,
        precision=choose_precision(settings.precision, device),
        noise=settings.noise,
        network=models.network,
    )
    return problem, models


def write_results(
    args: argparse.Namespace,
    stack: Stack,
    solved: Solved,
    generator: str,
    columns: Mapping[str, Any],
) -> None:
    """Write stack, table and latents; every file says what made it."""
    said = f"synthesised by {args.method}"
    said += f", generator {generator}" if generator else ", no generator"
    table = stack.table.rename(columns=RENAMED).assign(**columns, **solved.columns)
    ids = list(table["image_id"])
    header = {"kind": "latents", "image_ids": ids, "method": args.method, "generator": generator}
    write_weights(latents_path(args.output), {"w": torch.as_tensor(solved.latents)}, header)
    write_stack(
        args.output,
        read_intensity(args.intensity).to_counts(solved.images),
        table,
        channels=stack.channels,
        pixel_size_um=stack.pixel_size_um / args.factor,
        written_by="super_resolve",
        description=said,
    )


def latents_path(stack: Path) -> Path:
    """Return where the latents of the stack ``*.ome.tif`` lie: ``*.latents.safetensors``."""
    return stack.with_name(stack.name.removesuffix(".ome.tif") + ".latents.safetensors")


def main(argv: Sequence[str] | None = None) -> None:
    """Super-resolve one shard of a stack, or a user's own files."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for_files = any(flag.split("=")[0] == "--model" for flag in argv)
    if for_files or (argv and not argv[0].startswith("-")):
        from rls.super_resolve_files import main as super_resolve_files

        super_resolve_files(argv)
        return
    parser = Parser(__doc__, Settings, "super_resolve")
    parser.add_argument("--low-resolution", type=Path, required=True, help="stack, *.ome.tif")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--generator", type=Path, help="generator.safetensors")
    parser.add_argument("--flow", type=Path, help="flow.safetensors, for the prior")
    parser.add_argument("--styles", type=Path, help="styles.safetensors, for the start")
    parser.add_argument("--network", type=Path, help="the method's own network, where it has one")
    parser.add_argument("--factor", type=int, required=True, help="side of x over side of y")
    parser.add_argument("--shard", default="1-of-1", help="part of the images, I-of-N")
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    parser.add_argument("--state", type=Path, required=True, help="folder of finished batches")
    args, settings, method, own = parse(parser, argv)
    if settings.batch_size < 1:
        raise InputError(f"Found batch_size {settings.batch_size}, expected 1 or more.")
    shard = Shard.parse(args.shard)
    device = choose_device(settings.device, settings.threads)
    # "float32" means it: TF32 keeps 10 bits
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    everything = read_split(args.low_resolution, SPLIT)
    rows = shard.rows(len(everything))
    stack = everything.select(rows)
    problem, models = make_problem(args, settings, stack, device)
    # What makes the result, apart from the images: the same for all shards of one method
    shared = {name: v for name, v in asdict(settings).items() if name not in ("device", "threads")}
    facts = {
        "method": args.method,
        "search": args.search,
        "settings": shared | {"precision": problem.precision} | asdict(own),
        "factor": args.factor,
        "border": problem.forward.border,
        "intensity": read_intensity(args.intensity).as_dict(),
        "models": models.digests,
        "images": identity_digest({"all": list(everything.table["image_digest"])}),
    }
    print(f"super_resolve: {len(stack)} of {len(everything)} images by {args.method} "
          f"({args.search}), {args.factor}x", flush=True)  # fmt: skip
    with StateFolder(args.state, "super_resolve", {**facts, "shard": args.shard}) as state:
        solved = solve(method, own, problem, settings.batch_size, state)
        columns = {
            "method": args.method,
            "search": args.search,
            "result_digest": identity_digest(facts),
            "row": rows,
            "n_rows": len(everything),
        }
        write_results(args, stack, solved, models.digests.get("generator", ""), columns)
        clear(state)
    status = pd.Series(solved.columns.get("search_status", np.array([], dtype=object)))
    for name, count in status.value_counts().items():
        print(f"super_resolve: {count} images {name}", flush=True)


if __name__ == "__main__":
    run(main)
