"""Take low-resolution cells as they were acquired: nothing is degraded, and no HR image exists.

Their counts stay as they are. The scale on which [0, 1] lies is the model's, or one that puts two
percentiles of all these cells on those of the model's reference cells. Where the model has
statistics of its own cells (trust.json), the columns trust and trust_why say how similar each of
these cells is to them, judged by its image alone; see rls.pretrained.trust. The flags of D say how
the microscope and the camera made these cells from high resolution: every search takes its D here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rls.io.names import HELD_OUT, LOW_RESOLUTION
from rls.runtime.command import Parser, option, run
from rls.search.forward_model import add_operator, columns_of, model_of


@dataclass(frozen=True)
class Settings:
    """Settings of section ``low_resolution``."""

    scale: str = option(
        "The model's scale of counts, or percentiles of these cells put on its reference's.",
        choices=("model", "percentiles"),
    )
    percentile_low: float = option("The lower of the two percentiles.", least=0, most=100)
    percentile_high: float = option("The upper of the two percentiles.", least=0, most=100)


def main(argv: list[str] | None = None) -> None:
    """Take the cells of an assay."""
    parser = Parser(__doc__, Settings, LOW_RESOLUTION)
    parser.add_argument("--cells", type=Path, required=True, help="selected cells (.ome.tif)")
    parser.add_argument("--generator", type=Path, required=True, help="generator to be searched")
    parser.add_argument("--model-intensity", type=Path, required=True, help="its intensity.json")
    parser.add_argument("--trust", type=Path, help="its trust.json")
    parser.add_argument("--factor", type=int, required=True, help="side of SR over side of these")
    add_operator(parser)
    parser.add_argument("--degradation", required=True, help="name of the folder, for the table")
    parser.add_argument("--output", type=Path, required=True, help="low-resolution stack")
    parser.add_argument("--intensity", type=Path, required=True, help="the scale that is used")
    parser.writes("intensity")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    import numpy as np

    from analysis.cells.acquired import check_cells, choose_scale, read_reference
    from rls.io import read_intensity, read_stack, read_weights, write_intensity, write_stack
    from rls.pretrained import trust

    forward, cells = model_of(args), read_stack(args.cells)
    header = read_weights(args.generator, kind="generator")[1]
    check_cells(cells, header, args.factor, str(args.cells))
    kept = cells.select(cells.table["split"].isin(HELD_OUT).to_numpy())
    reference = read_reference(args.trust, args.factor, str(header["digest"]))
    percentiles = (settings.percentile_low, settings.percentile_high)
    own = read_intensity(args.model_intensity)
    scale = choose_scale(
        kept.images, own, reference, None if settings.scale == "model" else percentiles
    )
    table = kept.table.drop(columns="image_digest").assign(
        factor=args.factor,
        degradation=args.degradation,
        chain="",
        **columns_of(forward),
        trust=np.nan,
        trust_why="",
    )
    if reference is not None and trust.is_of_same_forward(reference, forward):
        facts = trust.image_facts(scale.to_unit(kept.images), kept.channels)
        values, why = trust.judge(facts, trust.Reference.from_dict(reference))
        table = table.assign(trust=values, trust_why=why)
        trust.print_trust(values, why)
    write_intensity(args.intensity, scale, written_by=LOW_RESOLUTION)
    write_stack(
        args.output,
        kept.images,
        table,
        channels=kept.channels,
        pixel_size_um=kept.pixel_size_um,
        written_by=LOW_RESOLUTION,
        description="acquired in low resolution; not degraded",
    )
    size = kept.images.shape[-1]
    print(f"{LOW_RESOLUTION}: {len(kept)} cells of {size} px, as they are", flush=True)


if __name__ == "__main__":
    run(main)
