"""Adam with lazy regularisation, and the running average of the generator's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

ADAM_BETAS = (0.0, 0.99)  # StyleGAN2, appendix B
ADAM_EPSILON = 1e-8
MOMENTS = ("exp_avg", "exp_avg_sq")  # torch's names of the moments


def lazy_adam(
    parameters: Sequence[nn.Parameter], learning_rate: float, interval: int | None
) -> torch.optim.Adam:
    """Return Adam as in StyleGAN2, with rate and betas rescaled for a lazy regularisation.

    A regularisation every k steps adds a step to k main steps. With c = k / (k + 1) the rate is
    multiplied by c, and the betas are raised to the power of c (StyleGAN2, appendix B).

    Arguments:
        interval: Steps k between regularisations; None without one.
    """
    share = 1.0 if interval is None else interval / (interval + 1)
    betas = (ADAM_BETAS[0] ** share, ADAM_BETAS[1] ** share)
    return torch.optim.Adam(parameters, learning_rate * share, betas, ADAM_EPSILON, fused=True)


def load_adam(optimizer: torch.optim.Adam, state: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Load the state of an Adam, with every moment in the memory layout of its parameter.

    The fused Adam reads both in the order of memory. A GPU refuses moments in another layout, and
    a CPU takes their numbers in the wrong order without a word.

    Arguments:
        state: ``step`` and moments of each parameter by its number, on any device.
    """
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, own in optimizer.state.items():
        for name in MOMENTS:
            own[name] = torch.empty_like(parameter).copy_(own[name])


def ema_decay(
    batch_size: int, images_seen: int, ema_kimg: float, ema_rampup: float | None
) -> float:
    """Return the factor of the old average in one step, 0.5^(batch / half-life).

    The half-life is ema_kimg thousand images, but at most ema_rampup * images_seen: at the start it
    is 0, and the average is a copy.
    """
    half_life = ema_kimg * 1000
    if ema_rampup is not None:
        half_life = min(half_life, ema_rampup * images_seen)
    return 0.5 ** (batch_size / max(half_life, 1e-8))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Set each parameter to network + decay (average - network), and copy the buffers."""
    old: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(network.parameters())
    torch._foreach_lerp_(old, new, 1 - decay)
    buffers = list(average.buffers())
    if buffers:  # all in one kernel
        torch._foreach_copy_(buffers, list(network.buffers()))
