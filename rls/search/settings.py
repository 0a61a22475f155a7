"""Settings that all searches share: section ``super_resolve`` of the configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from rls.runtime.command import option
from rls.runtime.errors import InputError

AS_DEGRADED, WITH_BLUR, PLAIN = "as_degraded", "with_blur", "bicubic"
SHARED = "shared"  # The choice of a method that keeps to these settings.
FORWARDS = (AS_DEGRADED, WITH_BLUR, PLAIN)  # The D of a search.
OF_TRAINED = ("trained", "any")  # The choices of a trained network, which is told no D.
AUTO: Literal["auto"] = "auto"
MOST_AT_ONCE, ON_A_CPU = 64, 4  # Images of batch_size auto; 200 at once are 3 % faster than 64.
# D is named by what it is, not by the settings that choose it.
OF_FORWARD = ("forward", "operator", "border", "psf_sd_um", "psf_file", "kernel_file", "shift_px")
NOT_IN_RESULT = ("device", "threads", "cuda_graphs", "compile", *OF_FORWARD)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that all searches share."""

    batch_size: int | Literal["auto"] = option(
        "Images searched at a time; every batch is filled to this size. auto: what the memory of "
        "the GPU allows, 64 at most; on a CPU 4.",
        least=1,
    )
    precision: str = option(
        "Precision of the convolutions during the search; auto is bfloat16 where the device is "
        "fast at it. Results are evaluated in float32.",
        choices=("auto", "float32", "bfloat16"),
    )
    noise: str = option(
        "Noise maps of the generator: shared by all images, or per_image.",
        choices=("shared", "per_image"),
    )
    forward: str = option(
        "D in the search: as_degraded, the D that made the images; with_blur, that and the "
        "gaussian_blur of their chain; bicubic, whatever made them.",
        choices=FORWARDS,
        default=AS_DEGRADED,
    )
    seed: int = option("Seed of noise maps and of random starts.", least=0)
    device: str = option("auto, cpu or cuda.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.", least=1)
    cuda_graphs: str = option(
        "auto: on a GPU a step is recorded once as a CUDA graph and replayed; off. The result is "
        "the same.",
        choices=("auto", "off"),
        default="auto",
    )
    compile: str = option(
        "auto: in long searches on a GPU the generator is compiled by torch, which takes minutes; "
        "off. Results are equal but for rounding.",
        choices=("auto", "off"),
        default="auto",
    )

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, int) and self.batch_size < 1:
            raise InputError(f"Found batch_size {self.batch_size}, expected 1 or more.")

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the result, but for D, which stands beside them."""
        return {k: v for k, v in asdict(self).items() if k not in NOT_IN_RESULT}


def forward_choice(own: str, shared: str) -> str:
    """Return which D a method is told: its own choice, else the shared one.

    The images of a trained network are compared by the D that made them.
    """
    if own in OF_TRAINED:
        return AS_DEGRADED
    return own if own in FORWARDS else shared
