"""The page of the report: its sections in their order, within the frame of page.html."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from analysis.report import html, sections
from analysis.report.sections import Sources
from rls.runtime.errors import InputError

SECTIONS: Mapping[str, tuple[str, Callable[[Sources], str]]] = {
    "headline": ("Headline numbers", sections.headline),
    "run": ("What was run", sections.what_was_run),
    "selection": ("Cells, wells and fields", sections.selection),
    "quality": ("What was flagged", sections.quality_flags),
    "generators": ("Samples of the generators", sections.generators),
    "figures": ("Figures", sections.figures),
    "tables": ("Tables", sections.tables),
    "known": ("What LR can know, and what each method recovers of it", sections.known_from_low),
    "limits": ("Limits", sections.limits),
    "files": ("Where each file lies", sections.files),
}


def page(sources: Sources) -> str:
    """Return the whole page."""
    assays = ", ".join(assay.label for assay in sources.run.assays)
    title = f"Super-resolution by regularised latent search: {assays}"
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
    """Return the paths in NAME=FILE pairs by name.

    Raises:
        InputError: A pair has no equals sign.
    """
    found = {}
    for pair in pairs:
        name, sign, path = pair.partition("=")
        if not sign:
            raise InputError(f"--generators takes NAME=FILE; found '{pair}'.")
        found[name] = Path(path)
    return found
