"""Draw random images from a generator, and grids that show the effect of styles.

An image is G_s(G_m(z)) with z ~ N(0, I). z and the noise maps of image i come from a random stream
of their own, which depends on the seed and on i, but not on n. On request two grids are drawn
beside the stack: one of truncation, w = w_mean + psi (G_m(z) - w_mean) for several psi, and one of
style mixing, where some style inputs of an image come from another (Karras et al. 2019, "A
style-based generator architecture", appendix B; section 3.1 and Fig. 3). Grids always have the
generator's own noise maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import Parser, run
from rls.stylegan2.settings import SampleSettings

NAME = "sample_images"


def main(argv: Sequence[str] | None = None) -> None:
    """Draw a stack, and grids where they are asked for."""
    parser = Parser(__doc__, SampleSettings, NAME)
    parser.add_argument(
        "--generator", type=Path, required=True, help="generator.safetensors or a model folder"
    )
    parser.add_argument("--output", type=Path, required=True, help="stack to write, *.ome.tif")
    parser.add_argument("--truncation-grid", type=Path, help="PNG: rows are z, columns psi")
    parser.add_argument(
        "--style-mixing-grid", type=Path, help="PNG: styles of rows and of columns mixed"
    )
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from rls.io import table_path, write_stack
    from rls.runtime.device import choose_device
    from rls.runtime.progress import Progress
    from rls.stylegan2 import sampling
    from rls.stylegan2.generator_io import load_generator

    device = choose_device(settings.device, settings.threads)
    generator = load_generator(args.generator, device)
    # Faults in the generator, the settings or the path are reported before the long part.
    channels, pixel_size_um, _ = generator.channels, generator.pixel_size_um, generator.intensity
    table = sampling.table_of(generator, settings)
    table_path(args.output)
    sampling.write_grids(generator, settings, args.truncation_grid, args.style_mixing_grid)
    size = settings.n_images * generator.n_channels * generator.image_size**2 * 4 / 1e9
    print(f"{NAME}: {settings.n_images} images, {size:.3g} GB before compression", flush=True)
    with Progress(settings.n_images, NAME, "img") as bar:
        images = sampling.draw_images(generator, settings, bar)
    write_stack(
        args.output,
        generator.to_counts(images),
        table,
        channels=channels,
        pixel_size_um=pixel_size_um,
        written_by=NAME,
        description=f"synthesised by {NAME}, generator {generator.header['digest']}",
    )


if __name__ == "__main__":
    run(main)
