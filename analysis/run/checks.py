"""The checks of a configuration: unknown keys, wrong types, and names that do not fit each other.

Every fault is one sentence that names the key.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jsonschema

from analysis.cells import named_plates
from analysis.run.assay_names import name_faults
from analysis.run.keys import (
    GROUP_OF,
    MOVED,
    method_keys,
    needs_generator,
    search_names,
    trained_by,
)
from analysis.run.schema import WORDS, full_schema, object_schema
from analysis.run.values import (
    Config,
    assay_factors,
    degradation_values,
    has_high_resolution,
    method_values,
    operator_values,
    section_values,
)
from rls.io.names import (
    AMORTISED,
    LOW_RESOLUTION_ALL_CELLS,
    RESERVED_METHODS,
    SOLUTION_KINDS,
    WITHOUT_IMAGES,
)
from rls.runtime.command import describe
from rls.runtime.errors import InputError
from rls.runtime.yaml_file import YamlFile, misread
from rls.search.forward_model import faults

# Source of an assay -> a key that it must have, for the files or the place of its cells.
FILES_OF_SOURCE = (
    *(("sheet", "sheet"), ("crops", "sheet"), ("crops", "crops"), ("bbbc021", "archives")),
    *(("bbbc014", "image_folder"), ("bbbc014", "sheet")),
    *(("ome_zarr", "image_folder"), ("ome_zarr", "sheet")),
)
# What decides the cells of a plate, which assays that select from the same plates share.
NUMBERS, NO_TEXT = {"number", "integer"}, {"boolean", "object", "array", "null"}  # types of JSON
LOW_SOURCES = ("crops", "sheet", "ome_zarr")  # what a plate of low resolution may come from
SECTIONS_OF_PLATES = ("simulate_plate", "list_plate", "crop_cells", "import_crops")
# Key of an assay -> the list that must hold its value.
ROLES = {
    "negative_control": "treatments",
    "positive_control": "treatments",
    "nucleus_channel": "channels",
    "marker_channel": "channels",
}


def check(config: Config, files: Sequence[YamlFile] = ()) -> None:
    """Check a merged configuration.

    Arguments:
        files: The files that it was merged from; a sentence then says where a value stands.

    Raises:
        InputError: An unknown key, a value of the wrong type, or names and numbers that do not
            fit each other. Every fault that is found is one sentence.
    """
    faults = faults_of(config, files)
    if faults:
        raise InputError("The configuration is not valid. " + " ".join(faults))


def faults_of(config: Config, files: Sequence[YamlFile] = ()) -> list[str]:
    """Return every fault of a merged configuration as a sentence; see :func:`check`.

    Names and numbers are compared only where all keys and types are right.
    """
    validator = jsonschema.Draft202012Validator(full_schema())
    faults = [_sentence(error, files) for error in validator.iter_errors(config)]
    return list(dict.fromkeys(faults or _misfits(config, files)))


def is_valid(config: Config) -> bool:
    """Return whether a merged configuration has all keys, no others, and values of their types."""
    return jsonschema.Draft202012Validator(full_schema()).is_valid(config)


def _sentence(
    error: jsonschema.ValidationError, files: Sequence[YamlFile] = (), at: Sequence[str] = ()
) -> str:
    """Return a fault of the schema as a sentence; ``at`` are the keys above those of the error."""
    where = ".".join(map(str, error.absolute_path)) or "the top level"
    expected: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    if error.validator == "additionalProperties":
        return _unknown(where, set(instance), schema.get("properties", {}))
    if error.validator == "required":
        missing = [name for name in expected if name not in instance]
        return f"Missing key {_quoted(missing)} in {where}."
    if error.validator in WORDS.values():
        bounds = {word: schema[key] for word, key in WORDS.items() if key in schema}
        return f"{where} is {instance}, expected {describe(bounds)}."
    if error.validator == "anyOf":  # a number or something else: the number may be out of bounds
        for inner in error.context or ():
            if inner.validator in WORDS.values():
                return _sentence(inner, files, at)
    if error.validator in ("type", "anyOf") and not isinstance(instance, dict | list):
        kinds = _kinds(error)
        text = isinstance(instance, str)
        found = f"the text '{instance}'" if text else str(instance)
        wanted = set(kinds) & NUMBERS if text else set(kinds) - NUMBERS - NO_TEXT
        hint = _misread(error, files, at) if wanted else ""
        return f"{where} is {found}, expected {' or '.join(kinds)}.{hint}"
    if error.validator == "enum":
        choices = ", ".join(map(str, expected))
        texts = any(isinstance(choice, str) for choice in expected)
        hint = _misread(error, files, at) if texts and not isinstance(instance, str) else ""
        return f"{where} is {instance!r}, expected one of: {choices}.{hint}"
    return f"{where}: {error.message}."


def _unknown(where: str, found: set[str], known: Iterable[str]) -> str:
    unknown = sorted(found - set(known))
    places = {**GROUP_OF, **MOVED}
    moved = [f" {key} stands in {places[key]}." for key in unknown if key in places]
    alike = (difflib.get_close_matches(key, known, 1) for key in unknown if key not in places)
    moved += [f" Is {meant[0]} meant?" for meant in alike if meant]
    said = f"known keys are {', '.join(sorted(known))}" if known else "it has no keys of its own"
    return f"Unknown key {_quoted(unknown)} in {where}; {said}." + "".join(moved)


def _kinds(error: jsonschema.ValidationError) -> list[str]:
    """Return the types and words, one of which a value should be."""
    expected: Any = error.validator_value
    if error.validator == "type":
        return [expected] if isinstance(expected, str) else list(expected)
    return [word for kind in expected for word in kind.get("enum", [kind.get("type", "a list")])]


def _misread(
    error: jsonschema.ValidationError, files: Sequence[YamlFile], at: Sequence[str]
) -> str:
    """Return a sentence on how YAML read a value; where it stands, if that can be found."""
    keys = [*at, *error.absolute_path]
    found = (file.misread(keys, error.instance) for file in reversed(files))
    return next(filter(None, found), "") or misread(error.instance)


def _misfits(config: Config, files: Sequence[YamlFile] = ()) -> Iterator[str]:
    """Yield the faults that a schema cannot express."""
    assays = config["assays"]
    yield from _run_misfits(config)
    for name, block in config["methods"].items():
        if name in (*RESERVED_METHODS, *WITHOUT_IMAGES, LOW_RESOLUTION_ALL_CELLS):
            yield f"methods.{name}: the name is reserved."
        try:
            keys = method_keys(block["search"])
        except InputError as error:
            yield f"methods.{name}: {error}"
            continue
        validator = jsonschema.Draft202012Validator(object_schema(keys.values()))
        for fault in validator.iter_errors(method_values(config, name)):
            yield f"methods.{name}: {_sentence(fault, files, ('methods', name))}"
    for name in config["run"]["assays"]:
        if name in assays:
            yield from _assay_misfits(name, config)
            if not has_high_resolution(assays[name]):
                yield from _low_resolution_misfits(name, config)
    yield from _solutions_misfits(config)
    yield from _trace_misfits(config)
    yield from _trust_misfits(config)
    yield from _degradation_misfits(config)


def _run_misfits(config: Config) -> Iterator[str]:
    run = config["run"]
    lists = ("assays", "degradations", "methods", "degraded_methods")
    for kind, defined in zip(lists, (*lists[:3], "methods"), strict=True):
        for name in run[kind]:
            rows = WITHOUT_IMAGES if defined == "methods" else ()
            if name not in (*config[defined], *rows):
                yield f"run.{kind} names '{name}', which {defined} does not define."
    figures = config["figures"]
    if figures["norms_assay"] not in (None, *run["assays"]):
        yield (
            f"figures.norms_assay is '{figures['norms_assay']}', which is not among run.assays "
            f"({', '.join(run['assays'])}). Name one of them, or null for the first."
        )
    for name in figures["lettered_first"]:
        if name not in config["assays"]:
            yield f"figures.lettered_first names '{name}', which assays does not define."
    for kind in ("factors", "methods"):
        few = run[f"degraded_{kind}"]
        if len(run["degradations"]) > 1 and not set(few) & set(run[kind]):
            yield (
                f"run.degraded_{kind} ({', '.join(map(str, few))}) has none of run.{kind}: of "
                f"run.degradations only the first would run. Name one of "
                f"{', '.join(map(str, run[kind]))}, or that degradation alone."
            )


def _degradation_misfits(config: Config) -> Iterator[str]:
    for name in config["degradations"]:
        values = degradation_values(config, name)
        for method in values["methods"]:
            if method not in (*config["methods"], *WITHOUT_IMAGES):
                yield f"degradations.{name}.methods names '{method}', which is not in methods."
    for assay in config["run"]["assays"]:
        for name in config["run"]["degradations"]:
            if name in config["degradations"] and assay in config["assays"]:
                for fault in faults(operator_values(config, assay, name)):
                    yield f"D of assay {assay}, degradation {name}: {fault}"


def _assay_misfits(name: str, config: Config) -> Iterator[str]:
    block = config["assays"][name]
    yield from _factor_misfits(name, block, config["run"]["factors"])
    yield from _size_misfits(name, config)
    yield from name_faults(name, block)
    yield from _role_misfits(name, block)
    for source, key in FILES_OF_SOURCE:
        if (source, key) == ("crops", "sheet") and block.get("crops", "").endswith(".zip"):
            continue  # the archive may hold the labels, too
        if block["source"] == source and key not in block:
            yield f"assays.{name} has source '{source}' and no key '{key}' that names the file."
    if len(set(block["plates"])) < len(block["plates"]):
        yield f"assays.{name}.plates names a plate twice."
    yield from _plates_of_misfits(name, config["assays"])
    yield from _sections_of_plates_misfits(name, config)
    if block["generator"] == "none" and (searching := _searching(config)):
        yield (
            f"assays.{name}.generator is none, but {_quoted(searching)} of run.methods search a "
            "generator. Set generator: train, or take them out."
        )
    regressions = [name for name in WITHOUT_IMAGES if name in config["run"]["methods"]]
    if regressions and not block["features"]:
        yield (
            f"run.methods has '{regressions[0]}', which gives features alone, and assays.{name} "
            "measures none. Name features of the assay, or take the method out."
        )
    values = section_values(config, "select_cells", name)
    named = {
        key.removeprefix("plates_"): value
        for key, value in values.items()
        if key.startswith("plates_")
    }
    for fault in named_plates.faults(named, block["plates"]):
        yield f"assays.{name}: {fault}"


def _plates_of_misfits(name: str, assays: Config) -> Iterator[str]:
    """Yield the faults of an assay that selects its cells from the plates of another."""
    other = assays[name].get("plates_of")
    if other is None:
        return
    if other not in assays:
        yield f"assays.{name}.plates_of is '{other}', which is no assay. Name one of assays."
        return
    for key in ("source", "plates", "channels", "treatments", "crop_size", "pixel_size_um"):
        if assays[other][key] != assays[name][key]:
            yield (
                f"assays.{name}.plates_of is '{other}', whose {key} differ: its cells are not "
                f"those that this assay describes. Give both the same {key}."
            )


def _sections_of_plates_misfits(name: str, config: Config) -> Iterator[str]:
    """Yield the settings of plates that an assay changes although the plates are another's."""
    owner = config["assays"][name].get("plates_of", name)
    if owner not in config["assays"]:
        return
    for section in SECTIONS_OF_PLATES:
        if section_values(config, section, name) != section_values(config, section, owner):
            yield (
                f"assays.{name}.settings.{section} is not that of {owner}, whose plates are its "
                "own by plates_of: it would change nothing. Take it out, or out of plates_of."
            )


