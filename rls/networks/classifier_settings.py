"""Settings of the treatment classifier; section ``train_classifier`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option

# Settings that a resumed training may change.
MAY_CHANGE = ("epochs", "patience_epochs", "cuda_graphs", "device", "threads")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Training of the treatment classifier."""

    epochs: int = option("Largest number of passes over the training cells.", least=1)
    batch_size: int = option("Images per step.", least=1)
    learning_rate: float = option("Step size of AdamW.", above=0)
    weight_decay: float = option("Weight decay of AdamW.", least=0)
    width: int = option("Channels of the first layer.", least=1)
    dropout: float = option("Share of the 32 features left out in training.", least=0, below=1)
    patience_epochs: int = option(
        "Stop after this many epochs without a lower loss on tune.", least=1
    )
    cuda_graphs: str = option(
        "auto: on a GPU a step is recorded once as a CUDA graph and replayed; off. The result is "
        "the same.",
        choices=("auto", "off"),
        default="auto",
    )
    seed: int = option("Seed of the weights, the order and the orientations.", least=0)
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.", least=1)
