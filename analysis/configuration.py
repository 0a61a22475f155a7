"""The configuration: its schema, its checks, and how a section becomes the flags of a command.

A section is named as the command that reads it, and its keys are the fields of that command's
``Settings``. While the workflow starts they are read from the source, so that nothing heavy is
imported. ``python -m analysis.configuration --write`` writes what is derived from them:
``workflow/schemas/sections.schema.yaml`` and the tables of ``config/README.md``.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from analysis.cells import named_plates
from rls.runtime.command import run
from rls.runtime.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "workflow" / "schemas"

# Section -> the file that holds its Settings. One line a command.
SECTIONS = {
    "simulate_plate": "analysis/simulation/settings.py",
    "fetch_plate": "analysis/plates/fetch_settings.py",
    "list_plate": "analysis/plates/list_settings.py",
    "train_segmenter": "analysis/cells/segmenter_settings.py",
    "crop_cells": "analysis/cells/crop_settings.py",
    "import_crops": "analysis/cells/import_settings.py",
    "select_cells": "analysis/cells/select_settings.py",
    "high_resolution": "analysis/high_resolution.py",
    "low_resolution": "analysis/low_resolution.py",
    "train_gan": "rls/stylegan2/settings.py",
    "sample_styles": "rls/sample_styles.py",
    "fit_flow": "rls/fit_flow.py",
    "train_classifier": "rls/train_classifier.py",
    "train_pix2pix": "rls/train_pix2pix.py",
    "degrade": "rls/degrade.py",
    "super_resolve": "rls/super_resolve.py",
    "sample_solutions": "rls/sample_solutions.py",
    "sweep_lambdas": "rls/sweep_lambdas.py",
    "measure": "analysis/measure.py",
    "classify": "analysis/classify.py",
    "tables": "analysis/comparison/settings.py",
    "solutions": "analysis/tables/solutions.py",
    "figures": "analysis/drawing/settings.py",
}
# Written once, for the whole run or for an assay, and handed to every command that has the field.
SHARED_RUN = ("seed", "device", "threads")
SHARED_ASSAY = (
    "source",
    "channels",
    "treatments",
    "image_size",
    "crop_size",
    "pixel_size_um",
    "bit_depth",
    "resolution",
)
SHARED = SHARED_RUN + SHARED_ASSAY
RESERVED_METHODS = ("high_resolution", "low_resolution")
BEGIN, END = "<!-- derived: begin -->\n", "<!-- derived: end -->\n"
TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


@dataclass(frozen=True)
class Key:
    """One field of a ``Settings`` class, as its source tells."""

    name: str
    kind: str
    help: str
    choices: tuple[str, ...]
    required: bool

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the key's value."""
        return {**_kind_schema(self.kind, self.choices), "description": self.help}


