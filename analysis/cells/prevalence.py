"""How many cells of each treatment a split gets, where the generator's share of treated is set."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.cells.select_settings import Settings
from rls.io.names import GAN
from rls.runtime.errors import InputError


def wanted_cells(
    settings: Settings, treatments: Sequence[str], controls: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return {treatment: {split: number of cells}}.

    Without ``prevalence_gan`` every treatment gets the same. With it the two controls together get
    twice ``cells_gan`` whatever the share p: p of them, to the nearest cell, are of the positive
    control, so that the number of cells and the share of treated ones are not confounded.

    Arguments:
        controls: The negative and the positive control; only ``prevalence_gan`` needs them.

    Raises:
        InputError: The share is no share, or the controls are not known.
    """
    wanted = {treatment: dict(settings.counts) for treatment in treatments}
    share = settings.prevalence_gan
    if share is None:
        return wanted
    if not 0 <= share <= 1:
        raise InputError(
            f"Found prevalence_gan {share}, expected a share from 0 to 1. Correct "
            "select_cells.prevalence_gan."
        )
    if len(controls) != 2 or not set(controls) <= set(treatments):
        raise InputError(
            f"Found controls {', '.join(controls) or 'none'} with prevalence_gan, expected the "
            f"negative and the positive one of {', '.join(treatments)}. Give them by --controls."
        )
    negative, positive = controls
    total = 2 * settings.cells_gan
    wanted[positive][GAN] = round(share * total)
    wanted[negative][GAN] = total - wanted[positive][GAN]
    return wanted
