"""Apply a trained U-Net: Pix2Pix (Isola et al. 2017), or its twin trained on L1 alone.

x^ = U(enlarged y) is one pass without a search, so nothing holds D(x^) to y; ``loss_fidelity``
measures how far apart they are. With ``dropout_at_test`` the masks come from each image's own
random stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rls.io.names import BORDERS, OK
from rls.networks.pix2pix import UNet, enlarged, load_unet
from rls.runtime.command import option
from rls.runtime.errors import InputError
from rls.search.forward import upscale
from rls.search.forward_model import ForwardModel
from rls.search.objective import fidelity
from rls.search.problem import BatchProgress, Problem, Reconstruction, need, to_unit

NEEDS_GENERATOR = False
TRAINED_BY = "train_pix2pix"  # The workflow reads this.


@dataclass(frozen=True)
class Settings:
    """The weight with which the network must have been trained, and how the network is used."""

    adversarial_weight: float = option(
        "Weight of the discriminator's verdict in training; 0 trains on L1 alone.", least=0
    )
    dropout_at_test: bool = option("Leave dropout on, as published: it is the method's noise.")
    forward_op: str = option(
        "trained: only images of the D of its training are accepted; any: others, too (Fig. 6).",
        choices=("trained", "any"),
        default="trained",
    )


@torch.no_grad()
def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return the network's images; ``loss_fidelity`` is mean |y - D(x)|, as for a search.

    Raises:
        InputError: The network was trained for other images, with another adversarial_weight, or
            on images of another D.
    """
    path = need(problem.network, "network")
    modified_ns = path.stat().st_mtime_ns if path.exists() else 0
    size, n_channels = problem.forward.size_in, int(problem.y.shape[1])
    net, header = _loaded(path, modified_ns, problem.device, problem.factor, size, n_channels)
    if header["adversarial_weight"] != settings.adversarial_weight:
        raise InputError(
            f"{path} was trained with adversarial_weight {header['adversarial_weight']:g}, and "
            f"this method has {settings.adversarial_weight:g}. Give the network of this method."
        )
    if settings.forward_op == "trained":
        _check_forward(path, header, problem)
    low_size = (int(problem.y.shape[2]), int(problem.y.shape[3]))
    source = enlarged(problem.y, upscale(low_size, problem.factor).to(problem.device))
    masks = None
    if settings.dropout_at_test:
        drawn = net.masks_of(problem.image_ids, problem.seed)
        masks = {level: mask.to(problem.device) for level, mask in drawn.items()}
    images = to_unit(net(source, masks))
    loss = fidelity(problem.y, problem.forward(images)).cpu().numpy()
    status = np.full(len(loss), OK, dtype=object)
    return Reconstruction(images, None, {"loss_fidelity": loss, "search_status": status})


def _check_forward(path: Path, header: Mapping[str, Any], problem: Problem) -> None:
    """Refuse a network whose pairs were made by another D than the problem's."""
    text, model = header.get("forward"), problem.forward.model
    # Networks of earlier versions name the border alone, or nothing.
    older = ForwardModel(border=header.get("border", BORDERS[0]))
    made_by = ForwardModel.from_text(text) if text else older
    if model is not None and made_by != model:
        raise InputError(
            f"{path} was trained on images of {made_by.describe()}, and these were made by "
            f"{model.describe()}. Train it on these, or set forward_op: any."
        )


@lru_cache(maxsize=1)
def _loaded(
    path: Path,
    modified_ns: int,
    device: torch.device,
    factor: int,
    size: tuple[int, int],
    n_channels: int,
) -> tuple[UNet, dict[str, Any]]:
    """Read the network once for all batches: at full width it is 200 MB, checked by digest."""
    return load_unet(path, device, factor=factor, image_size=size, n_channels=n_channels)
