"""Test a generator before any search: does it know the cells of its assay?

Generated images are compared with cells of the splits gan and tune, by

* the kernel distance to cells of tune, beside the distance of cells of gan (its floor);
* the sharpest test: a regression from y to the assay's features, fitted to generated pairs alone
  and tested on cells of tune, beside the same regression fitted to cells of gan. The generator is
  good where the first keeps as much of the shift between the controls as the second;
* a search for HR itself: what it cannot find there, none finds from LR;
* layouts: the spread between images of the means of 8x8 blocks, over that of cells;
* the distributions of features, and of the shapes that features find: the elongation of spots.

--training takes a training that still goes on: the average of its newest checkpoint is tested.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from analysis.evaluation.settings import NAME, CommandSettings, command_settings
from analysis.features.settings import Measurement, add_measurement_flags
from rls.runtime.command import Parser, run
from rls.search.forward_model import add_operator, model_of


def make_parser() -> Parser[CommandSettings]:
    """Return the parser of the command line."""
    parser = Parser(__doc__, command_settings(), NAME, shared="measure")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--generator", type=Path, help="generator.safetensors or a model folder")
    given.add_argument("--training", type=Path, help="--state of train_gan, or one folder in it")
    parser.add_argument("--cells", type=Path, required=True, help="cells with margin (.ome.tif)")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json of the assay")
    parser.add_argument("--factors", type=int, nargs="+", required=True, help="side of HR over LR")
    parser.add_argument("--negative-control", required=True, help="treatment")
    parser.add_argument("--positive-control", required=True, help="treatment")
    add_operator(parser)
    parser.add_argument("--quantise", choices=("8bit", "none"), required=True, help="as in degrade")
    add_measurement_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="generator_quality.json")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Draw, measure, compare, print and write."""
    args, settings = make_parser().parse(argv)
    # Imported here, so that --help does not wait for torch.
    from analysis.evaluation.evaluation import Subject, evaluate
    from analysis.evaluation.images import Assay
    from analysis.evaluation.text import lines_of
    from rls.io import read_intensity, read_stack
    from rls.io.files import write_text
    from rls.runtime.device import choose_device
    from rls.stylegan2.generator_io import load_generator
    from rls.stylegan2.packed_state import load_average

    device = choose_device(settings.device, settings.threads)
    intensity, stack = read_intensity(args.intensity), read_stack(args.cells, memory_map=True)
    if args.generator is not None:
        generator = load_generator(args.generator, device, channels=intensity.channels)
    else:
        facts = {"channels": list(stack.channels), "pixel_size_um": stack.pixel_size_um}
        facts |= {"intensity": intensity.as_dict()}
        generator = load_average(args.training, facts, device)
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    assay = Assay(
        intensity,
        stack.pixel_size_um,
        generator.image_size,
        measurement,
        model_of(args),
        args.quantise,
    )
    controls = (args.negative_control, args.positive_control)
    subject = Subject(generator, stack, assay, controls, settings.own, args.state)
    record = evaluate(subject, args.factors)
    write_text(args.output, json.dumps(record, indent=1) + "\n")
    print("\n".join(lines_of(record)), flush=True)


if __name__ == "__main__":
    run(main)
