"""The resources that every job requests: threads, one GPU or none, MiB of memory, minutes.

Time comes from the same sizes and rates as a plan (:mod:`analysis.run.rates`), with a margin.
Memory is what a process holds by itself plus its images. A job that was killed for memory or time
is submitted again (``retries`` of the profile) with twice as much of both. A job's file under
benchmarks/ has what it used and what it requested (max_rss, s, resources).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from analysis.run.assay_sizes import MIB, AssaySizes
from analysis.run.keys import needs_generator, trained_by
from analysis.run.rates import Machine, kind_of
from analysis.run.sizes import Sizes, Wildcards, reads_all
from analysis.run.values import Config, n_solutions, section_values

MARGIN = 3  # requested over estimated time, for other machines and for other users
SHORTEST = 20  # minutes; a shorter request gains nothing
LONGEST = 7 * 24 * 60  # minutes; most partitions allow no more. Training goes on from a checkpoint
ARCHIVE_MB = 840  # a plate of BBBC021 as it is downloaded
SLOW_LINE = 5  # expected over slowest rate of a download
PYTHON_MIB = 1000  # a process with numpy, pandas, scikit-image, matplotlib; measured 120 to 400
TORCH_MIB = 1500  # a process with torch; measured 310 to 460
MEASURE_S, COMPARE_S = 0.1, 0.005  # assumed floors for an image, which small runs do not show
GPU_MIB = 3000  # host memory of a CUDA context, beside TORCH_MIB
SEGMENT_MIB = 500  # arrays of one field while its nuclei are found

TRAININGS = (
    "train_gan",
    "train_pix2pix",
    "train_encoder",
    "train_amortised",
    "train_regression",
    "evaluate_generator",
    "measure_trust",
)
SEARCHES = ("super_resolve", "sample_solutions", "sweep_lambdas", "trace_search")
PRIOR = ("sample_styles", "fit_flow", "path_lengths", "figure1")
CLASSIFIERS = (
    "train_classifier",
    "train_low_resolution_classifier",
    "train_all_cells_classifier",
)
ON_GPU = (*TRAININGS, *SEARCHES, *PRIOR[:-1], *CLASSIFIERS)
MEASURING = ("measure", "check_thresholds", "classify")
HEAVY = (*ON_GPU, "train_segmenter")  # jobs that use the configured number of threads
SMALL = (
    *("describe_assays", "fetch_metadata", "fetch_plate", "gather_trust", "list_plate", "report"),
    *("export_profiles", "export_h5ad"),
)


class SnakemakeWildcards(Protocol):
    """The wildcards of a job, as Snakemake hands them over."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return the names and values."""


