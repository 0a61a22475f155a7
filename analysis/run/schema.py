"""The JSON schema of a configuration: a written part, and the sections, derived from the keys."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from analysis.run.keys import (
    ELSEWHERE,
    GROUPS,
    OPERATOR,
    ROOT,
    SECTIONS,
    Key,
    group_keys,
    section_keys,
)
from rls.runtime.yaml_file import Loader

SCHEMAS = ROOT / "workflow" / "schemas"
WRITTEN, DERIVED = SCHEMAS / "config.schema.yaml", SCHEMAS / "sections.schema.yaml"
TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
# A bound of an option -> its keyword in a schema.
WORDS = {
    "above": "exclusiveMinimum",
    "least": "minimum",
    "below": "exclusiveMaximum",
    "most": "maximum",
}
Schema = dict[str, Any]


def full_schema() -> Schema:
    """Return the schema of a whole configuration: the written part and the derived sections."""
    schema: Schema = yaml.load(WRITTEN.read_text(encoding="utf-8"), Loader=Loader)
    sections: Schema = yaml.load(DERIVED.read_text(encoding="utf-8"), Loader=Loader)
    schema["properties"].update(sections)
    schema["required"] += list(sections)
    # An assay may change any key of any section, and need not name all. It may give a command a
    # seed of its own.
    partial = {
        name: {key: value for key, value in section.items() if key != "required"}
        for name, section in sections.items()
    }
    for name in SECTIONS:
        if "seed" in section_keys(name):
            seed = {"seed": schema["properties"]["seed"]}
            partial[name] = {**partial[name], "properties": partial[name]["properties"] | seed}
    assay = schema["properties"]["assays"]["additionalProperties"]
    assay["properties"]["settings"]["properties"] = partial
    # A degradation may change D.
    of_degrade = sections["degrade"]["properties"]
    own = schema["properties"]["degradations"]["additionalProperties"]["properties"]
    own.update({name: of_degrade[name] for name in OPERATOR})
    return schema


def sections_text() -> str:
    """Return the text of ``sections.schema.yaml``."""
    sections = {group: object_schema(described(group_keys(group))) for group in GROUPS}
    for section in SECTIONS:
        keys = section_keys(section)
        own = {name: key for name, key in keys.items() if name not in ELSEWHERE}
        sections[section] = object_schema(described(own))
    head = "# Derived from the commands' settings by `make schema`; do not edit.\n"
    return head + yaml.safe_dump(sections, sort_keys=False, width=100)


def object_schema(keys: Iterable[Key]) -> Schema:
    """Return the schema of a mapping that has these keys and no others."""
    keys = sorted(keys, key=lambda key: key.name)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [key.name for key in keys if key.required],
        "properties": schemas(keys),
    }


def schemas(keys: Iterable[Key]) -> Schema:
    """Return the schema of each key's value by the key's name."""
    return {key.name: {**_kind_schema(key.kind, key), "description": key.help} for key in keys}


def described(keys: Mapping[str, Key]) -> Iterator[Key]:
    """Yield keys with the help and the choices that only an import can tell; all are required."""
    for key in keys.values():
        if not key.help or (key.computed_choices and not key.choices):
            module = importlib.import_module(key.file.removesuffix(".py").replace("/", "."))
            fields = dataclasses.fields(getattr(module, key.owner))
            said = {field.name: field.metadata for field in fields}[key.name]
            key = dataclasses.replace(key, help=said["help"], choices=tuple(said["choices"] or ()))
        yield dataclasses.replace(key, required=True)


def _kind_schema(kind: str, key: Key) -> Schema:
    if kind.endswith("| None"):
        inner = _kind_schema(kind.removesuffix("| None").strip(), key)
        return {"anyOf": [inner, {"type": "null"}]}
    if "| Literal[" in kind:
        other, words = kind.split(" | Literal")
        word = {"type": "string", "enum": list(ast.literal_eval(words))}
        return {"anyOf": [_kind_schema(other, key), word]}
    if kind.startswith("tuple["):
        item = kind.removeprefix("tuple[").split(",")[0].rstrip("]")
        return {"type": "array", "items": _kind_schema(item, key)}
    found: Schema = {"type": TYPES[kind]} | {WORDS[word]: bound for word, bound in key.bounds}
    return found | ({"enum": list(key.choices)} if key.choices else {})
