"""The keys of the configuration: the fields of the ``Settings`` classes of the commands.

A section is named as its command. The keys are read from the source and not by an import, so that
nothing heavy is loaded while Snakemake starts.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from rls.runtime.errors import InputError
from rls.runtime.places import PACKAGE, PROGRAM, source

T = TypeVar("T")
ROOT = PROGRAM
SEARCHES = PACKAGE / "search"
BOUNDS = ("above", "least", "below", "most")  # the keywords of an option that bound a number
CONSTANTS = ("NEEDS_GENERATOR", "TRAINED_BY", "WEIGHTED_FEATURES")  # read off a search's source
FEATURES = ROOT / "analysis" / "features"

# Section -> the file that holds its Settings, one line per command.
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
    "fit_flow": "rls/prior/settings.py",
    "train_encoder": "rls/encoder/settings.py",
    "train_amortised": "analysis/measuring/amortised_settings.py",
    "train_regression": "analysis/measuring/regression_settings.py",
    "evaluate_generator": "analysis/evaluation/settings.py",
    "train_classifier": "rls/networks/classifier_settings.py",
    "train_pix2pix": "rls/networks/pix2pix_settings.py",
    "degrade": "rls/degrade.py",
    "super_resolve": "rls/search/settings.py",
    "gather_trust": "rls/gather_trust.py",
    "sample_solutions": "rls/sample_solutions.py",
    "sweep_lambdas": "rls/sweep_lambdas.py",
    "path_lengths": "rls/stylegan2/jacobian_settings.py",
    "trace_search": "rls/trace_search.py",
    "measure": "analysis/features/settings.py",
    "describe_generator": "analysis/measuring/drawn_settings.py",
    "classify": "analysis/classification/settings.py",
    "tables": "analysis/comparison/settings.py",
    "solutions": "analysis/comparison/solutions_settings.py",
    "mechanism": "analysis/mechanism/settings.py",
    "figures": "analysis/drawing/settings.py",
}
# Section that several commands share -> the class whose fields they inherit.
SHARED = {
    "quality_flags": ("analysis/cells/quality_settings.py", "QualityLimits"),
    "intervals": ("analysis/comparison/settings.py", "IntervalSettings"),
    "weights": ("rls/networks/weights_settings.py", "WeightsSettings"),
}
NEEDED_WEIGHTS = ("vgg16_path", "vgg16_sha256")  # the keys of a method that compares features
# Keys of earlier versions -> where they stand now.
MOVED = {
    "bootstrap": "intervals and figures (confidence_level, n_bootstrap)",
    "n_bootstrap": "figures",
    "border": "degrade, and the D of a search in its key forward",
    "vgg_path": "weights as vgg16_path",
    "vgg_sha256": "weights as vgg16_sha256",
}
# Keys of the whole run or of an assay, handed to every command that has a field of the name.
OF_RUN = ("seed", "device", "threads", "cuda_graphs", "compile")
OF_ASSAY = (
    "source",
    "channels",
    "treatments",
    "image_size",
    "crop_size",
    "pixel_size_um",
    "bit_depth",
    "resolution",
    "network_rgb_channels",
)


@dataclass(frozen=True)
class Key:
    """One field of a ``Settings`` class, as its source declares it.

    Attributes:
        kind: The annotation, such as ``tuple[float, ...]``.
        help, choices: Empty where the source computes them.
        bounds: Bounds of a number, as :func:`rls.runtime.command.option` names them.
        computed_choices: Whether the source computes the choices.
        required: Whether the class has no default for the field.
        file, owner: The source file and the class.
    """

    name: str
    kind: str
    help: str
    choices: tuple[str | int, ...]
    bounds: tuple[tuple[str, float], ...]
    computed_choices: bool
    required: bool
    file: str
    owner: str


@cache
def keys_of(path: str, name: str = "Settings") -> dict[str, Key]:
    """Return the keys of the class ``name`` and its bases in the source file ``path``.

    Raises:
        ValueError: The file has no such class.
    """
    tree = ast.parse(source(path).read_text(encoding="utf-8"))
    origins = {
        alias.asname or alias.name: (node.module.replace(".", "/") + ".py", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            keys: dict[str, Key] = {}
            # From the last to the first, as a dataclass collects the fields of its bases.
            for base in (base.id for base in node.bases[::-1] if isinstance(base, ast.Name)):
                file, original = origins.get(base, (path, base))
                keys |= keys_of(file, original)
            found = (_key(item, path, name) for item in node.body)
            return keys | {key.name: key for key in found if key is not None}
    raise ValueError(f"{path} has no class {name}")


@cache
def section_keys(section: str) -> dict[str, Key]:
    """Return the keys of a section; ``measure`` also has the keys of every feature."""
    if section != "measure":
        return keys_of(SECTIONS[section])
    keys = dict(keys_of(SECTIONS[section], "MeasureSettings"))
    for path in sorted(FEATURES.glob("*.py")):
        if "\nclass FeatureSettings" in path.read_text(encoding="utf-8"):
            keys |= keys_of(str(path.relative_to(ROOT)), "FeatureSettings")
    return keys


def group_keys(group: str) -> dict[str, Key]:
    """Return the keys of a section that several commands share."""
    return {name: key for name, key in keys_of(*SHARED[group]).items() if name not in OF_RUN}


def search_names() -> list[str]:
    """Return the names that ``search:`` may have: the files of rls/search that define a search."""
    return [
        path.stem
        for path in sorted(SEARCHES.glob("*.py"))
        if "\ndef super_resolve(" in path.read_text(encoding="utf-8")
    ]


def method_keys(search: str) -> dict[str, Key]:
    """Return the keys of a method's block that says ``search: NAME``.

    Raises:
        InputError: There is no such search.
    """
    if not (SEARCHES / f"{search}.py").is_file():
        raise InputError(f"There is no search '{search}': rls/search/{search}.py does not exist.")
    keys = keys_of(f"rls/search/{search}.py")
    return {name: key for name, key in keys.items() if name not in GROUP_OF}


@cache
def _constants(search: str) -> dict[str, object]:
    path = SEARCHES / f"{search}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    return {
        target.id: ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in CONSTANTS
    }


def needs_generator(search: str) -> bool:
    """Return whether a search uses a generator, unless its source says NEEDS_GENERATOR = False."""
    return bool(_constants(search).get("NEEDS_GENERATOR", True))


def needs_weights(block: Mapping[str, Any]) -> bool:
    """Return whether a method compares features of VGG16.

    Its source names the setting that weights them: WEIGHTED_FEATURES. With 0 none are compared.
    """
    weighted = _constants(block.get("search", "")).get("WEIGHTED_FEATURES")
    return bool(weighted and block.get(str(weighted)))


def trained_by(search: str) -> str | None:
    """Return the command that trains a search's own network; None for a search without one."""
    command = _constants(search).get("TRAINED_BY")
    return None if command is None else str(command)


def _key(node: ast.stmt, file: str, owner: str) -> Key | None:
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
        return None
    call = node.value if isinstance(node.value, ast.Call) else ast.Call(ast.Name("option"), [], [])
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    choices = tuple(_literal(given["choices"], ())) if "choices" in given else ()
    return Key(
        node.target.id,
        ast.unparse(node.annotation),
        str(_literal(call.args[0], "")) if call.args else "",
        choices,
        tuple((word, ast.literal_eval(given[word])) for word in BOUNDS if word in given),
        "choices" in given and not choices,
        "default" not in given,
        file,
        owner,
    )


def _literal(node: ast.expr, otherwise: T) -> T:
    """Return the value of a literal; only an import can tell what the source computes."""
    try:
        value: T = ast.literal_eval(node)
    except ValueError:
        return otherwise
    return value


OPERATOR = tuple(keys_of("rls/search/forward_model.py", "OperatorSettings"))
OPERATOR_FILES = ("psf_file", "kernel_file")
GROUPS = {group: tuple(group_keys(group)) for group in SHARED}
GROUP_OF = {key: group for group, keys in GROUPS.items() for key in keys}
ELSEWHERE = {*OF_RUN, *OF_ASSAY, *GROUP_OF}  # keys that stand in no section of one command
