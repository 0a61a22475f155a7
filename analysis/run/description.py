"""The run: its assays, and the factors, degradations and methods of each.

:meth:`Run.of` reads it from the configuration. Rule ``describe_assays`` writes it once, as
``results/run.json``; tables, figures and the report read that file by their flag ``--run``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.run.values import (
    Config,
    assay_factors,
    degradation_values,
    has_gan,
    has_high_resolution,
    n_solutions,
    section_values,
)
from rls.io.digests import check_digest
from rls.io.names import HIGH_RESOLUTION, LOW_RESOLUTION, REGRESSION, WITHOUT_IMAGES
from rls.networks.weights_settings import NETS
from rls.runtime.errors import InputError


@dataclass(frozen=True)
class Condition:
    """One factor and degradation of an assay.

    Attributes:
        methods: The methods that run here, in the order of tables.
        clean: Whether the degradation is the run's first, which all methods face.
    """

    factor: int
    degradation: str
    methods: tuple[str, ...]
    clean: bool

    @property
    def methods_with_images(self) -> tuple[str, ...]:
        """The methods that make images, in the order of tables; all but a regression."""
        return with_images(self.methods)


@dataclass(frozen=True)
class Training:
    """What a generator of this run is trained on.

    Attributes:
        n_cells: Cells of the two controls in split gan, at most.
        prevalence: Share of the positive control among them; None: as much as of the negative one.
        seed: Seed of the training.
        init_from: The folder of the model that it starts from; '' where it starts from nothing.
    """

    n_cells: int
    prevalence: float | None
    seed: int
    init_from: str


@dataclass(frozen=True)
class Assay:
    """An assay, as tables and figures describe it.

    Attributes:
        split_by: The unit that splits never share: plate, well, field or tile.
        conditions: Factors in their order, and at each the degradations.
        network_rgb_channels: The channels that networks for colour images get as red, green and
            blue; none: the first three.
        has_gan: Whether cells of split gan have HR images, on which the row regression is trained.
        has_classifier: Whether cells are given to split classifier; without, none is trained.
        training: What its generator was trained on, if it is trained in this run.
    """

    name: str
    title: str
    simulated: bool
    negative_control: str
    positive_control: str
    channels: tuple[str, ...]
    nucleus_channel: str
    marker_channel: str
    features: tuple[str, ...]
    has_high_resolution: bool
    split_by: str
    conditions: tuple[Condition, ...]
    network_rgb_channels: tuple[str, ...] = ()
    has_gan: bool = True
    has_classifier: bool = True
    training: Training | None = None

    @property
    def label(self) -> str:
        """The title; it says whether plates are simulated and whether HR is missing."""
        title = f"{self.title} (simulated)" if self.simulated else self.title
        return title if self.has_high_resolution else f"{title} (acquired in LR, no HR)"

    @property
    def treatments(self) -> tuple[str, str]:
        """The controls, negative first."""
        return self.negative_control, self.positive_control

    @property
    def factors(self) -> tuple[int, ...]:
        """The factors that the assay runs."""
        return tuple(dict.fromkeys(condition.factor for condition in self.conditions))


@dataclass(frozen=True)
class Comparison(Condition):
    """An assay under one of its conditions: the unit that tables and figures walk over.

    Attributes:
        folder: Where the condition's files lie.
    """

    assay: Assay
    folder: Path

    @property
    def title(self) -> str:
        """Assay, factor and degradation: 'Translocation (simulated), 8x, bicubic'."""
        return f"{self.assay.label}, {self.factor}x, {self.degradation}"

    @property
    def reference(self) -> str:
        """The row whose cells all methods reconstruct: HR, or LR where no HR exists."""
        return HIGH_RESOLUTION if self.assay.has_high_resolution else LOW_RESOLUTION

    @property
    def intensity(self) -> Path:
        """The intensity scale: the assay's, or that of the LR images where no HR exists."""
        has_high = self.assay.has_high_resolution
        return (self.folder.parent.parent if has_high else self.folder) / "intensity.json"

    def measured(self, method: str, kind: str) -> Path:
        """A method's table, one row per cell: ``features``, ``metrics`` or ``classification``."""
        return self.folder / f"{method}.{kind}.parquet"

    def stack(self, method: str) -> Path:
        """The images of a method; those of HR lie with the assay, not with a factor."""
        if method == HIGH_RESOLUTION:
            return self.folder.parent.parent / f"{method}.ome.tif"
        return self.folder / f"{method}.ome.tif"

    def latents(self, method: str) -> Path:
        """The styles that a search found, one row per cell."""
        return self.folder / f"{method}.latents.safetensors"

    def solutions(self, method: str, kind: str, suffix: str) -> Path:
        """A file of several solutions of one kind; ``suffix`` is such as ``.ome.tif``."""
        return self.folder / "solutions" / f"{method}.{kind}{suffix}"

    def sweep(self, method: str) -> Path:
        """The metrics and features of a sweep over the weights of Eq. 5, on clean LR."""
        return self.folder.parent / "sweep" / f"{method}.metrics.parquet"

    def trace(self, method: str) -> Path:
        """The metrics and features of a search after several numbers of steps, on clean LR."""
        return self.folder.parent / "trace" / f"{method}.metrics.parquet"

    def prior(self, method: str, flow: str) -> Path:
        """The metrics and features of a search on split tune with one kind of flow, on clean LR."""
        return self.folder.parent / "priors" / f"{method}.{flow}.metrics.parquet"


