"""Curves and pictures of a training, for a person who follows it.

They go to the state folder: ``tensorboard/`` (``tensorboard --logdir state``) and
``grids/kimg-000010.000.png``. A training that is resumed removes what lies beyond its checkpoint,
so that no part of a curve appears twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rls.io import atomic_path
from rls.stylegan2.grid import write_grid

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

GRID_COLUMNS = 8
TENSORBOARD_ROWS = 2  # rows of a grid in TensorBoard, whose files keep every one of many pictures
SHEET_ROWS = 12
LABEL_PX, TEXT_PX = 96, 16


class Monitor:
    """Curves and pictures of one training.

    Nothing is opened or removed before the first tick or evaluation, so that a process that only
    computes can have a monitor, too.

    Arguments:
        folder: The state folder.
        resumed_at_kimg: Where this process begins, in thousands of images: at a checkpoint, or 0.
    """

    def __init__(self, folder: Path, *, resumed_at_kimg: float = 0.0) -> None:
        self.folder, self.grids, self.resumed_at_kimg = folder, folder / "grids", resumed_at_kimg
        self._writer: SummaryWriter | None = None
        self._opened = False

    def tick(self, row: Mapping[str, float]) -> None:
        """Write the finite numbers of a tick to TensorBoard, each under its name.

        The step in TensorBoard is the number of images seen, from ``row["kimg"]``.
        """
        writer, step = self._open(), round(row["kimg"] * 1000)
        if writer is None:
            return
        for name, value in row.items():
            if name != "kimg" and math.isfinite(value):
                writer.add_scalar(name, value, step)
        writer.flush()

    def evaluate(self, kimg: float, images: np.ndarray) -> None:
        """Write samples of fixed z as PNG and to TensorBoard.

        Arguments:
            kimg: Thousands of images seen.
            images: (n, c, y, x) in [0, 1], of the same z each time.
        """
        writer = self._open()
        path = self.grids / f"kimg-{kimg:010.3f}.png"
        write_grid(path, images, GRID_COLUMNS)
        if writer is None:
            return
        few = first_rows(path, TENSORBOARD_ROWS)
        writer.add_image("samples", few, round(kimg * 1000), dataformats="HWC")
        writer.flush()

    def progress_sheet(self, path: Path) -> int:
        """Write one picture of the whole training, with a row of 8 samples per evaluation.

        There are at most 12 rows, denser at the start, because most changes happen early. Without
        evaluations nothing is written.

        Returns:
            The number of rows.
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
        """Close the file of curves; a later tick opens a new one."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._opened = None, False

    def _open(self) -> SummaryWriter | None:
        """Return the writer of curves, None without the package tensorboard.

        On first use, what lies beyond the checkpoint is removed.
        """
        if self._opened:
            return self._writer
        self._opened = True
        for grid in self.grids.glob("kimg-*.png"):
            if kimg_of(grid) > float(f"{self.resumed_at_kimg:.3f}"):
                grid.unlink(missing_ok=True)
        try:
            # Imported here, because it takes seconds and few processes draw curves.
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("TensorBoard curves: no, the package tensorboard is not installed", flush=True)
            return None
        # Keep the tick of the checkpoint; from 0 images on, discard the whole earlier attempt.
        seen = round(self.resumed_at_kimg * 1000)
        purge = seen + 1 if seen else 0
        self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=purge)
        return self._writer


def kimg_of(grid: Path) -> float:
    """Return the kimg in the name of a grid."""
    return float(grid.stem.removeprefix("kimg-"))


def first_rows(grid: Path, n: int) -> np.ndarray:
    """Return the first n rows of images of a grid with 8 columns, (y, x, 3) uint8."""
    with Image.open(grid) as image:
        side = image.width // GRID_COLUMNS
        return np.asarray(image.convert("RGB").crop((0, 0, image.width, n * side)))


def thinned(n: int, most: int) -> list[int]:
    """Return at most ``most`` of 0..n-1 with the first and the last, denser at the start."""
    if n <= most:
        return list(range(n))
    share = np.linspace(0.0, 1.0, most)
    return sorted({round(x) for x in (share + share**2) / 2 * (n - 1)})
