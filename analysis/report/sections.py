"""The sections of the report, each a function from what a run wrote to HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparison.design import PLATES_SHARED, WARNINGS
from analysis.comparison.layout import (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    Assay,
    Inputs,
    format_estimate,
)
from analysis.comparison.wide import TABLE1, TABLE2, Column, parts, wide_table
from analysis.drawing.style import method_label
from analysis.headline import facts_of, number, read_long
from analysis.report import html, quality
from analysis.report.facts import (
    ROOT,
    commit,
    devices,
    generator_header,
    job_times,
    read_selection,
    readable_time,
    treated_share,
    versions,
)
from analysis.tables.table1 import FLOOR
from analysis.tables.table2 import article_form
from rls.runtime.errors import InputError

REFERENCES = (HIGH_RESOLUTION, LOW_RESOLUTION, FLOOR, "low_resolution_channel_means")
ROW_LABELS = {
    FLOOR: "HR against other HR (floor)",
    "low_resolution_channel_means": "LR, channel means only",
    LOW_RESOLUTION: "LR",
}
DATA_PROCESSING = (
    "SR holds no more class information than LR plus the prior (data processing): a reconstruction "
    "is computed from the LR image and from what the generator learned of other cells."
)
LIMITS = (
    DATA_PROCESSING,
    "The unit of replication is the well; intervals resample wells, or fields where there are "
    "under six wells, and each table says which. Wilson intervals and McNemar's test take cells "
    "as units and are labelled so: they are too narrow.",
    "An effect size alone can be large with no information per cell. Whether biology survived is "
    "the triple shift kept, sd ratio and within-treatment correlation, read together.",
    "The share of treated cells in the generator's training images is part of the prior, and the "
    "evaluation cells share it. A phenotype that the generator never saw cannot be reconstructed.",
    "One generator seed can decide a table. This report is of one.",
)
SIMULATED = (
    "Simulated plates support 'the pipeline recovers planted effects' and 'methods rank so on "
    "planted effects', not 'it works on biology'."
)
TILE = (
    "Splits are blocks of one field (split_by: tile), because the data have nothing finer apart: "
    "class and well are one here, and no biological claim follows from any number of this assay."
)


TRIPLE = {"shift kept": "shift_kept", "sd ratio": "sd_ratio", "r within": "correlation"}
FIGURE_TITLES = {"scatter": "HR against SR, cell by cell"}
ACCURACY = "accuracy LR / SR / HR, %"


@dataclass(frozen=True)
class Sources:
    """Where everything lies that the report shows."""

    inputs: Inputs
    config: Mapping[str, Any]
    tables: Sequence[Path]
    figures: Sequence[Path]
    benchmarks: Path | None
    logs: Path | None
    generators: Mapping[str, Path]

    def table(self, name: str) -> pd.DataFrame | None:
        """A long table of this run by its name, such as 'table1'; None if it was not given."""
        paths = [path for path in self.tables if path.stem == name]
        return read_long(paths[0]) if paths else None

    def figure_numbers(self, name: str) -> pd.DataFrame | None:
        """The numbers of a figure; None if the figure was not given."""
        paths = [path for path in self.figures if path.stem == name]
        return read_long(paths[0].with_suffix(".csv")) if paths else None


def title_of(sources: Sources) -> str:
    """Name the assays, and say simulated in the title where one is."""
    return "Super-resolution by regularised latent search: " + ", ".join(
        assay.label for assay in sources.inputs.assays
    )


def what_was_run(sources: Sources) -> str:
    """Assays, factors, methods, device, versions, seed, commit, time."""
    inputs = sources.inputs
    times = job_times(sources.benchmarks)
    total = readable_time(times["seconds"].sum()) if len(times) else ""
    pairs = {
        "Assays": "; ".join(assay.label for assay in sources.inputs.assays),
        "Factors": ", ".join(f"{factor}x" for factor in inputs.factors),
        "Degradations": ", ".join(inputs.degradations),
        "Methods": ", ".join(method_label(m) for m in inputs.methods),
        "Seed": str(sources.config.get("seed", "")),
        "Device": devices(sources.logs) or str(sources.config.get("device", "")),
        "Versions": versions(),
        "Commit": commit(),
        "Time": f"{total} of jobs, one after the other" if total else "",
    }
    return html.facts(pairs) + _time_table(times)


def _time_table(times: pd.DataFrame) -> str:
    if times.empty:
        return ""
    shown = pd.DataFrame(
        {
            "rule": times["rule"],
            "jobs": times["jobs"].astype(str),
            "time": [readable_time(seconds) for seconds in times["seconds"]],
            "largest memory, MB": [
                f"{value:.0f}" if math.isfinite(value) else "" for value in times["max_rss_mb"]
            ],
        }
    )
    body = html.table(shown, numbers=["jobs", "time", "largest memory, MB"])
    return f"<details><summary>Time and memory by rule</summary>{body}</details>"


def headline(sources: Sources) -> str:
    """The numbers that a reader wants first, one row a comparison and feature."""
    figure5, table2 = sources.figure_numbers("figure5"), sources.table("table2")
    if figure5 is None or table2 is None:
        return html.paragraph("No headline: Fig. 5 or Table 2 is not part of this report.")
    titles = {assay.name: assay.label for assay in sources.inputs.assays}
    rows = []
    for fact in facts_of(figure5, table2):
        row = {"": f"{titles.get(fact['assay'], fact['assay'])}, {fact['factor']}x, "
                   f"{fact['degradation']}", "feature": fact["feature"].replace("_", " "),
               "method": method_label(fact["method"])}  # fmt: skip
        for side, (treatment, pair) in zip(
            ("negative", "positive"), fact["medians"].items(), strict=False
        ):
            row[f"median, {side}: HR → SR"] = f"{treatment}: {number(pair[0])} → {number(pair[1])}"
        for heading, name in TRIPLE.items():
            row[heading] = format_estimate(*fact[name], digits=2) or "n/a"
        row[ACCURACY] = " / ".join(number(100 * value, 1) for value in fact["accuracy"].values())
        rows.append(row)
    shown = html.table(pd.DataFrame(rows), numbers=[*TRIPLE, ACCURACY])
    return shown + html.paragraph(
        "Shift kept: SR over HR difference of medians; sd ratio: spread within treatments, SR over "
        "HR; r within: correlation of SR and HR inside treatments. 1 is right in all three; "
        "intervals resample wells. Every method is in Fig. 5 and Table 2.", "note"
    )  # fmt: skip


def selection(sources: Sources) -> str:
    """Cells, wells and fields of every split, and the fields that were left out."""
    parts_of_page = []
    for assay in sources.inputs.assays:
        found = read_selection(sources.inputs.results, assay)
        table = found.table.drop(columns=["split_by"]).rename(
            columns=lambda name: name.replace("n_", "").replace("_", " ")
        )
        numbers = [name for name in table.columns if name not in ("treatment", "split")]
        parts_of_page.append(html.heading(assay.label, f"selection-{assay.name}", 3))
        parts_of_page.append(html.paragraph(f"Splits share no {found.split_by}."))
        if "tile" in found.split_by:
            parts_of_page.append(html.paragraph(TILE, "warning"))
        parts_of_page.append(html.table(table.astype(str), numbers=numbers))
        share = treated_share(found, assay.negative_control)
        if math.isfinite(share):
            parts_of_page.append(
                html.paragraph(
                    f"{100 * share:.0f} % of the generator's training cells are treated; the "
                    "prior carries this share.", "note",
                )
            )  # fmt: skip
        if found.skipped.empty:
            parts_of_page.append(html.paragraph("No field was left out.", "note"))
        else:
            parts_of_page.append(
                html.table(found.skipped.astype(str), caption="Fields left out", numbers=["fields"])
            )
    return "".join(parts_of_page)


def quality_flags(sources: Sources) -> str:
    """Which crops were flagged, how many, and examples."""
    parts_of_page = []
    for assay in sources.inputs.assays:
        parts_of_page.append(html.heading(assay.label, f"quality-{assay.name}", 3))
        parts_of_page.append(quality.section(sources.inputs.results, assay))
    return "".join(parts_of_page)


def generators(sources: Sources) -> str:
    """Samples of every generator, with what it has seen."""
    pages = []
    for assay in sources.inputs.assays:
        path = sources.generators.get(
            assay.name, sources.inputs.results / assay.name / "generator.safetensors"
        )
        if not path.is_file():
            pages.append(
                html.paragraph(f"{assay.label}: no generator at {path}; none is shown.", "note")
            )
            continue
        header = generator_header(path)
        picture = path.with_suffix(".png")
        shown = (
            html.image(picture, f"samples of the generator of {assay.label}", "samples")
            if picture.is_file()
            else ""
        )
        pages.append(html.figure(shown, html.escape(_generator_note(assay, header, path))))
    return "".join(pages)


def _generator_note(assay: Assay, header: Mapping[str, Any], path: Path) -> str:
    seen = float(header.get("images_seen", 0)) / 1000
    images = header.get("n_training_images")
    of = f" of {images:,} different cells" if isinstance(images, int) else ""
    return (
        f"{assay.label}: random samples of the generator {path} (average weights, not chosen). It "
        f"has seen {seen:,.0f} thousand images{of}; the article's authors trained on 4,800 to "
        f"9,600 thousand. A generator that has seen far fewer makes plainer cells, and every "
        f"method that searches it is held back alike."
    )


def figures(sources: Sources) -> str:
    """Every figure with its caption."""
    pages = []
    for path in sources.figures:
        if not path.is_file():
            raise InputError(f"The figure {path} does not exist. Run its rule first.")
        name = path.stem
        title = FIGURE_TITLES.get(name, name.replace("figure", "Figure "))
        pages.append(html.heading(title, name, 3))
        pages.append(html.figure(html.image(path, name), caption(name)))
    return "".join(pages)


def tables(sources: Sources) -> str:
    """Tables 1 and 2 for people, from the long CSVs."""
    pages = []
    for name, columns in (("table1", TABLE1), ("table2", TABLE2)):
        long = sources.table(name)
        if long is None:
            continue
        pages.append(html.heading(name.replace("table", "Table "), name, 3))
        pages.append(f'<p class="note">{caption(name)}</p>')
        for (assay, factor, degradation), part in parts(long):
            pages.append(_wide(sources, (str(assay), factor, degradation), part, columns))
            pages += _design(part)
        if name == "table2":
            article = article_form(long, sources.inputs.assays)
            title = "Table 2 in the article's form: accuracy of the best on tune, %"
            pages.append(html.table(article, caption=title, numbers=list(article.columns[3:])))
            pages.append(html.paragraph(DATA_PROCESSING))
    return "".join(pages)


def _wide(
    sources: Sources,
    key: tuple[str, int, str],
    part: pd.DataFrame,
    columns: Mapping[str, Column],
) -> str:
    labels = {method: ROW_LABELS.get(method, method_label(method)) for method in part["method"]}
    frame, notes = wide_table(part, columns, labels)
    titles = {assay.name: assay.label for assay in sources.inputs.assays}
    methods = list(dict.fromkeys(part["method"]))
    reference = [i for i, method in enumerate(methods) if method in REFERENCES]
    title = f"{titles.get(key[0], key[0])}, {key[1]}x, {key[2]}"
    shown = html.table(frame, caption=title, numbers=list(frame.columns[1:]), reference=reference)
    return shown + html.paragraph(" ".join([*_units(part), *notes]), "note")


def _design(part: pd.DataFrame) -> list[str]:
    """Say what the wells let the accuracies of Table 2 mean; nothing under another table."""
    found = part.dropna(subset="value").set_index("metric")
    warnings = [found.loc[name] for name in WARNINGS if name in found.index]
    pages = [html.paragraph(f"{row['reason']}.", "warning") for row in warnings if row["value"]]
    if PLATES_SHARED in found.index and found.loc[PLATES_SHARED, "reason"]:
        pages.insert(0, html.paragraph(f"{found.loc[PLATES_SHARED, 'reason']}.", "note"))
    return pages


def _units(part: pd.DataFrame) -> list[str]:
    """Say what intervals resample, and how many there are."""
    here = part[part["low"].notna() & ~part["unit_of_replication"].isin(["", "cell"])]
    found = []
    for unit, rows in here.groupby("unit_of_replication"):
        counts = sorted(set(rows["n"].astype(int)))
        many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        found.append(f"{many} {unit}s")
    return [f"Intervals in brackets resample {' or '.join(found)}."] if found else []


def limits(sources: Sources) -> str:
    """What may and may not be concluded."""
    simulated = any(assay.simulated for assay in sources.inputs.assays)
    return html.bullets([SIMULATED, *LIMITS] if simulated else LIMITS)


def files(sources: Sources) -> str:
    """Where everything lies."""
    rows = [{"what": f"{path.stem} (long CSV)", "file": str(path)} for path in sources.tables]
    for path in sources.figures:
        name = f"{path.stem} (png; pdf and csv beside it)"
        rows.append({"what": name, "file": str(path)})
    for assay in sources.inputs.assays:
        root = sources.inputs.results / assay.name
        for what, file in (
            ("selected cells", "cells.ome.tif"),
            ("HR images", "high_resolution.ome.tif"),
            ("thresholds on HR controls of split tune", "thresholds.csv"),
            ("images, features, metrics and classification of a method",
             "{factor}x/{degradation}/{method}.*"),
        ):  # fmt: skip
            if what == "HR images" and not assay.has_high_resolution:
                continue
            rows.append({"what": f"{assay.label}: {what}", "file": str(root / file)})
    return html.paragraph("Paths start at the folder of the run.") + html.table(pd.DataFrame(rows))


def caption(name: str) -> str:
    """Return the caption of a table or figure as HTML, from workflow/report."""
    path = ROOT / "workflow" / "report" / f"{name}.rst"
    if not path.is_file():
        raise InputError(f"The caption {path} does not exist. Write one for {name}.")
    return html.restructured(path.read_text(encoding="utf-8"))
