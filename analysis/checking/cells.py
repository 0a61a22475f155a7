"""Say how many wells, fields and cells each split would get, and where one would stay empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from analysis.cells.needed_splits import NEEDED_BY
from analysis.cells.prevalence import wanted_cells
from analysis.cells.select_settings import Settings
from analysis.cells.selection import assign
from analysis.cells.split import DROPPED, unit_names
from analysis.checking.findings import DOUBT, FACT, FAULT, Findings
from analysis.run.assay_defaults import CONTROLS
from analysis.run.values import Config, settings_of
from rls.io.names import EVALUATION, GAN, SPLITS

FEW_WELLS = 3  # below it Z' and SSMD stay empty
FEW_TRAINED = 1000  # cells of both controls for a generator; the shipped ones had 1,800 and more


def check_cells(
    findings: Findings,
    config: Config,
    assay: str,
    rows: pd.DataFrame,
    crop_size: int,
    size: tuple[int, int] | None,
    usable: Mapping[str, Sequence[int]],
) -> None:
    """Divide the fields among the splits as select_cells would, and count.

    Arguments:
        rows: Fields of the assay's plates and treatments.
        size: Height and width of a field in px.
        usable: Cells of each sampled field, by treatment; {} where none was read.
    """
    block = config["assays"][assay]
    settings = findings.attempt(settings_of, Settings, config, "select_cells", assay)
    if settings is None:
        return
    units = _units(rows, settings, crop_size, size)
    splits = findings.attempt(assign, units, settings)
    if splits is None:
        return
    controls = [block[role] for role in CONTROLS]
    wanted = wanted_cells(settings, block["treatments"], controls)
    for treatment in block["treatments"]:
        own = units["treatment"] == treatment
        if own.any():
            mean = float(np.mean(usable.get(treatment) or [0]))
            expected = _expected(units[own], splits[own], mean)
            _say(findings, treatment, units[own], splits[own], settings, expected, mean)
            _judge(findings, treatment, expected, wanted[treatment], settings, mean)
    for control in _measured(controls, settings):
        own = units["treatment"] == control
        if own.any():
            _check_control(findings, control, splits[own], settings)
    _check_wells(findings, controls, units[splits == EVALUATION])
    if block["generator"] == "train":
        _check_training(findings, units, splits, usable, wanted)


def _units(
    rows: pd.DataFrame, settings: Settings, crop_size: int, size: tuple[int, int] | None
) -> pd.DataFrame:
    """Return a row for each tile of each field, with the columns of a cell's table.

    ``share`` is the part of the field's cells that lie in it.
    """
    fields = rows[["plate", "well", "site", "treatment"]].reset_index(drop=True)
    places = [(0, 0)]
    if size is not None:
        tile = settings.tile_px
        places = [
            (y * tile + tile // 2, x * tile + tile // 2)
            for y, x in product(range(size[0] // tile or 1), range(size[1] // tile or 1))
        ]
    parts = [fields.assign(y_px=y, x_px=x, share=1 / len(places)) for y, x in places]
    table = pd.concat(parts, ignore_index=True).assign(crop_size_px=crop_size)
    names = [f"{r.plate}_{r.well}_s{r.site}_y{r.y_px}_x{r.x_px}" for r in table.itertuples()]
    return table.assign(image_id=names).sort_values("image_id", ignore_index=True)


def _expected(units: pd.DataFrame, splits: pd.Series, mean: float) -> dict[str, int]:
    """Return the cells to be expected in each split, from the mean number in a field."""
    fields = units["share"].groupby(splits).sum()
    return {split: round(float(fields.get(split, 0)) * mean) for split in SPLITS}


def _say(
    findings: Findings,
    treatment: str,
    units: pd.DataFrame,
    splits: pd.Series,
    settings: Settings,
    expected: Mapping[str, int],
    mean: float,
) -> None:
    """Add the sentence on the units of a treatment and the cells in them."""
    level = settings.split_by
    named = unit_names(units, level, settings.tile_px)
    counts = named.groupby(splits).nunique()
    parts = [
        f"{counts[split]} in {split}" + (f" (about {expected[split]} cells)" if mean else "")
        for split in SPLITS
        if split in counts
    ]
    wells = unit_names(units, "well", 1).nunique()
    n_fields = unit_names(units, "field", 1).nunique()
    text = f"{treatment}: {wells} wells, {n_fields} fields"
    text += f", about {mean:.0f} usable cells a field" if mean else ""
    findings.add(FACT, f"{text}. Split by {level}: {', '.join(parts)}.")


def _judge(
    findings: Findings,
    treatment: str,
    expected: Mapping[str, int],
    wanted: Mapping[str, int],
    settings: Settings,
    mean: float,
) -> None:
    """Say where a run would stop for too few cells, by what the sampled fields let expect."""
    if not mean or settings.on_few_cells == "take_all" or settings.folds:
        return
    few = [
        f"about {expected[split]} of {wanted[split]} in {split}"
        for split in SPLITS
        if settings.shares[split] > 0 and expected[split] < wanted[split]
    ]
    if few:
        findings.add(
            DOUBT,
            f"{treatment} has fewer cells than select_cells asks for, by the fields that were "
            f"read: {', '.join(few)}. The run would stop there. Lower cells_{{split}}, or set "
            "on_few_cells: take_all.",
        )


def _measured(controls: Sequence[str], settings: Settings) -> list[str]:
    """Return the controls that are among the treatments that may be measured."""
    among = settings.measured_treatments
    return [control for control in controls if not among or control in among]


def _check_control(findings: Findings, control: str, splits: pd.Series, settings: Settings) -> None:
    """Say where a control has no unit although it must."""
    there = set(splits) - {DROPPED}
    for split, why in NEEDED_BY.items():
        shared = settings.shares[split] > 0 or bool(settings.named[split])
        if settings.folds:
            shared = split == EVALUATION
        if settings.counts[split] > 0 and shared and split not in there:
            findings.add(
                FAULT,
                f"The control {control} would have no cell in split {split}, which {why}. Add "
                f"wells, raise share_{split}, or split by a finer unit than {settings.split_by}.",
            )


def _check_wells(findings: Findings, controls: Sequence[str], units: pd.DataFrame) -> None:
    """Say where the controls are measured in few wells.

    Arguments:
        units: Those of split evaluation.
    """
    wells = unit_names(units, "well", 1).groupby(units["treatment"]).nunique()
    counts = {control: int(wells.get(control, 0)) for control in controls}
    if all(counts.values()) and min(counts.values()) < FEW_WELLS:
        text = " and ".join(f"{count} of {control}" for control, count in counts.items())
        findings.add(
            DOUBT,
            f"Split evaluation has few wells of the controls: {text}. Intervals over wells say "
            f"little then, and below {FEW_WELLS} Z' and SSMD stay empty. Add wells, or raise "
            "share_evaluation.",
        )


def _check_training(
    findings: Findings,
    units: pd.DataFrame,
    splits: pd.Series,
    usable: Mapping[str, Sequence[int]],
    wanted: Mapping[str, Mapping[str, int]],
) -> None:
    """Say how many cells a generator would be trained on."""
    if not usable:
        return
    total = 0
    for treatment, numbers in usable.items():
        own = units["treatment"] == treatment
        there = _expected(units[own], splits[own], float(np.mean(numbers)))[GAN]
        total += min(there, wanted[treatment][GAN])
    if total < FEW_TRAINED:
        findings.add(
            DOUBT,
            f"The generator would be trained on about {total} cells, and the shipped ones had "
            "1,800 and more. Raise share_gan and cells_gan, add plates, or start from a "
            "generator of similar cells (init_from).",
        )
