"""Compare searches that know how the images were made with searches that do not: three pairs.

    python -m benchmarks.forward_operators --run runs/demo --out docs/forward_operators

Takes every second HR cell of split evaluation and the generator of a finished run (make demo),
reduces the cells in three ways, searches each twice, and measures what the search found. Writes a
table of paired differences (.csv) and a picture (.png); intervals resample cells. Takes about three
minutes of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ASSAY, FACTOR, DEMO = "translocation", 8, Path("config/demo.yaml")
FEATURE, N_RESAMPLES, SHOWN = "nucleocytoplasmic_ratio", 2000, 4
METRICS = ("fidelity_l1", "fidelity_clean_l1", "psnr_db", "ms_ssim", "log_prior")


@dataclass(frozen=True)
class Pair:
    """Images that are made by ``made`` and searched in two ways; each row has its flags."""

    name: str
    made: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]]


PAIRS = (
    Pair(
        "PSF and binning",
        ("--operator", "psf_binning", "--psf-sd-um", "4"),
        (("true D", ()), ("bicubic", ("--forward-op", "bicubic"))),
    ),
    Pair(
        "salt and pepper, 5 %",
        ("--chain", "salt_and_pepper:0.05"),
        (("L1", ()), ("L2", ("--likelihood", "gaussian", "--noise-sd", "0.1"))),
    ),
    Pair(
        "blur of 1 LR px",
        ("--chain", "gaussian_blur:1.0"),
        (("true D", ("--forward-op", "with_blur")), ("bicubic", ())),
    ),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run all pairs, write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished demo")
    parser.add_argument("--out", type=Path, required=True, help="name of the files, no suffix")
    parser.add_argument("--work", type=Path, default=Path("runs/forward_operators"))
    args = parser.parse_args(argv)
    high = choose_cells(args.run / "results" / ASSAY, args.work)
    rows = []
    for number, pair in enumerate(PAIRS):
        found = [
            measured(args.run / "results" / ASSAY, high, args.work / str(number), pair, row)
            for row in pair.rows
        ]
        rows += list(compared(pair, *found))
    table = pd.DataFrame(rows)
    table.to_csv(args.out.with_suffix(".csv"), index=False, float_format="%.5g")
    print(table.to_string(index=False))
    draw(args.run / "results" / ASSAY, args.work, args.out.with_suffix(".png"))


def choose_cells(results: Path, work: Path) -> Path:
    """Return a stack of every second HR cell of split evaluation, written once."""
    from rls.io import read_stack, write_stack

    path = work / "high.ome.tif"
    if not path.is_file():
        stack = read_stack(results / "high_resolution.ome.tif")
        chosen = stack.select(np.flatnonzero(stack.table["split"] == "evaluation")[::2])
        table = chosen.table.drop(columns="image_digest")
        facts = {"channels": stack.channels, "pixel_size_um": stack.pixel_size_um}
        write_stack(path, chosen.images, table, **facts, written_by="forward_operators")
    return path


def of_model(results: Path, file: str) -> Path:
    """Return a file of the generator that the demo uses: in its model folder, or in the results."""
    from analysis.run.files import Files
    from analysis.run.keys import ROOT
    from analysis.run.values import read_config

    return results.parent.parent / Files(read_config([DEMO]), ROOT).model_file(ASSAY, file)


def measured(
    results: Path, high: Path, work: Path, pair: Pair, row: tuple[str, Sequence[str]]
) -> pd.DataFrame:
    """Return one row per cell of what a search found; finished files are taken as they are."""
    from analysis import measure
    from analysis.run.values import method_values, read_config, section_values
    from rls import degrade, super_resolve
    from rls.io import read_table
    from rls.runtime.command import flags

    config = read_config([DEMO])
    name, own = row[0].replace(" ", "_"), row[1]
    low, clean = work / "low.ome.tif", work / "clean.ome.tif"
    files = ["--intensity", str(of_model(results, "intensity.json")), "--factor", str(FACTOR)]
    given = ["--high-resolution", str(high)]
    lowered = [*given, *files, "--quantise", "8bit", "--seed", "1", "--threads", "1"]
    made = {low: pair.made, clean: [t for t in pair.made if "--chain" not in pair.made]}
    for path, how in made.items():
        if not path.is_file():
            degrade.main([*lowered, *how, "--degradation", pair.name, "--output", str(path)])
    stack = work / f"{name}.ome.tif"
    if not stack.is_file():
        models = ("generator", "flow", "styles")
        search = ["--low-resolution", str(low), *files, "--state", str(work / "state")]
        search += flags({name: of_model(results, f"{name}.safetensors") for name in models})
        shared = section_values(config, "super_resolve") | {"device": "cpu", "threads": 1}
        search += flags(shared) + flags(method_values(config, "rls"))
        search += ["--method", name, "--search", "rls", "--output", str(stack), *own]
        super_resolve.main(search)
    tables = [work / f"{name}.{kind}.parquet" for kind in ("features", "metrics")]
    truth = results / f"{FACTOR}x/clean/high_resolution.features.parquet"
    if not tables[1].is_file():
        block = config["assays"][ASSAY]
        settings = section_values(config, "measure", ASSAY)
        assay = {key: block[key] for key in ("nucleus_channel", "marker_channel", "features")}
        measure.main([
            "--stack", str(stack), "--method", name, *given, "--low-resolution", str(low),
            "--clean-low-resolution", str(clean), *files,
            "--classifier", str(results / "classifier.safetensors"),
            "--output-features", str(tables[0]), "--output-metrics", str(tables[1]),
            *flags(assay), *flags(settings),
        ])  # fmt: skip
    features, metrics = (read_table(path).set_index("image_id") for path in tables)
    searched = read_table(stack.with_name(f"{name}.parquet")).set_index("image_id")
    high_features = read_table(truth).set_index("image_id")[FEATURE].rename("truth")
    kept = metrics[[n for n in METRICS if n in metrics]]
    joined = kept.join(searched["log_prior"]).join(features[[FEATURE, "treatment"]])
    return joined.join(high_features)


def correlation(cells: pd.DataFrame) -> float:
    """Return the correlation of the feature with that of HR within treatments."""
    known = cells.dropna(subset=[FEATURE, "truth"])
    centred = known[[FEATURE, "truth"]] - known.groupby("treatment")[[FEATURE, "truth"]].transform(
        "mean"
    )
    return float(np.corrcoef(centred.T)[0, 1])


def compared(pair: Pair, first: pd.DataFrame, second: pd.DataFrame) -> list[dict[str, object]]:
    """Return the values of both rows and their paired difference with its 95 % interval."""
    random = np.random.default_rng(1)
    draws = random.integers(0, len(first), (N_RESAMPLES, len(first)))
    statistics: dict[str, Callable[[pd.DataFrame], float]] = {
        name: lambda cells, name=name: float(cells[name].mean()) for name in METRICS
    }
    statistics["r with HR"] = correlation
    found: list[dict[str, object]] = []
    for name, of in statistics.items():
        resampled = [of(first.iloc[rows]) - of(second.iloc[rows]) for rows in draws]
        low, high = np.quantile(resampled, [0.025, 0.975])
        values = {"first_value": of(first), "second_value": of(second)}
        about = {"images": pair.name, "first": pair.rows[0][0], "second": pair.rows[1][0]}
        difference = {"difference": of(first) - of(second), "low": low, "high": high}
        found.append({**about, "measure": name, "n": len(first), **values, **difference})
    return found


def draw(results: Path, work: Path, path: Path) -> None:
    """Draw some cells of each pair: HR, the LR given, and both results, on one scale a channel."""
    from matplotlib.figure import Figure

    from rls.io import read_intensity, read_stack

    scale = read_intensity(of_model(results, "intensity.json"))
    figure = Figure(figsize=(7.0, 1.9 * len(PAIRS)), layout="constrained")
    axes = figure.subplots(len(PAIRS) * 2, 8)
    for number, pair in enumerate(PAIRS):
        names = [row[0].replace(" ", "_") for row in pair.rows]
        stacks = [work / "high.ome.tif", work / str(number) / "low.ome.tif"]
        stacks += [work / str(number) / f"{name}.ome.tif" for name in names]
        read = [read_stack(stack) for stack in stacks]
        ids = read[2].table["image_id"]
        cells = ids.iloc[np.linspace(0, len(ids) - 1, SHOWN).astype(int)]
        headings = ["HR", "LR", pair.rows[0][0], pair.rows[1][0]]
        for place, cell in enumerate(cells):
            for column, stack in enumerate(read):
                one = axes[2 * number + place // 2, 4 * (place % 2) + column]
                row = int(np.flatnonzero(stack.table["image_id"] == cell)[0])
                unit = scale.to_unit(stack.images[row : row + 1])[0].clip(0, 1)
                rgb = np.stack([np.zeros_like(unit[0]), unit[1], unit[0]], axis=-1)
                one.imshow(rgb, interpolation="nearest")
                one.set_axis_off()
                if place < 2:
                    title = headings[column] if column or place else f"{pair.name}: HR"
                    one.set_title(title, fontsize=6, loc="left" if column == 0 else "center")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
