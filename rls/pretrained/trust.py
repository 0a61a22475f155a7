"""Trust: how far a low-resolution cell lies from the cells that a model was made for.

A search returns a plausible cell for any input, noise included. Trust says whether the input looks
like the reference. Facts of a cell are compared with those of n reference cells: high-resolution
cells that the generator has not seen, reduced by the model's own D and searched with the model's
own settings.

1. p_f is the share of reference cells that lie as far out in fact f as this cell: two-sided for
   intensities and shape, one-sided for the misfit (large is bad), the prior (small is bad) and the
   whitened distance of the result from where the encoder put the start (large is bad: the encoder
   has learned other images). It is interpolated between the reference's quantiles. Beyond the
   outermost reference cell it decreases exponentially from 1 / (n + 1), as fast as over the last
   twentieth of the reference.
2. The score is min over f of log p_f. The minimum of many p-values is not itself a p-value.
3. trust = (1 + number of reference cells with a score as low) / (1 + n), where each reference cell
   is scored by the quantiles of the other folds: a cross-conformal p-value (Vovk 2015). For cells
   exchangeable with the reference it is about uniform on [0, 1]: one in a hundred is under 0.01.

A small value means that the cell is outside the domain. A large value does not mean that the
details are true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rls.io.names import BORDERS
from rls.runtime.errors import InputError
from rls.search.forward_model import ForwardModel

N_QUANTILES = 101
FOLDS = 10
FLAGGED = 0.01  # Trust below which a cell is called unlike the reference.
LEAST_CELLS = 100  # With fewer reference cells, trust cannot fall to FLAGGED.
EDGE = 0.05  # Share of the reference that sets how fast a tail decreases.
# The facts of a search; start_distance exists where the encoder gave the start.
SEARCH_SIDES = {"loss_fidelity": "high", "log_prior": "low", "start_distance": "high"}

Facts = dict[str, np.ndarray]


def image_facts(unit: np.ndarray, channels: Sequence[str]) -> Facts:
    """Return the facts of low-resolution images (n, c, m, m) in [0, 1] units, each fact (n,).

    They are mean, sd and maximum of each channel, its contrast between centre and border, and the
    correlation of two channels over pixels. Contrast and correlation are 0 where a channel is flat.
    """
    facts: Facts = {}
    flat = unit.reshape(len(unit), len(channels), -1).astype(np.float64)
    sd = flat.std(axis=2)
    z = (flat - flat.mean(axis=2, keepdims=True)) / np.where(sd > 0, sd, 1.0)[..., None]
    side = unit.shape[-1]
    edge = max(1, side // 4)
    inner = np.zeros((side, side), dtype=bool)
    inner[edge : side - edge, edge : side - edge] = True
    for i, channel in enumerate(channels):
        facts[f"{channel}_mean"] = flat[:, i].mean(axis=1)
        facts[f"{channel}_sd"] = sd[:, i]
        facts[f"{channel}_max"] = flat[:, i].max(axis=1)
        if side > 2:
            inside, outside = z[:, i, inner.ravel()], z[:, i, ~inner.ravel()]
            facts[f"{channel}_centre"] = inside.mean(axis=1) - outside.mean(axis=1)
        for j in range(i):
            facts[f"{channels[j]}_{channel}_correlation"] = (z[:, i] * z[:, j]).mean(axis=1)
    return facts


@dataclass(frozen=True)
class Fact:
    """The distribution of one fact over the reference cells.

    Attributes:
        side: ``both``, ``high`` or ``low``: on which side a value is unlike the reference.
        quantiles: (101,) quantiles of the reference's values, from the least to the greatest.
    """

    name: str
    side: str
    quantiles: np.ndarray


@dataclass(frozen=True)
class Reference:
    """What a model's own cells look like at one factor.

    Attributes:
        n: Number of reference cells.
        facts: The facts of the images, then those of the search.
        scores: (101,) quantiles of the reference's own scores, one array for the facts of the
            ``image`` alone and one for ``all``.
    """

    n: int
    facts: tuple[Fact, ...]
    scores: dict[str, np.ndarray]

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; six digits exceed the precision that n cells give."""
        facts = {f.name: {"side": f.side, "quantiles": _short(f.quantiles)} for f in self.facts}
        scores = {name: _short(values) for name, values in self.scores.items()}
        return {"n": self.n, "facts": facts, "scores": scores}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Reference:
        """Return the reference that :meth:`as_dict` described."""
        facts = tuple(
            Fact(name, str(fact["side"]), np.asarray(fact["quantiles"], dtype=float))
            for name, fact in values["facts"].items()
        )
        scores = {name: np.asarray(v, dtype=float) for name, v in values["scores"].items()}
        return Reference(int(values["n"]), facts, scores)


def log_tail(values: np.ndarray, fact: Fact, n: int) -> np.ndarray:
    """Return log p_f of ``values`` (any shape) for ``n`` reference cells, -inf where not finite."""
    high = _log_upper(values, fact.quantiles, n)
    low = _log_upper(-values, -fact.quantiles[::-1], n)
    if fact.side == "both":
        both = np.minimum(0.0, np.log(2.0) + np.minimum(high, low))
    else:
        both = high if fact.side == "high" else low
    return np.where(np.isfinite(values), both, -np.inf)


