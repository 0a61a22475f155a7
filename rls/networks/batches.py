"""Apply a network to images in whole batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rls.runtime.transfer import Gathered, upload


def in_batches(
    function: Callable[[Tensor], Tensor],
    images_unit: np.ndarray,
    device: torch.device,
    batch_size: int,
) -> np.ndarray:
    """Return float32 (n, d), the features that ``function`` computes of n > 0 images (n, c, y, x).

    The last batch is filled by repeats, so that a result does not depend on the other images.
    """
    n, found = len(images_unit), Gathered(len(images_unit))
    for start in range(0, n, batch_size):
        batch = images_unit[start : start + batch_size]
        filled = torch.as_tensor(batch[np.arange(batch_size) % len(batch)], dtype=torch.float32)
        with torch.no_grad():
            found.add(function(upload(filled, device)).float())
    return found.result().numpy()
