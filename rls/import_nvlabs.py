"""Turn a network pickle of NVlabs' stylegan2-ada-pytorch into our files, running nothing of it.

The averaged generator (G_ema) becomes a generator file; with --output-training, G and D become
weights for a later train_gan --init-from (both files in one folder, as generator.safetensors and
training.safetensors). NVlabs' datasets hold 8-bit images, 0..255 on [-1, 1]: this is the intensity
scale unless --intensity gives another. The names of all tensors stay NVlabs' own.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rls.io import Intensity, file_digest, read_intensity, write_intensity, write_weights
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.generator_io import write_generator
from rls.stylegan2.inert_pickle import read_inert
from rls.stylegan2.networks import Generator
from rls.stylegan2.nvlabs import augment_probability, build, read_architecture, read_network

NAME = "import_nvlabs"


def scale_of(
    n_channels: int, channels: Sequence[str] | None, intensity: Intensity | None
) -> Intensity:
    """Intensity scale of the images: as given, or 0..255 of 8-bit images; names c0, c1, ... .

    Raises InputError if names and scale do not fit each other or the network.
    """
    if channels is None:
        channels = intensity.channels if intensity else [f"c{i}" for i in range(n_channels)]
    if len(channels) != n_channels or len(set(channels)) != n_channels:
        raise InputError(
            f"Found {len(channels)} channel names ({', '.join(channels)}), expected {n_channels} "
            "different ones, in the order in which the network was trained. Give --channels."
        )
    if intensity is None:
        return Intensity(tuple(channels), (0.0,) * n_channels, (255.0,) * n_channels)
    if tuple(channels) != intensity.channels:
        raise InputError(
            f"Found channels {', '.join(channels)} and an intensity scale of "
            f"{', '.join(intensity.channels)}, expected the same. Give one of them only."
        )
    return intensity


def import_networks(
    source: Path,
    output: Path,
    output_training: Path | None,
    *,
    channels: Sequence[str] | None = None,
    intensity: Intensity | None = None,
    pixel_size_um: float | None = None,
) -> Generator:
    """Write the averaged generator, and G and D if asked for; return the averaged generator.

    Raises InputError if the pickle holds no networks that can be used; nothing is written then.
    """
    snapshot = read_inert(source)
    average = read_network(snapshot, "G_ema", source)
    names = () if output_training is None else ("G", "D")
    trained = {name: read_network(snapshot, name, source) for name in names}
    architecture = read_architecture(average, trained.get("D"))
    generator = build(Generator, architecture, average)
    scale = scale_of(architecture.n_channels, channels, intensity)
    header: dict[str, Any] = {
        "channels": list(scale.channels),
        "pixel_size_um": pixel_size_um,
        "intensity": scale.as_dict(),
        "image_size": architecture.image_size,
        "images_seen": 0,  # not told by the pickle
        "n_training_images": None,
        "data_digest": None,
        "precision": "float32",
        "settings": {},
        "source": {
            "format": "stylegan2-ada-pytorch",
            "file": source.name,
            "digest": file_digest(source),
            "augment_p": augment_probability(snapshot, source),
        },
    }
    if output_training is not None:
        last = build(Generator, architecture, trained["G"]).state_dict()
        opponent = build(Discriminator, architecture, trained["D"]).state_dict()
        tensors = {f"generator.{k}": v for k, v in last.items()}
        tensors |= {f"discriminator.{k}": v for k, v in opponent.items()}
        sizes = {"architecture": dataclasses.asdict(architecture)}
        write_weights(output_training, tensors, {**header, **sizes, "kind": "discriminator"})
    write_generator(output, generator, header)
    generator.header = header
    return generator


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", type=Path, help="network pickle (network-snapshot-*.pkl)")
    parser.add_argument("target", type=Path, nargs="?", help="the same as --output")
    parser.add_argument("--output", type=Path, help="generator.safetensors to write")
    parser.add_argument("--output-training", type=Path, help="weights for a later --init-from")
    parser.add_argument(
        "--output-intensity", type=Path, help="intensity.json to write: completes a model folder"
    )
    parser.add_argument("--channels", nargs="+", help="names of the channels (c0 c1 ...)")
    parser.add_argument("--pixel-size-um", type=float, help="side of a pixel in um")
    parser.add_argument("--intensity", type=Path, help="intensity.json of the training images")
    parser.add_argument("--traceback", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    if (args.target is None) == (args.output is None):
        raise InputError(
            f"Found {'no file' if args.output is None else 'two files'} to write the generator "
            "to, expected one. Give it after the pickle or as --output."
        )
    if args.pixel_size_um is not None and not 0 < args.pixel_size_um < float("inf"):
        raise InputError(f"Found a pixel size of {args.pixel_size_um} um, expected more than 0.")
    output = args.output or args.target
    generator = import_networks(
        args.source,
        output,
        args.output_training,
        channels=args.channels,
        intensity=read_intensity(args.intensity) if args.intensity else None,
        pixel_size_um=args.pixel_size_um,
    )
    if args.output_intensity is not None:
        write_intensity(args.output_intensity, generator.intensity, written_by=NAME)
    scale = generator.header["intensity"]
    levels = zip(scale["channels"], scale["black"], scale["white"], strict=True)
    n_parameters = sum(parameter.numel() for parameter in generator.parameters())
    print(
        f"{NAME}: {generator.image_size} px, {n_parameters:,} parameters, augmentation p "
        f"{generator.header['source']['augment_p']}; counts "
        + ", ".join(f"{name} {black:g} to {white:g}" for name, black, white in levels)
        + f"; wrote {output}"
        + (f" and {args.output_training}" if args.output_training else "")
    )


if __name__ == "__main__":
    run(main)
