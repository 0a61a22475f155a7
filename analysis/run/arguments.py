"""The flags of a job's command, from the configuration and from the job's inputs.

Every method is a function for ``params:`` of a rule, or makes one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.run.files import CONTROLS, NETWORKS, SWEPT, Files, Wildcards
from analysis.run.keys import GROUPS, NEEDED_WEIGHTS, OPERATOR, OPERATOR_FILES, needs_weights
from analysis.run.values import (
    Config,
    assay_factors,
    degradation_values,
    has_high_resolution,
    method_values,
    operator_values,
    section_values,
)
from rls.io.names import GAN
from rls.runtime.command import VARIABLES, flags

Input = Mapping[str, Any]  # the files of a job, by name: one path or a list
Flags = Callable[[Wildcards], list[str]]
OF_NETWORKS = (*GROUPS["weights"], "network_rgb_channels")
# The later of two --state counts. With the configured flow, a job of the comparison of priors does
# what fit_flow or sweep_lambdas does, and both may run at once: they would hold one state folder.
STATE_OF_PRIORS = ("--state", "state/priors")


class Arguments:
    """The flags of the jobs of one configuration."""

    def __init__(self, config: Config, files: Files) -> None:
        self.config, self.files = config, files
        self.assays = config["assays"]

    def section(self, name: str, *keys: str) -> Flags:
        """Return a function: flags of a section with the assay's own changes, all or some keys.

        Left out are the keys that jobs find in their environment.
        """

        def of_job(wildcards: Wildcards) -> list[str]:
            values = section_values(self.config, name, getattr(wildcards, "assay", ""))
            return flags({key: values[key] for key in keys or values if key not in VARIABLES})

        return of_job

    def selection(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of select_cells; a share of treated cells comes with the controls.

        Without a share neither is named, so that finished runs are not repeated.
        """
        values = section_values(self.config, "select_cells", wildcards.assay)
        if values["prevalence_gan"] is None:
            return flags({key: value for key, value in values.items() if key != "prevalence_gan"})
        controls = (self.assays[wildcards.assay][role] for role in CONTROLS)
        return [*flags(values), *flags({"controls": list(controls)})]

    def features(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of section ``measure`` for jobs that load no network of other people.

        So they are not repeated when the weights of such networks change.
        """
        values = section_values(self.config, "measure", wildcards.assay)
        return flags({key: value for key, value in values.items() if key not in OF_NETWORKS})

    def cut_gan(self, wildcards: Wildcards) -> list[str]:
        """Return the flags that cut the generator's training cells and no others."""
        return ["--splits", GAN, *self.section("high_resolution")(wildcards)]

    def method(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of a search from its method's block."""
        block = self.config["methods"][wildcards.method]
        own = method_values(self.config, wildcards.method)
        if needs_weights(block):
            own |= {key: self.config["weights"][key] for key in NEEDED_WEIGHTS}
        own = {key: value for key, value in own.items() if key not in VARIABLES}
        return ["--search", block["search"], *flags(own)]

    def objective(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of a method whose objective another search shares.

        How many solutions the method itself searches is left out: sample_solutions has a setting of
        that name.
        """
        found = self.method(wildcards)
        flag = "--n-solutions"
        if flag not in found:
            return found
        at = found.index(flag)
        return found[:at] + found[at + 2 :]

    def of_assay(self, *keys: str) -> Flags:
        """Return a function: flags of the assay's own values, such as its channels."""
        return lambda wildcards: flags({key: self.assays[wildcards.assay][key] for key in keys})

    def low_resolution(self, wildcards: Wildcards) -> list[str]:
        """Return the factor of an assay that was acquired in low resolution; nothing for others."""
        block = self.assays[wildcards.assay]
        if has_high_resolution(block):
            return []
        return flags({"factor": assay_factors(block, self.config["run"]["factors"])[0]})

    def of_method(self, *keys: str) -> Flags:
        """Return a function: flags of some values of the method's block."""
        methods = self.config["methods"]
        return lambda wildcards: flags({key: methods[wildcards.method][key] for key in keys})

    def degradation(self, wildcards: Wildcards) -> list[str]:
        """Return D and the chain that follows it, and the other settings of ``degrade``."""
        chain = degradation_values(self.config, wildcards.degradation)["chain"]
        found = self.operator(wildcards) + flags(self.rest_of_degrade(wildcards))
        return found + (["--chain", *chain] if chain else [])

    def rest_of_degrade(self, wildcards: Wildcards) -> Mapping[str, Any]:
        """Return the settings of ``degrade`` that do not choose D."""
        values = section_values(self.config, "degrade", wildcards.assay)
        return {n: v for n, v in values.items() if n not in OPERATOR and n not in VARIABLES}

    def operator(self, wildcards: Wildcards) -> list[str]:
        """Return the flags that choose D; without a degradation, that of the first one."""
        name = getattr(wildcards, "degradation", self.files.clean)
        values = operator_values(self.config, wildcards.assay, name)
        for key in OPERATOR_FILES:
            if values[key]:
                values[key] = self.files.in_program(values[key])
        return flags(values)

    def degradation_of_pairs(self, wildcards: Wildcards) -> list[str]:
        """Return D, the chain and the quantisation of a degradation, for generated pairs."""
        chain = degradation_values(self.config, wildcards.degradation)["chain"]
        quantise = section_values(self.config, "degrade", wildcards.assay)["quantise"]
        found = [*self.operator(wildcards), "--quantise", quantise]
        return found + (["--chain", *chain] if chain else [])

    def factors(self, wildcards: Wildcards) -> list[str]:
        """Return the flag with all factors that the assay runs."""
        factors = assay_factors(self.assays[wildcards.assay], self.config["run"]["factors"])
        return flags({"factors": factors})

    def quantise(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of the first degradation's D and of the quantisation after it."""
        quantise = section_values(self.config, "degrade", wildcards.assay)["quantise"]
        return [*self.operator(wildcards), "--quantise", quantise]

    def plate_source(self, wildcards: Wildcards, input: Input) -> list[str]:
        """Return the flags that say where list_plate finds the plate."""
        assay = self.assays[wildcards.assay]
        if input["raw"]:
            return ["--folder", str(input["raw"])]
        found = ["--sheet", str(input["sheet"])]
        if "image_folder" in assay:
            flag = "--folder" if assay["source"] in ("bbbc014", "ome_zarr") else "--image-folder"
            found += [flag, self.files.in_program(assay["image_folder"])]
        return found

    def connection(self, wildcards: Wildcards) -> str:
        """Return the flags that say where and how archives are fetched, quoted for the shell.

        It is a resource, which Snakemake does not remember as it does params: no result depends
        on it, and another mirror or a longer pause must not fetch 46 GB again.
        """
        assay = self.assays[wildcards.assay]
        archives = assay["archives"]
        place = archives if "://" in archives else self.files.in_program(archives)
        found = ["--archives", place]
        if "checksums" in assay:
            found += ["--checksums", self.files.in_program(assay["checksums"])]
        return shlex.join(found + self.section("fetch_plate")(wildcards))

    def search_model(self, wildcards: Wildcards, input: Input) -> list[str]:
        """Return the flags that hand over the networks of a search."""
        networks = dict(zip(NETWORKS, input["model"], strict=False))
        return flags(networks) + given("network", "encoder")(wildcards, input)

    def initial_weights(self, wildcards: Wildcards, input: Input) -> list[str]:
        """Return the flag that names the folder from whose weights training starts."""
        initial: Sequence[str] = input["initial"]
        return ["--init-from", str(Path(initial[0]).parent)] if initial else []

    def borrowed_classifier(self, wildcards: Wildcards, input: Input) -> list[str]:
        """Return the flags that hand over another assay's classifier."""
        if not input["classifier"]:
            return []
        name = self.assays[wildcards.assay]["generator"]
        return ["--classifier", str(input["classifier"][0]), "--trained-on", name]

    def trust(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of a search with the assay's model: the method's settings, and D."""
        factors = assay_factors(self.assays[wildcards.assay], self.config["run"]["factors"])
        shared = section_values(self.config, "super_resolve", wildcards.assay)
        shared = {name: value for name, value in shared.items() if name not in VARIABLES}
        own = [*flags(shared), *self.method(wildcards), *self.quantise(wildcards)]
        return ["--factors", *map(str, factors), *own]

    def prior_fit(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of the fit of a flow of the job's kind, all else as configured."""
        values = section_values(self.config, "fit_flow", wildcards.assay)
        values = {**values, "flow": wildcards.flow}
        values = {key: value for key, value in values.items() if key not in VARIABLES}
        return [*flags(values), *STATE_OF_PRIORS]

    def own_lambdas(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of a sweep that searches the method's own weights alone."""
        n_cells = self.section("sweep_lambdas", "n_cells")(wildcards)
        return [*n_cells, "--lambdas-w", "--lambdas-c", *STATE_OF_PRIORS]

    def trace(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of a trace: its cells, which are of both controls, and checkpoints."""
        own = self.section("trace_search", "n_cells", "checkpoints")(wildcards)
        controls = (self.assays[wildcards.assay][role] for role in CONTROLS)
        return [*own, *flags({"treatments": list(controls)})]

    def traced(self) -> list[str]:
        """Return the flags of figure starts: its methods, and its columns of assays that name one.

        The column of another assay is that of its first feature.
        """
        assays = self.config["run"]["assays"]
        named = {a: section_values(self.config, "trace_search", a)["column"] for a in assays}
        pairs = [f"{assay}={column}" for assay, column in named.items() if column]
        methods = self.config["trace_search"]["methods"]
        return ["--methods", *methods, *(["--columns", *pairs] if pairs else [])]

    def choices(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of the table of choices: its methods, and those of all tables."""
        methods = self.config["trace_search"]["methods"]
        return ["--methods", *methods, *self.section("tables")(wildcards)]

    def of_figure(self, rule: str) -> Flags:
        """Return a function: the flags of a figure's settings, by the name of its rule."""
        if rule == "figure8":
            return lambda wildcards: (
                self.section("figures")(wildcards) + self.section("solutions")(wildcards)
            )
        if rule in ("sweep", "tradeoff", "priors"):
            return lambda wildcards: ["--method", SWEPT, *self.section("figures")(wildcards)]
        if rule == "starts":
            return lambda wildcards: self.traced() + self.section("figures")(wildcards)
        return self.section("figures")

    def generators(self, wildcards: Wildcards) -> list[str]:
        """Return the flags that name generators outside the results of their assay."""
        pairs = []
        for assay in self.config["run"]["assays"]:
            path = self.files.model_file(assay, "generator.safetensors")
            if path != f"results/{assay}/generator.safetensors":
                pairs.append(f"{assay}={path}")
        return ["--generators", *pairs] if pairs else []

    def beside_real(self, wildcards: Wildcards) -> list[str]:
        """Return the flags of the comparison of simulated with real cells.

        Pairs are treatments of one name, and the negative controls; the two share a grey scale
        unless their cameras count in other units.
        """
        simulated, real = self.assays[wildcards.assay], self.assays[wildcards.real]
        pairs = {simulated["negative_control"]: real["negative_control"]}
        pairs |= {name: name for name in simulated["treatments"] if name in real["treatments"]}
        scale = "shared" if simulated["bit_depth"] == real["bit_depth"] else "own"
        named = [f"{name}={other}" for name, other in pairs.items()]
        return flags({"pairs": named, "scale": scale})


def given(*names: str) -> Callable[[Wildcards, Input], list[str]]:
    """Return a function: flags that hand over inputs by their names, where a job has them."""
    return lambda wildcards, input: flags({name: input[name] for name in names if input.get(name)})
