"""The images that an evaluation compares: generated ones and real cells, each with its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.cells.geometry import centre_crop
from analysis.features.registry import find_feature
from analysis.features.settings import Measurement
from analysis.measuring.amortised import feature_columns, measured_features
from rls.io import Intensity, Stack
from rls.io.splits import Use, rows_for
from rls.runtime.progress import Progress
from rls.search.degradation import degrade
from rls.search.forward_model import ForwardModel


@dataclass(frozen=True)
class Assay:
    """How the images of an assay are scaled, degraded and measured.

    Attributes:
        size: Side of an image in px.
        forward, quantise: D and what follows it, as ``degrade`` has them without a chain.
    """

    intensity: Intensity
    pixel_size_um: float
    size: int
    measurement: Measurement
    forward: ForwardModel
    quantise: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the assay's features."""
        return feature_columns(self.measurement, self.intensity.channels)

    def low(self, unit: np.ndarray, ids: Sequence[str], factor: int) -> np.ndarray:
        """Return LR images of images (n, c, y, x) in [0, 1] units."""
        return degrade(
            unit,
            ids,
            factor,
            (),
            forward=self.forward,
            pixel_size_um=self.pixel_size_um,
            quantise=self.quantise,
            seed=0,  # Without a chain nothing is drawn.
        )

    @property
    def primary(self) -> list[str]:
        """The column of each feature that tables show."""
        return [find_feature(name).PRIMARY for name in self.measurement.features]

    def measured(self, unit: np.ndarray, label: str) -> np.ndarray:
        """Return features (n, k) of images in [0, 1] units; NaN where not measurable."""
        measure = partial(
            measured_features,
            columns=self.columns,
            intensity=self.intensity,
            pixel_size_um=self.pixel_size_um,
            measurement=self.measurement,
        )
        parts, size = [], self.measurement.settings.batch_size
        with Progress(len(unit), label, "img") as bar:
            for first in range(0, len(unit), size):
                parts.append(measure(unit[first : first + size]))
                bar.advance(len(parts[-1]))
        return np.concatenate(parts)

    def shapes(self, unit: np.ndarray) -> dict[str, pd.DataFrame]:
        """Return the parts that the assay's features find in images, by the feature's name."""
        black = np.asarray(self.intensity.black, dtype=np.float32)[:, None, None]
        found = {}
        for name in self.measurement.features:
            if (shapes := getattr(find_feature(name), "shapes", None)) is None:
                continue
            found[name] = shapes(
                self.intensity.to_counts(unit) - black,
                channels=self.intensity.channels,
                pixel_size_um=self.pixel_size_um,
                nucleus_channel=self.measurement.nucleus_channel,
                marker_channel=self.measurement.marker_channel,
                settings=self.measurement.settings,
            )
        return found


@dataclass(frozen=True)
class Images:
    """Images (n, c, y, x) in [0, 1] units, their ids, and their features (n, k) or NaN.

    Attributes:
        table: One row per image; of cells with plate, well, site and treatment.
    """

    unit: np.ndarray
    values: np.ndarray
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.unit)

    @property
    def ids(self) -> list[str]:
        """The ids, which name the random streams of the noise."""
        return [str(one) for one in self.table["image_id"]]

    def select(self, rows: np.ndarray) -> Images:
        """Return the images of these positions."""
        table = self.table.iloc[rows].reset_index(drop=True)
        return Images(self.unit[rows], self.values[rows], table)


def cells_for(
    use: Use, stack: Stack, assay: Assay, most: int, label: str, values: np.ndarray | None = None
) -> Images:
    """Return the HR images of cells that may serve ``use``, at most ``most``, in turn by treatment.

    Arguments:
        label: For the progress bar.
        values: Their features, where they were measured before.

    Raises:
        InputError: No cell may serve.
    """
    rows = rows_for(use, stack.table, "The stack of cells", stage="select_cells")
    turn = stack.table.iloc[rows].groupby("treatment", sort=False).cumcount().to_numpy()
    rows = np.sort(rows[np.argsort(turn, kind="stable")[:most]])
    crops = np.ascontiguousarray(centre_crop(stack.images[rows], assay.size))
    unit, table = assay.intensity.to_unit(crops), stack.table.iloc[rows].reset_index(drop=True)
    return Images(unit, assay.measured(unit, label) if values is None else values, table)
