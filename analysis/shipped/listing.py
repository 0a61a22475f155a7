"""The list of the generators that come with the program, ``models/models.yaml``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from analysis.run.keys import ROOT
from analysis.run.values import read_config
from rls.pretrained.files import QUALITY
from rls.runtime.errors import InputError
from rls.runtime.yaml_file import YamlFile

FILE = ROOT / "models" / "models.yaml"
VARIABLE = re.compile(r"\$(\w+)")


@dataclass(frozen=True)
class Generator:
    """One generator of the list.

    Attributes:
        folder: The model folder that it is written to.
        title, about: What its card says.
        configfiles: Laid over the program's configuration one after the other.
        assay: The assay whose generator it is.
        ends_with: The last file of the assay's results that is made.
    """

    folder: Path
    title: str
    about: str
    configfiles: tuple[Path, ...]
    assay: str
    ends_with: str

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def targets(self) -> list[str]:
        """The files that Snakemake is asked for, in the run folder."""
        return [f"results/{self.assay}/{name}" for name in (self.ends_with, QUALITY)]

    @property
    def unset_variables(self) -> list[str]:
        """The environment variables that its images' paths name and that are not set."""
        block = read_config(self.configfiles)["assays"][self.assay]
        texts = [value for value in block.values() if isinstance(value, str)]
        names = {name for text in texts for name in VARIABLE.findall(text)}
        return sorted(name for name in names if not os.environ.get(name))


def read_list(path: Path = FILE) -> list[Generator]:
    """Return the generators of a list; their folders lie beside it.

    Raises:
        InputError: The file is missing or of another form, or names an assay that does not exist.
    """
    try:
        content = YamlFile.read(path).content
        found = [_entry(path.parent / name, values) for name, values in content.items()]
    except (InputError, OSError, KeyError, TypeError, AttributeError) as error:
        keys = ", ".join(field.name for field in fields(Generator)[1:])
        raise InputError(
            f"{path} holds no list of generators ({error}). Expected a name for each, and under it "
            f"{keys}."
        ) from error
    for one in found:
        if one.assay not in read_config(one.configfiles)["assays"]:
            raise InputError(
                f"{path}: {one.name} is of the assay '{one.assay}', which its configuration does "
                "not have."
            )
    return found


def choose(
    generators: Sequence[Generator], only: Iterable[str]
) -> tuple[list[Generator], list[str]]:
    """Return the generators that can be trained here, and a sentence for each that is left out.

    Arguments:
        only: Names of the wanted generators; all if empty.

    Raises:
        InputError: A name is not in the list, or none can be trained.
    """
    names = [one.name for one in generators]
    if unknown := [name for name in only if name not in names]:
        raise InputError(
            f"There is no generator '{unknown[0]}' in the list, expected one of: "
            f"{', '.join(names)}."
        )
    chosen, sentences = [], []
    for one in generators:
        if only and one.name not in only:
            continue
        if unset := one.unset_variables:
            sentences.append(
                f"{one.name} is left out: its cells are real, and {' and '.join(unset)}, which "
                "names their folder, is not set."
            )
        else:
            chosen.append(one)
    if not chosen:
        raise InputError(" ".join(["No generator is left to train.", *sentences]))
    return chosen, sentences


def _entry(folder: Path, values: dict[str, Any]) -> Generator:
    files = tuple(ROOT / name for name in values["configfiles"])
    return Generator(**{**values, "folder": folder, "configfiles": files})
