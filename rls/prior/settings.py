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
    n_blocks: int = option("Flow blocks, a batch norm behind each.", least=1)
    hidden: int = option("Width of all hidden layers.", least=1)
    learning_rate: float = option("Adam's learning rate.", above=0)
    weight_decay: float = option("Adam's L2 weight decay.", least=0)
    batch_size: int = option(
        "Styles per step. More of them with a higher learning rate take fewer steps and give "
        "another flow.",
        least=1,
    )
    max_epochs: int = option("Largest number of epochs.", least=1)
    patience_epochs: int = option(
        "Stop after this many epochs without a better log p of the validation styles.", least=1
    )
    validation_share: float = option(
        "Share of the styles held out for validation, 0 to 1.", above=0, below=1
    )
    gradient_clip: float = option("Largest norm of the gradient of a step.", above=0)
    cuda_graphs: str = option(
        "auto: on a GPU a step is recorded once as a CUDA graph and replayed; off. The result is "
        "the same.",
        choices=("auto", "off"),
        default="auto",
    )
    seed: int = option(
        "Seed of the initial weights, the split and the order of the batches.", least=0
    )
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.", least=1)
