"""The tables of ``config/README.md``: every key with its type, its default and its source.

Types and meanings come from the commands' settings and the written schema, defaults and sources
from ``config/config.yaml``: the comment behind a value begins with its unit, then its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from analysis.run.keys import (
    ELSEWHERE,
    GROUPS,
    ROOT,
    SECTIONS,
    Key,
    group_keys,
    keys_of,
    method_keys,
    search_names,
    section_keys,
)
from analysis.run.schema import WORDS as BOUNDS
from analysis.run.schema import WRITTEN, described, schemas
from analysis.run.values import ALWAYS, read_config
from rls.runtime.command import describe
from rls.runtime.places import source

README = ROOT / "config" / "README.md"
BEGIN, END = "<!-- derived: begin -->\n", "<!-- derived: end -->\n"
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "keys",
    "null": "null",
}
# The names of sources in the comments of config.yaml; the first match counts.
SOURCE = re.compile(
    r"\b(article(?: (?:Fig\. |Table |Eq\. )?\d+(?:\.\d+)*)?|released|StyleGAN2(?:-ADA)?|"
    r"Isola et al\.|program|Cellpose|BBBC021|choice)"
)
CHOICE = "choice"
ASSAY = ("assays", "translocation")  # the assay whose sources the table of an assay gives
DEFAULTS = 6  # most values of a list that a table shows
Row = tuple[str, ...]


def with_tables(text: str) -> str:
    """Return the text of ``config/README.md`` with its derived part written again."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    lines = list(_tables())
    body = "\n".join(["", *_contents(lines), "", *lines, ""])
    return head + BEGIN + body + END + tail


def _tables() -> Iterator[str]:
    config, sources = read_config(), sources_of_values()
    written = yaml.safe_load(WRITTEN.read_text(encoding="utf-8"))["properties"]
    assay = written["assays"]["additionalProperties"]
    said = {
        name: key.get("default", "required" if name in assay["required"] else "may be left out")
        for name, key in assay["properties"].items()
    }
    top = {name: schema for name, schema in written.items() if name not in ("run", "assays")}
    for title, properties, values, at in (
        ("`run`", written["run"]["properties"], config["run"], ("run",)),
        ("An assay, below `assays`", assay["properties"], said, ASSAY),
        ("Keys beside the sections", top, config, ()),
    ):
        yield from (f"### {title}", "")
        # A mapping has no row: its keys have a table.
        rows = {k: s for k, s in properties.items() if s.get("type") != "object" or k == "settings"}
        yield from _table(rows, values, sources, at)
    for group in GROUPS:
        users = [f"`{s}`" for s in SECTIONS if set(GROUPS[group]) & set(section_keys(s))]
        users += [f"methods with `search: {s}`" for s in search_names() if _shares(s, group)]
        yield from _section(group, group_keys(group), config, sources, ", ".join(users))
    for section in SECTIONS:
        yield from _section(section, section_keys(section), config, sources, _command(section))
    for search in search_names():
        keys = described(method_keys(search))
        at = ("methods", search)
        yield from (f"### A method with `search: {search}`", "")
        yield from _table(schemas(keys), config["methods"].get(search, {}), sources, at)


def _shares(search: str, group: str) -> bool:
    """Return whether the settings of a search have keys of a shared section."""
    return bool(set(GROUPS[group]) & set(keys_of(f"rls/search/{search}.py")))


def _contents(lines: Iterable[str]) -> Iterator[str]:
    """Yield a line of a contents list for every heading, with its address on the page."""
    for line in lines:
        if line.startswith("### "):
            title = line.removeprefix("### ")
            address = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            yield f"* [{title}](#{address})"


def _section(
    name: str, keys: dict[str, Key], config: Mapping[str, Any], sources: Mapping[Row, str], by: str
) -> Iterator[str]:
    values = config.get(name, {})
    own = [key for key in described(keys) if key.name in values]
    other = [f"`{key}`" for key in keys if key in ELSEWHERE and key not in values]
    yield from (f"### `{name}`", "", f"Read by {by}.")
    if other:
        yield f"It also takes {', '.join(other)}, which are described elsewhere."
    yield ""
    if own:
        yield from _table(schemas(own), values, sources, (name,))


def _table(
    properties: Mapping[str, Any],
    values: Mapping[str, Any],
    sources: Mapping[Row, str],
    at: tuple[str, ...] = (),
) -> Iterator[str]:
    """Yield the lines of a table of keys, described by their schemas.

    Arguments:
        values: Values of the configuration by key.
        at: Where the keys stand in the configuration.
    """
    yield "| key | type | default | source | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for name, schema in properties.items():
        default = _shown(values[name]) if name in values else ""
        source = sources.get((*at, name), CHOICE) if name in values else ""
        cells = (_words(schema), default, source, schema["description"])
        yield f"| `{name}` | {' | '.join(cells)} |"
    yield ""


def sources_of_values() -> dict[Row, str]:
    """Return the source of each value of the configuration, by its keys from the top.

    The source is read off the comment behind the value: ``article 4.1``, ``released``, ...
    """
    found: dict[Row, str] = {}
    for name in ALWAYS:
        stack: list[tuple[int, str]] = []
        for line in (ROOT / "config" / name).read_text(encoding="utf-8").splitlines():
            match = re.match(r"( *)([\w-]+):(?: |$)([^#]*)(?:#(.*))?", line)
            if not match:
                continue
            indent = len(match[1])
            stack = [item for item in stack if item[0] < indent] + [(indent, match[2])]
            source = SOURCE.search(match[4] or "")
            if source:
                found[tuple(key for _, key in stack)] = source[1]
    return found


def _words(schema: Mapping[str, Any]) -> str:
    """Return a type in the words of a writer of YAML."""
    if "anyOf" in schema:
        return ", or ".join(map(_words, schema["anyOf"]))
    kind = schema["type"]
    if "enum" in schema:
        return " \\| ".join(map(str, schema["enum"]))
    if kind == "array":
        items = _words(schema["items"])
        return f"list of {re.sub('number', 'numbers', items, count=1)}"
    words = ", or ".join(WORDS[one] for one in ([kind] if isinstance(kind, str) else kind))
    bounds = {word: schema[key] for word, key in BOUNDS.items() if key in schema}
    return f"{words}, {describe(bounds)}" if bounds else words


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        items = [_shown(item) for item in value[:DEFAULTS]]
        return ", ".join(items + ["..."] * (len(value) > DEFAULTS)) or "[]"
    return str(value).replace("|", "\\|")


def _command(section: str) -> str:
    for package in ("rls", "analysis"):
        if source(f"{package}/{section}.py").is_file():
            return f"`python -m {package}.{section}`"
    return {
        "mechanism": "`python -m analysis.tables.mechanism`",
        "tables": "every table, `python -m analysis.tables.NAME`",
        "solutions": "`python -m analysis.tables.solutions` and `analysis.figures.figure8`",
        "figures": "every figure, `python -m analysis.figures.NAME`",
    }[section]