def _log_upper(values: np.ndarray, quantiles: np.ndarray, n: int) -> np.ndarray:
    """Return the log of the share of the reference at ``values`` or above.

    The share lies between 1/(n+1) and 1 up to the largest value of the reference, and decreases
    exponentially beyond it.
    """
    grid = np.linspace(0.0, 1.0, len(quantiles))
    least = -np.log(n + 1.0)
    # Equal values count as above, because ties are no reason to distrust a cell.
    distinct, first = np.unique(quantiles, return_index=True)
    below = np.interp(values, distinct, grid[first])
    inside = np.log(1.0 / (n + 1.0) + (1.0 - below) * n / (n + 1.0))
    last, near = quantiles[-1], np.interp(1.0 - EDGE, grid, quantiles)
    # A reference without spread allows no other value, so its tail is almost vertical.
    decay = max(last - near, 1.0e-6 * max(abs(last), 1.0)) / (np.log(EDGE) - least)
    return np.where(values > last, least - (values - last) / decay, inside)


def score(facts: Facts, reference: Sequence[Fact], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return min over f of log p_f, and the position of that fact, each (number of cells,)."""
    tails = np.stack([log_tail(facts[fact.name], fact, n) for fact in reference])
    return tails.min(axis=0), tails.argmin(axis=0)


def fit(facts: Facts) -> Reference:
    """Return the reference of cells with these facts, each (n,).

    Raises:
        InputError: There are fewer cells than a small p-value needs, or a fact is not finite.
    """
    n = len(next(iter(facts.values())))
    if n < LEAST_CELLS:
        raise InputError(
            f"Found {n} reference cells, expected {LEAST_CELLS} or more: with fewer no cell can "
            f"be told to be one in a hundred. Give more splits or select more cells."
        )
    for name, values in facts.items():
        if not np.isfinite(values).all():
            raise InputError(f"The fact {name} is not finite for some reference cells.")
    groups = {"image": [name for name in facts if name not in SEARCH_SIDES], "all": list(facts)}
    fold = np.arange(n) % FOLDS
    scores = {}
    for group, names in groups.items():
        own = np.zeros(n)
        for k in range(FOLDS):
            others = [_fact(name, facts[name][fold != k]) for name in names]
            mine = {name: facts[name][fold == k] for name in names}
            own[fold == k] = score(mine, others, int((fold != k).sum()))[0]
        scores[group] = np.quantile(own, np.linspace(0.0, 1.0, N_QUANTILES))
    return Reference(n, tuple(_fact(name, values) for name, values in facts.items()), scores)


def _fact(name: str, values: np.ndarray) -> Fact:
    quantiles = np.quantile(values, np.linspace(0.0, 1.0, N_QUANTILES))
    return Fact(name, SEARCH_SIDES.get(name, "both"), quantiles)


def is_of_same_forward(entry: Mapping[str, Any], forward: ForwardModel) -> bool:
    """Return whether the reference cells of trust.json were reduced by ``forward``; print if not.

    Facts of cells that another D made tell nothing about these.
    """
    found = entry.get("forward")
    made_by = (
        ForwardModel.from_text(found)
        if found
        else ForwardModel(border=entry.get("settings", {}).get("border", BORDERS[0]))
    )
    if made_by != forward:
        print(
            f"trust: unknown, its reference cells were reduced by {made_by.describe()} and these "
            f"by {forward.describe()}. python -m rls.measure_trust measures others.",
            flush=True,
        )
    return made_by == forward


def judge(facts: Facts, reference: Reference | None) -> tuple[np.ndarray, list[str]]:
    """Return (trust, why) of all n cells; the facts of the search may be missing.

    ``why`` names the fact that lies farthest out, its value, and the reference's middle 98 %.
    Without a reference trust is NaN and ``why`` is ''.
    """
    if reference is None:
        n = len(next(iter(facts.values())))
        return np.full(n, np.nan), [""] * n
    group = "all" if all(fact.name in facts for fact in reference.facts) else "image"
    used = [f for f in reference.facts if group == "all" or f.name not in SEARCH_SIDES]
    found, worst = score(facts, used, reference.n)
    quantiles = reference.scores[group]
    grid = np.linspace(0.0, 1.0, len(quantiles))
    least = 1.0 / (reference.n + 1.0)
    trust = least + np.interp(found, quantiles, grid, left=0.0) * (1.0 - least)
    why = [_why(used[f], float(facts[used[f].name][i])) for i, f in enumerate(worst)]
    return trust, why


def _why(fact: Fact, value: float) -> str:
    low, high = fact.quantiles[1], fact.quantiles[-2]
    return f"{fact.name} {value:.3g} (98 % of reference: {low:.3g} to {high:.3g})"


def more_than_expected(trust: np.ndarray) -> bool:
    """Return whether so many cells under :data:`FLAGGED` have a probability below 1 in 20."""
    flagged = int((trust < FLAGGED).sum())
    return bool(flagged and stats.binom.sf(flagged - 1, len(trust), FLAGGED) < 0.05)


def print_trust(trust: np.ndarray, why: Sequence[str]) -> None:
    """Print how many cells are unlike the reference; warn where chance does not explain them.

    Arguments:
        trust: (n,), NaN where unknown.
        why: n texts; the first word of each names a fact.
    """
    if not np.isfinite(trust).any():
        return
    flagged = trust < FLAGGED
    n, expected = len(trust), FLAGGED * len(trust)
    if not more_than_expected(trust):
        print(
            f"trust: {flagged.sum()} of {n} cells are under {FLAGGED:g}; of cells like the "
            f"model's own about {expected:.1f} would be",
            flush=True,
        )
        return
    facts = pd.Series([w.split(" ")[0] for w, hit in zip(why, flagged, strict=True) if hit])
    worst = ", ".join(f"{name} ({count})" for name, count in facts.value_counts().head(3).items())
    print(
        f"WARNING: {flagged.sum()} of {n} cells look unlike the cells that this model has learned "
        f"({expected:.1f} would by chance). Most often by: {worst}. Their super-resolved images "
        "may look like cells all the same; there is no reason to believe them. Check the order of "
        "the channels, the intensity scale, the magnification and the cropping. Columns trust and "
        "trust_why of the table say more.",
        flush=True,
    )


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
