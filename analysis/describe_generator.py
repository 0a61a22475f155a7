"""Measure what a generator draws: the features of its images, and their distance to unseen cells.

The features are measured as those of cells are. They show which share of generated cells looks
treated, whatever the share of treated cells in training. The kernel distance is that of the
training's curve (rls.stylegan2.held_out), but to cells of split evaluation, to those of both
controls and to those of each alone, and with one seed for all generators of a run, so that they can
be compared. The settings of features are those of measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.features.settings import Measurement, add_measurement_flags
from analysis.measuring.drawn_settings import command_settings
from rls.runtime.command import Parser, run

NAME = "describe_generator"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the features of generated images, and the distances."""
    parser = Parser(__doc__, command_settings(), NAME, shared="measure")
    parser.add_argument("--generator", type=Path, required=True, help="generator.safetensors")
    parser.add_argument("--cells", type=Path, required=True, help="cells with margin (.ome.tif)")
    parser.add_argument("--intensity", type=Path, required=True, help="the generator's scale")
    parser.add_argument("--negative-control", required=True, help="a treatment")
    parser.add_argument("--positive-control", required=True, help="a treatment")
    add_measurement_flags(parser)
    parser.add_argument(
        "--output-features", type=Path, required=True, help="one row for each image"
    )
    parser.add_argument("--output-distances", type=Path, required=True, help="kernel distances")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from analysis.measuring.drawn import distances, generated_features
    from rls.io import read_intensity, read_stack, write_table
    from rls.runtime.device import choose_device
    from rls.stylegan2.generator_io import load_generator

    device = choose_device(settings.device, settings.threads)
    intensity, cells = read_intensity(args.intensity), read_stack(args.cells, memory_map=True)
    generator = load_generator(args.generator, device, channels=intensity.channels)
    measurement = Measurement(args.features, args.nucleus_channel, args.marker_channel, settings)
    controls = (args.negative_control, args.positive_control)
    seed, batch = settings.seed, settings.batch_size
    table = distances(generator, cells, intensity, controls, seed=seed, batch_size=batch)
    write_table(args.output_distances, table, written_by=NAME)
    n = settings.n_images
    drawn = generated_features(generator, intensity, measurement, n_images=n, seed=seed)
    write_table(args.output_features, drawn, written_by=NAME)
    print(table.to_string(index=False), flush=True)


if __name__ == "__main__":
    run(main)
