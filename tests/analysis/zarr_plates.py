"""OME-Zarr plates for the tests: pixels by tensorstore, metadata by the text of the specification.

So neither is written by the library with which the program reads.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorstore

from tests.analysis.small_plate import CHANNELS, field

WELLS = {"B/2": "DMSO", "C/03": "TNF-alpha"}
PIXEL_UM = 1.5  # of the level that the tests read; the finest has half of it
VERSIONS = ("0.4", "0.5")


def write_attributes(folder: Path, version: str, ome: dict) -> None:
    """Write a group with these metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        content = {"attributes": {"ome": {"version": "0.5", **ome}}}
        content |= {"zarr_format": 3, "node_type": "group"}
        (folder / "zarr.json").write_text(json.dumps(content))
        return
    (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    (folder / ".zattrs").write_text(json.dumps(ome))


def change(folder: Path, harm) -> None:
    """Change the OME metadata of a group in place."""
    path = folder / "zarr.json"
    path = path if path.exists() else folder / ".zattrs"
    content = json.loads(path.read_text())
    harm(content["attributes"]["ome"] if path.name == "zarr.json" else content)
    path.write_text(json.dumps(content))


def write_array(
    folder: Path, version: str, pixels: np.ndarray, axes: str, *, sharded: bool = False
) -> None:
    """Write pixels in chunks of at most 64 px and one channel; shards hold 2 x 2 of them."""
    chunks = [1] * (pixels.ndim - 2) + [min(64, side) for side in pixels.shape[-2:]]
    metadata = {"shape": pixels.shape, "fill_value": 0}
    if version == "0.4":
        kind = {"driver": "zarr", "metadata": {
            **metadata, "chunks": chunks, "dtype": pixels.dtype.str, "dimension_separator": "/",
            "compressor": {"id": "zstd", "level": 1}}}  # fmt: skip
    else:
        plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
        grid, codecs = chunks, [*plain, {"name": "zstd", "configuration": {"level": 1}}]
        if sharded:
            grid = chunks[:-2] + [2 * side for side in chunks[-2:]]
            codecs = [{"name": "sharding_indexed", "configuration": {
                "chunk_shape": chunks, "codecs": codecs,
                "index_codecs": [*plain, {"name": "crc32c"}]}}]  # fmt: skip
        kind = {"driver": "zarr3", "metadata": {
            **metadata, "data_type": pixels.dtype.name, "codecs": codecs,
            "dimension_names": list(axes),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}}}}  # fmt: skip
    spec = {**kind, "kvstore": {"driver": "file", "path": str(folder)}}
    tensorstore.open(spec, create=True).result().write(pixels).result()


def multiscales(version: str, axes: str, scales: dict[str, float], unit: str = "micrometer"):
    """The multiscales of an image whose pixels have these sizes by path of a level."""
    kinds = {"t": "time", "c": "channel"}
    units = dict.fromkeys("yx", {"unit": unit})
    found = {
        "name": "field",
        "axes": [
            {"name": name, "type": kinds.get(name, "space"), **units.get(name, {})}
            for name in axes
        ],
        "datasets": [
            {"path": path, "coordinateTransformations": [
                {"type": "scale", "scale": [1.0] * (len(axes) - 2) + [size] * 2}]}
            for path, size in scales.items()
        ],
    }  # fmt: skip
    return [found | ({"version": "0.4"} if version == "0.4" else {})]


def omero(labels) -> dict:
    """Names of channels, with the hints for viewers that the specification asks for."""
    window = {"start": 0.0, "min": 0.0, "end": 4095.0, "max": 4095.0}
    return {"channels": [{"label": name, "color": "FFFFFF", "window": window} for name in labels]}


def write_field(
    folder: Path, version: str, pixels: np.ndarray, *, axes: str = "tczyx", labels=CHANNELS,
    sharded: bool = False,
) -> None:  # fmt: skip
    """Write one image of pixels (c, y, x) as level 1, and level 0 of twice the size."""
    ome = {"multiscales": multiscales(version, axes, {"0": PIXEL_UM / 2, "1": PIXEL_UM})}
    write_attributes(folder, version, ome | ({"omero": omero(labels)} if labels else {}))
    fine = pixels.repeat(2, axis=1).repeat(2, axis=2)
    for level, images in (("0", fine), ("1", pixels)):
        shape = [images.shape["cyx".index(name)] if name in "cyx" else 1 for name in axes]
        write_array(folder / level, version, images.reshape(shape), axes, sharded=sharded)


def images_of(well: str, site: int) -> np.ndarray:
    """The pixels (c, y, x) of a field that the plate must give back."""
    return field(WELLS[well], seed=10 * list(WELLS).index(well) + site).counts


def write_plate(
    folder: Path, version: str, *, sites: int = 2, name: str = "P1.ome.zarr", **of_field
) -> Path:
    """Write a plate of two wells; returns its group."""
    plate = folder / name
    rows, columns = ([{"name": n} for n in names] for names in ("BC", ("2", "03")))
    wells = [{"path": path, "rowIndex": i, "columnIndex": i} for i, path in enumerate(WELLS)]
    said = {"name": "P1", "rows": rows, "columns": columns, "wells": wells, "field_count": sites}
    own = {"version": "0.4"} if version == "0.4" else {}
    write_attributes(plate, version, {"plate": {**said, **own}})
    for path in WELLS:
        write_attributes(plate / path[0], version, {})
        images = [{"path": str(site)} for site in range(sites)]
        write_attributes(plate / path, version, {"well": {"images": images, **own}})
        for site in range(sites):
            write_field(plate / path / str(site), version, images_of(path, site), **of_field)
    return plate
