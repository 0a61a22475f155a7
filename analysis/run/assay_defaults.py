"""The keys of an assay that follow from its other keys where a configuration leaves them out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

CONTROLS = ("negative_control", "positive_control")  # The first and the second treatment.


def fill_defaults(config: Mapping[str, Any]) -> None:
    """Fill the keys that an assay leaves out, in place; doing it again changes nothing.

    What cannot be derived stays out, and the schema names it. Values of a wrong type are left to
    the schema, too.
    """
    assays, run = config.get("assays"), config.get("run")
    factors = run.get("factors") if isinstance(run, dict) else None
    for name, block in assays.items() if isinstance(assays, dict) else ():
        if isinstance(block, dict):
            for key, value in _derived(name, block, factors).items():
                block.setdefault(key, value)


def _derived(name: str, block: Mapping[str, Any], factors: object) -> dict[str, Any]:
    """Return the keys that can be derived for the assay ``name``, whether it has them or not."""
    found: dict[str, Any] = {"title": name.replace("_", " ")}
    if "source" in block:
        found["simulated"] = block["source"] == "simulate"
    channels, treatments = block.get("channels"), block.get("treatments")
    if isinstance(channels, list) and channels:
        found |= {"nucleus_channel": channels[0], "marker_channel": channels[-1]}
    if isinstance(treatments, list):
        found |= dict(zip(CONTROLS, treatments, strict=False))
    size = block.get("image_size")
    if isinstance(size, int) and not isinstance(size, bool):
        own = block.get("factors", factors)
        if block.get("resolution") != "low":
            found["crop_size"] = _turned(size)
        elif isinstance(own, list) and len(own) == 1 and isinstance(own[0], int) and own[0] > 0:
            found["crop_size"] = size // own[0]
    return found


def _turned(size: int) -> int:
    """Return the least even side of a square that holds a square of ``size`` turned by any angle.

    That is 46 for 32, 92 for 64 and 182 for 128 px.
    """
    return 2 * math.ceil(size * math.sqrt(2) / 2)