def _factor_misfits(name: str, block: Config, factors: Sequence[int]) -> Iterator[str]:
    own = assay_factors(block, factors)
    for factor in own:
        if block["image_size"] % factor:
            yield (
                f"The factor {factor} does not divide the image size {block['image_size']} of "
                f"assay {name}."
            )
    if not own:
        yield f"No factor of run.factors is among assays.{name}.factors: nothing would run."


def _size_misfits(name: str, config: Config) -> Iterator[str]:
    """Yield the fault of an image size that no network takes, although one is needed."""
    block, methods = config["assays"][name], config["methods"]
    searches = [methods.get(m, {}).get("search", "") for m in config["run"]["methods"]]
    size, needed = block["image_size"], block["generator"] != "none"
    if size & (size - 1) and (needed or any(map(trained_by, searches))):
        lower = 1 << (size.bit_length() - 1)
        yield (
            f"assays.{name}.image_size is {size}, expected a power of two: networks halve images "
            f"down to 4 px. Set it to {lower} or {2 * lower}."
        )
    if has_high_resolution(block) and block["crop_size"] < size:
        yield (
            f"assays.{name}.crop_size is {block['crop_size']}, less than the image_size {size} "
            "that is cut from it. Set it higher."
        )


def _role_misfits(name: str, block: Config) -> Iterator[str]:
    for role, kind in ROLES.items():
        if block[role] not in block[kind]:
            yield f"assays.{name}.{role} '{block[role]}' is not among its {kind}."
    for channel in block.get("network_rgb_channels", []):
        if channel not in block["channels"]:
            yield f"assays.{name}.network_rgb_channels '{channel}' is not among its channels."
    if block["positive_control"] == block["negative_control"]:
        yield (
            f"assays.{name} has {block['negative_control']} as both controls; classifiers need two "
            "classes. Name another positive_control."
        )


