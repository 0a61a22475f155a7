"""The sections of the report, each a function that returns HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparison import headline as headlines
from analysis.comparison.accuracy import LOW_RESOLUTION_MEANS
from analysis.comparison.design import PLATES_SHARED, WARNINGS, shared_sentence
from analysis.comparison.image_metrics import FLOOR
from analysis.comparison.labels import method_label
from analysis.comparison.long_table import read_long
from analysis.comparison.wide_table import (
    TABLE1,
    TABLE2,
    Column,
    article_form,
    parts,
    wide_table,
)
from analysis.report import html, known, on_pairs, quality, solutions
from analysis.report.facts import (
    ROOT,
    commit,
    devices,
    job_times,
    read_selection,
    readable_time,
    treated_share,
    versions,
)
from analysis.run.description import Assay, Run
from rls.io import read_weights
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, LOW_RESOLUTION_ALL_CELLS, SPLITS
from rls.io.splits import serves
from rls.runtime.errors import InputError

REFERENCES = (
    HIGH_RESOLUTION,
    LOW_RESOLUTION,
    FLOOR,
    LOW_RESOLUTION_MEANS,
    LOW_RESOLUTION_ALL_CELLS,
)
ROW_LABELS = {
    FLOOR: "HR against other HR (floor)",
    LOW_RESOLUTION_MEANS: "LR, channel means only",
    LOW_RESOLUTION: "LR",
    LOW_RESOLUTION_ALL_CELLS: "LR, classifiers of all cells",
}
SERVE = " ".join(f"Cells of {split} may be used to {serves(split)}." for split in SPLITS)
DATA_PROCESSING = (
    "SR holds no more class information than LR and the prior together (data processing "
    "inequality), because a reconstruction is computed from the LR image and from what the "
    "generator learned from other cells. This bounds the best possible classifier of LR images, "
    "not the classifier of the row LR, which SR may surpass."
)
LIMITS = (
    DATA_PROCESSING,
    "The unit of replication is the well: intervals come from leaving out each well once, or each "
    "field where a treatment has fewer than three wells, and each table says which. Wilson "
    "intervals and McNemar's test treat cells as units and are labelled so; these intervals are "
    "too narrow.",
    "An effect size alone can be large although single cells carry no information. To judge "
    "whether the biology survived, read shift kept, sd ratio and the correlation within "
    "treatments together.",
    "The share of treated cells in the generator's training images is part of the prior, and the "
    "evaluation cells share it. A phenotype that the generator never saw cannot be reconstructed.",
    "One generator seed can decide a table, and this report has one seed.",
)
SIMULATED = (
    "Simulated plates can show that the pipeline recovers planted effects and how methods rank on "
    "planted effects. They cannot show that it works on biology."
)
TILE = (
    "The splits are blocks of one field (split_by: tile), because these data hold no larger units "
    "that could be kept apart. Class and well cannot be told apart here, and no biological claim "
    "follows from any number of this assay."
)
FIGURE_TITLES = {
    "scatter": "HR against SR, cell by cell",
    "sweep": "The lambdas of Eq. 5",
    "tradeoff": "Fidelity against realism",
    "path_lengths": "The term that Eq. 2 drops",
    "starts": "Where a search starts",
    "priors": "MAF, RealNVP and other priors",
    "where_lost": "Where a feature is lost",
}


@dataclass(frozen=True)
class Sources:
    """The locations of everything that the report shows.

    Attributes:
        tables, figures: The long CSVs and the PNGs of this run.
        benchmarks, logs: Folders of Snakemake's benchmark files and of the logs.
        generators: By assay, those that lie elsewhere than in the results.
        on_pairs: Encoders and regressions, which were trained on generated pairs.
    """

    run: Run
    tables: Sequence[Path]
    figures: Sequence[Path]
    benchmarks: Path | None
    logs: Path | None
    generators: Mapping[str, Path]
    on_pairs: Sequence[Path] = ()

    def numbers(self, name: str) -> pd.DataFrame | None:
        """Return the long CSV of a table or figure, such as 'table1'; None if it was not given."""
        paths = [*self.tables, *(path.with_suffix(".csv") for path in self.figures)]
        return next((read_long(path) for path in paths if path.stem == name), None)

    def title(self, assay: str) -> str:
        """Return the label of an assay; its name if it does not run."""
        return next((one.label for one in self.run.assays if one.name == assay), assay)


def what_was_run(sources: Sources) -> str:
    """Return assays, factors, methods, device, versions, seed, commit and time."""
    run = sources.run
    times = job_times(sources.benchmarks)
    total = readable_time(times["seconds"].sum()) if len(times) else ""
    pairs = {
        "Assays": "; ".join(assay.label for assay in run.assays),
        "Factors": ", ".join(f"{factor}x" for factor in run.factors),
        "Degradations": ", ".join(run.degradations),
        "Methods": ", ".join(method_label(m, run.n_solutions.get(m, 1)) for m in run.methods),
        "Seed": str(run.seed),
        "Device": devices(sources.logs) or run.device,
        "Versions": versions(),
        "Commit": commit(),
        "Time": f"{total}, the sum over all jobs" if total else "",
    }
    if times.empty:
        return html.facts(pairs)
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
    details = f"<details><summary>Time and memory by rule</summary>{body}</details>"
    return html.facts(pairs) + details


def headline(sources: Sources) -> str:
    """Return the numbers that a reader wants first, one table per comparison and feature."""
    found = [sources.numbers(name) for name in ("figure5", "features", "table2")]
    tables = [table for table in found if table is not None]
    if len(tables) < len(found):
        return html.paragraph(
            "There are no headline numbers, because Fig. 5, Table 2 or the table of features is "
            "not part of this report."
        )
    body = [
        html.table(one.rows, caption=one.title, numbers=headlines.NUMBERS)
        for one in headlines.headline_tables(*tables)
    ]
    return "".join(body) + html.paragraph(
        "Shift kept: difference of the treatments' medians in SR divided by that in HR. sd ratio: "
        "spread within treatments in SR divided by that in HR. r within: correlation of SR and HR "
        "within treatments. 1 is right in all three, but no method can be expected to have a "
        "higher r than exact draws from what LR leaves open. If a method finds several solutions "
        "of a cell, their mean is the cell's number, and one of them is its picture. Accuracy is "
        "that of the classifier chosen on split tune, in percent.",
        "note",
    )


def selection(sources: Sources) -> str:
    """Return cells, wells and fields of every split, and the fields that were left out."""
    return "".join(_selection(assay, sources.run.results) for assay in sources.run.assays)


def _selection(assay: Assay, results: Path) -> str:
    found = read_selection(results, assay)
    table = found.table.drop(columns=["split_by", "serves"], errors="ignore").rename(
        columns=lambda name: name.replace("n_", "").replace("_", " ")
    )
    numbers = [name for name in table.columns if name not in ("treatment", "split")]
    pieces = [
        html.heading(assay.label, f"selection-{assay.name}", 3),
        html.paragraph(f"No two splits share a {found.split_by}. {SERVE}"),
        html.paragraph(TILE, "warning") if "tile" in found.split_by else "",
        html.table(table.astype(str), numbers=numbers),
    ]
    share = treated_share(found, assay.negative_control)
    if assay.training is not None and math.isfinite(share):  # a model's card says it of a model
        text = (
            f"{100 * share:.0f} % of the generator's training cells are treated; this share is "
            "part of the prior."
        )
        pieces.append(html.paragraph(text, "note"))
    if found.skipped.empty:
        pieces.append(html.paragraph("No field was left out.", "note"))
    else:
        left_out = found.skipped.astype(str)
        pieces.append(html.table(left_out, caption="Fields left out", numbers=["fields"]))
    return "".join(pieces)


def quality_flags(sources: Sources) -> str:
    """Return which crops were flagged, how many, and examples."""
    pieces = []
    for assay in sources.run.assays:
        pieces.append(html.heading(assay.label, f"quality-{assay.name}", 3))
        pieces.append(quality.section(sources.run.results, assay))
    return "".join(pieces)


def generators(sources: Sources) -> str:
    """Return samples of every generator, the images that it has seen, and what learnt from it."""
    pages = []
    for assay in sources.run.assays:
        own = sources.run.results / assay.name / "generator.safetensors"
        path = sources.generators.get(assay.name, own)
        if not path.is_file():
            text = f"{assay.label}: there is no generator at {path}, so no samples are shown."
            pages.append(html.paragraph(text, "note"))
            continue
        picture, shown = path.with_suffix(".png"), ""
        if picture.is_file():
            alternative = f"samples of the generator of {assay.label}"
            shown = html.image(picture.read_bytes(), alternative, "samples")
        note = _generator_note(assay, read_weights(path, kind="generator")[1], path)
        pages.append(html.figure(shown, escape(note)))
    return "".join(pages) + on_pairs.section(sources.on_pairs)


def _generator_note(assay: Assay, header: Mapping[str, Any], path: Path) -> str:
    seen = float(header.get("images_seen", 0)) / 1000
    images = header.get("n_training_images")
    of = f" of {images:,} different cells" if isinstance(images, int) else ""
    return (
        f"{assay.label}: random samples of the generator {path} (averaged weights; the samples "
        f"were not chosen). It has seen {seen:,.0f} thousand images{of}; the article's authors "
        f"trained on 4,800 to 9,600 thousand. A generator that has seen far fewer draws plainer "
        f"cells, which holds back every method that searches it."
    )


def figures(sources: Sources) -> str:
    """Return every figure with its caption.

    Raises:
        InputError: A figure is missing.
    """
    pages = []
    for path in sources.figures:
        if not path.is_file():
            raise InputError(f"The figure {path} does not exist. Run its rule first.")
        name = path.stem
        title = FIGURE_TITLES.get(name, name.replace("figure", "Figure "))
        pages.append(html.heading(title, name, 3))
        pages.append(html.figure(html.image(path.read_bytes(), name), caption(name)))
    return "".join(pages)


def tables(sources: Sources) -> str:
    """Return Tables 1 and 2 for people, and that of solutions if it was made, from long CSVs."""
    pages = []
    for name, columns in (("table1", TABLE1), ("table2", TABLE2)):
        long = sources.numbers(name)
        if long is None:
            continue
        pages.append(html.heading(name.replace("table", "Table "), name, 3))
        pages.append(f'<p class="note">{caption(name)}</p>')
        for assay, factor, degradation, part in parts(long):
            title = f"{sources.title(assay)}, {factor}x, {degradation}"
            pages.append(_wide(title, part, columns))
            pages += _design(part)
        if name == "table2":
            article = article_form(long, sources.run)
            title = "Table 2 in the article's form: accuracy of the best on tune, %"
            pages.append(html.table(article, caption=title, numbers=list(article.columns[3:])))
            pages.append(html.paragraph(DATA_PROCESSING))
    if (long := sources.numbers("solutions")) is not None:
        pages.append(html.heading("Several solutions of a cell", "solutions", 3))
        pages.append(f'<p class="note">{caption("solutions")}</p>')
        pages.append(solutions.section(sources.run, long))
    return "".join(pages)


def _wide(title: str, part: pd.DataFrame, columns: Mapping[str, Column]) -> str:
    """Return one comparison as a wide table, with its notes."""
    methods = list(dict.fromkeys(part["method"]))
    labels = {method: ROW_LABELS.get(method, method_label(method)) for method in methods}
    frame, notes = wide_table(part, columns, labels)
    reference = [i for i, method in enumerate(methods) if method in REFERENCES]
    shown = html.table(frame, caption=title, numbers=list(frame.columns[1:]), reference=reference)
    return shown + html.paragraph(
        " ".join([*_units(part), *filter(None, [shared_sentence(part)]), *notes]), "note"
    )


def _design(part: pd.DataFrame) -> list[str]:
    """Return the warnings of the design under Table 2; nothing under another table."""
    found = part.dropna(subset="value").set_index("metric")
    warnings = [found.loc[name] for name in WARNINGS if name in found.index]
    pages = [html.paragraph(f"{row['reason']}.", "warning") for row in warnings if row["value"]]
    shared = str(found["reason"].get(PLATES_SHARED, ""))
    return [html.paragraph(f"{shared}.", "note"), *pages] if shared else pages


def _units(part: pd.DataFrame) -> list[str]:
    """Return a sentence on what intervals are over, and how many of them there are."""
    here = part[part["low"].notna() & ~part["unit_of_replication"].isin(["", "cell"])]
    found = []
    for unit, rows in here.groupby("unit_of_replication"):
        counts = sorted(set(rows["n"].astype(int)))
        many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        found.append(f"{many} {unit}s")
    return [f"Intervals in brackets are over {' or '.join(found)}."] if found else []


def known_from_low(sources: Sources) -> str:
    """Return what LR can know of each feature beside what every method has of it."""
    table = sources.numbers("features")
    found = "" if table is None else known.section(sources.run, table)
    return found or html.paragraph("No feature was measured on HR.", "note")


def limits(sources: Sources) -> str:
    """Return the conclusions that the numbers do and do not allow."""
    simulated = any(assay.simulated for assay in sources.run.assays)
    return html.bullets([SIMULATED, *LIMITS] if simulated else LIMITS)


def files(sources: Sources) -> str:
    """Return a table of the paths of all files."""
    rows = [{"what": f"{path.stem} (long CSV)", "file": str(path)} for path in sources.tables]
    for path in sources.figures:
        name = f"{path.stem} (png; pdf and csv beside it)"
        rows.append({"what": name, "file": str(path)})
    of_methods = "images, features, metrics and classification of a method"
    for assay in sources.run.assays:
        high = {"HR images": "high_resolution.ome.tif"} if assay.has_high_resolution else {}
        places = {
            "selected cells": "cells.ome.tif",
            **high,
            "thresholds on HR controls of split tune": "thresholds.csv",
            of_methods: "{factor}x/{degradation}/{method}.*",
        }
        for what, file in places.items():
            path = sources.run.results / assay.name / file
            rows.append({"what": f"{assay.label}: {what}", "file": str(path)})
    return html.paragraph("Paths start at the folder of the run.") + html.table(pd.DataFrame(rows))


def caption(name: str) -> str:
    """Return the caption of a table or figure as HTML, from workflow/report.

    Raises:
        InputError: There is none.
    """
    path = ROOT / "workflow" / "report" / f"{name}.rst"
    if not path.is_file():
        raise InputError(f"The caption {path} does not exist. Write one for {name}.")
    return html.restructured(path.read_text(encoding="utf-8"))
