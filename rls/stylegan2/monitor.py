"""What a person sees while a generator is trained: curves, pictures, and sentences when it fails.

Curves and pictures go to the state folder: ``tensorboard/`` (``tensorboard --logdir state``) and
``grids/kimg-000010.000.png``. A training that is resumed takes back what lies beyond its
checkpoint, so that no curve doubles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rls.io import atomic_path
from rls.runtime.errors import InputError
from rls.stylegan2.grid import write_grid

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

GRID_COLUMNS = 8
TENSORBOARD_ROWS = 2  # of the grid: event files keep every picture, and there are many
SHEET_ROWS = 12
LABEL_PX, TEXT_PX = 96, 16

RECENT_TICKS = 4
RISEN_EVALUATIONS = 3
R_T_LIMIT = 0.9  # ADA aims at 0.6
P_LIMIT = 0.8  # augmentations leak into the images above (Karras et al. 2020, ADA, section 2.2)
KD_RISE = 2.0
SPREAD_LIMIT = 0.3
NO_LOSS = 0.05  # of the discriminator; 2 log 2 = 1.39 where it knows nothing


class Monitor:
    """Curves and pictures of one training.

    Nothing is opened or removed before the first tick or evaluation, so that a process that only
    computes can have one.

    Arguments:
        folder: The state folder.
        resumed_at_kimg: Where this process begins: 0, or thousands of images of the checkpoint.
    """

    def __init__(self, folder: Path, *, resumed_at_kimg: float = 0.0) -> None:
        self.folder, self.resumed_at_kimg = folder, resumed_at_kimg
        self._writer: SummaryWriter | None = None

    @property
    def grids(self) -> Path:
        """Folder of the pictures."""
        return self.folder / "grids"

    def tick(self, row: Mapping[str, float]) -> None:
        """Write the finite numbers of a tick to TensorBoard, each under its name.

        ``row["kimg"]`` places them: the step in TensorBoard is the number of images seen.
        """
        writer, step = self._open(), images_at(row["kimg"])
        for name, value in row.items():
            if name != "kimg" and math.isfinite(value):
                writer.add_scalar(name, value, step)
        writer.flush()

    def evaluate(self, kimg: float, images: np.ndarray) -> None:
        """Write samples of fixed z (n, c, y, x) in [0, 1], the same z each time: PNG and curve."""
        writer = self._open()
        path = self.grids / f"kimg-{kimg:010.3f}.png"
        write_grid(path, images, GRID_COLUMNS)
        few = first_rows(path, TENSORBOARD_ROWS)
        writer.add_image("samples", few, images_at(kimg), dataformats="HWC")
        writer.flush()

    def progress_sheet(self, path: Path) -> int:
        """Write one picture of the whole training: a row an evaluation, 8 samples each.

        At most 12 rows, early ones denser, because most changes early. Returns their number;
        writes nothing where there are no evaluations.
        """
        found = sorted((kimg_of(grid), grid) for grid in self.grids.glob("kimg-*.png"))
        found = [found[i] for i in thinned(len(found), SHEET_ROWS)]
        if not found:
            return 0
        rows = [first_rows(grid, 1) for _, grid in found]
        height, width = rows[0].shape[:2]
        sheet = Image.new("RGB", (LABEL_PX + width, len(rows) * height))
        draw = ImageDraw.Draw(sheet)
        font = ImageFont.load_default(TEXT_PX)
        for i, ((kimg, _), row) in enumerate(zip(found, rows, strict=True)):
            sheet.paste(Image.fromarray(row), (LABEL_PX, i * height))
            place = (LABEL_PX - 8, i * height + height // 2)
            draw.text(place, f"{kimg:g} kimg", font=font, anchor="rm")
        with atomic_path(path) as temporary:
            sheet.save(temporary, format="PNG")
        return len(rows)

    def close(self) -> None:
        """Close the file of curves; a later tick opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> SummaryWriter:
        if self._writer is None:
            for grid in self.grids.glob("kimg-*.png"):
                if kimg_of(grid) > float(f"{self.resumed_at_kimg:.3f}"):
                    grid.unlink(missing_ok=True)
            try:
                from torch.utils.tensorboard import SummaryWriter  # it takes seconds to import
            except ImportError as error:
                raise InputError(
                    "Found no package tensorboard, expected it beside torch. Run "
                    "'pip install -r requirements.lock' and the same command again."
                ) from error
            # The checkpoint's own tick stands; with 0 images all of an earlier attempt goes.
            seen = images_at(self.resumed_at_kimg)
            purge = seen + 1 if seen else 0
            self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=purge)
        return self._writer


def images_at(kimg: float) -> int:
    """Return kimg as a number of images."""
    return round(kimg * 1000)


def kimg_of(grid: Path) -> float:
    """Return the kimg in the name of a grid."""
    return float(grid.stem.removeprefix("kimg-"))


def first_rows(grid: Path, n: int) -> np.ndarray:
    """Return the first n rows of images of a grid with 8 columns: (y, x, 3) uint8."""
    with Image.open(grid) as image:
        side = image.width // GRID_COLUMNS
        return np.asarray(image.convert("RGB").crop((0, 0, image.width, n * side)))


def thinned(n: int, most: int) -> list[int]:
    """Return at most ``most`` of 0..n-1, with the first and the last, denser at the start."""
    if n <= most:
        return list(range(n))
    share = np.linspace(0.0, 1.0, most)
    return sorted({round(x) for x in (share + share**2) / 2 * (n - 1)})


