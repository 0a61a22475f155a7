"""Files of microscopes' makers for the tests, none of which is written by its reader's library.

CZI is written by pylibCZIrw of Zeiss, whose licence (LGPL-3) keeps it out of the program. Of LIF no
writer exists: it is put together by hand, and so shows only that the reader does what the layout in
liffile's source says.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

NAMES = ("DAPI", "GFP")
PIXEL_UM = 0.325


def pixels_of(*shape: int, bits: int = 16, seed: int = 0) -> np.ndarray:
    """Noise of 8 bits, or of 12 in 16."""
    high = 250 if bits == 8 else 4000
    drawn = np.random.default_rng(seed).integers(1, high, shape)
    return drawn.astype(np.uint8 if bits == 8 else np.uint16)


def write_czi(
    path: Path,
    scenes: list[np.ndarray],
    *,
    names: tuple[str, ...] = NAMES,
    how: str = "uncompressed:",
    pixel_um: float = PIXEL_UM,
    tiles: list[tuple[int, int, int, int]] | None = None,
    leave_out: tuple[int, int, int, int] | None = None,
    times: int = 1,
) -> Path:
    """Write scenes (c, z, y, x), each as one tile of a plane or as ``tiles`` (y, x, h, w).

    Arguments:
        leave_out: Scene, channel, z and number of a tile that is not written.
    """
    czi = pytest.importorskip("pylibCZIrw.czi", reason="pylibCZIrw writes the CZI of the tests")
    pytest.importorskip("czifile")
    with warnings.catch_warnings(), czi.create_czi(str(path), compression_options=how) as file:
        warnings.simplefilter("ignore")
        for scene, images in enumerate(scenes):
            n_c, n_z, height, width = images.shape
            for c, z, t in np.ndindex(n_c, n_z, times):
                for number, (y, x, h, w) in enumerate(tiles or [(0, 0, height, width)]):
                    if (scene, c, z, number) == leave_out:
                        continue
                    part = images[c, z, y : y + h, x : x + w, None]
                    at = {"C": c, "Z": z, "T": t}
                    file.write(part, (1000 * scene + x, y), at, scene=scene)
        said = dict(enumerate(names))
        file.write_metadata("test", said, pixel_um * 1e-6, pixel_um * 1e-6)
    return path


def write_lif(
    path: Path,
    images: dict[str, np.ndarray],
    *,
    names: tuple[str, ...] = NAMES,
    pixel_um: float = PIXEL_UM,
    axes: str = "CZYX",
    unit: str = "m",
) -> Path:
    """Write images whose axes are ``axes`` by name; channels come first, each whole."""
    pytest.importorskip("liffile")
    blocks, elements = [], []
    for number, (name, pixels) in enumerate(images.items()):
        blocks.append(pixels.tobytes())
        elements.append(_lif_image(name, number, pixels, axes, names, pixel_um, unit))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="test"><Children>'
        + "".join(elements)
        + "</Children></Element></LMSDataContainerHeader>"
    )
    with path.open("wb") as file:
        text = xml.encode("utf-16-le")
        file.write(struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(xml)) + text)
        for number, block in enumerate(blocks):
            name = f"MemBlock_{number}".encode("utf-16-le")
            head = (0x70, len(name) + 14, 0x2A, len(block), 0x2A, len(name) // 2)
            file.write(struct.pack("<IIBQBI", *head) + name + block)
    return path


def _lif_image(name, number, pixels, axes, names, pixel_um, unit) -> str:
    """The XML of one image."""
    numbers = {"X": 1, "Y": 2, "Z": 3, "T": 4, "M": 10}
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * pixels.itemsize}" '
        'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" IsLUTInverted="0" BitInc="0" '
        f'LUTName="Gray" BytesInc="{place * pixels.strides[0]}">'
        f"<ChannelProperty><Key>DyeName</Key><Value>{dye}</Value></ChannelProperty>"
        "</ChannelDescription>"
        for place, dye in enumerate(names)
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{numbers[letter]}" NumberOfElements="{size}" Origin="0" '
        f'Length="{(size - 1) * pixel_um * 1e-6}" Unit="{unit}" BytesInc="{stride}" BitInc="0"/>'
        for letter, size, stride in zip(axes, pixels.shape, pixels.strides, strict=True)
        if letter != "C"
    )
    return (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
    )
