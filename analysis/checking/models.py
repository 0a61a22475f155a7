"""Check that the generator of an assay fits its plates, and say what is trained for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.checking.findings import DOUBT, FACT, FAULT, Findings
from analysis.run.files import IN_MODEL
from analysis.run.keys import ROOT, needs_generator
from analysis.run.model_encoders import fits, read_header
from analysis.run.values import Config, assay_factors, expand_folder, has_high_resolution
from rls.encoder.settings import encoder_file
from rls.pretrained.user_cells import PIXEL_TOLERANCE
from rls.search.start_settings import by_encoder

LEVELS = (0.5, 2.0)  # the span of counts of these cells over that of the generator's cells
TRAINED, NONE = "train", "none"


def check_generator(
    findings: Findings, config: Config, assay: str, levels: np.ndarray | None
) -> None:
    """Compare the generator with the assay.

    Arguments:
        levels: Two percentiles of the counts of the assay's cells, (2, c); None where not known.
    """
    block = config["assays"][assay]
    generator = block["generator"]
    if generator == TRAINED:
        _say_training(findings, config, assay)
    elif generator != NONE and generator not in config["assays"]:
        folder = findings.attempt(lambda: ROOT / expand_folder(generator))
        header = _header(findings, folder) if folder else None
        if folder and header:
            _check_fit(findings, block, generator, header, config["run"]["factors"])
            _check_levels(findings, block, header, levels)
            _say_encoders(findings, config, assay, folder)


def _header(findings: Findings, folder: Path) -> Mapping[str, Any] | None:
    """Return the header of a model's generator; None where the folder is no model."""
    lacking = [name for name in IN_MODEL if not (folder / name).is_file()]
    if lacking:
        shipped = sorted(path.parent.name for path in ROOT.glob(f"models/*/{IN_MODEL[0]}"))
        findings.add(
            FAULT,
            f"The generator's folder {folder} has no {' and no '.join(lacking)}. Name a folder of "
            f"models/ ({', '.join(shipped)}), or train one (generator: train).",
        )
        return None
    return findings.attempt(read_header, folder / IN_MODEL[0])


def _check_fit(
    findings: Findings,
    block: Config,
    generator: str,
    header: Mapping[str, Any],
    factors: Sequence[int],
) -> None:
    """Compare channels, image size and pixel size."""
    own, theirs = list(block["channels"]), list(header["channels"])
    if own != theirs:
        advice = (
            f"If they show the same stains, write channels: [{', '.join(theirs)}], and what your "
            f"files call them as list_plate.channel_labels: [{', '.join(own)}]. Else"
            if len(own) == len(theirs)
            else "It cannot draw other channels:"
        )
        findings.add(
            FAULT,
            f"The generator {generator} draws the channels {', '.join(theirs)}, in this order, and "
            f"the assay has {', '.join(own)}. {advice} train one (generator: train).",
        )
    if block["image_size"] != header["image_size"]:
        findings.add(
            FAULT,
            f"The generator {generator} draws images of {header['image_size']} px, and the assay's "
            f"image_size is {block['image_size']}. Set image_size: {header['image_size']}, or "
            "train one (generator: train).",
        )
    used = assay_factors(block, factors)
    shrunk = 1 if has_high_resolution(block) or not used else used[0]
    found, wanted = block["pixel_size_um"], header["pixel_size_um"] * shrunk
    if abs(found / wanted - 1) > PIXEL_TOLERANCE:
        findings.add(
            FAULT,
            f"The generator {generator} draws cells at {header['pixel_size_um']:g} um a pixel"
            + (f", {wanted:g} um at factor {shrunk}" if shrunk > 1 else "")
            + f", and the assay has {found:g} um: its cells would look "
            f"{wanted / found:.2g} times as large as those that it knows. Bring images of "
            f"{wanted:g} um a pixel, or train one at yours (generator: train).",
        )


def _check_levels(
    findings: Findings, block: Config, header: Mapping[str, Any], levels: np.ndarray | None
) -> None:
    """Compare the counts of the cells with those of the generator's, where these are its scale."""
    if levels is None or block.get("intensity_scale") == "own":
        return
    scale = header["intensity"]
    if not has_high_resolution(block) or len(scale["black"]) != levels.shape[1]:
        return
    for i, channel in enumerate(block["channels"]):
        black, white = scale["black"][i], scale["white"][i]
        low, high = levels[:, i]
        if not LEVELS[0] <= (high - black) / (white - black) <= LEVELS[1]:
            findings.add(
                FAULT,
                f"Cells of these plates have {low:.0f} to {high:.0f} counts in channel {channel}, "
                f"and those of the generator {black:.0f} to {white:.0f}: it would see them too "
                "dark or too bright. Set intensity_scale: own in the assay.",
            )


def _say_encoders(findings: Findings, config: Config, assay: str, folder: Path) -> None:
    """Say at which factors the model has an encoder, and where one is trained first."""
    run, block = config["run"], config["assays"][assay]
    rows = [config["methods"].get(name, {}) for name in run["methods"]]
    if not any(by_encoder(row) for row in rows if row.get("search") == "rls"):
        return
    factors = assay_factors(block, run["factors"])
    for factor in (one for one in factors if block["image_size"] % one == 0):
        path = folder / encoder_file(factor)
        first = run["degradations"][0]
        if not path.is_file() or not fits(
            path, config, assay, first, lambda name: str(ROOT / name)
        ):
            findings.add(
                DOUBT,
                f"{folder.name} has no encoder for factor {factor} and degradation {first}: one is "
                "trained before the search (train_encoder). make plan says for how long.",
            )


def _say_training(findings: Findings, config: Config, assay: str) -> None:
    """Say what a training would be."""
    methods = config["methods"]
    named = [methods.get(name, {}).get("search", "") for name in config["run"]["methods"]]
    if not any(needs_generator(search) for search in named if search):
        return
    own = config["assays"][assay].get("settings", {}).get("train_gan", {})
    kimg = {**config["train_gan"], **own}["total_kimg"]
    findings.add(
        FACT,
        f"A generator is trained on these plates, with {kimg:g} thousand images of "
        f"{config['assays'][assay]['image_size']} px (train_gan.total_kimg). make plan says what "
        "that costs; a training can be stopped and goes on.",
    )