@dataclass(frozen=True)
class Run:
    """All assays and methods of a run, with their conditions.

    Attributes:
        results: The folder of results.
        methods: All methods, in the order of tables.
        weights: The networks of other people that the run uses: {name: SHA-256 of the file}.
        n_solutions: Solutions of each image, of the methods that search several.
    """

    seed: int
    device: str
    methods: tuple[str, ...]
    assays: tuple[Assay, ...]
    results: Path = Path("results")
    weights: Mapping[str, str] = field(default_factory=dict)
    n_solutions: Mapping[str, int] = field(default_factory=dict)

    @property
    def methods_with_images(self) -> tuple[str, ...]:
        """The methods that make images, in the order of tables; all but a regression."""
        return with_images(self.methods)

    @property
    def factors(self) -> tuple[int, ...]:
        """The factors that any assay runs, in the order of the first that runs them."""
        return tuple(dict.fromkeys(f for assay in self.assays for f in assay.factors))

    @property
    def degradations(self) -> tuple[str, ...]:
        """The degradations that any assay faces; the clean one comes first."""
        names = (c.degradation for assay in self.assays for c in assay.conditions)
        return tuple(dict.fromkeys(names))

    @classmethod
    def of(cls, config: Config) -> Run:
        """Return the run of a configuration."""
        run = config["run"]
        assays = tuple(_described(config, name) for name in run["assays"])
        block = config["weights"]
        weights = {net: block[f"{net}_sha256"] for net in NETS if block[f"{net}_sha256"]}
        methods = tuple(run["methods"])
        found = cls(config["seed"], config["device"], methods, assays, weights=weights)
        names = dict.fromkeys(name for at in found.comparisons() for name in at.methods)
        several = {name: n_solutions(config, name) for name in names}
        return replace(found, n_solutions={name: n for name, n in several.items() if n > 1})

    def comparisons(self, *, clean_only: bool = False) -> Iterator[Comparison]:
        """Walk over assay, factor and degradation in the order of the configuration."""
        for assay in self.assays:
            for condition in assay.conditions:
                if condition.clean or not clean_only:
                    at = f"{condition.factor}x/{condition.degradation}"
                    folder = self.results / assay.name / at
                    yield Comparison(**vars(condition), assay=assay, folder=folder)

    def assay(self, name: str) -> Assay:
        """Return an assay by its name.

        Raises:
            InputError: The assay does not run.
        """
        found = {assay.name: assay for assay in self.assays}
        if name in found:
            return found[name]
        raise InputError(f"Assay '{name}' does not run. Name one of {', '.join(found)}.")

    def to_json(self, indent: int | None = 1) -> str:
        """Return the text of ``run.json``, without the folder of results."""
        content = {name: value for name, value in asdict(self).items() if name != "results"}
        return json.dumps(content, indent=indent) + "\n"

    @classmethod
    def from_json(cls, text: str, results: Path) -> Run:
        """Return the run that :meth:`to_json` wrote.

        Raises:
            InputError: The text is not JSON, or lacks a field.
        """
        try:
            content = json.loads(text)
            assays = tuple(_assay(block) for block in content.pop("assays"))
            methods = tuple(content.pop("methods"))
            return cls(**content, methods=methods, assays=assays, results=results)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"The description of the run is damaged ({error}). Run describe_assays again."
            ) from error

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read ``results/run.json``.

        Raises:
            InputError: The file is absent, or not what describe_assays wrote.
        """
        if not path.is_file():
            raise InputError(
                f"The description of the run, {path}, does not exist. Give results/run.json, "
                "which rule describe_assays writes."
            )
        check_digest(path)
        return cls.from_json(path.read_text(encoding="utf-8"), path.parent)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the flag ``--run`` that every table and figure takes."""
    parser.add_argument(
        "--run", type=Path, required=True, help="results/run.json: what runs, and where it lies"
    )


