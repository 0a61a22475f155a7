"""Measure how often the intervals of the tables cover the truth, on simulated cells in wells.

    python -m benchmarks.interval_coverage                     # 500 simulations each: 15 minutes
    python -m benchmarks.interval_coverage --simulations 50 --wells 3 6

A feature on HR is well effect plus cell effect, with variance 1 and the intra-class correlation
(ICC) named; SR keeps a share of it and adds an error with well effects of its own. A classifier is
right where a third variable of the same kind exceeds a threshold. KD compares two sets of images of
the same wells: of the same cells, as Table 1 does, which lowers it a little (an image and its own
reconstruction are no independent pair), or of other cells. Truth is the same number on a million
cells of as many wells. Beside the intervals of the tables (Student's over wells left out,
:func:`analysis.numbers.statistics.t_interval`) stands a percentile bootstrap over wells of the
shift kept, and the same intervals over fields, as the tables have them at one or two wells a side.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.numbers.agreement import agreement
from analysis.numbers.metrics import kernel_distance_interval
from analysis.numbers.statistics import (
    Estimate,
    Replication,
    auc,
    auc_interval,
    jackknife,
    replication,
)
from rls.networks.kernel_distance import kernel_distance

CONTROLS = {"negative_control": "a", "positive_control": "b"}
SHIFT, KEPT = 1.5, 0.8
TRUTH_CELLS = 1_000_000
KD_CELLS = 20_000
DIMENSIONS = 8
RESAMPLES = 200
FIELDS = 2  # fields a well


def cells(random: np.random.Generator, wells: int, per_well: int, icc: float, skew: float) -> Any:
    """Return a table of cells of two treatments: HR, SR and whether a classifier is right."""
    well = np.repeat(np.arange(2 * wells), per_well)
    positive = well >= wells

    def variable() -> np.ndarray:
        of_wells = random.normal(0.0, math.sqrt(icc), 2 * wells)[well]
        return of_wells + random.normal(0.0, math.sqrt(1.0 - icc), len(well))

    own, error = variable(), variable()
    high = SHIFT * positive + own
    super_ = KEPT * SHIFT * positive + 0.6 * own + 0.5 * error
    if skew:
        high, super_ = np.exp(skew * high), np.exp(skew * super_)
    return pd.DataFrame(
        {
            "plate": "P",
            "well": well.astype(str),
            "site": np.arange(len(well)) % FIELDS,
            "treatment": np.where(positive, "b", "a"),
            "high_resolution": high,
            "super_resolution": super_,
            "right": (variable() > -1.0).astype(float),
        }
    )


def estimates(table: pd.DataFrame, confidence: float) -> dict[str, Estimate]:
    """Return the numbers of the tables with their intervals."""
    found = agreement(table, **CONTROLS, confidence=confidence)
    high, right = table["high_resolution"].to_numpy(), table["right"].to_numpy()
    common = {"confidence": confidence}
    return {
        "shift kept": found.shift_kept,
        "sd ratio": found.sd_ratio,
        "correlation": found.correlation,
        "mean": jackknife(lambda rows: float(high[rows].mean()), table, **common),
        "accuracy": jackknife(
            lambda rows: float(right[rows].mean()), table, kind="share", **common
        ),
        "AUC": auc_interval(table, "high_resolution", **CONTROLS, **common),
    }


def truths(skew: float) -> dict[str, float]:
    """Return the same numbers on independent cells."""
    table = cells(np.random.default_rng(0), TRUTH_CELLS // 2, 1, 0.0, skew)
    side = (table["treatment"] == "b").to_numpy()
    high, super_ = (table[name].to_numpy() for name in ("high_resolution", "super_resolution"))
    shifts = [np.median(x[side]) - np.median(x[~side]) for x in (super_, high)]
    centred = [x - np.where(side, x[side].mean(), x[~side].mean()) for x in (super_, high)]
    return {
        "shift kept": shifts[0] / shifts[1],
        "sd ratio": centred[0].std() / centred[1].std(),
        "correlation": float(np.corrcoef(*centred)[0, 1]),
        "mean": float(high.mean()),
        "accuracy": float(table["right"].mean()),
        "AUC": auc(high[~side], high[side]),
    }


def percentile_bootstrap(table: pd.DataFrame, seed: int, confidence: float) -> tuple[float, float]:
    """Return the interval of the shift kept that resampled wells of each treatment give."""
    random, sides = np.random.default_rng(seed), []
    for _, side in table.groupby("treatment", sort=True):
        parts = [
            part[["super_resolution", "high_resolution"]].to_numpy()
            for _, part in side.groupby("well")
        ]
        drawn = random.integers(len(parts), size=(RESAMPLES, len(parts)))
        sides.append([np.median(np.concatenate([parts[i] for i in d]), axis=0) for d in drawn])
    shifts = np.array(sides[1]) - np.array(sides[0])
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(shifts[:, 0] / shifts[:, 1], [tail, 100.0 - tail])
    return float(low), float(high)


def images(
    random: np.random.Generator, wells: int, per_well: int, icc: float, error: float, other: bool
) -> tuple[np.ndarray, np.ndarray, Replication]:
    """Return features of HR and of SR images, and their units.

    Arguments:
        other: Whether SR is of other cells of the same wells; else of the same cells.
    """
    well = np.repeat(np.arange(2 * wells), per_well)
    shape = (len(well), DIMENSIONS)

    def effects() -> np.ndarray:
        return random.normal(0.0, math.sqrt(icc), (2 * wells, DIMENSIONS))[well]

    of_wells, spread = effects(), math.sqrt(1.0 - icc)
    high = of_wells + random.normal(0.0, spread, shape)
    source = of_wells + random.normal(0.0, spread, shape) if other else high
    table = pd.DataFrame({"plate": "P", "well": well.astype(str), "site": 0})
    table["treatment"] = np.where(well >= wells, "b", "a")
    noise = effects() + random.normal(0.0, spread, shape)
    return high, 0.8 * source + error + 0.5 * noise, replication(table)


def simulated(
    wells: int, icc: float, args: argparse.Namespace, truth: dict[str, float], kd: float
) -> Iterator[tuple[str, Estimate, float]]:
    """Yield every number of every simulation with its truth."""
    for seed in range(args.simulations):
        random = np.random.default_rng([seed, wells, int(1000 * icc)])
        table = cells(random, wells, args.cells, icc, args.skew)
        for name, found in estimates(table, args.confidence).items():
            yield name, found, truth[name]
        if wells > 1:
            ends = percentile_bootstrap(table, seed, args.confidence)
            yield "shift kept, percentile", Estimate(math.nan, *ends), truth["shift kept"]
        for name, other in (("KD", False), ("KD, other cells", True)):
            high, super_, units = images(random, wells, args.cells, icc, 0.5, other)
            common = {"units_x": units, "units_y": units, "confidence": args.confidence}
            yield name, kernel_distance_interval(high, super_, **common), kd


def main(argv: Sequence[str] | None = None) -> None:
    """Print coverage in percent and median width of every interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--wells", type=int, nargs="+", default=[2, 3, 4, 6, 12])
    parser.add_argument("--icc", type=float, nargs="+", default=[0.02, 0.1, 0.3])
    parser.add_argument("--cells", type=int, default=30, help="cells a well")
    parser.add_argument("--skew", type=float, default=0.0, help="0.5: a log-normal feature")
    parser.add_argument("--confidence", type=float, default=0.95)
    args = parser.parse_args(argv)
    truth = truths(args.skew)
    far = images(np.random.default_rng(0), KD_CELLS // 2, 1, 0.0, 0.5, True)
    kd = kernel_distance(far[0], far[1])
    print(f"{'ICC':>5} {'wells a side':>13} {'unit':>6}  coverage in % (median width)")
    for icc in args.icc:
        for wells in args.wells:
            rows = [
                (name, found.low <= true <= found.high, found.high - found.low, found.unit)
                for name, found, true in simulated(wells, icc, args, truth, kd)
            ]
            table = pd.DataFrame(rows, columns=["number", "covers", "width", "unit"])
            groups = table.groupby("number", sort=False)
            text = "  ".join(
                f"{name} {100 * part['covers'].mean():.0f} ({part['width'].median():.2f})"
                for name, part in groups
            )
            print(f"{icc:5.2f} {wells:13d} {table['unit'].iloc[0]:>6}  {text}", flush=True)


if __name__ == "__main__":
    main()
