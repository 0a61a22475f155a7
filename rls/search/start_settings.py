"""Where a search of Eq. 5 starts, in which coordinates it walks, and in which units it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rls.runtime.command import option
from rls.runtime.errors import InputError

MEAN, ENCODER, DRAWS, RANDOM = "mean", "encoder", "draws", "random"
STARTS = (MEAN, ENCODER, DRAWS, RANDOM)
BY_ENCODER = (ENCODER, DRAWS)  # the starts that the encoder gives
SPREAD = (DRAWS, RANDOM)  # the starts that deviate by a random number from another one
PLAIN, WHITENED = "w", "whitened"
FLOW, NORMAL = "flow", "normal"
ABSOLUTE, PER_VALUE = "absolute", "per_value"


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """The start, the coordinates and the units; their defaults are the article's."""

    start: str = option(
        "mean: the mean style (article); encoder: E[w | y] of the encoder; draws: a draw of its "
        "posterior; random: G_m(z) of a random z.",
        choices=STARTS,
        default=MEAN,
    )
    start_spread: float = option(
        "Scale of the deviation of draws from the encoder's mean, and of random starts from the "
        "mean style.",
        default=1.0,
        least=0,
    )
    steps_w: int = option(
        "First steps, in which all styles of an image are one (W); those of steps follow in W+.",
        default=0,
        least=0,
    )
    lambda_start: float = option(
        "Weight of the mean squared whitened distance from the start; 0 leaves it out.",
        default=0.0,
        least=0,
    )
    coordinates: str = option(
        "w: Adam moves the styles (article); whitened: principal components of the styles before "
        "their last activation, in units of their standard deviations.",
        choices=(PLAIN, WHITENED),
        default=PLAIN,
    )
    prior: str = option(
        "Density of the styles in P_w. flow: p_F (article). normal: N(0, I) of the whitened "
        "coordinates, in closed form, without a flow.",
        choices=(FLOW, NORMAL),
        default=FLOW,
    )
    lambda_unit: str = option(
        "absolute: the lambdas weigh terms beside mean |y - D(x)| (article); per_value: beside the "
        "sum of |y - D(x)| over noise_scale, so that one lambda serves every size of y.",
        choices=(ABSOLUTE, PER_VALUE),
        default=ABSOLUTE,
    )
    noise_scale: float | None = option(
        "Mean |noise| of y on the scale of [0, 1]; for lambda_unit per_value.",
        default=None,
        above=0,
    )

    def check_start(self) -> None:
        """Refuse settings of the start that do not fit together.

        Raises:
            InputError: A number is out of range, is missing or is not used.
        """
        if self.steps_w < 0 or self.lambda_start < 0 or self.start_spread < 0:
            raise InputError(
                f"Found steps_w {self.steps_w}, lambda_start {self.lambda_start:g} and "
                f"start_spread {self.start_spread:g}, expected 0 or more."
            )
        if self.start_spread != 1.0 and self.start not in SPREAD:
            raise InputError(
                f"Found start_spread {self.start_spread:g} with start {self.start}, which has no "
                f"deviation. Leave it out, or set start: {DRAWS} or {RANDOM}."
            )
        per_value = self.lambda_unit == PER_VALUE
        if per_value and not (self.noise_scale or 0.0) > 0:
            raise InputError(
                f"Found noise_scale {self.noise_scale} with lambda_unit per_value, expected the "
                f"mean |noise| of y on [0, 1], above 0. Give it."
            )
        if not per_value and self.noise_scale is not None:
            raise InputError(
                f"Found noise_scale {self.noise_scale:g}, which lambda_unit absolute does not use. "
                f"Leave it out, or set lambda_unit: per_value."
            )


def by_encoder(block: Mapping[str, object]) -> bool:
    """Return whether the block of a method asks the encoder for its start."""
    return block.get("start", MEAN) in BY_ENCODER
