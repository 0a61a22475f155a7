"""Import a network pickle of NVlabs' stylegan2-ada-pytorch, without running any code in it.

The averaged generator (G_ema) becomes a generator file; with --output-training, G and D become
weights for a later train_gan --init-from (both files in one folder, as generator.safetensors and
training.safetensors). NVlabs' datasets hold 8-bit images with 0..255 mapped to [-1, 1]; this is the
intensity scale unless --intensity gives another one. All tensors keep NVlabs' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.help import CommandParser
from rls.runtime.outputs import need_writable

NAME = "import_nvlabs"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = CommandParser(__doc__)
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
    args = parser.parse_args(argv)
    if (args.target is None) == (args.output is None):
        raise InputError(
            f"Found {'no file' if args.output is None else 'two files'} to write the generator "
            "to, expected one. Give it after the pickle or as --output."
        )
    if args.pixel_size_um is not None and not 0 < args.pixel_size_um < float("inf"):
        raise InputError(f"Found a pixel size of {args.pixel_size_um} um, expected more than 0.")
    for name in ("target", "output", "output_training", "output_intensity"):
        if (path := getattr(args, name)) is not None:
            need_writable(path, "--" + name.replace("_", "-"))
    # Imported here, so that --help does not wait for torch.
    from rls.io import read_intensity, write_intensity
    from rls.stylegan2.cost import n_parameters
    from rls.stylegan2.nvlabs import import_networks

    output = args.output or args.target
    generator = import_networks(
        args.source,
        output,
        args.output_training,
        channels=args.channels,
        intensity=read_intensity(args.intensity) if args.intensity else None,
        pixel_size_um=args.pixel_size_um,
    )
    scale = generator.intensity
    if args.output_intensity is not None:
        write_intensity(args.output_intensity, scale, written_by=NAME)
    levels = zip(scale.channels, scale.black, scale.white, strict=True)
    print(
        f"{NAME}: {generator.image_size} px, {n_parameters(generator):,} parameters, augmentation "
        f"p {generator.header['source']['augment_p']}; counts "
        + ", ".join(f"{name} {black:g} to {white:g}" for name, black, white in levels)
        + f"; wrote {output}"
        + (f" and {args.output_training}" if args.output_training else "")
    )


if __name__ == "__main__":
    run(main)
