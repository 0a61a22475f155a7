"""Measure one stack: interpretable features, embeddings, and its distance to HR (Table 1, Fig. 5).

Two tables, one row a cell. ``features``: what is seen in an image by itself: the assay's features
with units and status, 32 features of the treatment classifier, 96 random convolutions, and
Inception features where a file is given. ``metrics``: what is seen against the HR image of the
same cell: PSNR, MS-SSIM, LPIPS where a file is given, and mean |D(SR) - LR| (Eq. 5), once with
the LR image given and once with the clean one that it was made from (section 4.3).

PSNR and MS-SSIM are taken on [0, 1], values beyond clipped, as in the article's 8-bit images; all
else is not clipped. What cannot be measured is NaN with a status. ``feature_settings`` is a digest
of the features' settings: tables refuse a method that was measured with other thresholds than HR.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.features import OK, measure_features, modules
from analysis.numbers.metrics import fidelity_l1, ms_ssim, psnr
from rls.io import Intensity, Stack, read_intensity, read_stack, write_table
from rls.networks.classifier import FEATURES, Classifier, load_classifier
from rls.networks.perceptual import (
    inception_features,
    load_torchscript,
    lpips_distances,
    random_features,
)
from rls.runtime.command import Parser, option, run
from rls.runtime.device import choose_device
from rls.runtime.errors import InputError
from rls.runtime.progress import Progress
from rls.search.forward import Resize, downscale

HIGH_RESOLUTION, LOW_RESOLUTION = "high_resolution", "low_resolution"
KEPT = (
    "image_id", "plate", "well", "site", "treatment", "compound", "dose", "dose_unit", "moa",
    "split",
)  # fmt: skip
NEEDED = ("plate", "well", "site", "treatment", "split")
UNIT_RANGE = 1.0
FEATURE_SETTINGS = "feature_settings"  # column: digest of the thresholds a cell was measured with
IS_REFERENCE = "not_measurable:is_the_reference"
OTHER_GRID = "not_measurable:other_pixel_grid"


@dataclass(frozen=True)
class MeasureSettings:
    """What every assay needs; the settings of the features come beside it."""

    batch_size: int = option("Images measured at once.")
    random_features_seed: int = option("Seed of the random convolutions; two are not comparable.")
    inception_path: str | None = option("TorchScript file of Inception, for FID and KID; or none.")
    inception_sha256: str | None = option("Its SHA-256.")
    vgg_path: str | None = option("TorchScript file of VGG16 with LPIPS; or none.")
    vgg_sha256: str | None = option("Its SHA-256.")
    device: str = option("Where to compute.", choices=("auto", "cpu", "cuda"))
    threads: int = option("CPU threads of torch.")


def settings_class() -> type:
    """Return the settings of the command: these and those of every feature found."""
    parts = [module.FeatureSettings for module in modules().values()]
    return make_dataclass("Settings", [], bases=(MeasureSettings, *parts), frozen=True)


def feature_digest(settings: Any) -> str:  # noqa: ANN401  # of settings_class()
    """Return a digest of every setting of every feature: equal where thresholds were left alone."""
    names = {field.name for part in modules().values() for field in fields(part.FeatureSettings)}
    text = json.dumps({name: getattr(settings, name) for name in sorted(names)})
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Networks:
    """What turns images into features; Inception and VGG only where a file was given."""

    classifier: Classifier
    inception: torch.jit.ScriptModule | None
    vgg: torch.jit.ScriptModule | None


@dataclass(frozen=True)
class Inputs:
    """The stack that is measured, and for each of its rows the HR, the LR, the clean LR image."""

    method: str
    stack: Stack
    high: Stack
    low: Stack
    clean: Stack
    intensity: Intensity
    downscale: Resize


def align(stack: Stack, reference: Stack, names: tuple[str, str]) -> Stack:
    """Return ``reference`` with its rows in the order of ``stack``.

    Raises:
        InputError: An image of ``stack`` is not in ``reference``.
    """
    index = pd.Index(reference.table["image_id"])
    rows = index.get_indexer(stack.table["image_id"])
    missing = stack.table["image_id"].to_numpy()[rows < 0]
    if len(missing):
        raise InputError(
            f"{len(missing)} of {len(stack)} images of {names[0]} are not in {names[1]} (first: "
            f"{missing[0]}). They were made from other cells: run the stages from degrade on again."
        )
    return reference.select(rows)


def check_cells(method: str, stack: Stack, high: Stack, name: str) -> None:
    """Hold the ids of ``stack`` against HR: all rows of HR, or its evaluation rows for a method.

    Raises:
        InputError: The table lacks a column, or there are cells too many or too few.
    """
    for column in NEEDED:
        if column not in high.table:
            raise InputError(
                f"The high-resolution table has no column '{column}'. "
                f"Run the rules select_cells and high_resolution again."
            )
    expected = high.table
    if method not in (HIGH_RESOLUTION, LOW_RESOLUTION):
        expected = expected[expected["split"] == "evaluation"]
    different = set(expected["image_id"]) ^ set(stack.table["image_id"])
    if different:
        raise InputError(
            f"{name} holds {len(stack)} images and {len(expected)} were expected; "
            f"{len(different)} differ (first: {sorted(different)[0]}). "
            f"Run the stages from degrade on again."
        )


def read_inputs(args: argparse.Namespace) -> Inputs:
    """Read and check the three stacks.

    Raises:
        InputError: Channels, sizes or ids do not fit each other.
    """
    high = read_stack(args.high_resolution)
    low = read_stack(args.low_resolution)
    intensity = read_intensity(args.intensity)
    same = {HIGH_RESOLUTION: args.high_resolution, LOW_RESOLUTION: args.low_resolution}
    if args.stack.resolve() != same.get(args.method, args.stack).resolve():
        raise InputError(
            f"The method {args.method} is the stack {same[args.method]}, but --stack is "
            f"{args.stack}. Give that stack, or another --method."
        )
    stack = {HIGH_RESOLUTION: high, LOW_RESOLUTION: low}.get(args.method)
    if stack is None:
        stack = read_stack(args.stack)
    for path, one in ((args.stack, stack), (args.low_resolution, low), (args.intensity, intensity)):
        if one.channels != high.channels:
            raise InputError(
                f"{path} has the channels {', '.join(one.channels)}, {args.high_resolution} has "
                f"{', '.join(high.channels)}. Give files of one assay."
            )
    size = high.images.shape[-2:]
    operator = downscale((size[0], size[1]), args.factor, _border(low, args.low_resolution))
    if low.images.shape[-2:] != operator.size_out:
        raise InputError(
            f"{args.low_resolution} has images of {low.images.shape[-1]} px; {size[1]} px reduced "
            f"{args.factor} times is {operator.size_out[1]} px. Give the right --factor."
        )
    if args.method != LOW_RESOLUTION and stack.images.shape[-2:] != size:
        raise InputError(
            f"{args.stack} has images of {stack.images.shape[-1]} px and {args.high_resolution} of "
            f"{size[1]} px. A method gives images of the size of HR."
        )
    check_cells(args.method, stack, high, str(args.stack))
    clean = read_clean(args, low)
    stack_name, high_name = str(args.stack), str(args.high_resolution)
    return Inputs(
        args.method,
        stack,
        align(stack, high, (stack_name, high_name)),
        align(stack, low, (stack_name, str(args.low_resolution))),
        align(stack, clean, (stack_name, str(args.clean_low_resolution))),
        intensity,
        operator,
    )


def read_clean(args: argparse.Namespace, low: Stack) -> Stack:
    """Return the clean LR images: those of --clean-low-resolution, or the given ones if clean.

    Raises:
        InputError: The given ones are degraded and there is no other; or they differ in shape.
    """
    if args.clean_low_resolution is None:
        if "chain" in low.table and (low.table["chain"] != "").any():
            raise InputError(
                f"{args.low_resolution} is degraded ({low.table['chain'].iloc[0]}). Give the "
                f"images of D alone as --clean-low-resolution."
            )
        return low
    if args.clean_low_resolution.resolve() == args.low_resolution.resolve():
        return low
    clean = read_stack(args.clean_low_resolution)
    if clean.channels != low.channels or clean.images.shape[-2:] != low.images.shape[-2:]:
        raise InputError(
            f"{args.clean_low_resolution} and {args.low_resolution} differ in channels or size. "
            f"Give the clean images of the same assay and factor."
        )
    return clean


def _border(low: Stack, path: Path) -> str:
    """Return the border rule that LR was made with: fidelity is measured with the same D."""
    if "border" not in low.table:
        raise InputError(f"The table of {path} has no column 'border'. Run the rule degrade again.")
    return str(low.table["border"].iloc[0])


def embeddings(
    unit: np.ndarray,
    networks: Networks,
    settings: Any,  # noqa: ANN401
) -> dict[str, np.ndarray]:
    """Return the embeddings (n, d) of unit images by the prefix of their columns."""
    device, batch = networks.classifier.device, settings.batch_size
    found = {
        "random_feature_": random_features(
            unit, seed=settings.random_features_seed, device=device, batch_size=batch
        )
    }
    if list(unit.shape[-2:]) == list(networks.classifier.header["image_size"]):
        found["classifier_feature_"] = networks.classifier.features(unit)
    else:  # LR: the HR classifier takes no images of another size
        found["classifier_feature_"] = np.full((len(unit), FEATURES), np.nan, np.float32)
    if networks.inception is not None:
        found["inception_feature_"] = inception_features(networks.inception, unit, device, batch)
    return found


def measure_images(
    inputs: Inputs,
    rows: np.ndarray,
    names: Sequence[str],
    roles: tuple[str, str],
    networks: Networks,
    settings: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Return features and embeddings of the images in ``rows``."""
    counts = inputs.stack.images[rows]
    unit = inputs.intensity.to_unit(counts)
    black = np.asarray(inputs.intensity.black, dtype=np.float32)[:, None, None]
    table = measure_features(
        names,
        counts.astype(np.float32) - black,
        channels=inputs.stack.channels,
        pixel_size_um=inputs.stack.pixel_size_um,
        nucleus_channel=roles[0],
        marker_channel=roles[1],
        settings=settings,
    )
    parts = [table]
    for prefix, values in embeddings(unit, networks, settings).items():
        digits = max(2, len(str(values.shape[1] - 1)))
        columns = [f"{prefix}{i:0{digits}d}" for i in range(values.shape[1])]
        parts.append(pd.DataFrame(values, columns=columns))
    return pd.concat(parts, axis=1)


