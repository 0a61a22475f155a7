"""The sizes of a run: fields, cells, pixels, networks, and from them the work of every job.

A job's time is proportional to its units: megapixels, images, steps, GFLOP (1e9 operations; a
multiplication and an addition are two). No network is built, so torch is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from math import ceil, inf

from analysis.run.assay_sizes import AssaySizes, Units
from analysis.run.description import Run
from analysis.run.keys import SECTIONS
from analysis.run.sizes_on_pairs import units_on_pairs
from analysis.run.values import Config, assay_factors, n_solutions
from rls.io.names import (
    CLASSIFIER,
    EVALUATION,
    GAN,
    HIGH_RESOLUTION,
    SEARCHES,
    TUNE,
)
from rls.networks.weights_settings import SMALLEST
from rls.search.settings import AUTO, MOST_AT_ONCE
from rls.stylegan2.arithmetic import unet_gflop

REFERENCE_CELLS = 1000  # the most cells that measure_trust searches
PHASES = {"robust_unsupervised": 3}  # searches of several phases, each of `steps` steps
# Rules that read every condition, beside tables and figures.
COMPARE = (
    *("report", "mechanism", "solutions", "sweep", "tradeoff", "priors", "starts", "choices"),
    *("where_lost", "data_or_prior", "transfer"),
)
KINDS_OF_FEATURES = 2  # KD takes the classifier's, and random convolutions
VGG16_GFLOP_PX = 6.12e-4  # the convolutions: 30.7 GFLOP at 224 px
Wildcards = Mapping[str, str]


class Sizes:
    """The sizes of one configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.of = cache(lambda assay: AssaySizes(config, assay))

    def units(self, rule: str, wildcards: Wildcards) -> Units:
        """Return the amount of each unit of a job; empty where its time is its start."""
        if reads_all(rule):
            pairs = {"gigapairs": self.gigapairs} if rule == "table1" else {}
            return {"images": self.compared, **pairs}
        if "assay" not in wildcards:
            return {}
        assay = self.of(wildcards["assay"])
        factor = int(wildcards["factor"]) if "factor" in wildcards else None
        if (units := units_on_pairs(rule, assay, factor)) is not None:
            return units
        n: float
        match rule:
            case "simulate_plate" | "list_plate":  # it digests the listed images
                return {"megapixels": assay.field_megapixels}
            case "crop_cells":
                units = {"megapixels": assay.field_megapixels}
                nuclear = {"nuclear_megapixels": assay.field_megapixels / assay.n_channels}
                cellpose = assay.section("crop_cells")["segmenter"] != "threshold"
                return units | nuclear if cellpose else units
            case "select_cells" | "import_crops":
                n = assay.cells_of_plates
                return {"megapixels": assay.megapixels(n, cropped=True)}
            case "high_resolution" | "degrade":
                return {"megapixels": assay.megapixels(assay.n_images)}
            case "cut_gan" | "degrade_gan":
                return {"megapixels": assay.megapixels(assay.cells(GAN))}
            case "gather_shards" | "gather_solutions":
                return {"megapixels": assay.megapixels(self._searched(assay, wildcards))}
            case "measure" | "measure_without_reference":
                whole = wildcards.get("stack") == HIGH_RESOLUTION
                n = assay.n_images if whole else assay.cells(EVALUATION, TUNE)
                units = {"images": n, "megapixels": assay.megapixels(n)}
                return units | self._vgg16(rule, assay, n, 1 if whole else 3)
            case "check_thresholds":
                return {"images": assay.cells(TUNE, CLASSIFIER, n_treatments=2)}
            case "measure_solutions" if wildcards.get("kind") == SEARCHES:
                return {"images": self._searched(assay, wildcards)}
            case "measure_solutions":
                return {"images": assay.n_solutions}
            case "classify" | "classify_all_cells" | "classify_without_reference":
                return {"images": assay.cells(EVALUATION)}
            case "trace_search":
                return self._trace(assay, wildcards["method"])
            case "measure_trace":
                trace = assay.section("trace_search")
                n_points = 1 + max(len(trace["checkpoints"]), 1)  # HR is measured once
                n = trace["n_cells"] * n_points
                return {"images": n, "megapixels": assay.megapixels(n)}
            case "super_resolve" | "sample_solutions" | "sweep_lambdas" | "measure_trust":
                return self._search(rule, assay, wildcards["method"])
            case "train_pix2pix":
                return self._train_pix2pix(assay, wildcards["method"])
            case "measure_gan":
                n = assay.cells(GAN)
                return {"images": n, "megapixels": assay.megapixels(n)}
            case "measure_predicted":
                return {"images": assay.n_images}
            case _:
                return training_units(rule, assay, wildcards)

    @cached_property
    def compared(self) -> float:
        """Images that tables and figures read: evaluation cells by assay, condition, method."""
        return float(
            sum(
                self.of(at.assay.name).cells(EVALUATION) * (2 + len(at.methods))
                for at in Run.of(self.config).comparisons()
            )
        )

    @cached_property
    def gigapairs(self) -> float:
        """1e9 pairs of cells whose kernel KD needs: two sets of each method and of the floor."""
        return (
            sum(
                KINDS_OF_FEATURES
                * 2
                * (1 + len(at.methods_with_images))
                * self.of(at.assay.name).cells(EVALUATION) ** 2
                for at in Run.of(self.config).comparisons()
                if at.assay.has_high_resolution
            )
            / 1e9
        )

    def raw_mb(self, rule: str, wildcards: Wildcards) -> float:
        """Return the MB of pixels in the stack that a job leaves, uncompressed; 0 without one."""
        if "assay" not in wildcards:
            return 0.0
        assay = self.of(wildcards["assay"])
        match rule:
            case "select_cells":
                return 2 * assay.megapixels(assay.cells(), cropped=True)
            case "high_resolution":
                return 2 * assay.megapixels(assay.n_images)
            case "cut_gan":
                return 2 * assay.megapixels(assay.cells(GAN))
            case "degrade_gan":
                return 2 * assay.megapixels(assay.cells(GAN)) / int(wildcards["factor"]) ** 2
            case "degrade":
                return 2 * assay.megapixels(assay.n_images) / int(wildcards["factor"]) ** 2
            case "gather_shards" | "gather_solutions":
                return 4 * assay.megapixels(self._searched(assay, wildcards))
            case "sample_solutions":
                return 4 * assay.megapixels(assay.n_solutions)
        return 0.0

    def _searched(self, assay: AssaySizes, wildcards: Wildcards) -> int:
        """Return the rows that super_resolve finds by the method of a job."""
        return assay.n_searched(n_solutions(self.config, wildcards["method"]))

    def _vgg16(self, rule: str, assay: AssaySizes, n: float, passes: int) -> Units:
        """Return the units of VGG16 where measure has weights of it: passes over n images.

        One pass embeds an image; LPIPS takes another, and one over the HR image.
        """
        if rule != "measure" or not self.config["weights"]["vgg16_sha256"]:
            return {}
        side = max(assay.block["image_size"], SMALLEST)
        return {"vgg16_gflop": n * passes * side**2 * VGG16_GFLOP_PX}

    def _search(self, rule: str, assay: AssaySizes, method: str) -> Units:
        """Return the units of a job that searches; methods with steps compute a network."""
        run, block = self.config["run"], self.config["methods"][method]
        sweep = assay.section("sweep_lambdas")
        images = {
            "super_resolve": assay.n_searched(n_solutions(self.config, method)) / run["shards"],
            "sample_solutions": assay.n_solutions,
            "sweep_lambdas": sweep["n_cells"] * (len(sweep["lambdas_w"]) + len(sweep["lambdas_c"])),
            "measure_trust": min(assay.cells(TUNE, CLASSIFIER), REFERENCE_CELLS)
            * len(assay_factors(assay.block, run["factors"])),
        }[rule]
        if "steps" not in block:
            return {"megapixels": assay.megapixels(images)}
        own = "sample_solutions" if rule == "sample_solutions" else "super_resolve"
        batch = assay.section(own)["batch_size"]
        batch = MOST_AT_ONCE if batch == AUTO else batch
        steps = PHASES.get(block["search"], 1) * block["steps"] * ceil(images / batch)
        return {"steps": steps, "gflop": steps * batch * assay.networks.search_gflop}

    def _trace(self, assay: AssaySizes, method: str) -> Units:
        """Return the units of a trace: each checkpoint is a search of so many steps."""
        values, block = assay.section("trace_search"), self.config["methods"][method]
        batch = assay.section("super_resolve")["batch_size"]
        batch = MOST_AT_ONCE if batch == AUTO else batch
        steps = sum(set(values["checkpoints"])) or block["steps"]
        steps *= PHASES.get(block["search"], 1) * ceil(values["n_cells"] / batch)
        return {"steps": steps, "gflop": steps * batch * assay.networks.search_gflop}

    def _train_pix2pix(self, assay: AssaySizes, method: str) -> Units:
        values = assay.section("train_pix2pix")
        steps = ceil(assay.cells(GAN) / values["batch_size"])
        steps *= values["epochs"] + values["decay_epochs"]
        weight = self.config["methods"][method].get("adversarial_weight", 0)
        size, width = assay.block["image_size"], values["generator_width"]
        forward = unet_gflop(size, assay.n_channels, width)
        # A step is forward and twice backward; the PatchGAN, half a U-Net, sees three images.
        work = 3 * forward * (1 + 1.5 * bool(weight))
        return {"steps": steps, "gflop": steps * values["batch_size"] * work}


