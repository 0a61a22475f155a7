"""The sizes of a run: fields, cells, pixels, networks, and from them the work of every job.

Units are what a job's time is proportional to: megapixels, images, steps, GFLOP (1e9 operations, a
multiplication and an addition being two). Nothing is built: torch is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from math import ceil, inf
from typing import Any

from analysis.run.description import Run
from analysis.run.values import Config, method_values, section_values
from rls.io.names import CLASSIFIER, EVALUATION, GAN, HIGH_RESOLUTION, SPLITS, TUNE
from rls.stylegan2.arithmetic import Arithmetic, unet_gflop

FIELDS_OF_PLATE = {"bbbc021": 240, "bbbc014": 96}  # 60 wells of 4 fields; one field a well
FIELDS_OF_SHEET = 384  # a plate of unknown design
FIELD_PX = 1024 * 1280  # an unknown camera
REFERENCE_CELLS = 1000  # cells that measure_trust searches, at most
PHASES = {"robust_unsupervised": 3}  # searches of several phases, each of `steps` steps
COMPARE = ("report", "solutions", "sweep")  # beside tables and figures
Units = dict[str, float]
Wildcards = Mapping[str, str]


@dataclass(frozen=True)
class Assay:
    """The sizes of one assay."""

    config: Config
    name: str

    @cached_property
    def block(self) -> Config:
        """The assay's block of the configuration."""
        block: Config = self.config["assays"][self.name]
        return block

    def section(self, name: str) -> dict[str, Any]:
        """Return a section with the assay's own changes."""
        return section_values(self.config, name, self.name)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.block["channels"])

    @cached_property
    def fields(self) -> int:
        """Fields of a plate, at most."""
        if self.block["source"] != "simulate":
            return FIELDS_OF_PLATE.get(self.block["source"], FIELDS_OF_SHEET)
        values = self.section("simulate_plate")
        wells = values["wells_per_treatment"] * len(self.block["treatments"])
        return int((wells + values["empty_wells"]) * values["sites_per_well"])

    @cached_property
    def field_megapixels(self) -> float:
        """Megapixels of all channels of a plate's fields."""
        values = self.section("simulate_plate")
        simulated = self.block["source"] == "simulate"
        pixels = values["field_height_px"] * values["field_width_px"] if simulated else FIELD_PX
        return self.fields * self.channels * pixels / 1e6

    @cached_property
    def cells_of_plate(self) -> int:
        """Cells that crop_cells takes of a plate, at most."""
        return int(self.fields * self.section("crop_cells")["cells_per_field"])

    def cells(self, *splits: str, n_treatments: int | None = None) -> int:
        """Return the cells of some splits, at most what the plates hold; of all without a split."""
        values = self.section("select_cells")
        wanted = sum(values[f"cells_{split}"] for split in splits or SPLITS)
        wanted *= len(self.block["treatments"]) if n_treatments is None else n_treatments
        return int(min(wanted, self.cells_of_plate * len(self.block["plates"])))

    @cached_property
    def images(self) -> int:
        """High-resolution images: the cells that the generator does not learn."""
        return self.cells(TUNE, CLASSIFIER, EVALUATION)

    def megapixels(self, n: float, *, cropped: bool = False) -> float:
        """Return the megapixels of n images, or of n crops with their margin for rotation."""
        side = self.block["crop_size" if cropped else "image_size"]
        return float(n * self.channels * side**2 / 1e6)

    @cached_property
    def networks(self) -> Arithmetic:
        """The generator that a section train_gan describes, and its discriminator."""
        values = self.section("train_gan")
        names = ("channel_base", "channel_max", "z_dim", "w_dim", "mapping_layers")
        size = self.block["image_size"]
        return Arithmetic(size, self.channels, **{name: values[name] for name in names})


