"""Find nuclei by threshold and watershed, each cut at half its own height, or by Cellpose 3.1.

Cellpose is loaded from a file of weights, or trained from scratch; it never downloads anything.
Stringer et al. 2021, Nat. Methods 18:100. This module alone imports it, and only when it is used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from analysis.cells.crop_settings import Settings as CropSettings
from analysis.cells.segmenter_settings import CELLPOSE_DIAMETER_PX
from analysis.cells.segmenter_settings import Settings as TrainingSettings
from rls.io import atomic_path
from rls.runtime.errors import InputError

if TYPE_CHECKING:
    import torch
    from cellpose.models import CellposeModel

WORKING_PX = 24  # Seeds and basins are found on an image reduced to about this nuclear diameter.
SMOOTH_ND = 0.06  # Sd of the smoothing before the threshold, in nuclear diameters.
BLOB_SD_ND = 0.30  # Scale of the blob filter that separates touching nuclei.
SEED_DISTANCE_ND = 0.45  # Minimum distance of two seeds.
MIN_BLOB = 0.10  # Minimum response of a seed; a round nucleus at the threshold has about 0.5.
LOW_THRESHOLD = 0.6  # Basins reach down to this share of the threshold above the background.
HALF_HEIGHT = 0.5
BRIGHT_PERCENTILE = 99.5  # Mitotic and dead nuclei above it do not move the threshold.
MIN_AREA, MAX_AREA = 0.25, 4.0  # In areas of a round nucleus of one diameter.
NOISE_SDS = 6.0  # A nucleus exceeds the background by this many sd of its smoothed noise.

Segmenter = Callable[[np.ndarray, float], np.ndarray]


def segment_nuclei(image: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
    """Return labels (y, x) int32 of the nuclei in ``image`` (y, x) in counts; 0 outside.

    No nucleus is found when nothing exceeds the noise. The size is the only parameter.
    """
    nd = nucleus_diameter_px
    smooth = ndimage.gaussian_filter(image.astype(np.float32), SMOOTH_ND * nd)
    step = max(int(nd // WORKING_PX), 1)
    small = smooth[step // 2 :: step, step // 2 :: step]
    background, noise, threshold = _levels(small)
    if threshold < background + NOISE_SDS * noise:
        return np.zeros(image.shape, np.int32)
    low = background + LOW_THRESHOLD * (threshold - background)
    # Minus the scaled Laplacian of Gaussian is high in the middle of a nucleus. The logarithm keeps
    # a bright nucleus from swallowing a dim one.
    height = np.log1p(np.maximum(small - background, 0) / max(threshold - background, 1e-6))
    sd = BLOB_SD_ND * nd / step
    blobs = -(sd**2) * ndimage.gaussian_laplace(height, sd)
    peaks = peak_local_max(
        blobs,
        min_distance=max(int(round(SEED_DISTANCE_ND * nd / step)), 1),
        threshold_abs=MIN_BLOB,
        labels=(small > threshold).astype(int),
        exclude_border=False,
    )
    seeds = np.zeros(small.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    basins = watershed(-blobs, seeds, mask=small > low).astype(np.int32)
    if step > 1:
        basins = np.repeat(np.repeat(basins, step, 0), step, 1)
        padding = [(0, max(a - b, 0)) for a, b in zip(image.shape, basins.shape, strict=True)]
        basins = np.pad(basins, padding, mode="edge")[: image.shape[0], : image.shape[1]]
    return _cut_at_half_height(smooth, basins, background, noise, nd)


def relabel(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return labels 1 to k for the labels i + 1 with ``keep[i]``, in their order."""
    new = np.zeros(len(keep) + 1, np.int32)
    new[1:][keep] = np.arange(1, keep.sum() + 1)
    return new[labels]


def make_segmenter(settings: CropSettings) -> Segmenter:
    """Return the function from (image (y, x), nuclear diameter in px) to labels (y, x) int32.

    Raises:
        InputError: The segmenter is ``cellpose`` without a file of weights, or with one that cannot
            be used.
    """
    if settings.segmenter == "threshold":
        return segment_nuclei
    # Imported here because it imports torch, which the threshold does not need.
    from rls.runtime.device import choose_device

    device = choose_device(settings.device, settings.threads)
    if settings.segmenter_weights is None:
        raise InputError(
            "Found segmenter cellpose without weights, expected a file. Set segmenter_weights to "
            "the weights of Cellpose 3, or to 'train' to train them on simulated fields."
        )
    return load_cellpose(Path(settings.segmenter_weights), settings.flow_threshold, device)


def load_cellpose(
    weights: Path, flow_threshold: float, device: torch.device | None = None
) -> Segmenter:
    """Return a segmenter that runs Cellpose 3 with ``weights`` (its own format, a state dict).

    Objects that do not exceed the noise or do not have the size of a nucleus are dropped, as in
    :func:`segment_nuclei`: Cellpose stretches every field to its own contrast, even an empty one.

    Arguments:
        flow_threshold: Greatest mean squared difference of a nucleus' flows from those of its
            mask; larger keeps more.

    Raises:
        InputError: The file does not exist, or holds no weights of Cellpose 3.
    """
    model = _new_cellpose(device)
    _load_weights(model, weights)

    def segment(image: np.ndarray, nucleus_diameter_px: float) -> np.ndarray:
        image = image.astype(np.float32)
        smooth = ndimage.gaussian_filter(image, SMOOTH_ND * nucleus_diameter_px)
        background, noise, threshold = _levels(smooth)
        if threshold < background + NOISE_SDS * noise:
            return np.zeros(image.shape, np.int32)
        found = model.eval(
            image, channels=[0, 0], diameter=nucleus_diameter_px, flow_threshold=flow_threshold
        )[0].astype(np.int32)
        return _keep_nuclei(found, smooth, background + NOISE_SDS * noise, nucleus_diameter_px)

    return segment


