"""Write the report: one HTML file that holds every figure and table of a run, and its limits."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from analysis.comparison.layout import add_inputs, inputs_from, read_config
from analysis.report import html, sections
from analysis.report.sections import Sources
from rls.io import write_text
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.locks import hold_outputs

SECTIONS: Mapping[str, tuple[str, Callable[[Sources], str]]] = {
    "headline": ("Headline numbers", sections.headline),
    "run": ("What was run", sections.what_was_run),
    "selection": ("Cells, wells and fields", sections.selection),
    "quality": ("What was flagged", sections.quality_flags),
    "generators": ("What the generators make", sections.generators),
    "figures": ("Figures", sections.figures),
    "tables": ("Tables", sections.tables),
    "limits": ("Limits", sections.limits),
    "files": ("Where each file lies", sections.files),
}


def page(sources: Sources) -> str:
    """Return the whole page."""
    title = sections.title_of(sources)
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for key, (name, _) in SECTIONS.items())
    body = [f"<h1>{escape(title)}</h1>"]
    body.append(
        html.paragraph(
            "After Gheisari & Genovesio 2024, Reconstructing interpretable features in "
            "computational super-resolution microscopy via regularized latent search.",
            "subtitle",
        )
    )
    body.append(f"<nav>{links}</nav>")
    for key, (name, section) in SECTIONS.items():
        body.append(f"<section>{html.heading(name, key)}{section(sources)}</section>")
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=escape(title), body="\n".join(body))


def generators_from(pairs: Sequence[str]) -> dict[str, Path]:
    """Read NAME=FILE pairs."""
    found = {}
    for pair in pairs:
        name, sign, path = pair.partition("=")
        if not sign:
            raise InputError(f"--generators takes NAME=FILE; found '{pair}'.")
        found[name] = Path(path)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(
        prog="analysis.report", description=__doc__, allow_abbrev=False
    )
    add_inputs(parser)
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="long CSVs")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="figures as PNG")
    parser.add_argument("--generators", nargs="*", default=[], metavar="NAME=FILE",
                        help="generators that lie elsewhere than in results")  # fmt: skip
    parser.add_argument("--run-config", type=Path, help="configuration of the run (YAML or JSON)")
    parser.add_argument("--benchmarks", type=Path, help="folder of Snakemake's benchmark files")
    parser.add_argument("--logs", type=Path, help="folder of logs, which name the devices")
    parser.add_argument("--output", type=Path, required=True, help="the report (.html)")
    args = parser.parse_args(argv)
    hold_outputs(vars(args))
    sources = Sources(
        inputs=inputs_from(args),
        config=read_config(args.run_config) if args.run_config else {},
        tables=args.tables,
        figures=list(dict.fromkeys(path.with_suffix(".png") for path in args.figures)),
        benchmarks=args.benchmarks,
        logs=args.logs,
        generators=generators_from(args.generators),
    )
    write_text(args.output, page(sources))
    print("done")


if __name__ == "__main__":
    run(main)
