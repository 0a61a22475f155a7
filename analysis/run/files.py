"""The files that a job reads, where its wildcards or the configuration decide.

A method that takes the wildcards of a job is an input function of a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from analysis.run.beside_methods import all_cells_classes, kinds_of
from analysis.run.description import Run
from analysis.run.keys import OPERATOR_FILES, needs_generator, trained_by
from analysis.run.model_encoders import fits
from analysis.run.values import (
    Config,
    assay_factors,
    expand_folder,
    files_of_plates,
    has_high_resolution,
    n_solutions,
    operator_values,
    section_values,
)
from rls.encoder.settings import ENCODER, encoder_file
from rls.io.names import AMORTISED, HIGH_RESOLUTION, LOW_RESOLUTION, RESERVED_METHODS, SEARCHES
from rls.prior.settings import FLOWS
from rls.runtime.errors import InputError
from rls.search.start_settings import by_encoder

SWEPT = "rls"  # the method whose lambdas are swept
NOTHING = "(?!)"  # a regular expression that matches nothing
CONTROLS = ("negative_control", "positive_control")
NETWORKS = ("generator", "styles", "flow")  # the inputs of a search of the latent space
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
    flow: str
    regression: str


class Files:
    """The files that the jobs of one configuration read.

    Arguments:
        program: The program's folder, which paths in the configuration start from.

    Attributes:
        clean_low_resolution: The low-resolution images of the first degradation, as a pattern that
            Snakemake fills with the wildcards of a job.
        with_reference: The clean conditions of the assays that have high-resolution images.
    """

    def __init__(self, config: Config, program: Path | str) -> None:
        self.config, self.program = config, Path(program)
        self.assays = config["assays"]
        self.run = Run.of(config)
        self.clean: str = config["run"]["degradations"][0]
        self.clean_low_resolution = (
            f"results/{{assay}}/{{factor}}x/{self.clean}/{LOW_RESOLUTION}.ome.tif"
        )
        clean = self.run.comparisons(clean_only=True)
        self.with_reference = [at for at in clean if at.assay.has_high_resolution]

    def in_program(self, path: str) -> str:
        """Return a path of the configuration: relative to the program's folder unless absolute."""
        return str(self.program / expand_folder(path))

    # ---- which assays and methods a rule makes ------------------------------------------------

    def assays_where(self, key: str, *values: str) -> str:
        """Return a regular expression of the assays whose ``key`` has one of these values."""
        default = {"resolution": "high"}
        return _any_of(n for n, a in self.assays.items() if {**default, **a}[key] in values)

    def trained_by(self, command: str) -> str:
        """Return a regular expression of the methods whose network this command trains."""
        methods = self.config["methods"].items()
        return _any_of(name for name, b in methods if trained_by(b["search"]) == command)

    # ---- plates and cells ---------------------------------------------------------------------

    def raw_plate(self, wildcards: Wildcards) -> str | list[str]:
        """Return the folder of a plate's raw images, where the workflow makes it."""
        made = self.assays[wildcards.assay]["source"] in ("simulate", "bbbc021")
        return f"data/{wildcards.assay}/{wildcards.plate}" if made else []

    def named_file(self, key: str) -> Callable[[Wildcards], str | list[str]]:
        """Return an input function: the user's file that the assay names under ``key``, if any."""
        return lambda wildcards: (
            self.in_program(self.assays[wildcards.assay][key])
            if key in self.assays[wildcards.assay]
            else []
        )

    def segmenter_weights(self, wildcards: Wildcards) -> str | list[str]:
        """Return Cellpose's weights, a file or our own, where Cellpose finds the nuclei."""
        values = section_values(self.config, "crop_cells", wildcards.assay)
        weights = values["segmenter_weights"]
        if values["segmenter"] == "threshold" or weights is None:
            return []
        if weights == "train":
            return f"results/{wildcards.assay}/segmenter.cellpose"
        return self.in_program(weights)

    def of_plates(self, suffix: str) -> Callable[[Wildcards], list[str]]:
        """Return an input function: the cells of all plates, made for an assay or for another."""
        return lambda wildcards: [
            f"results/{owner}/plates/{name}{suffix}"
            for owner in [self.assays[wildcards.assay].get("plates_of", wildcards.assay)]
            for name in files_of_plates(self.assays[owner])
        ]

    def of_operator(self, wildcards: Wildcards) -> list[str]:
        """Return the user's file of a PSF or kernel, where D has one."""
        name = getattr(wildcards, "degradation", self.clean)
        values = operator_values(self.config, wildcards.assay, name)
        return [self.in_program(values[key]) for key in OPERATOR_FILES if values[key]]

    def fetched_cells(self) -> list[str]:
        """Return the selected cells of every assay whose plates come over the network."""
        fetched = (n for n in self.config["run"]["assays"] if self.assays[n]["source"] == "bbbc021")
        return [f"results/{name}/cells.ome.tif" for name in fetched]

    # ---- models -------------------------------------------------------------------------------

    def model_file(self, assay: str, file: str) -> str:
        """Return a file of the generator that an assay uses: its own, another's, or a folder's.

        A folder must hold the generator and its intensity scale. Styles and flow are made where
        it has none. With ``intensity_scale: own`` the scale is that of the assay's own cells.
        """
        generator = self.assays[assay]["generator"]
        if file == IN_MODEL[1] and self.assays[assay].get("intensity_scale") == "own":
            return f"results/{assay}/{file}"
        if generator in self.assays:
            return f"results/{generator}/{file}"
        if generator not in ("train", "none"):
            path = f"{self.in_program(generator)}/{file}"
            if file in IN_MODEL or Path(path).is_file():
                return path
        return f"results/{assay}/{file}"

    def model(self, file: str) -> Callable[[Wildcards], str]:
        """Return an input function: a file of the generator that the job's assay uses."""
        return lambda wildcards: self.model_file(wildcards.assay, file)

    def initial_weights(self, wildcards: Wildcards) -> list[str]:
        """Return the weights from which training starts, if a folder is named."""
        folder = self.assays[wildcards.assay].get("init_from", "none")
        names = () if folder == "none" else ("generator", "training")
        return [f"{self.in_program(folder)}/{name}.safetensors" for name in names]

    def encoders_of_trust(self, wildcards: Wildcards) -> list[str]:
        """Return the encoder of every factor, where trust is measured of a search that needs it."""
        if not by_encoder(self.config["methods"][wildcards.method]):
            return []
        factors = assay_factors(self.assays[wildcards.assay], self.config["run"]["factors"])
        folders = [f"results/{wildcards.assay}/{factor}x/{self.clean}" for factor in factors]
        return [f"{folder}/{ENCODER}" for folder in folders]

    def parts_of_trust(self, wildcards: Wildcards) -> list[str]:
        """Return what measure_trust writes for each method of a model folder."""
        folders = [
            f"results/{wildcards.assay}/trust/{name}"
            for name in self.config["gather_trust"]["methods"]
        ]
        return [f"{folder}/{name}.json" for folder in folders for name in ("trust", "search")]

    def known_trust(self, wildcards: Wildcards) -> list[str]:
        """Return trust.json, which describes the model's own cells, where its folder has one."""
        generator = self.assays[wildcards.assay]["generator"]
        path = f"{self.in_program(generator)}/trust.json"
        return [path] if generator not in self.assays and Path(path).is_file() else []

    def borrowed_classifier(self, wildcards: Wildcards) -> list[str]:
        """Return the classifier of the assay whose generator is searched, for equal controls."""
        block = self.assays[wildcards.assay]
        other = self.assays.get(block["generator"])
        if other is None or any(block[role] != other[role] for role in CONTROLS):
            return []
        return [f"results/{block['generator']}/classifier.safetensors"]

    # ---- searches -----------------------------------------------------------------------------

    def intensity_scale(self, wildcards: Wildcards) -> str:
        """Return the intensity scale of an assay's images.

        It is the model's, or what low_resolution chose for cells acquired in low resolution.
        """
        if has_high_resolution(self.assays[wildcards.assay]):
            return self.model_file(wildcards.assay, "intensity.json")
        folder = f"{wildcards.factor}x/{self.clean}"
        return f"results/{wildcards.assay}/{folder}/intensity.json"

    def search_model(self, wildcards: Wildcards) -> list[str]:
        """Return generator, styles and flow, for the methods that search a latent space."""
        if not needs_generator(self.config["methods"][wildcards.method]["search"]):
            return []
        return [self.model_file(wildcards.assay, f"{name}.safetensors") for name in NETWORKS]

    def search_encoder(self, wildcards: Wildcards) -> str | list[str]:
        """Return the encoder, for the methods that start from it.

        A model's folder may hold one for such images of this factor; else it is trained.
        """
        if not by_encoder(self.config["methods"][wildcards.method]):
            return []
        degradation = getattr(wildcards, "degradation", self.clean)
        found = self.model_file(wildcards.assay, encoder_file(int(wildcards.factor)))
        if not found.startswith("results/") and fits(
            Path(found), self.config, wildcards.assay, degradation, self.in_program
        ):
            return found
        folder = f"{wildcards.factor}x/{degradation}"
        return f"results/{wildcards.assay}/{folder}/{ENCODER}"

    def generator_of_regression(self, wildcards: Wildcards) -> list[str]:
        """Return the generator on whose pairs a regression was fitted, if on generated ones."""
        if wildcards.regression != AMORTISED:
            return []
        return [self.model_file(wildcards.assay, "generator.safetensors")]

    def search_network(self, wildcards: Wildcards) -> list[str]:
        """Return a method's own network, trained on clean images of this factor."""
        if trained_by(self.config["methods"][wildcards.method]["search"]) is None:
            return []
        block = self.assays[wildcards.assay]
        owner = wildcards.assay if has_high_resolution(block) else block["generator"]
        return [f"results/{owner}/{wildcards.factor}x/{wildcards.method}.network.safetensors"]

    def to_calibrate(self, wildcards: Wildcards) -> str:
        """Return the LR images whose several solutions get calibrated intervals.

        Raises:
            InputError: The assay gives no cell to split calibration. Else a run of hours would end
                with that.
        """
        values = section_values(self.config, "select_cells", wildcards.assay)
        if not values["share_calibration"] and not values["plates_calibration"]:
            raise InputError(
                f"Found share_calibration 0 of assay {wildcards.assay}, expected more: intervals "
                "of several solutions are calibrated on that split. Set "
                "select_cells.share_calibration, or take the assay out of run.assays."
            )
        folder = f"results/{wildcards.assay}/{wildcards.factor}x/{wildcards.degradation}"
        return f"{folder}/{LOW_RESOLUTION}.ome.tif"

    def methods_with(self, *, several: bool) -> str:
        """Return a regular expression of the methods that search several solutions of an image."""
        names = self.config["methods"]
        return _any_of(name for name in names if (n_solutions(self.config, name) > 1) == several)

    def own_solutions(self, wildcards: Wildcards) -> str | list[str]:
        """Return the measured solutions over which a method's features are means, if any."""
        name = wildcards.stack
        if name in RESERVED_METHODS or n_solutions(self.config, name) == 1:
            return []
        folder = f"results/{wildcards.assay}/{wildcards.factor}x/{wildcards.degradation}"
        return f"{folder}/solutions/{name}.{SEARCHES}.features.parquet"

    def stack(self, wildcards: Wildcards) -> str | list[str]:
        """Return the stack that is measured; none for HR where no high-resolution image exists."""
        assay, name = wildcards.assay, wildcards.stack
        if name != HIGH_RESOLUTION:
            return f"results/{assay}/{wildcards.factor}x/{wildcards.degradation}/{name}.ome.tif"
        exists = has_high_resolution(self.assays[assay])
        return f"results/{assay}/{name}.ome.tif" if exists else []

    # ---- what tables, figures and the report read: the same for every job ---------------------

    def measured(self, *, clean_only: bool = False, assay: str = "") -> list[str]:
        """Return all measured tables: features, metrics, and classes where all methods run.

        Arguments:
            clean_only: Leaves out the degradations after the first.
            assay: One assay, of run.assays or not; all that run without.
        """
        run = self.run_of(assay)
        return [
            str(at.measured(name, kind))
            for at in run.comparisons(clean_only=clean_only)
            if at.assay.name == (assay or at.assay.name)
            for name in (*RESERVED_METHODS, *at.methods)
            for kind in kinds_of(name, at)
        ] + all_cells_classes(run, assay)

    def of_assay(self, assay: str) -> Callable[[Wildcards], list[str]]:
        """Return an input function: all measured tables of one assay, whether it runs or not."""
        return lambda wildcards: self.measured(assay=assay)

    def run_of(self, assay: str) -> Run:
        """Return the run; that of one assay alone where run.assays does not name it."""
        run = self.config["run"]
        if not assay or assay in run["assays"]:
            return self.run
        return Run.of({**self.config, "run": {**run, "assays": [assay]}})

    def stacks(self, *, clean_only: bool = False) -> list[str]:
        """Return the images of every assay, condition and method, with their tables."""
        stacks = self.of_assays("high_resolution.ome.tif", high_resolution=True) + [
            str(at.stack(name))
            for at in self.run.comparisons(clean_only=clean_only)
            for name in (LOW_RESOLUTION, *at.methods_with_images)
        ]
        return [path for stack in stacks for path in (stack, table_beside(stack))]

    def measured_cells(self) -> list[str]:
        """Return the table of HR of each assay, of LR where no HR exists: the cells by split."""
        firsts = {at.assay.name: at for at in reversed([*self.run.comparisons(clean_only=True)])}
        ats = (firsts[assay.name] for assay in self.run.assays)
        return [table_beside(str(at.stack(at.reference))) for at in ats]

    def of_assays(
        self, file: str, *, high_resolution: bool = False, classified: bool = False
    ) -> list[str]:
        """Return one file of each assay that runs, of those with HR, or with HR and classifiers."""
        return [
            f"results/{assay.name}/{file}"
            for assay in self.run.assays
            if assay.has_high_resolution or not (high_resolution or classified)
            if assay.has_classifier or not classified
        ]

    def searched_solutions(self) -> list[str]:
        """Return the measured solutions of the methods that search several of each image."""
        return [
            str(at.solutions(name, SEARCHES, ".features.parquet"))
            for at in self.with_reference
            for name in at.methods
            if name in self.run.n_solutions
        ]

    def solutions(self, suffix: str) -> list[str]:
        """Return a file of the solutions of every assay, factor and kind that runs."""
        section = self.config["solutions"]
        return [
            str(at.solutions(section["method"], kind, suffix))
            for at in self.with_reference
            for kind in section["kinds"]
        ]

    def features_beside_solutions(self) -> list[str]:
        """Return the features of HR, and of the single search where its method runs."""
        method = self.config["solutions"]["method"]
        names = [HIGH_RESOLUTION, *([method] if method in self.run.methods else [])]
        return [str(at.measured(name, "features")) for at in self.with_reference for name in names]

    def stacks_beside_solutions(self) -> list[str]:
        """Return the images of HR and LR."""
        low = [str(at.stack(LOW_RESOLUTION)) for at in self.with_reference]
        return self.of_assays("high_resolution.ome.tif", high_resolution=True) + low

    def sweeps(self) -> list[str]:
        """Return the measured sweep of every assay and factor, where HR says what is right."""
        return [str(at.sweep(SWEPT)) for at in self.with_reference]

    def path_lengths(self) -> list[str]:
        """Return the path lengths of the generator of every assay that has one."""
        names = [at.name for at in self.run.assays if self.assays[at.name]["generator"] != "none"]
        return [f"results/{name}/path_lengths.parquet" for name in names]

    def traces(self) -> list[str]:
        """Return the measured trace of every assay, factor and method that figure starts shows."""
        methods = self.config["trace_search"]["methods"]
        return [str(at.trace(method)) for at in self.with_reference for method in methods]

    def prior_model(self, wildcards: Wildcards) -> list[str]:
        """Return generator, styles and a flow of the job's kind, fitted for the comparison."""
        generator, styles, _ = self.search_model(wildcards)
        return [generator, styles, f"results/{wildcards.assay}/priors/{wildcards.flow}.safetensors"]

    def priors(self) -> dict[str, list[str]]:
        """Return the flows of the first assay that are compared, and their measured searches."""
        first = self.run.assays[0].name
        ats = [at for at in self.with_reference if at.assay.name == first]
        return {
            "flows": [f"results/{first}/priors/{flow}.safetensors" for flow in FLOWS],
            "searches": [str(at.prior(SWEPT, flow)) for at in ats for flow in FLOWS],
        }


def _any_of(names: Iterable[str]) -> str:
    return "|".join(names) or NOTHING


def table_beside(stack: str) -> str:
    """Return the path of the table that lies beside a stack."""
    return stack.removesuffix(".ome.tif") + ".parquet"
