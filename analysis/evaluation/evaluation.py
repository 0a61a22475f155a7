"""Draw from a generator, read the cells, and put every comparison of the two into one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.evaluation import distributions, transfer
from analysis.evaluation.images import Assay, Images, cells_for
from analysis.evaluation.inversion import invert
from analysis.evaluation.settings import MAY_CHANGE, NAME, OF_IMAGES, Settings
from analysis.features.settings import feature_digest
from rls.encoder.pairs import PairSource
from rls.encoder.pool import held_out
from rls.io import Stack, read_weights, write_weights
from rls.io.splits import CHOOSE, TRAIN, Use
from rls.runtime.checkpoint import StateFolder, identity
from rls.runtime.progress import Progress
from rls.search.forward import forward_operator
from rls.stylegan2.held_out import HeldOut
from rls.stylegan2.networks import Generator
from rls.stylegan2.training_images import TrainingImages

SHAPES_OF = 1000  # Images of each kind whose parts are measured.
KIND = "features"  # The kind of file that keeps the features of cells in a state folder.
KD_OF = 1000  # Images of each kind for the kernel distance, as far as there are as many cells.


@dataclass(frozen=True)
class Subject:
    """A generator and the cells that it is compared with.

    Attributes:
        controls: The negative and the positive control.
        state: Folder of the state of the regressions.
    """

    generator: Generator
    stack: Stack
    assay: Assay
    controls: tuple[str, str]
    settings: Settings
    state: Path
    known: dict[str, Any] = field(default_factory=dict)

    def folder(self, what: str, **facts: object) -> StateFolder:
        """Return a state folder for something about generated images."""
        known = {**self.facts(), "generator": str(self.generator.header["digest"]), **facts}
        return self._folder(MAY_CHANGE, what=what, **known)

    def folder_of_cells(self, what: str, **facts: object) -> StateFolder:
        """Return a state folder for something about cells, which serves every generator."""
        known = {**self.facts(), "cells": self.stack.table["image_digest"].tolist(), **facts}
        return self._folder((*MAY_CHANGE, *OF_IMAGES), what=what, **known)

    def _folder(self, may_change: Sequence[str], **facts: object) -> StateFolder:
        return StateFolder(self.state, NAME, identity(self.settings, may_change, **facts))

    def facts(self) -> dict[str, object]:
        """Return what determines all regressions."""
        assay = self.assay
        measurement = assay.measurement
        return {
            "intensity": assay.intensity.as_dict(),
            "size": assay.size,
            "forward": assay.forward.identity(assay.pixel_size_um),
            "quantise": assay.quantise,
            "measured": [*measurement.features, measurement.nucleus_channel],
            "marker_channel": measurement.marker_channel,
            "feature_settings": feature_digest(measurement.settings),
        }


def draw(subject: Subject) -> transfer.Pairs:
    """Return generated images with their features: those to fit on, and those held out."""
    settings, assay, generator = subject.settings, subject.assay, subject.generator
    size = (assay.size, assay.size)
    down = forward_operator(assay.forward, size, assay.size // 8, assay.pixel_size_um)
    source = PairSource(
        generator,
        down.to(generator.w_mean.device),
        (),
        "none",
        settings.image_batch_size,
        0.0,
        settings.seed,
        NAME,
    )
    found = []
    for one, n in ((source, settings.n_images), (held_out(source), settings.n_held_out)):
        parts = []
        with Progress(n, f"{NAME}: drawing", "img") as bar:
            for batch in range(-(-n // one.batch_size)):
                parts.append(one.draw(batch).x.numpy())
                bar.advance(one.batch_size)
        unit = np.concatenate(parts)[:n]
        ids = pd.DataFrame({"image_id": [f"{one.purpose} {i}" for i in range(n)]})
        found.append(Images(unit, assay.measured(unit, f"{NAME}: generated"), ids))
    return transfer.Pairs(*found)


def evaluate(subject: Subject, factors: Sequence[int]) -> dict[str, Any]:
    """Return the record of every comparison, as JSON can hold it."""
    settings, assay = subject.settings, subject.assay
    with subject.folder_of_cells("features") as folder:
        gan = _measured_once(folder, subject, TRAIN, settings.n_cells)
        tune = _measured_once(folder, subject, CHOOSE, len(subject.stack))
    pairs = draw(subject)
    record: dict[str, Any] = {
        "generator_digest": str(subject.generator.header["digest"]),
        "images_seen": subject.generator.header.get("images_seen"),
        "primary": assay.primary,
        "controls": list(subject.controls),
        "held_out": _held_out(subject),
    }
    if settings.n_inverted:
        mixed = tune.select(np.random.default_rng(settings.seed).permutation(len(tune)))
        record["inversion"] = invert(mixed.unit, mixed.ids, subject.generator, settings)
    record |= compared(subject, pairs.shown, gan, tune)
    record["regression"] = {}
    device = subject.generator.w_mean.device
    for factor in factors:
        both = {}
        for what, known, folder_of in (
            ("generated", pairs, subject.folder),
            ("cells", transfer.of_cells(gan), subject.folder_of_cells),
        ):
            with folder_of("regression", factor=factor) as folder:
                # The state stays, so that the regression of the cells serves the next generator.
                found = transfer.predicted(known, tune, factor, assay, settings, folder, device)
                if what == "generated":
                    folder.clear()
            confidence = settings.confidence_level
            both[what] = {
                "n_pairs": len(known.shown),
                "features": transfer.kept(found, tune, assay, subject.controls, confidence),
            }
        record["regression"][f"{factor}x"] = both
    return record


def _measured_once(folder: StateFolder, subject: Subject, use: Use, most: int) -> Images:
    """Return the cells of a use; their features are measured once and kept in ``folder``."""
    path, assay = folder.folder / f"{use.splits[0]}.safetensors", subject.assay
    values = read_weights(path, kind=KIND)[0]["values"].numpy() if path.is_file() else None
    cells = cells_for(use, subject.stack, assay, most, f"{NAME}: {use.splits[0]}", values)
    if values is None:
        write_weights(path, {"values": torch.from_numpy(cells.values)}, {"kind": KIND})
    return cells


def compared(subject: Subject, generated: Images, gan: Images, tune: Images) -> dict[str, Any]:
    """Return distributions of features and shapes, and the spread of layouts."""
    assay = subject.assay
    groups = {"generated": generated, "gan": gan, "tune": tune}
    for split in ("gan", "tune"):
        for one in subject.controls:
            cells = groups[split]
            rows = np.flatnonzero(cells.table["treatment"] == one)
            groups[f"{split} {one}"] = cells.select(rows)
    groups = {name: images for name, images in groups.items() if len(images)}
    return {
        "features": {
            name: distributions.feature_distributions(images.values, assay.columns)
            for name, images in groups.items()
        },
        "shapes": {
            name: distributions.shape_distributions(assay.shapes(spread_out(images.unit)))
            for name, images in groups.items()
        },
        "layouts": distributions.layouts(generated.unit, gan.unit, assay.intensity.channels),
    }


def spread_out(images: np.ndarray) -> np.ndarray:
    """Return at most SHAPES_OF images, evenly from the first to the last."""
    n = min(len(images), SHAPES_OF)
    return images[np.linspace(0, len(images) - 1, n).round().astype(int)]


def _held_out(subject: Subject) -> dict[str, Any]:
    """Return KD, its floor and the spread, as a training with this seed measures them."""
    settings, assay, stack = subject.settings, subject.assay, subject.stack
    device = subject.generator.w_mean.device
    of = {
        use: TrainingImages(stack, assay.intensity, assay.size, settings.seed, use=use)
        for use in (CHOOSE, TRAIN)
    }
    n = min(KD_OF, *map(len, of.values()))
    unit, floor = ((one.batch(0, n, device).cpu().numpy() + 1) / 2 for one in of.values())
    batch = settings.image_batch_size
    held = HeldOut(unit, floor_images=floor, seed=settings.seed, device=device, batch_size=batch)
    return {"n": n, **held.distance(subject.generator)}
