"""Take steps of Adam that need nothing from the host, so that they can be recorded."""

from __future__ import annotations

import torch

from rls.runtime.graphs import Function, Recorder, Replayed


def place_adam(optimiser: torch.optim.Adam, rate: float, recorder: Recorder) -> None:
    """Set the learning rate, and put it and the numbers of steps where Adam needs them.

    A fused step on a GPU reads them there; elsewhere they stay on the host, and the results are
    those of the plain Adam. Call it before an epoch: a checkpoint may come from another device.

    Arguments:
        optimiser: Adam or AdamW.
        rate: Its learning rate.
        recorder: Says where the steps run.
    """
    device = recorder.device
    fused = recorder.active or device.type == "cuda"
    for group in optimiser.param_groups:
        if not fused:
            group.update(lr=rate, fused=None, capturable=False)
        elif isinstance(group["lr"], torch.Tensor) and group["lr"].device.type == device.type:
            group["lr"].fill_(rate)  # A recording reads this tensor, so it must not move.
        else:
            group.update(lr=torch.tensor(rate, device=device), fused=True, capturable=False)
        for parameter in group["params"]:
            if state := optimiser.state.get(parameter):
                state["step"] = state["step"].to(device)


def recorded_step(
    name: str, step: Function, recorder: Recorder, *optimisers: torch.optim.Adam
) -> Replayed:
    """Return a step of training that is recorded once it has run a few times.

    Arguments:
        name: Its name in messages.
        step: Sets gradients to None, computes them, and takes steps of ``optimisers``.
    """

    def before() -> None:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["capturable"] = True

    def after() -> None:
        # Gradients of the recording lie in its memory and must not be kept.
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)

    return Replayed(name, step, recorder, before=before, after=after)