@lru_cache
def keys_of(path: str, name: str = "Settings") -> dict[str, Key]:
    """Return the keys of the class ``name`` and its bases in the source ``path``."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    imported = {
        alias.name: node.module.replace(".", "/") + ".py"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            keys: dict[str, Key] = {}
            for base in (base.id for base in node.bases if isinstance(base, ast.Name)):
                keys |= keys_of(imported.get(base, path), base)
            return keys | {key.name: key for key in map(_key, node.body) if key is not None}
    raise ValueError(f"{path} has no class {name}")


def section_keys(section: str) -> dict[str, Key]:
    """Return the keys of a section; in ``measure`` those of every feature stand beside its own."""
    if section != "measure":
        return keys_of(SECTIONS[section])
    keys = dict(keys_of(SECTIONS[section], "MeasureSettings"))
    for path in sorted((ROOT / "analysis" / "features").glob("*.py")):
        if "class FeatureSettings" in path.read_text(encoding="utf-8"):
            keys |= keys_of(str(path.relative_to(ROOT)), "FeatureSettings")
    return keys


def method_keys(search: str) -> dict[str, Key]:
    """Return the keys of the search method in ``rls/search/{search}.py``.

    Raises:
        InputError: There is no such file.
    """
    path = f"rls/search/{search}.py"
    if not (ROOT / path).is_file():
        raise InputError(f"There is no search '{search}': {path} does not exist.")
    return keys_of(path)


@cache
def method_fact(search: str, name: str, default: Any) -> Any:  # noqa: ANN401
    """Return a constant of a method's source, such as ``NEEDS_GENERATOR``, or the default."""
    tree = ast.parse((ROOT / f"rls/search/{search}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    return default


def sections_schema() -> dict[str, Any]:
    """Return the JSON schema of all sections, from the commands' settings."""
    sections = {}
    for section in SECTIONS:
        keys = {n: k for n, k in _imported_keys(section).items() if n not in SHARED}
        sections[section] = {
            "type": "object",
            "additionalProperties": False,
            "required": sorted(keys),
            "properties": {name: key.schema() for name, key in sorted(keys.items())},
        }
    return sections


def full_schema() -> dict[str, Any]:
    """Return the schema of a whole configuration: the written part and the sections."""
    schema = yaml.safe_load((SCHEMAS / "config.schema.yaml").read_text(encoding="utf-8"))
    sections = yaml.safe_load((SCHEMAS / "sections.schema.yaml").read_text(encoding="utf-8"))
    schema["properties"].update(sections)
    schema["required"] += list(sections)
    # An assay may change any key of any section, and need not name all.
    partial = {
        name: {key: value for key, value in section.items() if key != "required"}
        for name, section in sections.items()
    }
    assay = schema["properties"]["assays"]["additionalProperties"]
    assay["properties"]["settings"]["properties"] = partial
    return schema


def check(config: Mapping[str, Any]) -> None:
    """Check a merged configuration.

    Raises:
        InputError: An unknown key, a value of the wrong type, or names and numbers that do not
            fit each other. Every fault found is one sentence.
    """
    validator = jsonschema.Draft202012Validator(full_schema())
    faults = [_sentence(error) for error in validator.iter_errors(config)]
    if not faults:
        faults = list(_misfits(config))
    if faults:
        raise InputError("The configuration is not valid. " + " ".join(dict.fromkeys(faults)))


def section_values(config: Mapping[str, Any], section: str, assay: str = "") -> dict[str, Any]:
    """Return the settings of a command: shared keys, its section, the assay's own changes."""
    keys = section_keys(section)
    block = config["assays"].get(assay, {})
    values = {name: config[name] for name in SHARED_RUN if name in keys}
    values |= {name: block[name] for name in SHARED_ASSAY if name in keys and name in block}
    return {**values, **config[section], **block.get("settings", {}).get(section, {})}


def method_values(config: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return the settings of a method without the name of its search."""
    return {name: value for name, value in config["methods"][method].items() if name != "search"}


def flags(values: Mapping[str, Any]) -> list[str]:
    """Return settings as flags: ``{"batch_size": 8}`` gives ``["--batch-size", "8"]``."""
    result: list[str] = []
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        result += ["--" + name.replace("_", "-"), *map(_text, items)]
    return result


def expand_folder(path: str) -> str:
    """Return ``path`` with environment variables filled in.

    Raises:
        InputError: A variable is not set.
    """
    expanded = os.path.expanduser(os.path.expandvars(path))
    if "$" in expanded:
        raise InputError(
            f"The folder '{path}' names an environment variable that is not set. "
            f"Set it, e.g. export {path.split('$')[1].split('/')[0].strip('{}')}=/folder/of/images."
        )
    return expanded


def _key(node: ast.stmt) -> Key | None:
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
        return None
    help_text, choices, required = "", (), True
    if isinstance(node.value, ast.Call):
        if node.value.args:
            help_text = str(_literal(node.value.args[0], ""))
        for keyword in node.value.keywords:
            if keyword.arg == "choices":
                choices = tuple(_literal(keyword.value, ()))
            required = required and keyword.arg != "default"
    return Key(node.target.id, ast.unparse(node.annotation), help_text, choices, required)


def _literal(node: ast.expr, otherwise: Any) -> Any:  # noqa: ANN401
    """Return the value of a literal; what is computed in the source only an import can tell."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return otherwise


def _imported_keys(section: str) -> dict[str, Key]:
    """Return the keys of a section with choices and help as the program has them."""
    path = SECTIONS[section]
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    settings = module.settings_class() if section == "measure" else module.Settings
    fields = {field.name: field.metadata for field in dataclasses.fields(settings)}
    return {
        name: dataclasses.replace(
            key, help=fields[name]["help"], choices=tuple(fields[name]["choices"] or ())
        )
        for name, key in section_keys(section).items()
    }


def _kind_schema(kind: str, choices: Sequence[str]) -> dict[str, Any]:
    if kind.endswith("| None"):
        inner = _kind_schema(kind.removesuffix("| None").strip(), choices)
        return {"anyOf": [inner, {"type": "null"}]}
    if kind.startswith("tuple["):
        item = kind.removeprefix("tuple[").split(",")[0].rstrip("]")
        return {"type": "array", "items": _kind_schema(item, choices)}
    return {"type": TYPES[kind], **({"enum": list(choices)} if choices else {})}


def _sentence(error: jsonschema.ValidationError) -> str:
    where = ".".join(map(str, error.absolute_path)) or "the top level"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return f"Unknown key {_quoted(unknown)} in {where}; known keys are {', '.join(known)}."
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"Missing key {_quoted(missing)} in {where}."
    if error.validator in ("type", "anyOf") and isinstance(error.instance, str):
        # anyOf: a kind or null.
        kinds = [error.validator_value]
        if error.validator == "anyOf":
            kinds = [kind.get("type", "another value") for kind in error.validator_value]
        hint = ""
        if _is_number(error.instance) and {"number", "integer"} & set(kinds):
            hint = f" YAML reads {error.instance} as text: write 5.0e-5, not 5e-5."
        return f"{where} is the text '{error.instance}', expected {' or '.join(kinds)}.{hint}"
    if error.validator == "enum":
        choices = ", ".join(map(str, error.validator_value))
        return f"{where} is {error.instance!r}, expected one of: {choices}."
    return f"{where}: {error.message}."


def _misfits(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults that a schema cannot express."""
    run, assays = config["run"], config["assays"]
    for kind, table in (("assays", assays), ("degradations", config["degradations"]),
                        ("methods", config["methods"]), ("degraded_methods", config["methods"])):  # fmt: skip  # noqa: E501
        for name in run[kind]:
            if name not in table:
                defined = kind.removeprefix("degraded_")
                yield f"run.{kind} names '{name}', which {defined} does not define."
    for kind in ("factors", "methods"):
        few = run[f"degraded_{kind}"]
        if len(run["degradations"]) > 1 and not set(few) & set(run[kind]):
            yield (
                f"run.degraded_{kind} ({', '.join(map(str, few))}) has none of run.{kind}: of "
                f"run.degradations only the first would run. Name one of "
                f"{', '.join(map(str, run[kind]))}, or that degradation alone."
            )
    for name in RESERVED_METHODS:
        if name in config["methods"]:
            yield f"methods.{name}: the name is reserved."
    for name, block in config["methods"].items():
        try:
            keys = method_keys(block["search"])
        except InputError as error:
            yield f"methods.{name}: {error}"
            continue
        yield from _method_misfits(name, block, keys)
    for name in run["assays"]:
        if name in assays:
            yield from _assay_misfits(name, config)
            if not has_high_resolution(assays[name]):
                yield from _low_resolution_misfits(name, config)


def _method_misfits(name: str, block: Mapping[str, Any], keys: Mapping[str, Key]) -> Iterator[str]:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": sorted(key.name for key in keys.values() if key.required),
        "properties": {key.name: key.schema() for key in keys.values()},
    }
    values = {key: value for key, value in block.items() if key != "search"}
    for error in jsonschema.Draft202012Validator(schema).iter_errors(values):
        yield f"methods.{name}: {_sentence(error)}"


def _assay_misfits(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    block, factors = config["assays"][name], config["run"]["factors"]
    for factor in assay_factors(block, factors):
        if block["image_size"] % factor:
            yield (
                f"The factor {factor} does not divide the image size {block['image_size']} of "
                f"assay {name}."
            )
    if not assay_factors(block, factors):
        yield f"No factor of run.factors is among assays.{name}.factors: nothing would run."
    for role in ("negative_control", "positive_control"):
        if block[role] not in block["treatments"]:
            yield f"assays.{name}.{role} '{block[role]}' is not among its treatments."
    for role in ("nucleus_channel", "marker_channel"):
        if block[role] not in block["channels"]:
            yield f"assays.{name}.{role} '{block[role]}' is not among its channels."
    for source, key in (("sheet", "sheet"), ("crops", "sheet"), ("crops", "crops"),
                        ("bbbc021", "archives"), ("bbbc014", "image_folder"),
                        ("bbbc014", "sheet")):  # fmt: skip
        if (source, key) == ("crops", "sheet") and block.get("crops", "").endswith(".zip"):
            continue  # the archive may say it all
        if block["source"] == source and key not in block:
            yield f"assays.{name} has source '{source}' and no key '{key}' that names the file."
    if len(set(block["plates"])) < len(block["plates"]):
        yield f"assays.{name}.plates names a plate twice."
    if block["positive_control"] == block["negative_control"]:
        yield (
            f"assays.{name} has {block['negative_control']} as both controls; classifiers need two "
            "classes. Name another positive_control."
        )
    if block["generator"] == "none" and (searching := _searching(config)):
        yield (
            f"assays.{name}.generator is none, but {_quoted(searching)} of run.methods search a "
            "generator. Set generator: train, or take them out."
        )
    values = section_values(config, "select_cells", name)
    named = {
        key.removeprefix("plates_"): value
        for key, value in values.items()
        if key.startswith("plates_")
    }
    for fault in named_plates.faults(named, block["plates"]):
        yield f"assays.{name}: {fault}"


def _searching(config: Mapping[str, Any]) -> list[str]:
    """Return the methods that run and need a generator; faulty ones are reported elsewhere."""
    blocks = {name: config["methods"].get(name) for name in config["run"]["methods"]}
    known = {
        name: block["search"]
        for name, block in blocks.items()
        if block and (ROOT / f"rls/search/{block['search']}.py").is_file()
    }
    return [name for name, search in known.items() if method_fact(search, "NEEDS_GENERATOR", True)]


def _low_resolution_misfits(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield why an assay whose cells are of low resolution cannot run."""
    run, assays = config["run"], config["assays"]
    block, where = assays[name], f"assays.{name} has resolution 'low'"
    if block["source"] != "crops":
        yield f"{where} and source '{block['source']}': only source 'crops' is read as it is."
    model = block["generator"]
    if model in ("train", "none") or not has_high_resolution(assays.get(model, {})):
        yield f"{where} and generator '{model}': name an assay of high resolution, or a model."
    factors = assay_factors(block, run["factors"])
    if len(factors) != 1:
        yield f"{where} and {len(factors)} factors of run.factors, expected one: set its factors."
    elif block["crop_size"] * factors[0] != block["image_size"]:
        yield (
            f"{where}, crop_size {block['crop_size']} and image_size {block['image_size']}, which "
            f"is not {factors[0]} times as large: crop_size is the side of the cells as they are."
        )
    for method in run["methods"]:
        search = config["methods"].get(method, {}).get("search", "")
        own = (ROOT / f"rls/search/{search}.py").is_file() and method_fact(
            search, "TRAINED_BY", None
        )
        if own and model not in assays:
            yield f"{where}: methods.{method} cannot train on it. Leave it out of run.methods."


def has_high_resolution(block: Mapping[str, Any]) -> bool:
    """Say whether an assay has high-resolution images, or cells of low resolution as they are."""
    return bool(block.get("resolution", "high") == "high")


def assay_factors(block: Mapping[str, Any], factors: Sequence[int]) -> list[int]:
    """Return the factors of ``run.factors`` that the assay runs: all, or those in its own list."""
    return [factor for factor in factors if factor in block.get("factors", factors)]


def condition_methods(run: Mapping[str, Any], factor: int, degradation: str) -> list[str]:
    """Return the methods that run at a factor and degradation: all on the first degradation.

    Of the others only run.degraded_factors run, with run.degraded_methods.
    """
    if degradation == run["degradations"][0]:
        return list(run["methods"])
    few = run["degraded_methods"] if factor in run["degraded_factors"] else ()
    return [method for method in run["methods"] if method in few]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def sections_text() -> str:
    """Return the text of ``sections.schema.yaml``."""
    head = "# Derived from the commands' settings by `make schema`; do not edit.\n"
    return head + yaml.safe_dump(sections_schema(), sort_keys=False, width=100)


def readme_text(text: str) -> str:
    """Return ``config/README.md`` with its derived tables made anew, everything else as it is."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    lines = [""]
    for section in SECTIONS:
        lines += [f"### `{section}`", "", f"Read by `{_command(section)}`.", ""]
        lines += _key_table(_imported_keys(section).values())
    for path in sorted((ROOT / "rls" / "search").glob("*.py")):
        if "\ndef super_resolve(" in path.read_text(encoding="utf-8"):
            lines += [f"### a method with `search: {path.stem}`", ""]
            lines += _key_table(method_keys(path.stem).values())
    return head + BEGIN + "\n".join(lines) + END + tail


def _key_table(keys: Iterable[Key]) -> list[str]:
    lines = ["| key | type | meaning |", "| --- | --- | --- |"]
    for key in keys:
        kind = " \\| ".join(key.choices) if key.choices else key.kind.replace("|", "\\|")
        shared = " (from the assay or the run)" if key.name in SHARED else ""
        lines.append(f"| `{key.name}` | {kind} | {key.help}{shared} |")
    return [*lines, ""]


def _command(section: str) -> str:
    package = "rls" if (ROOT / "rls" / f"{section}.py").is_file() else "analysis"
    module = f"{package}.{section}"
    return f"python -m {module}" if (ROOT / package / f"{section}.py").is_file() else module


def _write_text(path: Path, text: str) -> None:
    # rls.io imports torch, which the workflow's start must not wait for.
    from rls.io import write_text

    write_text(path, text)


def main(argv: Sequence[str] | None = None) -> None:
    """Check configuration files, or write what is derived from the settings."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--write", action="store_true", help="write schema and tables anew")
    args = parser.parse_args(argv)
    if args.write:
        _write_text(SCHEMAS / "sections.schema.yaml", sections_text())
        readme = ROOT / "config" / "README.md"
        _write_text(readme, readme_text(readme.read_text(encoding="utf-8")))


if __name__ == "__main__":
    run(main)
