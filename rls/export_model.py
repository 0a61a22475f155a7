"""Copy a trained generator into a folder of its own, with a card that says what it is.

The flow, and the search's settings and trust of measure_trust, go with it where the results hold
them: with these the folder super-resolves other people's cells.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rls.io import atomic_path, read_intensity, read_table, read_weights, write_text, write_weights
from rls.pretrained.model_folder import FLOW, SEARCH, TRUST, flow_generator, read_json
from rls.runtime.command import run
from rls.runtime.errors import InputError

LARGEST_MB = 12.0
BESIDE = ("generator.png", "generator.progress.png", "generator.training.csv")
OWN_CELLS = """
## For your own cells

    python -m rls.super_resolve low.tif --model {folder} --factor {factor} --out high.ome.tif

{served}
"""
SERVED = (
    "Factor {factor}: images of {low} x {low} px, one a cell, by `{method}` ({settings}); trust "
    "from {n} cells of split {splits}, which the generator has not seen.\n"
)
CARD = """# {title}

{about}

![samples of fixed z](generator.png)

The first eight of them over the training:

![samples of fixed z over the training](generator.progress.png)

| what | value |
| --- | --- |
| images | {size} x {size} px, channels {channels}, {pixel_size_um} um a pixel |
| trained on | {n_images} cells, data digest `{data_digest}` |
| images seen | {images_seen:,} |
| parameters | {n_parameters:,} |
| weights digest | `{digest}` |
| intensity, counts | {intensity} |
| last tick | {tick} |

Made by `{command}`. Files: `generator.safetensors` (average of the weights,
to be used), `training.safetensors` (generator and discriminator, to train on: `init_from`),
`intensity.json` (the scale on which it works), `generator.training.csv` (the curves; kd is the
kernel distance to held-out cells, kd_floor what real cells reach).

Settings: {settings}
"""


def card(
    title: str,
    about: str,
    command: str,
    header: Mapping[str, Any],
    n_parameters: int,
    tick: Mapping[str, float],
) -> str:
    """Return the text of a model's card from the header of its weights."""
    scale = header["intensity"]
    levels = zip(scale["channels"], scale["black"], scale["white"], strict=True)
    return CARD.format(
        title=title,
        about=about,
        command=command,
        size=header["image_size"],
        channels=", ".join(header["channels"]),
        pixel_size_um=header["pixel_size_um"],
        n_images=header["n_training_images"],
        data_digest=header["data_digest"],
        images_seen=header["images_seen"],
        n_parameters=n_parameters,
        digest=header["digest"],
        intensity="; ".join(f"{c} {black:g} to {white:g}" for c, black, white in levels),
        tick=", ".join(f"{name} {value:.3g}" for name, value in tick.items()),
        settings=", ".join(f"{name} {value}" for name, value in header["settings"].items()),
    )


def own_cells(folder: Path, image_size: int) -> str:
    """Return what the card of a model folder says of its use; nothing where it has no trust."""
    search, trust = (read_json(folder / name).get("factors", {}) for name in (SEARCH, TRUST))
    lines = []
    for factor, methods in trust.items():
        for method, entry in methods.items():
            block = {n: v for n, v in search[factor][method].items() if n != "super_resolve"}
            settings = ", ".join(f"{name} {value}" for name, value in block.items())
            lines.append(
                SERVED.format(factor=factor, low=image_size // int(factor), method=method,
                              settings=settings, n=entry["n"], splits=" and ".join(entry["splits"]))
            )  # fmt: skip
    if not lines:
        return ""
    return OWN_CELLS.format(folder=folder, factor=next(iter(trust)), served="\n".join(lines))


def copy_flow(results: Path, output: Path, generator: str) -> None:
    """Copy the flow without the styles it was fitted to; its header then names the generator.

    Raises:
        InputError: It is the flow of another generator.
    """
    tensors, header = read_weights(results / FLOW, kind="flow")
    made_with = flow_generator(results, header)
    if made_with != generator:
        raise InputError(
            f"{results / FLOW} is of the generator {made_with[:12] or 'unknown'}, and that of the "
            f"folder is {generator[:12]}. Run fit_flow again."
        )
    header.pop("digest")
    write_weights(output / FLOW, tensors, {**header, "generator_digest": generator})


def _refuse_large(path: Path) -> None:
    size = path.stat().st_size
    if size > LARGEST_MB * 1e6:
        raise InputError(
            f"{path} has {size / 1e6:.1f} MB, more than the {LARGEST_MB:g} MB that a model that "
            "comes with the program may have."
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Copy the files and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--results", type=Path, required=True, help="folder of the assay's results")
    parser.add_argument("--output", type=Path, required=True, help="folder of the model")
    parser.add_argument("--title", required=True)
    parser.add_argument("--about", required=True, help="what it is and is good for, honestly")
    parser.add_argument("--command", required=True, help="the command that makes it again")
    args = parser.parse_args(argv)
    names = ("generator.safetensors", "training.safetensors", "intensity.json")
    tensors, header = read_weights(args.results / names[0], kind="generator")
    read_weights(args.results / names[1], kind="discriminator")
    read_intensity(args.results / names[2])
    curves = read_table(args.results / "generator.training.csv")
    optional = [name for name in (SEARCH, TRUST) if (args.results / name).is_file()]
    flow = [FLOW] if (args.results / FLOW).is_file() else []
    for name in (*names, *BESIDE, *optional, *flow):
        _refuse_large(args.results / name)
    for name in (*names, *BESIDE, *optional):
        with atomic_path(args.output / name) as temporary:
            temporary.write_bytes((args.results / name).read_bytes())
    if flow:
        copy_flow(args.results, args.output, str(header["digest"]))
    n_parameters = sum(tensor.numel() for tensor in tensors.values())
    # Some are not of every tick: the newest of each.
    newest = curves.ffill().iloc[-1].dropna()
    last = {str(name): float(value) for name, value in newest.items()}
    text = card(args.title, args.about, args.command, header, n_parameters, last)
    text += own_cells(args.output, header["image_size"])
    write_text(args.output / "README.md", text)
    print(f"export_model: {args.output}")


if __name__ == "__main__":
    run(main)
