"""Which files a job reads, where its wildcards or the configuration decide it.

A method that takes the wildcards of a job is an input function of a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from analysis.run import paths
from analysis.run.description import Comparison, Run
from analysis.run.keys import needs_generator, trained_by
from analysis.run.values import (
    Config,
    expand_folder,
    has_high_resolution,
    section_values,
)
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, RESERVED_METHODS

KINDS = ("features", "metrics", "classification")  # the last where all methods run
SWEPT = "rls"  # the method whose lambdas are looked at
NOTHING = "(?!)"  # a regular expression that matches nothing
CONTROLS = ("negative_control", "positive_control")
NETWORKS = ("generator", "styles", "flow")  # what a search of the latent space reads
IN_MODEL = ("generator.safetensors", "intensity.json")  # what a model's folder must hold


class Wildcards(Protocol):
    """The wildcards of a job; each rule has some of them."""

    assay: str
    plate: str
    factor: str
    degradation: str
    method: str
    stack: str
    real: str


class Files:
    """The files that the jobs of one configuration read.

    Arguments:
        program: The program's folder, which paths in the configuration start from.
    """

    def __init__(self, config: Config, program: Path | str) -> None:
        self.config, self.program = config, Path(program)
        self.assays = config["assays"]
        self.run = Run.of(config)
        self.clean: str = config["run"]["degradations"][0]

    def in_program(self, path: str) -> str:
        """Return a path of the configuration: relative to the program's folder unless absolute."""
        return str(self.program / expand_folder(path))

    # ---- which assays and methods a rule makes ------------------------------------------------

    def assays_from(self, *sources: str) -> str:
        """Return a regular expression of the assays whose plates come from these sources."""
        return _any_of(name for name, a in self.assays.items() if a["source"] in sources)

    def assays_at(self, resolution: str) -> str:
        """Return a regular expression of the assays whose cells have high or low resolution."""
        high = resolution == "high"
        return _any_of(name for name, a in self.assays.items() if has_high_resolution(a) == high)

    def own_generators(self) -> str:
        """Return a regular expression of the assays that train a generator on their own cells."""
        return _any_of(name for name, a in self.assays.items() if a["generator"] == "train")

    def trained_by(self, command: str) -> str:
        """Return a regular expression of the methods whose network this command trains."""
        methods = self.config["methods"].items()
        return _any_of(name for name, b in methods if trained_by(b["search"]) == command)

    # ---- plates and cells ---------------------------------------------------------------------

    def raw_plate(self, wildcards: Wildcards) -> str | list[str]:
        """Return the folder of a plate's raw images, where the workflow makes it."""
        made = self.assays[wildcards.assay]["source"] in ("simulate", "bbbc021")
        return f"data/{wildcards.assay}/{wildcards.plate}" if made else []

    def plate_sheet(self, wildcards: Wildcards) -> str | list[str]:
        """Return the user's sheet, plate map or table of crops."""
        assay = self.assays[wildcards.assay]
        return self.in_program(assay["sheet"]) if "sheet" in assay else []

    def imported_crops(self, wildcards: Wildcards) -> str:
        """Return the file of an assay whose cells are cropped already."""
        return self.in_program(self.assays[wildcards.assay]["crops"])

    def segmenter_weights(self, wildcards: Wildcards) -> str | list[str]:
        """Return Cellpose's weights, where it finds the nuclei: a file, or what we train."""
        values = section_values(self.config, "crop_cells", wildcards.assay)
        weights = values["segmenter_weights"]
        if values["segmenter"] == "threshold" or weights is None:
            return []
        if weights == "train":
            return paths.of_assay(wildcards.assay, "segmenter.cellpose")
        return self.in_program(weights)

    def of_plates(self, suffix: str) -> Callable[[Wildcards], list[str]]:
        """Return an input function: a file of every plate of an assay."""

        def every_plate(wildcards: Wildcards) -> list[str]:
            plates = self.assays[wildcards.assay]["plates"]
            return [paths.of_assay(wildcards.assay, f"plates/{name}{suffix}") for name in plates]

        return every_plate

    def fetched_cells(self) -> list[str]:
        """Return the selected cells of every assay whose plates come over the network."""
        names = self.config["run"]["assays"]
        fetched = [name for name in names if self.assays[name]["source"] == "bbbc021"]
        return [paths.of_assay(name, "cells.ome.tif") for name in fetched]

    # ---- models -------------------------------------------------------------------------------

    def model_file(self, assay: str, file: str) -> str:
        """Return a file of the generator that an assay uses: its own, another's, or a folder's.

        A folder must hold the generator and its intensity scale. Styles and flow are made where
        it has none.
        """
        generator = self.assays[assay]["generator"]
        if generator in self.assays:
            return paths.of_assay(generator, file)
        if generator not in ("train", "none"):
            path = f"{self.in_program(generator)}/{file}"
            if file in IN_MODEL or Path(path).is_file():
                return path
        return paths.of_assay(assay, file)

    def model(self, file: str) -> Callable[[Wildcards], str]:
        """Return an input function: a file of the generator that the job's assay uses."""
        return lambda wildcards: self.model_file(wildcards.assay, file)

    def initial_weights(self, wildcards: Wildcards) -> list[str]:
        """Return the weights from which training starts, if a folder is named."""
        folder = self.assays[wildcards.assay].get("init_from", "none")
        if folder == "none":
            return []
        names = ("generator", "training")
        return [f"{self.in_program(folder)}/{name}.safetensors" for name in names]

    def known_trust(self, wildcards: Wildcards) -> list[str]:
        """Return what the model's own cells look like, where its folder says so."""
        generator = self.assays[wildcards.assay]["generator"]
        path = f"{self.in_program(generator)}/trust.json"
        return [path] if generator not in self.assays and Path(path).is_file() else []

    def borrowed_classifier(self, wildcards: Wildcards) -> list[str]:
        """Return the classifier of the assay whose generator is searched, for equal controls."""
        block = self.assays[wildcards.assay]
        other = self.assays.get(block["generator"])
        if other is None or any(block[role] != other[role] for role in CONTROLS):
            return []
        return [paths.of_assay(block["generator"], "classifier.safetensors")]

    # ---- searches -----------------------------------------------------------------------------

    def scale(self, wildcards: Wildcards) -> str:
        """Return the intensity scale of an assay's images.

        It is the model's, or what low_resolution chose for cells acquired in low resolution.
        """
        if has_high_resolution(self.assays[wildcards.assay]):
            return self.model_file(wildcards.assay, "intensity.json")
        folder = f"{wildcards.factor}x/{self.clean}"
        return paths.of_assay(wildcards.assay, f"{folder}/intensity.json")

    def clean_low_resolution(self, wildcards: Wildcards) -> str:
        """Return the low-resolution images of the first degradation."""
        return paths.stack(wildcards.assay, wildcards.factor, self.clean, LOW_RESOLUTION)

    def clean_low_resolution_table(self, wildcards: Wildcards) -> str:
        """Return the table beside the clean low-resolution stack."""
        return paths.table_beside(self.clean_low_resolution(wildcards))

    def search_model(self, wildcards: Wildcards) -> list[str]:
        """Return generator, styles and flow, for the methods that search a latent space."""
        if not needs_generator(self.config["methods"][wildcards.method]["search"]):
            return []
        return [self.model_file(wildcards.assay, f"{name}.safetensors") for name in NETWORKS]

    def search_network(self, wildcards: Wildcards) -> list[str]:
        """Return a method's own network, trained on clean images of this factor."""
        if trained_by(self.config["methods"][wildcards.method]["search"]) is None:
            return []
        block = self.assays[wildcards.assay]
        owner = wildcards.assay if has_high_resolution(block) else block["generator"]
        return [
            paths.of_assay(owner, f"{wildcards.factor}x/{wildcards.method}.network.safetensors")
        ]

    def stack(self, wildcards: Wildcards) -> str:
        """Return the stack that is measured."""
        at = (wildcards.assay, wildcards.factor, wildcards.degradation)
        return paths.stack(*at, wildcards.stack)

    def acquired_stack(self, wildcards: Wildcards) -> str | list[str]:
        """Return the stack that is measured; no high-resolution one exists."""
        return [] if wildcards.stack == HIGH_RESOLUTION else self.stack(wildcards)

    # ---- what tables, figures and the report read: the same for every job ---------------------

    def measured(self, *, clean_only: bool = False, assay: str = "") -> list[str]:
        """Return everything that is measured: features, metrics, and classes where all methods run.

        Arguments:
            clean_only: Leaves out the degradations after the first.
            assay: One assay; all without.
        """
        return [
            str(at.measured(name, kind))
            for at in self.run.comparisons(clean_only=clean_only)
            if at.assay.name == (assay or at.assay.name)
            for name in (*RESERVED_METHODS, *at.methods)
            for kind in KINDS[: 2 + at.clean]
        ]

    def stacks(self, *, clean_only: bool = False) -> list[str]:
        """Return the images of every assay, condition and method, with their tables."""
        stacks = self._high("high_resolution.ome.tif") + [
            str(at.stack(name))
            for at in self.run.comparisons(clean_only=clean_only)
            for name in (LOW_RESOLUTION, *at.methods)
        ]
        return [path for stack in stacks for path in (stack, paths.table_beside(stack))]

    def measured_cells(self) -> list[str]:
        """Return the table of HR of each assay, of LR where no HR exists: the cells by split."""
        firsts = {at.assay.name: at for at in reversed([*self.run.comparisons(clean_only=True)])}
        ats = (firsts[assay.name] for assay in self.run.assays)
        return [paths.table_beside(str(at.stack(at.reference))) for at in ats]

    def of_assays(self, file: str) -> list[str]:
        """Return one file of each assay that runs."""
        return [paths.of_assay(assay.name, file) for assay in self.run.assays]

    def thresholds(self) -> list[str]:
        """Return the checked thresholds of the assays that have high-resolution images."""
        return self._high("thresholds.csv")

    def figures(self) -> list[str]:
        """Return the figures of the report, as far as what runs gives them something to show.

        Figure 1 needs the first assay's generator, Figure 4 an assay that measures the Golgi,
        Figure 3 one that does not, and Figure 7 two ablations.
        """
        golgi = ["golgi" in assay.features for assay in self.run.assays]
        ablations = set(self.config["figures"]["ablations"]) & set(self.run.methods)
        shown = {
            1: self.assays[self.run.assays[0].name]["generator"] != "none",
            3: not all(golgi),
            4: any(golgi),
            7: len(ablations) > 1,
        }
        return [f"results/figures/figure{n}.png" for n in range(1, 8) if shown.get(n, True)]

    def solutions(self, suffix: str) -> list[str]:
        """Return a file of the solutions of every assay, factor and kind that runs."""
        section = self.config["solutions"]
        return [
            str(at.solutions(section["method"], kind, suffix))
            for at in self._with_reference()
            for kind in section["kinds"]
        ]

    def features_beside_solutions(self) -> list[str]:
        """Return the features of HR, and of the single search where its method runs."""
        method = self.config["solutions"]["method"]
        names = [HIGH_RESOLUTION, *([method] if method in self.run.methods else [])]
        return [
            str(at.measured(name, "features")) for at in self._with_reference() for name in names
        ]

    def stacks_beside_solutions(self) -> list[str]:
        """Return the images of HR and LR."""
        low = [str(at.stack(LOW_RESOLUTION)) for at in self._with_reference()]
        return self._high("high_resolution.ome.tif") + low

    def sweeps(self) -> list[str]:
        """Return the measured sweep of every assay and factor, where HR says what is right."""
        return [str(at.sweep(SWEPT)) for at in self._with_reference()]

    def _with_reference(self) -> Iterator[Comparison]:
        """Walk over the clean conditions of the assays that have high-resolution images."""
        for at in self.run.comparisons(clean_only=True):
            if at.assay.has_high_resolution:
                yield at

    def _high(self, file: str) -> list[str]:
        """Return a file of each assay that has high-resolution images."""
        names = (assay.name for assay in self.run.assays if assay.has_high_resolution)
        return [paths.of_assay(name, file) for name in names]


def _any_of(names: Iterable[str]) -> str:
    return "|".join(names) or NOTHING