def compare_images(
    inputs: Inputs,
    rows: np.ndarray,
    networks: Networks,
    settings: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Return the metrics against the HR images of ``rows``.

    For ``high_resolution`` itself only fidelity is a number: what quantisation and degradation
    leave between D(HR) and LR, the floor of every search. For ``low_resolution`` it is its own
    distance to the clean LR.
    """
    n = len(rows)
    table = pd.DataFrame({name: np.full(n, np.nan) for name in ("psnr_db", "ms_ssim")})
    if networks.vgg is not None:
        table["lpips"] = np.nan
    table["fidelity_l1"] = np.nan
    device = networks.classifier.device
    unit, low, clean = (
        torch.as_tensor(inputs.intensity.to_unit(one.images[rows]), device=device)
        for one in (inputs.stack, inputs.low, inputs.clean)
    )
    if inputs.method == LOW_RESOLUTION:
        table["fidelity_clean_l1"] = fidelity_l1(low, clean, lambda same: same).cpu().numpy()
        return table.assign(status=OTHER_GRID)
    table["fidelity_l1"] = fidelity_l1(unit, low, inputs.downscale).cpu().numpy()
    table["fidelity_clean_l1"] = fidelity_l1(unit, clean, inputs.downscale).cpu().numpy()
    if inputs.method == HIGH_RESOLUTION:
        return table.assign(status=IS_REFERENCE)
    high_unit = inputs.intensity.to_unit(inputs.high.images[rows])
    high = torch.as_tensor(high_unit, device=device)
    pair = unit.clamp(0.0, 1.0), high.clamp(0.0, 1.0)
    table["psnr_db"] = psnr(*pair, data_range=UNIT_RANGE).cpu().numpy()
    table["ms_ssim"] = ms_ssim(*pair, data_range=UNIT_RANGE).cpu().numpy()
    if networks.vgg is not None:
        table["lpips"] = lpips_distances(
            networks.vgg, unit.cpu().numpy(), high_unit, device, settings.batch_size
        )
    return table.assign(status=OK)


def load_networks(args: argparse.Namespace, settings: Any, high: Stack) -> Networks:  # noqa: ANN401
    """Load the classifier and, where settings name a file, Inception and VGG."""
    device = choose_device(settings.device, settings.threads)
    size = high.images.shape[-2:]
    classifier = load_classifier(
        args.classifier,
        image_size=(size[0], size[1]),
        channels=high.channels,
        device=device,
        batch_size=settings.batch_size,
    )
    modules_given = []
    for name, columns in (("inception", "FID and KID"), ("vgg", "LPIPS")):
        path, digest = getattr(settings, f"{name}_path"), getattr(settings, f"{name}_sha256")
        if path is None:
            print(f"measure: no {name}_path in the settings, so no {columns}", flush=True)
            modules_given.append(None)
        else:
            modules_given.append(load_torchscript(path, digest or "", device))
    return Networks(classifier, modules_given[0], modules_given[1])


def main(argv: Sequence[str] | None = None) -> None:
    """Write both tables of one stack."""
    parser = Parser(__doc__, settings_class(), "measure")
    parser.add_argument("--stack", type=Path, required=True, help="the stack to measure")
    parser.add_argument("--method", required=True, help="its name; high_resolution, low_resolution")
    parser.add_argument("--high-resolution", type=Path, required=True, help="HR stack")
    parser.add_argument("--low-resolution", type=Path, required=True, help="LR stack")
    parser.add_argument(
        "--clean-low-resolution", type=Path, help="LR of D alone; default --low-resolution"
    )
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--classifier", type=Path, required=True, help="classifier trained on HR")
    parser.add_argument("--factor", type=int, required=True, help="side of HR over side of LR")
    parser.add_argument("--nucleus-channel", required=True, help="channel of the nuclei")
    parser.add_argument("--marker-channel", required=True, help="channel that is measured")
    parser.add_argument("--features", nargs="*", default=[], help="names in analysis/features")
    parser.add_argument("--output-features", type=Path, required=True, help="*.features.parquet")
    parser.add_argument("--output-metrics", type=Path, required=True, help="*.metrics.parquet")
    args, settings = parser.parse(argv)
    inputs = read_inputs(args)
    networks = load_networks(args, settings, inputs.high)
    inputs.downscale.to(networks.classifier.device)
    roles = (args.nucleus_channel, args.marker_channel)
    features, metrics = [], []
    n = len(inputs.stack)
    with Progress(n, f"measure {args.method}", "img") as bar:
        for start in range(0, n, settings.batch_size):
            rows = np.arange(start, min(start + settings.batch_size, n))
            features.append(measure_images(inputs, rows, args.features, roles, networks, settings))
            metrics.append(compare_images(inputs, rows, networks, settings))
            bar.advance(len(rows))
    keys = inputs.high.table[[name for name in KEPT if name in inputs.high.table]]
    keys = keys.assign(method=args.method, **{FEATURE_SETTINGS: feature_digest(settings)})
    for path, parts in ((args.output_features, features), (args.output_metrics, metrics)):
        table = pd.concat([keys, pd.concat(parts, ignore_index=True)], axis=1)
        write_table(path, table, written_by="measure")
    _report(args.method, pd.concat(features, ignore_index=True))


def _report(method: str, features: pd.DataFrame) -> None:
    """Print how many cells were measured and why others were not."""
    counts = features["status"].value_counts()
    lost = ", ".join(
        f"{n} {status.split(':', 1)[1]}" for status, n in counts.items() if status != OK
    )
    print(
        f"measure {method}: {counts.get(OK, 0)} of {len(features)} cells measurable"
        + (f" ({lost})" if lost else ""),
        flush=True,
    )


if __name__ == "__main__":
    run(main)
