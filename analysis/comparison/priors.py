"""The numbers of several priors p_F: how they fit styles, what they sample, what searches find."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.comparison.image_metrics import FIDELITY, mean_fact, mean_of_cells
from analysis.comparison.kept_features import TRIPLE
from analysis.comparison.long_table import Row, Rows, estimate_facts, long_row
from analysis.comparison.settings import StyleSettings
from analysis.comparison.swept import agreements, high_resolution_of, kernel_fact
from analysis.measuring.priors import Priors
from analysis.numbers.metrics import kernel_distance_interval
from analysis.numbers.statistics import Estimate, Replication
from analysis.run.description import Assay, Comparison
from rls.io import read_table
from rls.io.splits import CHOOSE, check
from rls.networks.kernel_distance import standardise
from rls.prior.settings import FLOWS
from rls.runtime.streams import stream

CHI_SQUARED = "chi_squared"
LOG_DENSITY, NORM_MEAN, NORM_SD = "held_out_log_prob", "squared_norm_mean", "squared_norm_sd"
BEYOND, SAMPLES_DISTANCE = "samples_beyond_99_percent", "sample_kernel_distance_random_x1000"
MINUS_FIRST = f"_minus_{FLOWS[0]}"  # behind a metric: the paired difference to the first flow
OF_SEARCH = (FIDELITY, "psnr_db", "ms_ssim", "log_prior", "mean_pair_distance")
STYLE = "style vector"


def of_styles(
    values: np.ndarray, function: Callable[..., np.ndarray], settings: StyleSettings
) -> Row:
    """Return a statistic of values (n,), one a style vector, with its bootstrap interval."""
    random = stream(settings.seed, STYLE, "priors bootstrap")
    drawn = random.choice(values, (settings.n_bootstrap, len(values)))
    tail = 50 * (1 - settings.confidence_level)
    low, high = np.percentile(function(drawn, axis=1), [tail, 100 - tail])
    found = Estimate(float(function(values)), float(low), float(high), len(values), STYLE)
    return estimate_facts(found)


def prior_rows(assay: Assay, priors: Priors, settings: StyleSettings) -> Rows:
    """Return every number of the flows: densities and norms of fresh styles, and their samples."""
    at = of_generator(assay)
    facts = [*density_facts(priors, settings), *sample_facts(priors, settings)]
    more = {"factor": None, "feature": "", "dimensions": priors.dimensions}
    return [{**long_row(at, name, **fact), **more} for name, fact in facts]


def density_facts(priors: Priors, settings: StyleSettings) -> list[tuple[str, Row]]:
    """Return held-out log p in nats and squared norms of F(w), beside those of chi-squared."""
    facts: list[tuple[str, Row]] = []
    first = priors.log_densities[FLOWS[0]]
    for name, values in priors.log_densities.items():
        facts.append((name, {"metric": LOG_DENSITY, **of_styles(values, np.mean, settings)}))
        facts.append((name, {"metric": f"{LOG_DENSITY}_sd", **of_styles(values, np.std, settings)}))
        if name != FLOWS[0]:
            change = of_styles(values - first, np.mean, settings)
            facts.append((name, {"metric": LOG_DENSITY + MINUS_FIRST, **change}))
    exact = {NORM_MEAN: float(priors.dimensions), NORM_SD: math.sqrt(2 * priors.dimensions)}
    facts += [(CHI_SQUARED, {"metric": m, "value": v, "unit": "exact"}) for m, v in exact.items()]
    for name, values in priors.norms.items():
        facts.append((name, {"metric": NORM_MEAN, **of_styles(values, np.mean, settings)}))
        facts.append((name, {"metric": NORM_SD, **of_styles(values, np.std, settings)}))
    return facts


def sample_facts(priors: Priors, settings: StyleSettings) -> list[tuple[str, Row]]:
    """Return how the samples of each flow, and others of the mapping network, differ from styles.

    The scale of the kernel distance is set by the reference images of the mapping network.
    """
    facts: list[tuple[str, Row]] = []
    for name, values in priors.features.items():
        share = of_styles(priors.outside[name].astype(float), np.mean, settings)
        facts.append((name, {"metric": BEYOND, **share}))
        distance = kernel_distance_interval(
            standardise(values, priors.reference),
            standardise(priors.reference, priors.reference),
            units_x=images_as_units("sample", len(values)),
            units_y=images_as_units("reference", len(priors.reference)),
            confidence=settings.confidence_level,
        )
        facts.append((name, {"metric": SAMPLES_DISTANCE, **estimate_facts(distance, 1000.0)}))
    return facts


def images_as_units(name: str, n: int) -> Replication:
    """Return the units of n generated images, each a unit of its own."""
    labels = np.array([f"{name} {i}" for i in range(n)])
    return Replication("image", np.arange(n), labels, np.zeros(n, dtype=int))


def of_generator(assay: Assay) -> Comparison:
    """Return the comparison of a generator, which has no factor and no degradation."""
    return Comparison(0, "", (), clean=True, assay=assay, folder=Path())


# The search --------------------------------------------------------------------------------------


def search_rows(at: Comparison, method: str, settings: StyleSettings) -> Rows:
    """Return what the search finds with each flow, and paired differences to the first flow.

    log p_F of the solutions is that of the flow which the search used.
    """
    rows: Rows = []
    first = read_search(at, method, FLOWS[0])
    for flow in FLOWS:
        table = read_search(at, method, flow)
        facts = [mean_fact(table, name, settings) for name in OF_SEARCH]
        for name in OF_SEARCH if flow != FLOWS[0] else ():
            change = mean_of_cells((table[name] - first[name]).to_numpy(), table, settings)
            facts.append({"metric": name + MINUS_FIRST, **estimate_facts(change)})
        facts.append(kernel_fact(table, high_resolution_of(table), settings))
        found = [{**long_row(at, flow, **fact), "feature": ""} for fact in facts]
        rows += [*found, *feature_rows(at, table, flow, settings)]
    return [{**row, "split": "tune"} for row in rows]


def read_search(at: Comparison, method: str, flow: str) -> pd.DataFrame:
    """Return the measured search with one flow, sorted by cell."""
    table = read_table(at.prior(method, flow), columns=["cell_id", "split", *OF_SEARCH])
    check(CHOOSE, table["split"])
    return table.sort_values("cell_id").reset_index(drop=True)


def feature_rows(at: Comparison, table: pd.DataFrame, flow: str, settings: StyleSettings) -> Rows:
    """Return the triple of the assay's features."""
    rows: Rows = []
    for column, found in agreements(at, table, settings).items():
        for name, metric in TRIPLE.items():
            row = long_row(at, flow, metric, **estimate_facts(getattr(found, name)))
            rows.append({**row, "feature": column})
    return rows
