"""Copy a trained generator into a folder of its own, with a card that says what it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rls.command import run
from rls.errors import InputError
from rls.io import atomic_path, read_intensity, read_table, read_weights, write_text

LARGEST_MB = 12.0
BESIDE = ("generator.png", "generator.progress.png", "generator.training.csv")
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
    for name in (*names, *BESIDE):
        content = (args.results / name).read_bytes()
        if len(content) > LARGEST_MB * 1e6:
            raise InputError(
                f"{args.results / name} has {len(content) / 1e6:.1f} MB, more than the "
                f"{LARGEST_MB:g} MB that a model that comes with the program may have."
            )
        with atomic_path(args.output / name) as temporary:
            temporary.write_bytes(content)
    n_parameters = sum(tensor.numel() for tensor in tensors.values())
    # Some are not of every tick: the newest of each.
    newest = curves.ffill().iloc[-1].dropna()
    last = {str(name): float(value) for name, value in newest.items()}
    text = card(args.title, args.about, args.command, header, n_parameters, last)
    write_text(args.output / "README.md", text)
    print(f"export_model: {args.output}")


if __name__ == "__main__":
    run(main)
