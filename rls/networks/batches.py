"""Apply a network to images in whole batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def in_batches(
    function: Callable[[Tensor], Tensor],
    images_unit: np.ndarray,
    device: torch.device,
    batch_size: int,
) -> np.ndarray:
    """Return float32 (n, d), the features that ``function`` computes of n > 0 images (n, c, y, x).

    The last batch is filled by repeats, so that a result does not depend on the other images.
    """
    parts = []
    for start in range(0, len(images_unit), batch_size):
        batch = images_unit[start : start + batch_size]
        n = len(batch)
        tensor = torch.as_tensor(
            batch[np.arange(batch_size) % n], dtype=torch.float32, device=device
        )
        with torch.no_grad():
            parts.append(function(tensor)[:n].float().cpu().numpy())
    return np.concatenate(parts)
