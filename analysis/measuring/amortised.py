"""Features of generated images, the regression from y to them, and what it says of cells.

The features are measured by the code that measures HR. The regression sees no HR image of a cell,
so it knows of cells only what the generator has learnt of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.features.registry import columns_of
from analysis.features.settings import Measurement, feature_digest
from analysis.measuring.amortised_settings import MAY_CHANGE, NAME, Settings
from analysis.measuring.columns import PREDICTED_SD
from analysis.measuring.tables import features_of_rows
from rls.encoder.pairs import Pairs, PairSource
from rls.encoder.regression import Regression, Scale
from rls.encoder.regression_training import Schedule, correlations, examples_of, train
from rls.io import Intensity, Stack, read_weights, write_weights
from rls.io.names import OK
from rls.runtime.checkpoint import StateFolder, identity
from rls.runtime.errors import InputError
from rls.runtime.graphs import Recorder
from rls.runtime.progress import Progress
from rls.runtime.stopping import Watch
from rls.search.forward_model import ForwardModel, model_of_table
from rls.stylegan2.networks import Generator

KIND = "pairs"  # The kind of file that holds measured pairs in a state folder.


@dataclass(frozen=True)
class Study:
    """What is measured on the images of which generator, seen through which D.

    Attributes:
        source: Draws the pairs.
        forward: The choice of D.
        intensity: The scale that gives generated images their counts.
    """

    source: PairSource
    forward: ForwardModel
    factor: int
    intensity: Intensity
    measurement: Measurement

    @property
    def generator(self) -> Generator:
        """The generator of the pairs."""
        return self.source.generator

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns of the assay's features."""
        return feature_columns(self.measurement, self.intensity.channels)

    def facts(self) -> dict[str, Any]:
        """Return what determines the regression besides its settings, as JSON can hold it."""
        return {
            "factor": self.factor,
            "forward": self.forward.to_text(with_file=False),
            "chain": [list(step) for step in self.source.chain],
            "quantise": self.source.quantise,
            "generator_digest": str(self.generator.header["digest"]),
            "intensity": self.intensity.as_dict(),
            "measured": list(self.measurement.features),
            "nucleus_channel": self.measurement.nucleus_channel,
            "marker_channel": self.measurement.marker_channel,
            "feature_settings": feature_digest(self.measurement.settings),
        }

    def identity(self, settings: Settings) -> dict[str, object]:
        """Return what names the state folder."""
        pixel = self.generator.pixel_size_um
        return identity(
            settings, MAY_CHANGE, **{**self.facts(), "forward": self.forward.identity(pixel)}
        )

    def measured(self, pairs: Pairs) -> np.ndarray:
        """Return the features (n, k) of generated images; NaN where one cannot be measured."""
        pixel = self.generator.pixel_size_um
        return measured_features(
            pairs.x.numpy(), self.columns, self.intensity, pixel, self.measurement
        )