class Alarms:
    """Sentences on a training that fails, each kind once."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def new(self, rows: Sequence[Mapping[str, float]]) -> list[str]:
        """Return the sentences on ``rows`` whose kind was not returned before."""
        found = {kind: text for kind, text in findings(rows).items() if kind not in self.said}
        self.said |= found.keys()
        return list(found.values())


def collapse_warnings(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what is wrong with a training by the rows of its ticks: what was seen, what to try.

    Keys: kimg, loss_generator, loss_discriminator, r_t, augment_p, kd, kd_floor, spread; each may
    be missing or NaN. None for a healthy training.
    """
    return list(findings(rows).values())


def findings(rows: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return the warnings of :func:`collapse_warnings` by their kind."""
    found = {
        "overfitting": _overfitting(rows),
        "augmentation": _augmentation(rows),
        "distance": _distance(rows),
        "spread": _spread(rows),
        "discriminator": _discriminator(rows),
    }
    return {kind: text for kind, text in found.items() if text is not None}


def series(rows: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    """Return (kimg, value) of the rows where the value is finite."""
    pairs = ((row.get("kimg", math.nan), row.get(name, math.nan)) for row in rows)
    return [(kimg, value) for kimg, value in pairs if value is not None and math.isfinite(value)]


def _overfitting(rows: Sequence[Mapping[str, float]]) -> str | None:
    recent = series(rows, "r_t")[-RECENT_TICKS:]
    adapts = len({p for _, p in series(rows, "augment_p")[-RECENT_TICKS:]}) > 1
    if adapts or len(recent) < RECENT_TICKS or min(r for _, r in recent) <= R_T_LIMIT:
        return None
    return (
        f"At {recent[-1][0]:g} kimg r_t is {recent[-1][1]:.2f}, above {R_T_LIMIT:g} since "
        f"{recent[0][0]:g} kimg: the discriminator knows nearly every training image, and the "
        "generator soon learns nothing more. Augment adaptively (augment_p: none), give more "
        "images, fewer parameters (channel_base, channel_max), or a larger r1_gamma (ten times)."
    )


def _augmentation(rows: Sequence[Mapping[str, float]]) -> str | None:
    values = series(rows, "augment_p")
    if not values or values[-1][1] <= P_LIMIT:
        return None
    kimg, p = values[-1]
    return (
        f"At {kimg:g} kimg augment_p is {p:.2f}, above {P_LIMIT:g}: there are too few images for "
        "this discriminator, and augmentations begin to leak into the generated images. Give more "
        "images, fewer parameters (channel_base, channel_max), or a larger r1_gamma."
    )


def _distance(rows: Sequence[Mapping[str, float]]) -> str | None:
    values = series(rows, "kd")
    if len(values) <= RISEN_EVALUATIONS:
        return None
    before, recent = values[:-RISEN_EVALUATIONS], values[-RISEN_EVALUATIONS:]
    best_kimg, best = min(before, key=lambda pair: pair[1])
    # Below the floor differences are chance, and the best may be negative.
    floor = max((value for _, value in series(rows, "kd_floor")), default=0.0)
    if min(kd for _, kd in recent) <= KD_RISE * max(best, floor, 0.0):
        return None
    return (
        f"At {recent[-1][0]:g} kimg KD is {recent[-1][1]:.4g}, for {RISEN_EVALUATIONS} evaluations "
        f"more than {KD_RISE:g} times its best, {best:.4g} at {best_kimg:g} kimg: the training "
        f"collapses or diverges. Use the weights of about {best_kimg:g} kimg (a total_kimg of that "
        "makes them), and try a larger r1_gamma (ten times) or half the learning_rate."
    )


def _spread(rows: Sequence[Mapping[str, float]]) -> str | None:
    values = series(rows, "spread")
    # An untrained generator's images are all alike: only a spread that was larger has collapsed.
    best = max((spread for _, spread in values), default=math.nan)
    if not values or values[-1][1] >= SPREAD_LIMIT or not best >= SPREAD_LIMIT:
        return None
    kimg, spread = values[-1]
    return (
        f"At {kimg:g} kimg generated images are {spread:.2f} times as diverse as real ones (under "
        f"{SPREAD_LIMIT:g}, best so far {best:.2f}): mode collapse, see the grids. Try a larger "
        "r1_gamma (ten times) or half the learning_rate, from an earlier length."
    )


def _discriminator(rows: Sequence[Mapping[str, float]]) -> str | None:
    recent = series(rows, "loss_discriminator")[-RECENT_TICKS:]
    losses = [value for _, value in series(rows, "loss_generator")[-RECENT_TICKS:]]
    if len(recent) < RECENT_TICKS or len(losses) < RECENT_TICKS:
        return None
    half = RECENT_TICKS // 2
    rising = sum(losses[half:]) > sum(losses[:half])
    if max(loss for _, loss in recent) >= NO_LOSS or not rising:
        return None
    return (
        f"At {recent[-1][0]:g} kimg the discriminator's loss is {recent[-1][1]:.2g}, under "
        f"{NO_LOSS:g} since {recent[0][0]:g} kimg, and the generator's rises to {losses[-1]:.1f}: "
        "the discriminator tells all images apart and the generator has no gradient to follow. "
        "Try a larger r1_gamma (ten times), half the learning_rate, or more images."
    )
