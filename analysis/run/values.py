"""The values of a configuration, by section, assay and method, and the folders that it names."""

from __future__ import annotations

import copy
import os
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.run.assay_defaults import fill_defaults
from analysis.run.keys import GROUP_OF, OF_ASSAY, OF_RUN, OPERATOR, ROOT, section_keys
from rls.runtime.command import convert, make_settings
from rls.runtime.errors import InputError
from rls.runtime.yaml_file import YamlFile
from rls.search.forward_model import OperatorSettings, kept_under

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")
Config = Mapping[str, Any]
# The Snakefile reads these files before any overlay.
ALWAYS = ("config.yaml", "bbbc021_plates.yaml")


def read_files(overlays: Sequence[Path] = ()) -> list[YamlFile]:
    """Return the files of the program's configuration, then those of overlays.

    Raises:
        InputError: A file does not exist, is not a YAML mapping, or gives a key twice.
    """
    return [YamlFile.read(path) for path in (*(ROOT / "config" / n for n in ALWAYS), *overlays)]


def read_config(overlays: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the program's configuration with overlays on it, merged as Snakemake merges them.

    Raises:
        InputError: See :func:`read_files`.
    """
    return merged(read_files(overlays))


def merged(files: Sequence[YamlFile]) -> dict[str, Any]:
    """Return the configuration of some files, of which later ones overlay earlier ones."""
    config: dict[str, Any] = {}
    for file in files:
        lay_over(config, file.content)
    fill_assays(config)
    return config


def lay_over(below: dict[str, Any], above: Config) -> None:
    """Merge ``above`` into ``below``: mappings are merged, everything else is replaced."""
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            lay_over(below[key], value)
        else:
            below[key] = value


def fill_assays(config: dict[str, Any]) -> None:
    """Fill the keys that assays leave out: from the assay that one is like, then derived ones.

    It is done in place, and doing it again changes nothing.

    Raises:
        InputError: See :func:`fill_likenesses`.
    """
    fill_likenesses(config)
    fill_defaults(config)


def fill_likenesses(config: dict[str, Any]) -> None:
    """Fill each assay that is ``like`` another with that one's keys; its own keys win.

    Its cells are selected from the plates of the other, and its title is its name, unless it says
    otherwise. It is done in place, and doing it again changes nothing.

    Raises:
        InputError: The other assay does not exist, or is itself like a third.
    """
    assays = config.get("assays")
    for name, block in assays.items() if isinstance(assays, dict) else ():
        if not isinstance(block, dict) or "like" not in block:
            continue
        other = config["assays"].get(str(block["like"]))
        if not isinstance(other, dict) or "like" in other:
            raise InputError(
                f"assays.{name}.like is '{block['like']}', expected an assay that has plates of "
                "its own. Name one that is not like another."
            )
        filled: dict[str, Any] = {}
        own = {"title": name.replace("_", " "), "plates_of": block["like"]}
        lay_over(filled, {**copy.deepcopy(other), **own})
        lay_over(filled, block)
        config["assays"][name] = filled


def section_values(config: Config, section: str, assay: str = "") -> dict[str, Any]:
    """Return the settings of a command.

    A key comes from the run, from the assay, from a section that several commands share, or from
    the command's own section; the assay's ``settings`` come last.
    """
    keys = section_keys(section)
    block = config["assays"].get(assay, {})
    own = block.get("settings", {})
    values = {name: config[name] for name in OF_RUN if name in keys}
    values |= {name: block[name] for name in OF_ASSAY if name in keys and name in block}
    for name, group in GROUP_OF.items():
        if name in keys:
            values[name] = {**config[group], **own.get(group, {})}[name]
    merged = {**values, **config[section], **own.get(section, {})}
    return {name: merged[name] for name in keys if name in merged}


def settings_of(settings: type[S], config: Config, section: str, assay: str = "") -> S:
    """Return the ``Settings`` with which a command would run for an assay.

    Raises:
        InputError: A value is missing, of the wrong type or out of its bounds.
    """
    hints = typing.get_type_hints(settings)
    values = section_values(config, section, assay).items()
    converted = {name: convert(value, hints[name], f"{section}.{name}") for name, value in values}
    return make_settings(settings, converted, section)


def method_values(config: Config, method: str) -> dict[str, Any]:
    """Return the settings of a method, without the name of its search."""
    return {name: value for name, value in config["methods"][method].items() if name != "search"}


def n_solutions(config: Config, method: str) -> int:
    """Return how many solutions of each image a method searches; 1 for a row without a search."""
    return int(config["methods"].get(method, {}).get("n_solutions", 1))


def degradation_values(config: Config, name: str) -> dict[str, Any]:
    """Return what a degradation says: ``chain``, ``methods``, and changes to D by their keys."""
    said = config["degradations"][name]
    block = {"chain": said} if isinstance(said, list) else said
    return {"chain": [], "methods": [], **block}


def operator_values(config: Config, assay: str, degradation: str) -> dict[str, Any]:
    """Return the settings of D under a degradation: section ``degrade`` with its changes."""
    values, plain = section_values(config, "degrade", assay), vars(OperatorSettings())
    changes = {n: v for n, v in degradation_values(config, degradation).items() if n in OPERATOR}
    found = {**plain, **kept_under(values, changes), **changes}
    return {name: found[name] for name in OPERATOR}


def expand_folder(path: str) -> str:
    """Return ``path`` with the home folder and environment variables filled in.

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


def files_of_plates(block: Config) -> list[str]:
    """Return the names of the files with an assay's cells: one a plate, or one of cropped cells."""
    return ["all"] if block["source"] == "crops" else list(block["plates"])


def has_high_resolution(block: Config) -> bool:
    """Return whether an assay has high-resolution images, or cells acquired in low resolution."""
    return bool(block.get("resolution", "high") == "high")


def has_gan(config: Config, assay: str) -> bool:
    """Return whether cells of split gan have HR images: what is learnt from cells needs them."""
    values = section_values(config, "select_cells", assay)
    given = bool(values["share_gan"] or values["plates_gan"]) and values["cells_gan"] > 0
    return given and has_high_resolution(config["assays"][assay])


def assay_factors(block: Config, factors: Sequence[int]) -> list[int]:
    """Return the factors of ``run.factors`` that the assay runs: all, or those in its own list."""
    return [factor for factor in factors if factor in block.get("factors", factors)]
