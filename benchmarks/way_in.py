"""How fast each source is read, in MB of pixels a second, beside its codec and the disk.

Fields of three channels of 1024 x 1280 px and crops of 3 x 68 x 68 px are written in every form
that the program takes, with the noise of a camera. Then they are read three times, each the best of
several rounds in turn: by the program, with all of its checks; by the codec's library alone; and as
bytes. Files lie in memory after the first round, so the last is a fast disk's.

    python -m benchmarks.way_in                      # a minute or two
"""

from __future__ import annotations

import argparse
import io
import lzma
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import zarr
from PIL import Image

from analysis.plates import png_archive
from analysis.plates.crop_array import read_crops
from analysis.plates.fields import read_field
from analysis.plates.zarr_files import ARRAY_FILES

CHANNELS = ("dna", "actin", "tubulin")
FIELD, CROP = (3, 1024, 1280), (3, 68, 68)
Reading = Callable[[], object]


def noisy(shape: tuple[int, ...], most: int, seed: int) -> np.ndarray:
    """Counts of smooth shapes with noise, as a camera gives them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    smooth = most / 16 * (2 + np.sin(y / 9) * np.cos(x / 11))
    return rng.poisson(np.broadcast_to(smooth, shape)).clip(0, most - 1).astype(np.uint16)


def fields(folder: Path, n: int) -> dict[str, tuple[float, list[Path], Reading, Reading]]:
    """Of each form of fields: MB of pixels, files, the program's reading, the library's."""
    images = [noisy(FIELD, 4096, i) for i in range(n)]
    megabytes = sum(image.nbytes for image in images) / 1e6
    found = {}
    for name, how in {"TIFF": {}, "TIFF, LZW": {"compression": "lzw", "predictor": True},
                      "TIFF, deflate": {"compression": "zlib"}}.items():  # fmt: skip
        paths = [folder / f"{name} {i}.tif" for i in range(n)]
        for path, image in zip(paths, images, strict=True):
            tifffile.imwrite(path, image, photometric="minisblack", **how)
        rows = [{"path": path.name, "bit_depth": 12} for path in paths]
        found[f"field, {name}"] = (
            megabytes,
            paths,
            lambda rows=rows: [read_field(row, CHANNELS, folder) for row in rows],
            lambda paths=paths: [tifffile.imread(path) for path in paths],
        )
    arrays = [folder / f"{i}.zarr" for i in range(n)]
    for path, image in zip(arrays, images, strict=True):
        zarr.create_array(str(path), data=image, chunks=(1, 512, 640), overwrite=True)
    places = {f"channel_{channel}": str(i) for i, channel in enumerate(CHANNELS)}
    rows = [
        {"path": f"{path.name}/{ARRAY_FILES[-1]}", "bit_depth": 12, **places} for path in arrays
    ]
    found["field, zarr (Zstandard)"] = (
        megabytes,
        [path for array in arrays for path in array.rglob("*") if path.is_file()],
        lambda: [read_field(row, CHANNELS, folder) for row in rows],
        lambda: [np.asarray(zarr.open_array(str(path), mode="r")[:]) for path in arrays],
    )
    return found


def crops(folder: Path, n: int) -> dict[str, tuple[float, list[Path], Reading, Reading]]:
    """The same of cropped cells."""
    images = noisy((n, *CROP), 4096, 99)
    eight = noisy((n, *CROP), 256, 98).astype(np.uint8)
    delta = np.diff(images.astype(np.int16), axis=-1, prepend=np.int16(0))
    npy, xz, tif, packed = (
        folder / f"crops{end}" for end in (".npy", ".npy.xz", ".ome.tif", ".zip")
    )
    np.save(npy, images)
    with lzma.open(xz, "wb") as file:
        np.save(file, delta)
    tifffile.imwrite(tif, images, metadata={"axes": "TCYX"}, photometric="minisblack")
    names = [f"{i:05d}.png" for i in range(n)]
    with zipfile.ZipFile(packed, "w") as archive:
        for name, image in zip(names, eight, strict=True):
            png = io.BytesIO()
            Image.fromarray(np.moveaxis(image, 0, -1)).save(png, "png")
            archive.writestr(name, png.getvalue())

    def ours(path: Path, stored_as: str = "counts") -> Reading:
        known = {"n_labels": n, "n_channels": 3, "stored_as": stored_as, "bit_depth": 12}
        return lambda: list(read_crops(path, np.arange(n), **known))

    def unzipped() -> list[np.ndarray]:
        with zipfile.ZipFile(packed) as archive:
            return [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]

    def from_xz() -> np.ndarray:
        with lzma.open(xz) as file:
            return np.load(file)

    megabytes = images.nbytes / 1e6
    return {
        "crops, .npy": (megabytes, [npy], ours(npy), lambda: np.load(npy)),
        "crops, .npy.xz": (megabytes, [xz], ours(xz, "horizontal_differences"), from_xz),
        "crops, OME-TIFF": (megabytes, [tif], ours(tif), lambda: tifffile.imread(tif)),
        "crops, zip of PNG (8 bit)": (
            eight.nbytes / 1e6,
            [packed],
            lambda: list(png_archive.read_images(packed, names, CHANNELS, (), CROP[-1])),
            unzipped,
        ),
    }


def best(readings: list[Reading], rounds: int) -> list[float]:
    """The least processor seconds of each reading, all of them in turn in every round."""
    seconds = [float("inf")] * len(readings)
    for _ in range(rounds):
        for i, read in enumerate(readings):
            started = time.process_time()
            read()
            seconds[i] = min(seconds[i], time.process_time() - started)
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("| source | MB | program, MB/s | library, MB/s | bytes, MB/s | program / library |")
    print("| --- " * 6 + "|")
    with tempfile.TemporaryDirectory(prefix="way_in_") as name:
        folder = Path(name)
        for kind, (megabytes, files, ours, library) in {
            **fields(folder, args.fields),
            **crops(folder, args.crops),
        }.items():
            stored = sum(path.stat().st_size for path in files) / 1e6
            readings = [ours, library, lambda files=files: [path.read_bytes() for path in files]]
            a, b, c = best(readings, args.rounds)
            speeds = f"{megabytes / a:.0f} | {megabytes / b:.0f} | {stored / max(c, 1e-6):.0f}"
            print(f"| {kind} | {megabytes:.0f} | {speeds} | {b / a:.2f} |", flush=True)


if __name__ == "__main__":
    main()
