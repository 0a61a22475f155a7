"""The tables and figures of a whole run, and the targets that a run cannot make."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.run.checks import check
from analysis.run.description import Assay
from analysis.run.files import Files
from analysis.run.values import Config
from rls.runtime.errors import InputError
from rls.runtime.yaml_file import YamlFile

TABLES = ("table1", "table2", "features")
ALSO_TABLES = ("solutions", "choices")  # every other name of run.also is a figure
FIGURE = re.compile(r"(?:results/figures/)?(figure\d)(?:\.(?:pdf|png|csv))?")


def tables(files: Files) -> list[str]:
    """Return the tables of a whole run: those of the article, features, and those of run.also."""
    also = [name for name in files.config["run"]["also"] if name in ALSO_TABLES]
    return [f"results/tables/{name}.csv" for name in (*TABLES, *also)]


def figures(files: Files) -> list[str]:
    """Return the figures of a whole run: those for which it has data, and those of run.also.

    Figure 1 needs its assay's generator, Figure 4 an assay that measures the Golgi, Figure 3 one
    that does not, and Figure 7 two ablations.
    """
    ablations = set(files.config["figures"]["ablations"]) & set(files.run.methods)
    needs = {1: files.assays[norms_assay(files.config)]["generator"] != "none"}
    needs[7] = len(ablations) > 1
    own = [f"figure{n}" for n in range(1, 8) if needs.get(n, True)]
    shown = [name for name in own if not refusal(name, files.run.assays)]
    also = [name for name in files.config["run"]["also"] if name not in ALSO_TABLES]
    return [f"results/figures/{name}.png" for name in dict.fromkeys([*shown, *also])]


def norms_assay(config: Config) -> str:
    """Return the assay whose generator Fig. 1 shows."""
    return str(config["figures"]["norms_assay"] or config["run"]["assays"][0])


def check_targets(words: Sequence[str], config: Config, files: Sequence[YamlFile] = ()) -> None:
    """Refuse a target among the words of a command line that this configuration cannot make.

    Without it Snakemake would run for hours before the figure says so.

    Raises:
        InputError: A figure that has no assay to show, or an assay that run.assays does not name
            and that does not fit the rest of the configuration.
    """
    run = config["run"]
    for word in words:
        if word in config["assays"] and word not in run["assays"]:
            check({**config, "run": {**run, "assays": [word]}}, files)
        if name := FIGURE.fullmatch(word):
            measured = {assay: config["assays"][assay]["features"] for assay in run["assays"]}
            if said := _refused(name.group(1), measured):
                raise InputError(said)


def refusal(figure: str, assays: Sequence[Assay]) -> str:
    """Return why a figure cannot be drawn of these assays; '' where it can."""
    return _refused(figure, {assay.name: assay.features for assay in assays})


def _refused(figure: str, features: dict[str, Sequence[str]]) -> str:
    golgi = ["golgi" in measured for measured in features.values()]
    names = ", ".join(features)
    if figure == "figure4" and not any(golgi):
        return (
            f"Found no assay that measures the feature 'golgi' in run.assays ({names}), expected "
            "one for figure4, which is about the Golgi. Add such an assay, e.g. golgi, or make "
            "figure3."
        )
    if figure == "figure3" and all(golgi):
        return (
            f"Found in run.assays only assays that measure the feature 'golgi' ({names}), which "
            "figure4 shows. Add another assay, or make figure4."
        )
    return ""
