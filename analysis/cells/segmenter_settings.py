"""Settings of ``train_segmenter``."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option
from rls.runtime.errors import InputError

CELLPOSE_DIAMETER_PX = 17.0  # Nuclei are scaled to it, in Cellpose's own nuclear model and in ours.


@dataclass(frozen=True)
class Settings:
    """Settings of section ``train_segmenter``."""

    fields: int = option("Simulated fields to train on.", least=1)
    held_out_fields: int = option("Simulated fields on which F1 is measured.", least=1)
    field_px: int = option("Side of a simulated field, in px; a nucleus is 17 px.", least=1)
    neighbours: tuple[float, ...] = option(
        "Least and greatest mean number of other cells in an area of 2x2 crops.", least=0
    )
    nearest_centres_nd: tuple[float, ...] = option(
        "Range of the least distance between two nuclei: smallest and largest, in nd.", least=0
    )
    epochs: int = option("Passes of the training; the rate warms up over the first ten.", least=1)
    fields_per_epoch: int = option("Fields drawn in an epoch, a patch of each.", least=1)
    batch_size: int = option("Patches in a step.", least=1)
    patch_px: int = option("Side of a patch, in px; a multiple of 8.", least=8)
    learning_rate: float = option("Peak learning rate of AdamW.", above=0)
    weight_decay: float = option("Weight decay of AdamW.", least=0)
    flow_threshold: float = option(
        "flow_threshold (section crop_cells) of the held-out test.", least=0
    )
    seed: int = option("Seed of the fields and of the weights.", least=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.", least=1)

    def __post_init__(self) -> None:
        for name in ("neighbours", "nearest_centres_nd"):
            values = getattr(self, name)
            if len(values) != 2 or values[0] > values[1]:
                raise InputError(
                    f"Found {name} {list(values)}, expected two numbers, least and greatest. "
                    f"Correct train_segmenter.{name}."
                )
        if self.patch_px % 8:
            raise InputError(
                f"Found patch_px {self.patch_px}, expected a multiple of 8: Cellpose halves it "
                "three times. Correct train_segmenter.patch_px."
            )