def training_units(rule: str, assay: AssaySizes, wildcards: Wildcards) -> Units:
    """Return the units of a training, of styles or of generated images; empty for other rules."""
    all_cells = rule == "train_all_cells_classifier"
    low_resolution = all_cells or rule == "train_low_resolution_classifier"
    section = "train_classifier" if low_resolution else rule
    values = assay.section(section) if section in SECTIONS else {}
    match section:
        case "train_segmenter":
            patches = values["epochs"] * values["fields_per_epoch"]
            return {"megapixels": patches * values["patch_px"] ** 2 / 1e6}
        case "train_gan":
            images = values["total_kimg"] * 1000
            intervals = (
                values["path_length_interval"] if values["path_length_weight"] else inf,
                values["r1_interval"] if values["r1_gamma"] != 0 else inf,
            )
            gflop = images * assay.networks.training_gflop(*intervals)
            if values["grow_from"]:
                small = replace(assay.networks, image_size=values["grow_from"])
                first = values["grow_kimg"] * 1000
                gflop += first * small.training_gflop(*intervals)
                images += first
            return {"steps": images / values["batch_size"], "gflop": gflop}
        case "describe_generator":
            n = values["n_images"]
            made = n + 2 * assay.cells(EVALUATION, n_treatments=2)
            gflop = made * assay.networks.generator_gflop
            return {"images": n, "megapixels": assay.megapixels(made), "gflop": gflop}
        case "path_lengths":
            w_dim = assay.section("train_gan")["w_dim"]
            derivatives = 2 * values["n_styles"] * values["n_draws"] + values["n_jacobians"] * w_dim
            return {"gflop": 3 * derivatives * assay.networks.generator_gflop}
        case "sample_styles":
            return {"gflop": values["n_styles"] * assay.networks.mapping_gflop}
        case "fit_flow":
            n = assay.section("sample_styles")["n_styles"]
            shown = values["max_epochs"] * n * (1 - values["validation_share"])
            w_dim = assay.section("train_gan")["w_dim"]
            weights = flow_weights(w_dim, values["hidden"], values["n_blocks"])
            return {"steps": shown / values["batch_size"], "gflop": shown * 8 * weights / 1e9}
        case "train_classifier":
            side = assay.block["image_size"] / int(wildcards.get("factor", 1))
            splits = (GAN, CLASSIFIER) if all_cells else (CLASSIFIER,)
            width, n = values["width"], assay.cells(*splits, n_treatments=2)  # two controls
            shown = values["epochs"] * n
            work = 6 * 9 * side**2 * (assay.n_channels * width + 2 * width**2) / 1e9
            return {"steps": shown / values["batch_size"], "gflop": shown * work}
    return {}


def reads_all(rule: str) -> bool:
    """Return whether a rule reads the files of every condition: tables, most figures, report."""
    return rule in COMPARE or (rule.startswith(("table", "figure")) and rule != "figure1")


def flow_weights(features: int, hidden: int, n_blocks: int) -> int:
    """Return the weights of a masked autoregressive flow: three masked layers a block."""
    return n_blocks * (3 * features * hidden + hidden**2)