class Requests:
    """The resource requests of the jobs of one configuration."""

    def __init__(self, config: Config, sizes: Sizes, machine: Machine) -> None:
        self.config, self.sizes, self.machine = config, sizes, machine
        self.heavy: int = max(config["threads"], 1)  # CPU threads of a heavy job

    def __call__(self, rule: str) -> dict[str, Callable[..., int]]:
        """Return the functions under ``resources:`` of a rule, which Snakemake calls."""
        asked: dict[str, Callable[..., int]] = {
            "mem_mb": lambda wildcards, attempt: int(
                self.memory_mib(rule, dict(wildcards.items())) * 2 ** (attempt - 1)
            ),
            "runtime": lambda wildcards, attempt: minutes(
                self.seconds(rule, dict(wildcards.items())), attempt
            ),
        }
        if rule in ON_GPU:
            asked["gpu"] = lambda wildcards: self.gpus(rule, dict(wildcards.items()))
        return asked

    def threads(self, rule: str) -> Callable[[SnakemakeWildcards], int]:
        """Return the function under ``threads:`` of a rule."""
        return lambda wildcards: self.n_threads(rule, dict(wildcards.items()))

    def n_threads(self, rule: str, wildcards: Wildcards) -> int:
        """Return the CPU threads of a job: one where there is no network to compute."""
        if rule == "crop_cells":
            return self.heavy if self._segmenter(wildcards["assay"]) != "threshold" else 1
        return self.heavy if rule in HEAVY and self._has_network(rule, wildcards) else 1

    def gpus(self, rule: str, wildcards: Wildcards) -> int:
        """Return 1 for a job that can use a GPU, and 0 where the configuration says cpu."""
        wanted = rule in ON_GPU and self.config["device"] != "cpu"
        return int(wanted and self._has_network(rule, wildcards))

    def group(self, wildcards: SnakemakeWildcards) -> str | None:
        """Return the group of a search: short shards and their gathering are one job."""
        return None if self._has_network("super_resolve", dict(wildcards.items())) else "gathered"

    def seconds(self, rule: str, wildcards: Wildcards) -> float:
        """Return the estimated wall time of a job in seconds, without a margin."""
        if rule == "fetch_plate":
            rate = section_values(self.config, "fetch_plate", wildcards["assay"])
            return float(SLOW_LINE * ARCHIVE_MB / rate["expected_mb_per_s"])
        kind, units = kind_of(rule, wildcards, self.config), self.sizes.units(rule, wildcards)
        on_gpu = self.machine.gpu is not None and bool(self.gpus(rule, wildcards))
        seconds, _ = self.machine.seconds(kind, units, on_gpu=on_gpu)
        if on_gpu:
            return seconds
        seconds /= self.n_threads(rule, wildcards)
        least = COMPARE_S if reads_all(rule) else MEASURE_S * rule.startswith(MEASURING)
        return max(seconds, least * units.get("images", 0.0))

    def memory_mib(self, rule: str, wildcards: Wildcards) -> float:
        """Return the estimated memory of a job in MiB."""
        if rule in SMALL:
            return PYTHON_MIB
        gpu = GPU_MIB * self.gpus(rule, wildcards)
        if rule in PRIOR:
            assay = self.sizes.of(wildcards.get("assay", self.config["run"]["assays"][0]))
            n_styles = assay.section("sample_styles")["n_styles"]
            # Six float32 copies of all styles are held while the flow is fitted.
            styles = 24 * n_styles * assay.section("train_gan")["w_dim"] / MIB
            return TORCH_MIB + gpu + styles
        if reads_all(rule):
            assays = map(self.sizes.of, self.config["run"]["assays"])
            largest = max(assay.uint16_mib(assay.n_images) for assay in assays)
            return TORCH_MIB + 4 * largest + 0.005 * self.sizes.compared
        return self._of_assay(rule, wildcards, self.sizes.of(wildcards["assay"])) + gpu

    def _of_assay(self, rule: str, wildcards: Wildcards, assay: AssaySizes) -> float:
        """Return the memory of a job that reads the images of one assay, without a GPU's."""
        network = 40 * assay.block["image_size"]  # networks and a batch of activations
        images = assay.uint16_mib(assay.n_images)
        crops = assay.uint16_mib(assay.cells(), cropped=True)  # all selected cells
        plate = assay.uint16_mib(assay.cells_of_plate, cropped=True)
        if rule in ("simulate_plate", "crop_cells"):
            # Fields are read one by one; the crops that are kept lie mapped on the disk.
            own = TORCH_MIB if self._segmenter(assay.name) != "threshold" else SEGMENT_MIB
            return PYTHON_MIB + own + 1.2 * plate
        if rule == "import_crops":
            return PYTHON_MIB + SEGMENT_MIB + 0.2 * crops  # read and kept in the same way
        if rule == "train_segmenter":
            return PYTHON_MIB + 2 * TORCH_MIB
        if rule == "select_cells":
            return PYTHON_MIB + crops + 2 * plate
        if rule == "high_resolution":
            share = assay.n_images / assay.cells()
            return PYTHON_MIB + (1 + share) * crops + 2 * images
        if rule in TRAININGS:
            return TORCH_MIB + network + crops
        # Rows of a method with several solutions, held twice as float32.
        several = n_solutions(self.config, wildcards["method"]) if "method" in wildcards else 1
        rows = 4 * assay.uint16_mib(assay.n_searched(several)) if several > 1 else 0.0
        if rule in SEARCHES:
            has_network = self._has_network(rule, wildcards)
            return TORCH_MIB + 3 * images + rows + network * has_network
        return TORCH_MIB + 6 * images + rows

    def _segmenter(self, assay: str) -> str:
        return str(self.sizes.of(assay).section("crop_cells")["segmenter"])

    def _has_network(self, rule: str, wildcards: Wildcards) -> bool:
        """Return whether a job computes a network: a search without one enlarges in seconds."""
        if rule not in SEARCHES:
            return True
        search = self.config["methods"][wildcards["method"]]["search"]
        return needs_generator(search) or trained_by(search) is not None


def minutes(seconds: float, attempt: int) -> int:
    """Return minutes for an estimate: with the margin, doubled by attempts, within bounds."""
    return int(min(LONGEST, max(SHORTEST, MARGIN * seconds / 60) * 2 ** (attempt - 1)))
