"""Turn the networks in a pickle of NVlabs' stylegan2-ada-pytorch into our own.

Nothing in the pickle is run (``rls.stylegan2.recorded_network``). The networks are built from our
own classes, whose parameters have the same names; every name, shape and constant in the file
must agree with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from rls.io import Intensity, file_digest
from rls.io.inert_pickle import ADVICE, excerpt, plain_number, read_inert
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator, DiscriminatorBlock, DiscriminatorEpilogue
from rls.stylegan2.generator_io import write_generator, write_training_weights
from rls.stylegan2.networks import Generator, SynthesisBlock, SynthesisLayer, ToRGBLayer
from rls.stylegan2.operators import (
    FILTER_TAPS,
    Conv2dLayer,
    FullyConnectedLayer,
    other_filter,
)
from rls.stylegan2.recorded_network import Network, need_count, read_network

N = TypeVar("N", Generator, Discriminator)
CHANNELS = {"channel_base": 32768, "channel_max": 512}  # NVlabs' values where none are given
ONLY = (
    "Only unconditional networks with the layers of stylegan2-ada-pytorch's defaults (skip "
    "generator, residual discriminator, leaky ReLU, filter 1 3 3 1) can be used."
)


def scale_of(
    n_channels: int, channels: Sequence[str] | None, intensity: Intensity | None
) -> Intensity:
    """Return the intensity scale of the images, by default 0..255 of channels c0, c1, ... .

    Arguments:
        n_channels: Channels of the network.
        channels: Their names, None where they are not given.
        intensity: The scale, None where it is not given.

    Raises:
        InputError: Names and scale do not fit each other or the network.
    """
    if channels is None:
        channels = intensity.channels if intensity else [f"c{i}" for i in range(n_channels)]
    if len(channels) != n_channels or len(set(channels)) != n_channels:
        raise InputError(
            f"Found {len(channels)} channel names ({', '.join(channels)}), expected {n_channels} "
            "different ones, in the order in which the network was trained. Give --channels."
        )
    if intensity is None:
        return Intensity(tuple(channels), (0.0,) * n_channels, (255.0,) * n_channels)
    if tuple(channels) != intensity.channels:
        raise InputError(
            f"Found channels {', '.join(channels)} and an intensity scale of "
            f"{', '.join(intensity.channels)}, expected the same. Give one of them only."
        )
    return intensity


def import_networks(
    source: Path,
    output: Path,
    output_training: Path | None,
    *,
    channels: Sequence[str] | None = None,
    intensity: Intensity | None = None,
    pixel_size_um: float | None = None,
) -> Generator:
    """Write the averaged generator and, if asked for, G and D; return the averaged generator.

    Arguments:
        source: Network pickle.
        output: File of the averaged generator.
        output_training: File of G and D, None for none.
        channels, intensity: See ``scale_of``.
        pixel_size_um: Side of a pixel in micrometres, if it is known.

    Raises:
        InputError: The pickle holds no networks that can be used; nothing is written then.
    """
    snapshot = read_inert(source)
    average = read_network(snapshot, "G_ema", source)
    names = () if output_training is None else ("G", "D")
    trained = {name: read_network(snapshot, name, source) for name in names}
    architecture = recorded_architecture(average, trained.get("D"))
    generator = build(Generator, architecture, average)
    scale = scale_of(architecture.n_channels, channels, intensity)
    augment_p = None  # the probability of adaptive augmentation at the snapshot
    if snapshot.get("augment_pipe") is not None:
        pipe = read_network(snapshot, "augment_pipe", source)
        augment_p = pipe.tensors["p"].item() if "p" in pipe.tensors else None
    header: dict[str, Any] = {
        "channels": list(scale.channels),
        "pixel_size_um": pixel_size_um,
        "intensity": scale.as_dict(),
        "image_size": architecture.image_size,
        "images_seen": 0,  # the pickle does not say
        "n_training_images": None,
        "data_digest": None,
        "precision": "float32",
        "settings": {},
        "source": {
            "format": "stylegan2-ada-pytorch",
            "file": source.name,
            "digest": file_digest(source),
            "augment_p": augment_p,
        },
    }
    if output_training is not None:
        last = build(Generator, architecture, trained["G"])
        opponent = build(Discriminator, architecture, trained["D"])
        write_training_weights(output_training, last, opponent, header)
    write_generator(output, generator, header)
    generator.header = header
    return generator


def recorded_architecture(generator: Network, discriminator: Network | None = None) -> Architecture:
    """Return the architecture of recorded networks.

    The group size of the minibatch standard deviation is that of the discriminator, if it is given.

    Raises:
        InputError: The network is conditional, or its sizes are not those of its tensors.
    """
    conditions = generator.size("c_dim", least=0)
    if conditions:
        raise InputError(
            f"Found a network of {conditions} conditions (c_dim) in {generator.where}, expected "
            "an unconditional one. Train one without --cond."
        )
    _need_blocks(generator, "skip")
    group: dict[str, int] = {}
    if discriminator is not None:
        group = {"mbstd_group_size": discriminator.size("group_size", "b4.mbstd")}
    clamp = generator.attribute("synthesis.b4.conv1", "conv_clamp")
    if clamp is not None and not (isinstance(clamp, int | float) and 0 < clamp < math.inf):
        raise InputError(
            f"Found conv_clamp {excerpt(clamp)} in {generator.where}, expected none or more than "
            f"0. {ADVICE}"
        )
    architecture = Architecture(
        image_size=generator.size("img_resolution"),
        n_channels=generator.size("img_channels"),
        z_dim=generator.size("z_dim"),
        w_dim=generator.size("w_dim"),
        mapping_layers=generator.size("num_layers", "mapping"),
        clamp=None if clamp is None else float(clamp),
        **_channels(generator),
        **group,
    )
    _check_sizes(architecture, generator)
    return architecture


def _check_sizes(architecture: Architecture, generator: Network) -> None:
    """Raise InputError unless the tensors have the sizes that a recorded generator claims.

    This is done before a network is allocated, so that a small file cannot ask for a large one.
    """
    sizes = {
        "image_size": max((int(r) for r in _numbers(generator, "synthesis.b")), default=0),
        "mapping_layers": len(_numbers(generator, "mapping.fc")),
    }
    for name, size in sizes.items():
        if getattr(architecture, name) != size:
            raise InputError(
                f"Found {name} {getattr(architecture, name)} said and {size} in the tensors of "
                f"{generator.where}, expected the same. {ADVICE}"
            )
    shapes: dict[str, tuple[int, ...]] = {
        "mapping.fc0.weight": (architecture.w_dim, architecture.z_dim),
        "synthesis.b4.torgb.bias": (architecture.n_channels,),
    }
    for resolution in architecture.resolutions:
        n, layer = architecture.features(resolution), f"synthesis.b{resolution}.conv1"
        shapes[f"{layer}.weight"] = (n, n, 3, 3)
        shapes[f"{layer}.affine.weight"] = (n, architecture.w_dim)
        shapes[f"{layer}.noise_const"] = (resolution, resolution)
    _check_shapes(shapes, architecture, generator)


def _numbers(network: Network, prefix: str) -> set[str]:
    """Return the numbers that follow a prefix in the paths of the modules."""
    rests = (
        path[len(prefix) :].split(".")[0] for path in network.modules if path.startswith(prefix)
    )
    return {rest for rest in rests if rest.isdecimal() and len(rest) < 8}


def _channels(generator: Network) -> dict[str, int]:
    """Return channel_base and channel_max of a generator, from either of NVlabs' places."""
    given = generator.attribute("", "_init_kwargs")
    given = given if isinstance(given, dict) else {}
    inner = given.get("synthesis_kwargs")
    given = {**given, **(inner if isinstance(inner, dict) else {})}
    return {
        name: need_count(plain_number(given.get(name, value)), f"{name} in {generator.where}", 1)
        for name, value in CHANNELS.items()
    }