def train_cellpose(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    settings: TrainingSettings,
    output: Path,
    device: torch.device | None = None,
) -> np.ndarray:
    """Train Cellpose from random weights on ``images`` and ``labels`` (each (y, x)).

    Writes ``output`` in Cellpose's own format, whole or not at all; returns the loss (epochs,).
    """
    import torch
    from cellpose import train

    torch.manual_seed(settings.seed)
    model = _new_cellpose(device)
    with tempfile.TemporaryDirectory() as folder:
        path, losses, _ = train.train_seg(
            model.net,
            train_data=[image.astype(np.float32) for image in images],
            train_labels=[one.astype(np.int32) for one in labels],
            channels=[0, 0],
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            n_epochs=settings.epochs,
            nimg_per_epoch=settings.fields_per_epoch,
            bsize=settings.patch_px,
            min_train_masks=1,
            save_path=folder,
            model_name="weights",
        )
        with atomic_path(output) as temporary:
            temporary.write_bytes(Path(path).read_bytes())
    return np.asarray(losses, float)


def _new_cellpose(device: torch.device | None) -> CellposeModel:
    """Return Cellpose's model with random weights; without a pretrained model it opens no file."""
    from cellpose.models import CellposeModel

    return CellposeModel(
        gpu=False, device=device, pretrained_model=None, diam_mean=CELLPOSE_DIAMETER_PX
    )


def _load_weights(model: CellposeModel, path: Path) -> None:
    """Load weights into ``model``.

    Cellpose's own loader is not used: it downloads a missing file, and fills in missing weights.

    Raises:
        InputError: The file does not exist, or holds no weights of Cellpose 3.
    """
    import torch

    if not path.is_file():
        raise InputError(
            f"The weights {path} of Cellpose do not exist. Correct segmenter_weights, or set it to "
            "'train'; nothing is downloaded."
        )
    wanted = model.net.state_dict()
    try:
        found = torch.load(path, map_location=model.device, weights_only=True)
        fits = {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in wanted.items()}
    except Exception as error:  # Readers of damaged weights raise nearly any exception.
        raise InputError(
            f"The file {path} holds no weights that can be read ({type(error).__name__}), expected "
            "those of Cellpose 3. Correct segmenter_weights."
        ) from error
    if not fits:
        raise InputError(
            f"The file {path} holds other weights than those of Cellpose 3 (its names or shapes "
            "differ; Cellpose 4 is another network). Correct segmenter_weights."
        )
    model.net.load_state_dict(found)
    model.diam_mean = float(model.net.diam_mean)
    model.diam_labels = float(model.net.diam_labels)


def _keep_nuclei(labels: np.ndarray, smooth: np.ndarray, dimmest: float, nd: float) -> np.ndarray:
    """Return ``labels`` of the size of a nucleus whose mean of ``smooth`` reaches ``dimmest``."""
    index = np.arange(1, labels.max() + 1)
    if not len(index):
        return np.zeros(labels.shape, np.int32)
    areas = np.bincount(labels.ravel(), minlength=len(index) + 1)[1:]
    means = np.bincount(labels.ravel(), smooth.ravel(), len(index) + 1)[1:] / np.maximum(areas, 1)
    unit = np.pi / 4 * nd**2
    keep = (areas >= MIN_AREA * unit) & (areas <= MAX_AREA * unit) & (means >= dimmest)
    return relabel(labels, keep)


def _levels(smooth: np.ndarray) -> tuple[float, float, float]:
    """Return background, its sd, and Otsu's threshold, which very bright nuclei do not move.

    The background is the darkest peak of the histogram; its sd is that of the peak's lower flank.
    """
    low, high = np.percentile(smooth, (1.0, 50.0))
    counts, edges = np.histogram(smooth, bins=64, range=(float(low), float(max(high, low + 1e-3))))
    peak = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 1.5)))
    background = float((edges[peak] + edges[peak + 1]) / 2)
    below = smooth[smooth <= background]
    noise = float(np.sqrt(np.mean((below - background) ** 2))) if len(below) else 0.0
    bright = float(np.percentile(smooth, BRIGHT_PERCENTILE))
    if bright <= smooth.min():
        return background, noise, bright
    return background, noise, float(threshold_otsu(np.clip(smooth, None, bright)))


def _cut_at_half_height(
    smooth: np.ndarray, basins: np.ndarray, background: float, noise: float, nd: float
) -> np.ndarray:
    """Return in each basin the part above half its nucleus' height, in one piece without holes."""
    labels = np.zeros(basins.shape, np.int32)
    unit = np.pi / 4 * nd**2
    count = 0
    for index, window in enumerate(ndimage.find_objects(basins), start=1):
        if window is None:
            continue
        inside = basins[window] == index
        values = smooth[window]
        height = np.percentile(values[inside], 80) - background
        if height < NOISE_SDS * noise:
            continue
        part, n = ndimage.label(inside & (values > background + HALF_HEIGHT * height))
        if n > 1:
            part = part == 1 + np.argmax(np.bincount(part.ravel())[1:])
        part = ndimage.binary_fill_holes(part > 0)
        if MIN_AREA * unit <= part.sum() <= MAX_AREA * unit:
            count += 1
            labels[window][part & (labels[window] == 0)] = count
    return labels
