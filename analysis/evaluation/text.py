"""The record of an evaluation as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rls.pretrained.quality import estimate_text


def lines_of(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines."""
    held, seen = record["held_out"], record["images_seen"]
    yield f"generator {record['generator_digest'][:12]}, {(seen or 0) / 1000:g} kimg"
    yield (
        f"kernel distance {held['kd']:.3f} (floor {held['kd_floor']:.3f}), spread "
        f"{held['spread']:.2f}, n {held['n']}"
    )
    if found := record.get("inversion"):
        yield (
            f"HR itself searched: PSNR {found['psnr_db']:.1f} dB (median), L1 {found['l1']:.4f}, "
            f"noise alone about {found['noise_l1']:.4f}; n {found['n']}, rate "
            f"{found['learning_rate']:g}, {found['steps']} steps"
        )
    yield "layouts: " + ", ".join(f"{name} {x:.2f}" for name, x in record["layouts"].items())
    yield "regression fitted to generated images | to cells, tested on tune: shift kept; r within"
    for factor, both in record["regression"].items():
        for name in both["generated"]["features"]:
            parts = [_kept(both[what]["features"][name]) for what in ("generated", "cells")]
            yield f"  {factor} {name}: {parts[0]} | {parts[1]}"
    yield "percentiles 5 25 50 75 95 of features"
    for name in next(iter(record["features"].values()))["percentiles"]:
        yield f"  {name}"
        for group, found in record["features"].items():
            yield f"    {group:24}{_numbers(found['percentiles'][name])}  n {found['n']}"
    for feature in next(iter(record["shapes"].values()), {}):
        yield f"percentiles 5 25 50 75 95 of the parts of {feature}"
        for group, found in record["shapes"].items():
            parts = found[feature]
            for column in (key for key in parts if key != "n"):
                yield f"    {column:12}{group:24}{_numbers(parts[column])}  n {parts['n']}"


def _kept(row: Mapping[str, Any]) -> str:
    """Return shift and r with intervals, and r of each treatment."""
    alone = " ".join(_value(x) for x in row["correlation_by_treatment"].values())
    shift, r = (estimate_text(row[key]) for key in ("shift_kept", "correlation"))
    return f"{shift}; {r} ({alone}) n {row['n_cells']}"


def _value(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.2f}" if "value" in found else "-"


def _numbers(values: list[float] | None) -> str:
    return " ".join(f"{x:8.3g}" for x in values) if values else "none"
