"""How much work a job is, from the sizes in the configuration.

Units are what a job's time is proportional to: megapixels, images, steps, GFLOP (1e9 operations, a
multiplication and an addition being two). Networks are counted as they are built, on tensors
without numbers.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from analysis import configuration
from analysis.plan.jobs import Job

SPLITS = ("gan", "tune", "classifier", "evaluation")
FIELDS_OF_PLATE = {"bbbc021": 240, "bbbc014": 96}
FIELDS_OF_SHEET = 384  # of a plate of unknown design
FIELD_PX = 1024 * 1280  # of an unknown camera
PHASES = {"robust_unsupervised": 3}  # each of `steps` steps
SEARCHES = ("super_resolve", "sample_solutions", "sweep_lambdas", "measure_trust")
COMPARE = ("table1", "table2", "table_features", "report")  # and every figure: they read it all
Units = dict[str, float]


@dataclass
class Sizes:
    """Sizes of one configuration; what takes long to count is counted once."""

    config: Mapping[str, Any]
    networks: dict[str, Networks] = field(default_factory=dict)

    def units(self, job: Job) -> Units:
        """Return the amount of each unit; empty for a job whose time is its start."""
        method = getattr(self, f"_{job.rule}", None)
        if method is not None:
            return method(job)
        if job.rule in COMPARE or job.rule.startswith("figure"):
            return {"images": self.compared, "draws": self.compared * self._draws(job) / 1000}
        return {}

    def raw_mb(self, job: Job) -> float:
        """Return the MB of pixels in the stack that a job leaves, uncompressed; 0 without one."""
        assay = job.wildcards.get("assay", "")
        if job.rule == "select_cells":
            return (
                self.cells(assay)
                * self._channels(assay)
                * self._block(assay)["crop_size"] ** 2
                * 2
                / 1e6
            )  # noqa: E501
        if job.rule == "high_resolution":
            return 2 * self._measured_megapixels(assay)
        if job.rule == "degrade":
            return 2 * self._measured_megapixels(assay) / int(job.wildcards["factor"]) ** 2
        if job.rule in ("gather_shards", "sample_solutions"):
            return 4 * self._found_megapixels(job)
        return 0.0

    # ---- sizes --------------------------------------------------------------------------------

    def cells(self, assay: str, *splits: str) -> int:
        """Return the cells of some splits (all without one), at most what the plates hold."""
        values = self._section("select_cells", assay)
        wanted = sum(values[f"cells_{split}"] for split in splits or SPLITS)
        block = self._block(assay)
        return int(min(wanted * len(block["treatments"]), self._held(assay) * len(block["plates"])))

    @cached_property
    def compared(self) -> float:
        """Images that a table or figure reads: evaluation cells by assay, condition, method."""
        run, total = self.config["run"], 0
        for assay in run["assays"]:
            for factor in configuration.assay_factors(self._block(assay), run["factors"]):
                for degradation in run["degradations"]:
                    methods = configuration.condition_methods(run, factor, degradation)
                    n = self.cells(assay, "evaluation")
                    total += n * (2 + len(methods)) if methods else 0
        return float(total)

    def of(self, assay: str) -> Networks:
        """Return the counted networks of an assay."""
        if assay not in self.networks:
            self.networks[assay] = Networks.of(
                self._section("train_gan", assay), self._channels(assay)
            )  # noqa: E501
        return self.networks[assay]

    def _block(self, assay: str) -> Mapping[str, Any]:
        return self.config["assays"][assay]

    def _channels(self, assay: str) -> int:
        return len(self._block(assay)["channels"])

    def _section(self, name: str, assay: str = "") -> dict[str, Any]:
        return configuration.section_values(self.config, name, assay)

    def _fields(self, assay: str) -> int:
        block = self._block(assay)
        if block["source"] != "simulate":
            return FIELDS_OF_PLATE.get(block["source"], FIELDS_OF_SHEET)
        values = self._section("simulate_plate", assay)
        wells = values["wells_per_treatment"] * len(block["treatments"]) + values["empty_wells"]
        return wells * values["sites_per_well"]

    def _field_megapixels(self, assay: str) -> float:
        values = self._section("simulate_plate", assay)
        simulated = self._block(assay)["source"] == "simulate"
        pixels = values["field_height_px"] * values["field_width_px"] if simulated else FIELD_PX
        return self._fields(assay) * self._channels(assay) * pixels / 1e6

    def _held(self, assay: str) -> int:
        """Cells that crop_cells takes of a plate, at most."""
        return self._fields(assay) * self._section("crop_cells", assay)["cells_per_field"]

    def _images(self, assay: str) -> int:
        return self.cells(assay, "tune", "classifier", "evaluation")

    def _megapixels(self, assay: str, n: float, side: float) -> float:
        return n * self._channels(assay) * side**2 / 1e6

    def _measured_megapixels(self, assay: str) -> float:
        return self._megapixels(assay, self._images(assay), self._block(assay)["image_size"])

    def _found_images(self, job: Job) -> int:
        assay = job.wildcards["assay"]
        if job.rule == "sample_solutions":
            values = self._section("sample_solutions", assay)
            return 2 * values["cells_per_split"] * values["n_solutions"]
        return self.cells(assay, "evaluation")

    def _found_megapixels(self, job: Job) -> float:
        assay = job.wildcards["assay"]
        return self._megapixels(assay, self._found_images(job), self._block(assay)["image_size"])

    def _draws(self, job: Job) -> int:
        section = "figures" if job.rule.startswith("figure") else "tables"
        return self._section(section)["n_bootstrap"]

    # ---- units, one function a rule -----------------------------------------------------------

    def _simulate_plate(self, job: Job) -> Units:
        return {"megapixels": self._field_megapixels(job.wildcards["assay"])}

    def _crop_cells(self, job: Job) -> Units:
        return {"megapixels": self._field_megapixels(job.wildcards["assay"])}

    _list_plate = _crop_cells  # every image is read, for its digest

    def _select_cells(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        n = self._held(assay) * len(self._block(assay)["plates"])
        return {"megapixels": self._megapixels(assay, n, self._block(assay)["crop_size"])}

    def _high_resolution(self, job: Job) -> Units:
        return {"megapixels": self._measured_megapixels(job.wildcards["assay"])}

    _degrade = _high_resolution

    def _train_gan(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        values = self._section("train_gan", assay)
        images = values["total_kimg"] * 1000
        return {
            "steps": images / values["batch_size"],
            "gflop": images * self.of(assay).training_gflop,
        }

    def _sample_styles(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        n = self._section("sample_styles", assay)["n_styles"]
        return {"gflop": n * self.of(assay).mapping_gflop}

    def _fit_flow(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        values = self._section("fit_flow", assay)
        n = self._section("sample_styles", assay)["n_styles"]
        d, hidden = self._section("train_gan", assay)["w_dim"], values["hidden"]
        weights = values["n_blocks"] * (3 * d * hidden + hidden**2)
        shown = values["max_epochs"] * n * (1 - values["validation_share"])
        return {"steps": shown / values["batch_size"], "gflop": shown * 8 * weights / 1e9}

    def _train_classifier(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        values = self._section("train_classifier", assay)
        side = self._block(assay)["image_size"] / int(job.wildcards.get("factor", 1))
        width = values["width"]
        shown = values["epochs"] * self.cells(assay, "classifier")
        work = 6 * 9 * side**2 * (self._channels(assay) * width + 2 * width**2) / 1e9
        return {"steps": shown / values["batch_size"], "gflop": shown * work}

    _train_low_resolution_classifier = _train_classifier

    def _train_pix2pix(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        values = self._section("train_pix2pix", assay)
        steps = -(-self.cells(assay, "gan") // values["batch_size"])
        steps *= values["epochs"] + values["decay_epochs"]
        weight = self.config["methods"][job.wildcards["method"]].get("adversarial_weight", 0)
        side, channels = self._block(assay)["image_size"], self._channels(assay)
        forward = unet_gflop(side, channels, values["generator_width"])
        # A step is forward and twice backward; the PatchGAN, of half the U-Net, sees three images.
        work = 3 * forward * (1 + 1.5 * bool(weight))
        return {"steps": steps, "gflop": steps * values["batch_size"] * work}

    def _super_resolve(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        block = configuration.method_values(self.config, job.wildcards["method"])
        search = self.config["methods"][job.wildcards["method"]]["search"]
        parts = self.config["run"]["shards"] if job.rule == "super_resolve" else 1
        images = self._found_images(job) / parts
        if "steps" not in block:
            return {"megapixels": self._found_megapixels(job) / parts}
        batch = self._section(job.rule, assay)["batch_size"]
        steps = PHASES.get(search, 1) * block["steps"] * -(-images // batch)
        return {"steps": steps, "gflop": steps * batch * self.of(assay).search_gflop}

    _sample_solutions = _super_resolve

    def _gather_shards(self, job: Job) -> Units:
        return {"megapixels": self._found_megapixels(job)}

    def _measure(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        n = self.cells(assay, "evaluation", "tune")
        if job.wildcards.get("stack") == "high_resolution":
            n = self._images(assay)
        return {
            "images": n,
            "megapixels": self._megapixels(assay, n, self._block(assay)["image_size"]),
        }  # noqa: E501

    def _classify(self, job: Job) -> Units:
        assay = job.wildcards["assay"]
        return {"images": self.cells(assay, "evaluation")}


@dataclass(frozen=True)
class Networks:
    """What a generator and its training cost, per image in GFLOP, and what they weigh in MB."""

    training_gflop: float
    search_gflop: float
    mapping_gflop: float
    generator_mb: float
    checkpoint_mb: float

    @staticmethod
    def of(values: Mapping[str, Any], n_channels: int) -> Networks:
        """Count the networks that a section train_gan describes."""
        import torch  # takes seconds, and most of a plan needs no network

        from rls.runtime.command import convert, make_settings
        from rls.stylegan2.architecture import architecture_of
        from rls.stylegan2.cost import META, Counter, costs, flop_per_image, n_parameters
        from rls.stylegan2.settings import Settings, fill_auto
        from rls.stylegan2.trainer import Trainer

        hints = typing.get_type_hints(Settings)
        known = {f.name: convert(values[f.name], hints[f.name], f.name)
                 for f in fields(Settings) if f.name in values}  # fmt: skip
        settings = fill_auto(make_settings(Settings, known, "train_gan"))
        architecture = architecture_of(settings, n_channels)
        nothing: Any = None  # of the images only their shape counts
        work = costs(settings, architecture, nothing, "float32")
        trainer = Trainer(settings, architecture, nothing, META, "float32")
        generator = trainer.average
        ws = torch.empty((1, generator.num_ws, settings.w_dim), device=META, requires_grad=True)
        noise = [torch.empty((1, *s[1:]), device=META) for s in generator.noise_shapes]
        counter = Counter()
        with counter:
            generator.synthesis(ws, noise).sum().backward()
        weights = [
            n_parameters(net) for net in (generator, trainer.generator, trainer.discriminator)
        ]  # noqa: E501
        moments = 2 * (weights[1] + weights[2])
        mapping = 2 * settings.mapping_layers * settings.w_dim**2
        return Networks(
            flop_per_image(settings, work) / 1e9,
            counter.flop / 1e9,
            mapping / 1e9,
            4 * weights[0] / 1e6,
            4 * (sum(weights) + moments) / 1e6,
        )


def unet_gflop(side: int, channels: int, width: int) -> float:
    """Return the GFLOP of one image through the U-Net of Pix2Pix: 4x4 kernels, halving to 1 px."""
    total, before, level = 0.0, channels, 1
    while side >> level >= 1:
        maps = width * min(2 ** (level - 1), 8)
        positions = (side >> level) ** 2
        # down; up again, where the skip doubles what comes in
        total += 2 * 16 * positions * (before * maps + 2 * maps * before)
        before, level = maps, level + 1
    return total / 1e9