def _searching(config: Config) -> list[str]:
    """Return the methods that run and need a generator; faulty ones are reported elsewhere."""
    blocks = {name: config["methods"].get(name) for name in config["run"]["methods"]}
    known = {name: b["search"] for name, b in blocks.items() if b and b["search"] in search_names()}
    regression = [AMORTISED] if AMORTISED in config["run"]["methods"] else []
    return [name for name, search in known.items() if needs_generator(search)] + regression


def _low_resolution_misfits(name: str, config: Config) -> Iterator[str]:
    """Yield the faults of an assay whose cells were acquired in low resolution."""
    run, assays = config["run"], config["assays"]
    block, where = assays[name], f"assays.{name} has resolution 'low'"
    if block["source"] not in LOW_SOURCES:
        yield f"{where} and source '{block['source']}', expected {' or '.join(LOW_SOURCES)}."
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
        if trained_by(search) and model not in assays:
            yield f"{where}: methods.{method} cannot train on it. Leave it out of run.methods."


def _trust_misfits(config: Config) -> Iterator[str]:
    trust = config["gather_trust"]
    for name in trust["methods"]:
        if name not in config["methods"]:
            yield f"gather_trust.methods names '{name}', which is not in methods."
    if trust["default"] not in trust["methods"]:
        yield "gather_trust.default is not among gather_trust.methods. Add it there."


def _solutions_misfits(config: Config) -> Iterator[str]:
    solutions = config["solutions"]
    for name in (*solutions["kinds"], solutions["kind_shown"]):
        if name not in SOLUTION_KINDS:
            yield (
                f"solutions.kinds and kind_shown: found '{name}', expected of "
                f"{', '.join(SOLUTION_KINDS)}."
            )
    if solutions["kind_shown"] not in solutions["kinds"]:
        yield "solutions.kind_shown is not among solutions.kinds. Add it there."
    if config["methods"].get(solutions["method"], {}).get("search") != "rls":
        yield (
            f"solutions.method is '{solutions['method']}', expected a method with 'search: rls'."
        )


def _trace_misfits(config: Config) -> Iterator[str]:
    for name in config["trace_search"]["methods"]:
        block = config["methods"].get(name)
        if block is None:
            yield f"trace_search.methods names '{name}', which methods does not define."
        elif "steps" not in block:
            yield f"trace_search.methods names '{name}', whose search has no steps to follow."


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