def feature_columns(measurement: Measurement, channels: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of an assay's features."""
    names = [column for one in measurement.features for column in columns_of(one, channels)]
    return tuple(dict.fromkeys(names))


def measured_features(
    unit: np.ndarray,
    columns: Sequence[str],
    intensity: Intensity,
    pixel_size_um: float,
    measurement: Measurement,
) -> np.ndarray:
    """Return features (n, k) of images (n, c, y, x) in [0, 1] units; NaN where not measurable."""
    table = pd.DataFrame(index=range(len(unit)))
    stack = Stack(intensity.to_counts(unit), table, intensity.channels, pixel_size_um)
    found = features_of_rows(stack, intensity, np.arange(len(unit)), measurement)
    values = found[list(columns)].to_numpy(dtype=float)
    return np.where((found["status"] == OK).to_numpy()[:, None], values, np.nan)


@dataclass(frozen=True)
class Measured:
    """Images y (n, c, m, m) in [0, 1] units, and features (n, k) or NaN, of generated pairs."""

    y: np.ndarray
    values: np.ndarray


def draw(study: Study, source: PairSource, n: int, folder: Path) -> Measured:
    """Return n measured pairs; those that lie in ``folder`` already are read.

    Raises:
        Stopped: Before a time limit or on a signal; finished batches are kept.
    """
    size = source.batch_size
    name = source.purpose.replace(" ", "_")
    files = [folder / f"pairs-{name}-{i:06d}.safetensors" for i in range(-(-n // size))]
    parts = [_read(path) for path in files]
    left, n_done = parts.count(None), size * (len(parts) - parts.count(None))
    if n_done:
        print(f"{NAME}: {n_done} pairs were found in {folder}", flush=True)
    with Progress(size * len(files), NAME, "pair", done=n_done) as bar, Watch(NAME) as watch:
        for i, path in enumerate(files):
            if parts[i] is not None:
                continue
            pairs = source.draw(i)
            parts[i] = part = Measured(pairs.y.numpy(), study.measured(pairs))
            tensors = {"y": torch.from_numpy(part.y), "values": torch.from_numpy(part.values)}
            write_weights(path, tensors, {"kind": KIND})
            bar.advance(size)
            left -= 1
            if left and watch.due():
                raise watch.stopped(f"after {bar.done} pairs")
    found = [part for part in parts if part is not None]
    y, values = (np.concatenate([getattr(p, x) for p in found])[:n] for x in ("y", "values"))
    return Measured(y, values)


def _read(path: Path) -> Measured | None:
    """Return a saved batch, or None if there is none or it is damaged; print why."""
    if not path.is_file():
        return None
    try:
        tensors, _ = read_weights(path, kind=KIND)
    except InputError as error:
        print(f"{NAME}: {error} These pairs are drawn again.", flush=True)
        return None
    return Measured(tensors["y"].numpy(), tensors["values"].numpy())


def fit(
    study: Study,
    shown: Measured,
    held: Measured,
    settings: Settings,
    folder: StateFolder,
    recorder: Recorder,
) -> Regression:
    """Return the regression fitted to the pairs ``shown``; ``held`` choose its epoch.

    Its header says what it was made of, and how good it is on ``held``.
    """
    scale = Scale.of(study.columns, shown.values)
    schedule = Schedule.of(settings, turned=study.forward.keeps_turns)
    known, judged = (examples_of(part.y, part.values, scale) for part in (shown, held))
    state = train(known, judged, schedule, recorder.device, folder, NAME, recorder)
    found, _ = Regression(state.net, scale, {}).predict(held.y, settings.pairs_per_step)
    r = dict(zip(scale.names, correlations(found, held.values), strict=True))
    header = {
        **study.facts(),
        "channels": list(study.intensity.channels),
        "pixel_size_um": study.generator.pixel_size_um,
        "n_pairs": len(shown.y),
        "n_held_out": len(held.y),
        "n_measured": np.isfinite(shown.values).sum(axis=0).tolist(),
        "r_held_out": {name: value if np.isfinite(value) else None for name, value in r.items()},
        "best_epoch": state.best_epoch,
        "curves": state.curves,
        "settings": asdict(settings),
    }
    return Regression(state.net, scale, header)


# What the regression says of cells --------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """LR images that are asked about, and the files that they came with.

    Attributes:
        low: LR images in counts.
        intensity: Their scale.
        path: Where they lie, for messages.
        generator_digest: Of the generator that the assay uses; '' where none is asked.
    """

    low: Stack
    intensity: Intensity
    factor: int
    path: Path
    generator_digest: str = ""


def check_fits(
    header: Mapping[str, Any], cells: Cells, measurement: Measurement, network: Path
) -> None:
    """Check that a regression was trained for these images.

    Raises:
        InputError: It was trained with another generator, D, chain, scale, or other features.
    """
    table = cells.low.table
    chains = set(table["chain"]) if "chain" in table.columns else {""}
    chain = " ".join(f"{name}:{value:g}" for name, value in header["chain"])
    found = {" ".join(_plain(step) for step in str(one).split()) for one in chains}
    made_by = model_of_table(table, cells.path)
    expected: dict[str, tuple[object, object]] = {
        "generator": (header.get("generator_digest", ""), cells.generator_digest),
        "D": (ForwardModel.from_text(header["forward"]).describe(), made_by.describe()),
        "chain of degradations": ({chain}, found),
        "factor": (header["factor"], cells.factor),
        "channels": (header["channels"], list(cells.low.channels)),
        "side of an image": (header["low_size"], list(cells.low.images.shape[-2:])),
        "intensity scale": (header["intensity"], cells.intensity.as_dict()),
        "features": (header["measured"], list(measurement.features)),
        "settings of features": (
            header["feature_settings"],
            feature_digest(measurement.settings),
        ),
    }
    for name, (trained, given) in expected.items():
        if trained != given:
            raise InputError(
                f"{network} was trained with another {name} ({trained}) than these images have "
                f"({given}). Run train_{header['kind']} again for {cells.path}."
            )


def _plain(step: str) -> str:
    name, _, value = step.partition(":")
    return f"{name}:{float(value):g}"


def predicted_table(regression: Regression, cells: Cells, batch_size: int) -> pd.DataFrame:
    """Return E[h | y] of every feature h and its sd, then ``status``, one row per image.

    Every cell has a value: whether it could have been measured on HR is not predicted.
    """
    unit = cells.intensity.to_unit(cells.low.images)
    mean, sd = regression.predict(unit, batch_size)
    names = list(regression.scale.names)
    spread = [name + PREDICTED_SD for name in names]
    values = np.concatenate([mean, sd], axis=1)
    return pd.DataFrame(values, columns=[*names, *spread]).assign(status=OK)
