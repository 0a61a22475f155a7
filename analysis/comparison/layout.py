"""What tables and figures have in common: their arguments, where files lie, the long CSV."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rls.io import check_digest
from rls.runtime.errors import InputError

HIGH_RESOLUTION = "high_resolution"
LOW_RESOLUTION = "low_resolution"
BICUBIC = "bicubic"
NO_HIGH_RESOLUTION = "no high-resolution image of these cells exists: they were acquired in LR"
RESERVED = (HIGH_RESOLUTION, LOW_RESOLUTION, BICUBIC)

LONG_COLUMNS = (
    "assay",
    "simulated",
    "factor",
    "degradation",
    "method",
    "treatment",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unit_of_replication",
    "reason",
)


@dataclass(frozen=True)
class Assay:
    """One block of the assays file: what a reader must know of an assay."""

    name: str
    title: str
    simulated: bool
    negative_control: str | None
    positive_control: str | None
    channels: tuple[str, ...]
    nucleus_channel: str
    marker_channel: str
    features: tuple[str, ...]
    factors: tuple[int, ...]
    has_high_resolution: bool = True

    @property
    def label(self) -> str:
        """The title, with the word *simulated* wherever the plate was, and *no HR* where so."""
        title = f"{self.title} (simulated)" if self.simulated else self.title
        return title if self.has_high_resolution else f"{title} (acquired in LR, no HR)"

    @property
    def treatments(self) -> tuple[str, ...]:
        """The controls, negative first."""
        return tuple(t for t in (self.negative_control, self.positive_control) if t is not None)


@dataclass(frozen=True)
class Comparison:
    """One assay at one factor and degradation: the unit that tables and figures walk over.

    Attributes:
        methods: The methods that ran here, in order.
        clean: Whether the degradation is the run's first, which all methods face.
    """

    assay: Assay
    factor: int
    degradation: str
    folder: Path
    methods: tuple[str, ...] = ()
    clean: bool = True

    @property
    def title(self) -> str:
        """Such as 'Translocation (simulated), 8x, bicubic'."""
        return f"{self.assay.label}, {self.factor}x, {self.degradation}"

    def features(self, method: str) -> Path:
        """Features of one method: one row a cell."""
        return self.folder / f"{method}.features.parquet"

    def metrics(self, method: str) -> Path:
        """Image metrics of one method: one row a cell."""
        return self.folder / f"{method}.metrics.parquet"

    def classification(self, method: str) -> Path:
        """Class probabilities of one method: one row a cell."""
        return self.folder / f"{method}.classification.parquet"

    def stack(self, method: str) -> Path:
        """Images of one method; those of HR lie with the assay, not with a factor."""
        if method == HIGH_RESOLUTION:
            return self.folder.parent.parent / f"{method}.ome.tif"
        return self.folder / f"{method}.ome.tif"


@dataclass(frozen=True)
class Inputs:
    """What every table and figure is asked for.

    Attributes:
        degraded_factors, degraded_methods: What runs on the degradations after the first; None
            where all of ``factors`` and ``methods`` do.
    """

    results: Path
    assays: tuple[Assay, ...]
    factors: tuple[int, ...]
    degradations: tuple[str, ...]
    methods: tuple[str, ...]
    degraded_factors: tuple[int, ...] | None = None
    degraded_methods: tuple[str, ...] | None = None

    def comparisons(self) -> Iterator[Comparison]:
        """Walk over assay, factor and degradation in the order of the configuration."""
        few = self.methods if self.degraded_methods is None else self.degraded_methods
        degraded = tuple(method for method in self.methods if method in few)
        for assay in self.assays:
            for factor in self.factors:
                if assay.factors and factor not in assay.factors:
                    continue
                for degradation in self.degradations:
                    folder = self.results / assay.name / f"{factor}x" / degradation
                    if degradation == self.degradations[0]:
                        yield Comparison(assay, factor, degradation, folder, self.methods)
                    elif not assay.has_high_resolution:
                        continue  # nothing is degraded
                    elif self.degraded_factors is None or factor in self.degraded_factors:
                        yield Comparison(assay, factor, degradation, folder, degraded, clean=False)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every table and figure takes."""
    group = parser.add_argument_group("inputs")
    group.add_argument("--results", type=Path, required=True, help="folder of results")
    group.add_argument("--assay", nargs="+", required=True, help="names of assays, in order")
    group.add_argument("--factors", nargs="+", type=int, required=True, help="such as 16 32")
    group.add_argument("--degradations", nargs="+", required=True, help="names of degradations")
    group.add_argument("--methods", nargs="+", required=True, help="methods, in order of rows")
    group.add_argument(
        "--degraded-factors", nargs="*", type=int,
        help="factors at which the degradations after the first ran; default all",
    )  # fmt: skip
    group.add_argument(
        "--degraded-methods", nargs="*",
        help="methods that ran on the degradations after the first; default all",
    )  # fmt: skip
    group.add_argument(
        "--assays-config", type=Path, required=True, help="JSON or YAML: one block an assay"
    )


