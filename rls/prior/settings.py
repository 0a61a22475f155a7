"""Settings of the flow and its fit; section ``fit_flow`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option

FLOWS = ("maf", "realnvp")
# Settings that a resumed fit may change.
MAY_CHANGE = ("max_epochs", "device", "threads", "cuda_graphs")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The flow and how it is fitted."""

    flow: str = option("Kind of flow: maf (masked autoregressive) or realnvp.", choices=FLOWS)
    n_blocks: int = option("Flow blocks, a batch norm behind each.")
    hidden: int = option("Width of all hidden layers.")
    learning_rate: float = option("Adam's learning rate.")
    weight_decay: float = option("Adam's L2 weight decay.")
    batch_size: int = option(
        "Styles per step. More of them with a higher learning rate take fewer steps and give "
        "another flow."
    )
    max_epochs: int = option("Largest number of epochs.")
    patience_epochs: int = option(
        "Stop after this many epochs without a better log p of the validation styles."
    )
    validation_share: float = option("Share of the styles held out for validation, 0 to 1.")
    gradient_clip: float = option("Largest norm of the gradient of a step.")
    cuda_graphs: str = option(
        "auto: on a GPU a step is recorded once as a CUDA graph and replayed; off. The result is "
        "the same.",
        choices=("auto", "off"),
        default="auto",
    )
    seed: int = option("Seed of the initial weights, the split and the order of the batches.")
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")