def build(kind: type[N], architecture: Architecture, network: Network) -> N:
    """Return our network with the weights of a recorded one.

    Raises:
        InputError: A name, a shape or a constant of the recorded network differs from ours.
    """
    _need_blocks(network, "skip" if kind is Generator else "resnet")
    if (name := other_filter(network.tensors)) is not None:
        raise InputError(
            f"Found another resampling filter ({tuple(network.tensors[name].shape)}) as {name} of "
            f"{network.where}, expected the outer product of {FILTER_TAPS}. {ONLY}"
        )
    module = kind(architecture)
    shapes = {name: tuple(values.shape) for name, values in module.state_dict().items()}
    _check_shapes(shapes, architecture, network)
    unknown = sorted(network.tensors.keys() - shapes.keys())
    if unknown:
        raise InputError(
            f"Found {len(unknown)} unknown tensors ({', '.join(unknown[:3])}) in {network.where}, "
            f"expected those of {architecture}. {ONLY}"
        )
    for path, layer in module.named_modules():
        for name, value in _constants(layer).items():
            _need(network, path, name, network.attribute(path, name), value)
    module.load_state_dict(dict(network.tensors))
    return module


def _check_shapes(
    wanted: Mapping[str, tuple[int, ...]], architecture: Architecture, network: Network
) -> None:
    """Raise InputError unless the recorded network has tensors of all wanted shapes."""
    found = {name: tuple(values.shape) for name, values in network.tensors.items()}
    faults = [f"no {name}" for name in wanted if name not in found]
    faults += [
        f"{name} of {found[name]} and not {shape}"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape or 0 in shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise InputError(
            f"Found {', '.join(faults[:3])}{more} in {network.where}, expected the tensors of "
            f"{architecture}. {ONLY}"
        )


def _constants(layer: nn.Module) -> dict[str, Any]:
    """Return the constants of a layer that its tensors do not determine, under NVlabs' names."""
    if isinstance(layer, FullyConnectedLayer):
        names = ("activation", "weight_gain", "bias_gain")
        return {name: getattr(layer, name) for name in names}
    if isinstance(layer, Conv2dLayer):
        return {
            "activation": layer.activation,
            "weight_gain": layer.weight_gain,
            "conv_clamp": layer.clamp,
            "up": 2 if layer.up else 1,
            "down": 2 if layer.down else 1,
        }
    if isinstance(layer, SynthesisLayer):
        up = 2 if layer.up else 1
        return {"activation": "lrelu", "conv_clamp": layer.clamp, "up": up, "use_noise": True}
    if isinstance(layer, ToRGBLayer):
        return {"weight_gain": layer.weight_gain, "conv_clamp": layer.clamp}
    if isinstance(layer, SynthesisBlock):
        return {"architecture": "skip"}
    if isinstance(layer, DiscriminatorBlock | DiscriminatorEpilogue):
        return {"architecture": "resnet"}
    return {}


def _need_blocks(network: Network, wanted: str) -> None:
    """Raise InputError if a block of a recorded network has another architecture."""
    for path, attributes in network.modules.items():
        _need(network, path, "architecture", attributes.get("architecture", wanted), wanted)


def _need(network: Network, path: str, name: str, found: object, wanted: object) -> None:
    """Raise InputError if a constant of a recorded layer is not ours."""
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        same = math.isclose(found, wanted, rel_tol=1e-6)
    else:
        same = found == wanted
    if not same:
        at = f"{excerpt(found)} at '{path}' of {network.where}"
        raise InputError(f"Found {name} {at}, expected {wanted}. {ONLY}")
