"""The regression from LR images of real cells to the features measured on their HR images.

It is fitted to cells of split *gan*, and everything about it is chosen on *tune*. No image is made
and no generator is asked: what it says of a cell is what its LR image says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.features.registry import columns_of
from analysis.measuring.columns import FEATURE_SETTINGS
from analysis.measuring.regression_settings import MAY_CHANGE, NAME, Settings
from rls.encoder.regression import Regression, Scale
from rls.encoder.regression_training import Schedule, correlations, examples_of, train
from rls.encoder.ridge import better_of, design, fit_ridge
from rls.io import Intensity, Stack, read_stack, read_table
from rls.io.names import REGRESSION
from rls.io.splits import Use, rows_for
from rls.runtime.checkpoint import StateFolder, identity
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.search.degradation import parse_chain
from rls.search.forward_model import model_of_table

CANDIDATES = ("network", "ridge")


@dataclass(frozen=True)
class Known:
    """LR images of cells with the features of their HR images.

    Attributes:
        low: LR images in counts, with their table.
        values: (n, k) features; NaN where one could not be measured.
        path: Where the images lie, for messages.
        feature_settings: Digest of the thresholds of the features.
    """

    low: Stack
    values: np.ndarray
    path: Path
    feature_settings: str

    def made(self) -> dict[str, Any]:
        """Return how LR was made, as JSON can hold it."""
        table = self.low.table
        chains = set(table["chain"]) if "chain" in table else {""}
        if len(chains) != 1:
            raise InputError(f"Found {len(chains)} chains in {self.path}, expected one.")
        return {
            "factor": int(table["factor"].iloc[0]),
            "forward": model_of_table(table, self.path).to_text(with_file=False),
            "chain": [list(step) for step in parse_chain(str(chains.pop()).split())],
        }


def columns_for(features: Sequence[str], channels: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of some features on these channels."""
    return tuple(dict.fromkeys(c for name in features for c in columns_of(name, channels)))


def read_known(low: Path, features: Path, columns: Sequence[str], use: Use) -> Known:
    """Return the cells of an LR stack that may serve ``use``, with their features.

    Raises:
        InputError: There is none, or the table of features lacks a cell or a column.
    """
    stack = read_stack(low)
    stack = stack.select(rows_for(use, stack.table, str(low)))
    table = read_table(features, columns=["image_id", FEATURE_SETTINGS, *columns])
    table = table.drop_duplicates("image_id").set_index("image_id")
    missing = set(stack.table["image_id"]) - set(table.index)
    if missing:
        raise InputError(
            f"{features} lacks {len(missing)} of {len(stack)} cells of {low} (first: "
            f"{sorted(missing)[0]}). Run the rule that measures them again."
        )
    table = table.loc[stack.table["image_id"]]
    return Known(
        stack,
        table[list(columns)].to_numpy(dtype=float),
        low,
        str(table[FEATURE_SETTINGS].iloc[0]),
    )


@dataclass(frozen=True)
class Study:
    """What is learnt from which cells.

    Attributes:
        measured: Names of the assay's features.
        columns: Their columns.
        shown, held: Cells of gan and of tune.
    """

    measured: tuple[str, ...]
    columns: tuple[str, ...]
    shown: Known
    held: Known
    intensity: Intensity

    def check(self) -> None:
        """Check that both sets of cells were degraded and measured alike.

        Raises:
            InputError: They were not, or their channels are not those of the intensity scale.
        """
        for name, found in (
            ("made", [known.made() for known in (self.shown, self.held)]),
            ("measured", [known.feature_settings for known in (self.shown, self.held)]),
        ):
            if found[0] != found[1]:
                raise InputError(
                    f"{self.shown.path} and {self.held.path} were {name} differently ({found[0]}, "
                    f"{found[1]}). Delete both and run the workflow again."
                )
        if self.shown.low.channels != self.intensity.channels:
            raise InputError(
                f"{self.shown.path} has the channels {', '.join(self.shown.low.channels)}, the "
                f"intensity scale {', '.join(self.intensity.channels)}. Give files of one assay."
            )

    def facts(self) -> dict[str, Any]:
        """Return what the regression was made of, as JSON can hold it."""
        return {
            **self.shown.made(),
            "intensity": self.intensity.as_dict(),
            "channels": list(self.intensity.channels),
            "measured": list(self.measured),
            "feature_settings": self.shown.feature_settings,
        }

    def identity(self, settings: Settings) -> dict[str, object]:
        """Return what names the state folder."""
        digest = hashlib.blake2b(digest_size=16)
        for known in (self.shown, self.held):
            digest.update(np.ascontiguousarray(known.low.images).tobytes())
            digest.update(known.values.tobytes())
        return identity(settings, MAY_CHANGE, **self.facts(), data=digest.hexdigest())


def fit(study: Study, settings: Settings, folder: StateFolder, recorder: Recorder) -> Regression:
    """Return for every feature the better of ridge and network, fitted on gan, chosen on tune."""
    scale = Scale.of(study.columns, study.shown.values)
    units = [study.intensity.to_unit(known.low.images) for known in (study.shown, study.held)]
    shown, held = (
        examples_of(unit, known.values, scale)
        for unit, known in zip(units, (study.shown, study.held), strict=True)
    )
    schedule = Schedule.of(
        settings, turned=model_of_table(study.shown.low.table, study.shown.path).keeps_turns
    )
    state = train(shown, held, schedule, recorder.device, folder, NAME, recorder)
    ridge = fit_ridge(
        design(state.net, shown.y), shown.t.numpy(), design(state.net, held.y), held.t.numpy()
    )
    best = better_of(state.net, ridge, held, settings.pairs_per_step)
    found = Regression(best, scale, {})
    predicted, _ = found.predict(units[1], settings.pairs_per_step)
    header = {
        "kind": REGRESSION,
        **study.facts(),
        "n_training": len(shown),
        "n_tune": len(held),
        "n_measured": np.isfinite(study.shown.values).sum(axis=0).tolist(),
        "r_tune": _by_name(scale.names, correlations(predicted, study.held.values)),
        "chosen": dict(
            zip(scale.names, [CANDIDATES[int(x)] for x in best.linear.tolist()], strict=True)
        ),
        "best_epoch": state.best_epoch,
        "curves": state.curves,
        "settings": asdict(settings),
    }
    return Regression(best, scale, header)


def _by_name(names: Sequence[str], values: Sequence[float]) -> Mapping[str, float | None]:
    return {n: v if np.isfinite(v) else None for n, v in zip(names, values, strict=True)}