class Sizes:
    """The sizes of one configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.of = cache(lambda assay: Assay(config, assay))

    def units(self, rule: str, wildcards: Wildcards) -> Units:
        """Return the amount of each unit of a job; empty where its time is its start."""
        if reads_all(rule):
            n_draws = self.config["bootstrap"]["n_bootstrap"]
            return {"images": self.compared, "draws": self.compared * n_draws / 1000}
        method = getattr(self, f"_{rule}", None)
        return {} if method is None else method(self.of(wildcards["assay"]), wildcards)

    @cached_property
    def compared(self) -> float:
        """Images that tables and figures read: evaluation cells by assay, condition, method."""
        return float(
            sum(
                self.of(at.assay.name).cells(EVALUATION) * (2 + len(at.methods))
                for at in Run.of(self.config).comparisons()
            )
        )

    def raw_mb(self, rule: str, wildcards: Wildcards) -> float:
        """Return the MB of pixels in the stack that a job leaves, uncompressed; 0 without one."""
        if "assay" not in wildcards:
            return 0.0
        assay = self.of(wildcards["assay"])
        if rule == "select_cells":
            return 2 * assay.megapixels(assay.cells(), cropped=True)
        if rule == "high_resolution":
            return 2 * assay.megapixels(assay.images)
        if rule == "degrade":
            return 2 * assay.megapixels(assay.images) / int(wildcards["factor"]) ** 2
        if rule == "gather_shards":
            return 4 * assay.megapixels(assay.cells(EVALUATION))
        if rule == "sample_solutions":
            return 4 * assay.megapixels(_solutions(assay))
        return 0.0

    def is_network(self, method: str) -> bool:
        """Return whether a method's time is that of networks: it has steps."""
        return "steps" in self.config["methods"][method]

    # ---- units, one function a rule -----------------------------------------------------------

    def _simulate_plate(self, assay: Assay, _: Wildcards) -> Units:
        return {"megapixels": assay.field_megapixels}

    _crop_cells = _list_plate = _simulate_plate  # every image is read, listed ones for a digest

    def _train_segmenter(self, assay: Assay, _: Wildcards) -> Units:
        values = assay.section("train_segmenter")
        patches = values["epochs"] * values["fields_per_epoch"]
        return {"megapixels": patches * values["patch_px"] ** 2 / 1e6}

    def _select_cells(self, assay: Assay, _: Wildcards) -> Units:
        n = assay.cells_of_plate * len(assay.block["plates"])
        return {"megapixels": assay.megapixels(n, cropped=True)}

    def _high_resolution(self, assay: Assay, _: Wildcards) -> Units:
        return {"megapixels": assay.megapixels(assay.images)}

    _degrade = _high_resolution

    def _train_gan(self, assay: Assay, _: Wildcards) -> Units:
        values = assay.section("train_gan")
        images = values["total_kimg"] * 1000
        intervals = (
            values["path_length_interval"] if values["path_length_weight"] else inf,
            values["r1_interval"] if values["r1_gamma"] != 0 else inf,
        )
        gflop = images * assay.networks.training_gflop(*intervals)
        return {"steps": images / values["batch_size"], "gflop": gflop}

    def _sample_styles(self, assay: Assay, _: Wildcards) -> Units:
        n = assay.section("sample_styles")["n_styles"]
        return {"gflop": n * assay.networks.mapping_gflop}

    def _fit_flow(self, assay: Assay, _: Wildcards) -> Units:
        values = assay.section("fit_flow")
        n = assay.section("sample_styles")["n_styles"]
        shown = values["max_epochs"] * n * (1 - values["validation_share"])
        w_dim = assay.section("train_gan")["w_dim"]
        weights = flow_weights(w_dim, values["hidden"], values["n_blocks"])
        return {"steps": shown / values["batch_size"], "gflop": shown * 8 * weights / 1e9}

    def _train_classifier(self, assay: Assay, wildcards: Wildcards) -> Units:
        values = assay.section("train_classifier")
        side = assay.block["image_size"] / int(wildcards.get("factor", 1))
        width = values["width"]
        shown = values["epochs"] * assay.cells(CLASSIFIER, n_treatments=2)  # the two controls
        work = 6 * 9 * side**2 * (assay.channels * width + 2 * width**2) / 1e9
        return {"steps": shown / values["batch_size"], "gflop": shown * work}

    _train_low_resolution_classifier = _train_classifier

    def _train_pix2pix(self, assay: Assay, wildcards: Wildcards) -> Units:
        values = assay.section("train_pix2pix")
        steps = ceil(assay.cells(GAN) / values["batch_size"])
        steps *= values["epochs"] + values["decay_epochs"]
        weight = self.config["methods"][wildcards["method"]].get("adversarial_weight", 0)
        forward = unet_gflop(assay.block["image_size"], assay.channels, values["generator_width"])
        # A step is forward and twice backward; the PatchGAN, of half the U-Net, sees three images.
        work = 3 * forward * (1 + 1.5 * bool(weight))
        return {"steps": steps, "gflop": steps * values["batch_size"] * work}

    def _super_resolve(self, assay: Assay, wildcards: Wildcards) -> Units:
        images = assay.cells(EVALUATION) / self.config["run"]["shards"]
        return self._search(assay, "super_resolve", wildcards["method"], images)

    def _sample_solutions(self, assay: Assay, wildcards: Wildcards) -> Units:
        return self._search(assay, "sample_solutions", wildcards["method"], _solutions(assay))

    def _sweep_lambdas(self, assay: Assay, wildcards: Wildcards) -> Units:
        values = assay.section("sweep_lambdas")
        images = values["n_cells"] * (len(values["lambdas_w"]) + len(values["lambdas_c"]))
        return self._search(assay, "super_resolve", wildcards["method"], images)

    def _measure_trust(self, assay: Assay, _: Wildcards) -> Units:
        n = min(assay.cells(TUNE, CLASSIFIER), REFERENCE_CELLS)
        images = n * len(self.config["run"]["factors"])
        return self._search(assay, "super_resolve", "rls", images)

    def _search(self, assay: Assay, section: str, method: str, images: float) -> Units:
        block = method_values(self.config, method)
        if not self.is_network(method):
            return {"megapixels": assay.megapixels(images)}
        batch = assay.section(section)["batch_size"]
        phases = PHASES.get(self.config["methods"][method]["search"], 1)
        steps = phases * block["steps"] * ceil(images / batch)
        return {"steps": steps, "gflop": steps * batch * assay.networks.search_gflop}

    def _gather_shards(self, assay: Assay, _: Wildcards) -> Units:
        return {"megapixels": assay.megapixels(assay.cells(EVALUATION))}

    def _measure(self, assay: Assay, wildcards: Wildcards) -> Units:
        whole = wildcards.get("stack") == HIGH_RESOLUTION
        n = assay.images if whole else assay.cells(EVALUATION, TUNE)
        return {"images": n, "megapixels": assay.megapixels(n)}

    _measure_without_reference = _measure

    def _check_thresholds(self, assay: Assay, _: Wildcards) -> Units:
        return {"images": assay.cells(TUNE, CLASSIFIER, n_treatments=2)}

    def _measure_solutions(self, assay: Assay, _: Wildcards) -> Units:
        return {"images": _solutions(assay)}

    def _classify(self, assay: Assay, _: Wildcards) -> Units:
        return {"images": assay.cells(EVALUATION)}

    _classify_without_reference = _classify


def reads_all(rule: str) -> bool:
    """Return whether a rule reads the files of every condition: tables, most figures, report."""
    return rule in COMPARE or (rule.startswith(("table", "figure")) and rule != "figure1")


def flow_weights(features: int, hidden: int, n_blocks: int) -> int:
    """Return the weights of a masked autoregressive flow: three masked layers a block."""
    return n_blocks * (3 * features * hidden + hidden**2)


def _solutions(assay: Assay) -> int:
    values = assay.section("sample_solutions")
    return int(2 * values["cells_per_split"] * values["n_solutions"])
