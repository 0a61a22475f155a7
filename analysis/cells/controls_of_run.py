"""Tell jobs the controls of their assay, and whose plates it has, in the environment, not by flags.

No selected cell depends on that, and as flags they would repeat the selection of every finished
run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VARIABLE = "RLS_CONTROLS"
FETCHED = "RLS_FETCHED"
NOT_OF_USERS = ("bbbc021", "simulate")  # Sources whose plates no user can correct.
ROLES = ("negative_control", "positive_control")


def controls_text(assays: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the controls of all assays as :data:`VARIABLE` holds them."""
    return json.dumps({name: [block[role] for role in ROLES] for name, block in assays.items()})


def controls_of_run(output: Path) -> tuple[str, ...]:
    """Return the controls of the assay whose cells a run writes to results/ASSAY; () by hand."""
    return tuple(json.loads(os.environ.get(VARIABLE, "{}")).get(output.parent.name, ()))


def fetched_text(assays: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the assays whose plates are fetched or simulated as :data:`FETCHED` holds them."""
    return json.dumps([name for name, one in assays.items() if one["source"] in NOT_OF_USERS])


def is_fetched(output: Path) -> bool:
    """Return whether a run fetched or simulated the plates of results/ASSAY; no by hand."""
    return output.parent.name in json.loads(os.environ.get(FETCHED, "[]"))
