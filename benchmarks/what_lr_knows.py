"""Simulate what an LR image can know of a feature, and what one draw and a mean of K draws have.

    python -m benchmarks.what_lr_knows                          # about two minutes on one core
    python -m benchmarks.what_lr_knows --output docs/what_lr_knows.png

Three worlds in which p(h | y) is known, so that draws from it are exact:

* gaussian: the feature h and what LR shows of it, y, are jointly Gaussian;
* counts: h counts spots, Poisson with a rate that varies between cells (gamma), and y counts
  photons of the same rate. h is a whole number, skewed, and its spread depends on y;
* two treatments: a Gaussian feature with a shift between treatments, of which y tells only a part,
  so the posterior mixes both treatments.

For each the correlation with h of the best prediction E[h | y] (c), of one exact draw, of means of
K draws and of a search that ends at a mode (gaussian: the mean) is set against the formula of
:mod:`analysis.numbers.ceiling`. Then the interval of r over the formula, as the table of features
has it, is made for many small experiments of exact draws, in which the truth is 1.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.numbers.agreement import correlation_within
from analysis.numbers.ceiling import against_ceiling, mean_of_draws

DRAWS = (1, 2, 4, 6, 16)
CELLS = 200_000
SHIFT = 1.5  # between treatments, in sd of h within one


class World(NamedTuple):
    """Cells of which the posterior is known.

    Attributes:
        truth, best: (n,) h and E[h | y].
        positive: (n,) whether a cell is of the second treatment; all False where there is one.
        draw: Returns n exact draws, one a cell.
    """

    truth: np.ndarray
    best: np.ndarray
    positive: np.ndarray
    draw: Callable[[], np.ndarray]


def gaussian(random: np.random.Generator, n: int, known: float) -> World:
    """Return a world of variance 1 in which y tells a share ``known`` of the variance."""
    best = math.sqrt(known) * random.normal(size=n)

    def draw() -> np.ndarray:
        return best + math.sqrt(1 - known) * random.normal(size=n)

    return World(draw(), best, np.zeros(n, bool), draw)


def counts(random: np.random.Generator, n: int, known: float) -> World:
    """Return counts of spots with mean 8, from rates of sd 4; photons are set to tell ``known``.

    The rate is gamma of shape 4 and scale 2, and y is Poisson with t times the rate. The variance
    of h is 8 + 16, and that of E[h | y] is 16 t / (t + 1/2).
    """
    t = 0.5 * known / (16 / 24 - known)
    rate = random.gamma(4.0, 2.0, n)
    photons, truth = random.poisson(t * rate), random.poisson(rate).astype(float)
    shape, scale = 4.0 + photons, 1 / (0.5 + t)

    def draw() -> np.ndarray:
        return random.poisson(random.gamma(shape, scale)).astype(float)

    return World(truth, shape * scale, np.zeros(n, bool), draw)


def two_treatments(random: np.random.Generator, n: int, known: float) -> World:
    """Return two treatments; inside one, y tells a share ``known`` of the variance of h."""
    noise = (1 - known) / known
    positive = random.random(n) < 0.5
    truth = SHIFT * positive + random.normal(size=n)
    y = truth + math.sqrt(noise) * random.normal(size=n)
    # y is N(SHIFT t, 1 + noise) in treatment t.
    odds = np.exp((SHIFT * y - SHIFT**2 / 2) / (1 + noise))
    share = odds / (1 + odds)
    means = [SHIFT * t + known * (y - SHIFT * t) for t in (0, 1)]

    def draw() -> np.ndarray:
        side = random.random(n) < share
        return np.where(side, means[1], means[0]) + math.sqrt(1 - known) * random.normal(size=n)

    return World(truth, (1 - share) * means[0] + share * means[1], positive, draw)


WORLDS = {"gaussian": gaussian, "counts": counts, "two treatments": two_treatments}


def rows_of(world: World) -> Iterator[dict[str, float]]:
    """Yield c, r of means over K draws and the formula, over all cells and within treatments."""
    draws = np.stack([world.draw() for _ in range(max(DRAWS))])
    nothing = np.zeros(len(world.truth), bool)
    for within, sides in ((0.0, nothing), (1.0, world.positive)):
        if within and not sides.any():
            continue
        c = correlation_within(world.truth, world.best, sides)
        for k in DRAWS:
            mean = draws[:k].mean(axis=0)
            yield {
                "within treatments": within,
                "K": k,
                "c": c,
                "r": correlation_within(world.truth, mean, sides),
                "formula": mean_of_draws(c, k),
                "sd ratio": spread(mean, sides) / spread(world.truth, sides),
                "shift kept": shift(mean, sides) / shift(world.truth, sides) if within else np.nan,
            }


def spread(values: np.ndarray, sides: np.ndarray) -> float:
    """Return the sd, or the root mean variance of both sides."""
    parts = [values[here] for here in (sides, ~sides) if here.any()]
    return math.sqrt(float(np.mean([part.var() for part in parts])))


def shift(values: np.ndarray, sides: np.ndarray) -> float:
    """Return the difference of medians of both sides."""
    return float(np.median(values[sides]) - np.median(values[~sides]))


def simulated(seed: int, n: int) -> pd.DataFrame:
    """Return the numbers of every world and share of the variance that y tells."""
    rows = []
    for name, make in WORLDS.items():
        for known in (0.05, 0.15, 0.4, 0.6):
            random = np.random.default_rng([seed, len(rows)])
            rows += [{"world": name, **row} for row in rows_of(make(random, n, known))]
    return pd.DataFrame(rows)


def coverage(seed: int, simulations: int, wells: int, per_well: int, k: int) -> tuple[float, float]:
    """Return how often the 95 % interval of r over the formula holds 1, and its median width.

    Cells are Gaussian of c = 0.63, in wells without effects of their own, two treatments.
    """
    held, widths = [], []
    well = np.repeat(np.arange(2 * wells), per_well)
    table = pd.DataFrame({"plate": "P", "well": well.astype(str), "site": 1})
    table["treatment"] = np.where(well < wells, "a", "b")
    for number in range(simulations):
        world = gaussian(np.random.default_rng([seed, number]), len(table), 0.63**2)
        mean = np.mean([world.draw() for _ in range(k)], axis=0)
        share = against_ceiling(table, world.truth, mean, world.best, k, confidence=0.95)[-1]
        held.append(share.low <= 1 <= share.high)
        widths.append(share.high - share.low)
    return float(np.mean(held)), float(np.median(widths))


def draw_picture(table: pd.DataFrame, path: Path) -> None:
    """Draw r against K for the three worlds: dots simulated, lines the formula, c dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 2.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    smooth = np.geomspace(1, max(DRAWS), 60)
    for axes, (name, part) in zip(panels, table.groupby("world", sort=False), strict=True):
        within = part["within treatments"].max()
        shown = part[part["within treatments"] == within]
        for index, (c, own) in enumerate(shown.groupby("c")):
            colour = f"C{index}"
            axes.plot(smooth, [mean_of_draws(float(c), k) for k in smooth], color=colour)
            axes.plot(own["K"], own["r"], "o", color=colour, markersize=4)
            axes.axhline(float(c), color=colour, linestyle="--", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(DRAWS, [str(k) for k in DRAWS])
        axes.minorticks_off()
        axes.set_xlabel("K, draws in the mean")
        axes.set_title(name + (", r within treatments" if within else ""), fontsize=9)
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("correlation with the truth")
    figure.savefig(path, dpi=160)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the picture where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cells", type=int, default=CELLS, help="cells of a world")
    parser.add_argument("--simulations", type=int, default=400, help="of each interval")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="the picture, *.png")
    args = parser.parse_args(argv)
    table = simulated(args.seed, args.cells)
    print(table.round(3).to_string(index=False))
    print(f"\nCoverage of r over the formula, {args.simulations} simulations of exact draws:")
    for wells, per_well, k in ((3, 50, 1), (6, 50, 1), (6, 50, 6), (12, 50, 6)):
        held, width = coverage(args.seed, args.simulations, wells, per_well, k)
        print(
            f"{wells} wells a side of {per_well} cells, K = {k}: {100 * held:.0f} %, "
            f"median width {width:.2f}"
        )
    if args.output:
        draw_picture(table, args.output)


if __name__ == "__main__":
    main()