def with_images(methods: Iterable[str]) -> tuple[str, ...]:
    """Return those of some methods that make images."""
    return tuple(name for name in methods if name not in WITHOUT_IMAGES)


def _described(config: Config, name: str) -> Assay:
    block = config["assays"][name]
    select = section_values(config, "select_cells", name)
    return Assay(
        name=name,
        title=block["title"],
        simulated=block["simulated"],
        negative_control=block["negative_control"],
        positive_control=block["positive_control"],
        channels=tuple(block["channels"]),
        nucleus_channel=block["nucleus_channel"],
        marker_channel=block["marker_channel"],
        features=tuple(block["features"]),
        has_high_resolution=has_high_resolution(block),
        split_by=select["split_by"],
        conditions=tuple(_conditions(config, name)),
        network_rgb_channels=tuple(block.get("network_rgb_channels", ())),
        has_gan=has_gan(config, name),
        has_classifier=trains_classifier(select),
        training=_training(config, name) if block["generator"] == "train" else None,
    )


def _training(config: Config, name: str) -> Training:
    cells = section_values(config, "select_cells", name)
    init_from = config["assays"][name].get("init_from", "none")
    return Training(
        2 * cells["cells_gan"],
        cells["prevalence_gan"],
        section_values(config, "train_gan", name)["seed"],
        "" if init_from == "none" else init_from,
    )


def trains_classifier(select: Config) -> bool:
    """Return whether section ``select_cells`` of an assay gives cells to split classifier."""
    return bool(select["share_classifier"] or select["plates_classifier"])


def _conditions(config: Config, name: str) -> Iterator[Condition]:
    """Walk over an assay's factors and degradations; low-resolution cells face none.

    All methods run on the first degradation. Only ``run.degraded_methods`` run on the others, with
    those that a degradation names itself, and only at ``run.degraded_factors``. The regression on
    cells of split gan needs some.
    """
    run, block = config["run"], config["assays"][name]
    without = () if has_gan(config, name) else (REGRESSION,)
    for factor in assay_factors(block, run["factors"]):
        few = run["degraded_methods"] if factor in run["degraded_factors"] else ()
        for degradation in run["degradations"]:
            clean = degradation == run["degradations"][0]
            own = degradation_values(config, degradation)["methods"] if clean or few else ()
            shared = (method for method in run["methods"] if clean or method in few)
            named = dict.fromkeys((*shared, *own))
            methods = tuple(method for method in named if method not in without)
            if methods and (clean or has_high_resolution(block)):
                yield Condition(factor, degradation, methods, clean)


def _assay(block: Mapping[str, Any]) -> Assay:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in block.items()
    }
    values["conditions"] = tuple(
        Condition(**{**condition, "methods": tuple(condition["methods"])})
        for condition in block["conditions"]
    )
    values["training"] = Training(**block["training"]) if block.get("training") else None
    return Assay(**values)
