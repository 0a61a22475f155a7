"""Method ``bicubic``: Pillow's bicubic enlargement. The operator D is in forward.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rls.io.names import OK
from rls.search.forward import upscale
from rls.search.objective import fidelity
from rls.search.problem import BatchProgress, Problem, Reconstruction

NEEDS_GENERATOR = False  # The workflow reads this and trains no network for the row.


@dataclass(frozen=True)
class Settings:
    """Bicubic enlargement has no settings."""


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return the enlarged images; ``loss_fidelity`` is mean |y - D(x)|, as for a search."""
    size = (int(problem.y.shape[2]), int(problem.y.shape[3]))
    images = upscale(size, problem.factor).to(problem.device)(problem.y)
    loss = fidelity(problem.y, problem.forward(images)).cpu().numpy()
    status = np.full(len(loss), OK, dtype=object)
    return Reconstruction(images, None, {"loss_fidelity": loss, "search_status": status})
