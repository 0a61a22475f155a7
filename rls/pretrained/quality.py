"""The card's section on the tests of a generator, from what ``evaluate_generator`` has written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rls.pretrained.files import QUALITY, read_json
from rls.runtime.errors import InputError

TESTED = """
## What the generator knows of the cells

| test | value |
| --- | --- |
| kernel distance to {n} cells of tune (that of cells of gan) | {kd:.3f} ({kd_floor:.3f}) |
| spread of layouts divided by that of cells | {layouts} |
{rows}
Made by `analysis.evaluate_generator`; `{file}` has all features, their distributions and the shapes
found in generated images and in cells. Shift: difference of the medians of {controls}, divided by
that of the cells. r: correlation within treatments. Numbers in square brackets are 95 % intervals
over wells, unless the file says otherwise.
"""
INVERSION = (
    "| a search for HR itself, {n} cells, {steps} steps | PSNR {psnr_db:.1f} dB, L1 {l1:.4f} "
    "(the noise alone: about {noise_l1:.4f}) |"
)
REGRESSION = (
    "| {feature} at {factor} by a regression from {n_generated:,} generated images alone (from "
    "{n_cells:,} cells), tested on {n} cells of tune | shift {shift} ({shift_of_cells}), r {r} "
    "({r_of_cells}) |"
)


def card_section(folder: Path, generator: str) -> str:
    """Return the section, '' for a model folder whose generator was not tested.

    Raises:
        InputError: The test is that of another generator.
    """
    found = read_json(folder / QUALITY)
    if not found:
        return ""
    if found["generator_digest"] != generator:
        raise InputError(
            f"{folder / QUALITY} is of the generator {found['generator_digest'][:12]}, and that of "
            f"the folder is {generator[:12]}. Run evaluate_generator again."
        )
    rows = [INVERSION.format(**found["inversion"])] if "inversion" in found else []
    for factor, both in found["regression"].items():
        rows += [_regression(feature, factor, both) for feature in found["primary"]]
    return TESTED.format(
        **found["held_out"] | {"layouts": _layouts(found["layouts"])},
        rows="".join(f"{row}\n" for row in rows),
        file=QUALITY,
        controls=" and ".join(found["controls"]),
    )


def _layouts(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{channel} {share:.2f}" for channel, share in shares.items())


def _regression(feature: str, factor: str, both: Mapping[str, Any]) -> str:
    generated, cells = (both[one]["features"][feature] for one in ("generated", "cells"))
    return REGRESSION.format(
        feature=feature,
        factor=factor,
        n=generated["n_cells"],
        n_generated=both["generated"]["n_pairs"],
        n_cells=both["cells"]["n_pairs"],
        shift=estimate_text(generated["shift_kept"]),
        shift_of_cells=estimate_text(cells["shift_kept"]),
        r=estimate_text(generated["correlation"]),
        r_of_cells=estimate_text(cells["correlation"]),
    )


def estimate_text(found: Mapping[str, Any]) -> str:
    """Return an estimate with its interval, such as ``0.94 [0.71 1.17]``; ``-`` without a value."""
    if "value" not in found:
        return "-"
    if "low" not in found:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f} {found['high']:.2f}]"