def inputs_from(args: argparse.Namespace) -> Inputs:
    """Build :class:`Inputs` from the arguments of :func:`add_inputs`.

    Raises:
        InputError: An assay is not described, or nothing would be left to show.
    """
    described = read_assays(args.assays_config)
    for name in args.assay:
        if name not in described:
            raise InputError(
                f"Assay '{name}' is not described in {args.assays_config}, which has "
                f"{', '.join(described) or 'none'}. Add its block there."
            )
    inputs = Inputs(
        results=args.results,
        assays=tuple(described[name] for name in args.assay),
        factors=tuple(args.factors),
        degradations=tuple(args.degradations),
        methods=tuple(dict.fromkeys(args.methods)),
        degraded_factors=_given(args, "degraded_factors"),
        degraded_methods=_given(args, "degraded_methods"),
    )
    if next(inputs.comparisons(), None) is None:
        raise InputError(
            f"None of the factors {', '.join(map(str, args.factors))} belongs to the assays "
            f"{', '.join(args.assay)}. Give one that the assays' 'factors' in "
            f"{args.assays_config} name."
        )
    return inputs


def _given(args: argparse.Namespace, name: str) -> tuple[Any, ...] | None:
    values = getattr(args, name, None)
    return None if values is None else tuple(values)


def read_assays(path: Path) -> dict[str, Assay]:
    """Read the description of every assay from JSON or YAML.

    The file is a mapping of blocks, or a whole configuration with such a mapping as ``assays``;
    keys that belong to other stages are left to them.

    Raises:
        InputError: The file is absent, or a block lacks a key.
    """
    content = read_config(path)
    blocks = content.get("assays", content)
    return {name: _assay(name, block, path) for name, block in blocks.items()}


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of a JSON or YAML file.

    Raises:
        InputError: The file is absent, not what describe_assays wrote, or is no mapping.
    """
    if not path.is_file():
        raise InputError(f"The assays file {path} does not exist. Give it as --assays-config.")
    check_digest(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} cannot be read: {error}. Correct it, or make it again."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no mapping of assays. Give one block an assay.")
    return content


def _assay(name: str, block: Mapping[str, Any], path: Path) -> Assay:
    needed = ("title", "simulated", "channels", "nucleus_channel", "marker_channel")
    missing = [key for key in needed if key not in block]
    if missing:
        raise InputError(
            f"The block of assay '{name}' in {path} lacks {', '.join(missing)}. Add them."
        )
    return Assay(
        name=name,
        title=str(block["title"]),
        simulated=bool(block["simulated"]),
        negative_control=block.get("negative_control"),
        positive_control=block.get("positive_control"),
        channels=tuple(block["channels"]),
        nucleus_channel=str(block["nucleus_channel"]),
        marker_channel=str(block["marker_channel"]),
        features=tuple(block.get("features") or ()),
        factors=tuple(int(factor) for factor in block.get("factors") or ()),
        has_high_resolution=block.get("resolution", "high") == "high",
    )


def long_row(
    at: Comparison,
    method: str,
    metric: str,
    *,
    value: float = float("nan"),
    low: float = float("nan"),
    high: float = float("nan"),
    n: int = 0,
    unit: str = "",
    reason: str = "",
    treatment: str = "",
) -> dict[str, Any]:
    """Return one row of a long CSV; an empty value must say why."""
    if pd.isna(value) and not reason:
        reason = "not measurable: no finite value"
    return {
        "assay": at.assay.name,
        "simulated": at.assay.simulated,
        "factor": at.factor,
        "degradation": at.degradation,
        "method": method,
        "treatment": treatment,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "unit_of_replication": unit,
        "reason": reason,
    }


def long_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the long table: the agreed columns in their order, then what else rows carry."""
    extra = dict.fromkeys(name for row in rows for name in row if name not in LONG_COLUMNS)
    return pd.DataFrame(list(rows), columns=[*LONG_COLUMNS, *extra])


def format_number(value: float, digits: int) -> str:
    """Write a number for people: fewer digits from 100 on; empty where there is none."""
    if pd.isna(value):
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{min(digits, 1) if abs(value) >= 100 else digits}f}"


def format_interval(low: float, high: float, digits: int) -> str:
    """Write '[low, high]'; empty where there is no interval."""
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"[{format_number(low, digits)}, {format_number(high, digits)}]"


def format_estimate(value: float, low: float, high: float, digits: int) -> str:
    """Write 'value [low, high]'; the interval only where there is one."""
    if pd.isna(value):
        return ""
    return f"{format_number(value, digits)} {format_interval(low, high, digits)}".strip()


def to_markdown(table: pd.DataFrame) -> str:
    """Write a table of strings as Markdown."""
    head = "| " + " | ".join(table.columns) + " |"
    rule = "| " + " | ".join("---" for _ in table.columns) + " |"
    body = ["| " + " | ".join(str(item) for item in row) + " |" for row in table.to_numpy()]
    return "\n".join([head, rule, *body]) + "\n"
