"""Networks of NVlabs' stylegan2-ada-pytorch, built from what its pickles tell of them.

Every module in such a file carries the source text of its class, which NVlabs' own reader
executes. Here only attributes and tensors are read (rls.stylegan2.inert_pickle); the networks are
built from our own classes, whose parameters have the same names, and every name, shape and
constant that the file tells must be theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rls.runtime.errors import InputError
from rls.stylegan2.discriminator import Discriminator, DiscriminatorBlock, DiscriminatorEpilogue
from rls.stylegan2.inert_pickle import MODULE, NEXT, Recorded, number, short, tensor
from rls.stylegan2.networks import (
    Architecture,
    Generator,
    SynthesisBlock,
    SynthesisLayer,
    ToRGBLayer,
)
from rls.stylegan2.operators import (
    FILTER_TAPS,
    Conv2dLayer,
    FullyConnectedLayer,
    setup_filter,
)

N = TypeVar("N", Generator, Discriminator)
CHANNELS = {"channel_base": 32768, "channel_max": 512}  # NVlabs' values where none are given
MOST_COPIED = 4  # times the size of a file, in float32
MOST_MODULES = 1000  # of a network; one of 1024 px has about 100
ONLY = (
    "Only unconditional networks with the layers of stylegan2-ada-pytorch's defaults (skip "
    "generator, residual discriminator, leaky ReLU, filter 1 3 3 1) can be used."
)
LARGEST = 1 << 20  # of any count in a network


@dataclass(frozen=True)
class Network:
    """A recorded network: attributes of every module and all tensors, by path."""

    where: str
    modules: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, Tensor]

    def attribute(self, path: str, name: str) -> Any:  # noqa: ANN401
        """Attribute of the module at a path. Raises InputError if there is none."""
        value = self.modules.get(path, {}).get(name, self)
        if value is self:
            raise InputError(
                f"Found no {name} of '{path}' in {self.where}, expected one as in stylegan2-ada-"
                f"pytorch. {NEXT}"
            )
        return number(value)

    def size(self, name: str, path: str = "", least: int = 1) -> int:
        """Attribute of a module that is a count. Raises InputError if it is none."""
        return _count(self.attribute(path, name), f"{name} in {self.where}", least)


def read_network(snapshot: Mapping[str, Any], name: str, path: Path | str) -> Network:
    """Network of a snapshot by name. Raises InputError if it is not there or no network."""
    if snapshot.get(name) is None:
        names = ", ".join(short(key) for key in snapshot)[:200]
        raise InputError(f"Found no {name} in {path} (it holds {names}), expected one. {NEXT}")
    where = f"{name} of {path}"
    modules = dict(_modules(snapshot[name], where))
    tensors: dict[str, Tensor] = {}
    left = MOST_COPIED * Path(path).stat().st_size  # names may share numbers, but not without end
    for prefix, attributes in modules.items():
        for kind in ("_parameters", "_buffers"):
            for key, record in attributes[kind].items():
                if record is not None:
                    full = f"{prefix}.{key}" if prefix else str(key)
                    tensors[full] = tensor(record, f"{full} in {where}")
                    left -= tensors[full].nbytes
                    if left < 0:
                        raise InputError(
                            f"Found tensors of more than {MOST_COPIED} times the file in {where}, "
                            f"expected each to have numbers of its own. {NEXT}"
                        )
    return Network(where, modules, tensors)


def _modules(record: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401
    """Paths and attributes of a recorded module and of those below it."""
    waiting = [("", record)]
    for _ in range(MOST_MODULES):
        if not waiting:
            return
        path, record = waiting.pop()
        state = _state(record)
        if state is None:
            raise InputError(
                f"Found no module at '{path}' in {where}, expected one of stylegan2-ada-pytorch. "
                f"{NEXT}"
            )
        yield path, state
        below = {str(k): v for k, v in state["_modules"].items() if v is not None}
        waiting += [(f"{path}.{k}" if path else k, v) for k, v in below.items()]
        if len(waiting) > MOST_MODULES:
            break
    raise InputError(f"Found more than {MOST_MODULES} modules in {where}, expected fewer. {NEXT}")


def _state(record: Any) -> dict[str, Any] | None:  # noqa: ANN401
    """Attributes of a recorded module; None if it is none."""
    if not isinstance(record, Recorded) or record.name != MODULE or len(record.args) != 1:
        return None
    state = record.args[0].get("state") if isinstance(record.args[0], dict) else None
    if not isinstance(state, dict):
        return None
    parts = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    return state if all(isinstance(part, dict) for part in parts) else None


def _count(value: Any, what: str, least: int) -> int:  # noqa: ANN401
    if type(value) is not int or not least <= value <= LARGEST:
        raise InputError(
            f"Found {short(value)} as {what}, expected a count from {least} on. {NEXT}"
        )
    return value


def augment_probability(snapshot: Mapping[str, Any], path: Path | str) -> float | None:
    """Probability of the adaptive augmentation when the snapshot was taken; None without one."""
    if snapshot.get("augment_pipe") is None:
        return None
    pipe = read_network(snapshot, "augment_pipe", path)
    return pipe.tensors["p"].item() if "p" in pipe.tensors else None


def read_architecture(generator: Network, discriminator: Network | None = None) -> Architecture:
    """Sizes of a generator; the size of deviation groups is the discriminator's, if it is given.

    Raises InputError if the network is conditional or its sizes are not those of its tensors.
    """
    conditions = generator.size("c_dim", least=0)
    if conditions:
        raise InputError(
            f"Found a network of {conditions} conditions (c_dim) in {generator.where}, expected "
            "an unconditional one. Train one without --cond."
        )
    _need_blocks(generator, "skip")
    group = {}
    if discriminator is not None:
        group = {"mbstd_group_size": discriminator.size("group_size", "b4.mbstd")}
    clamp = generator.attribute("synthesis.b4.conv1", "conv_clamp")
    if clamp is not None and not (isinstance(clamp, int | float) and 0 < clamp < math.inf):
        raise InputError(
            f"Found conv_clamp {short(clamp)} in {generator.where}, expected none or more than "
            f"0. {NEXT}"
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
    sizes = {
        "image_size": max((int(r) for r in _numbers(generator, "synthesis.b")), default=0),
        "mapping_layers": len(_numbers(generator, "mapping.fc")),
    }
    for name, size in sizes.items():
        if getattr(architecture, name) != size:
            raise InputError(
                f"Found {name} {getattr(architecture, name)} said and {size} in the tensors of "
                f"{generator.where}, expected the same. {NEXT}"
            )
    # Before memory is taken for a network: every size once, so that the file must be as large.
    shapes = {
        "mapping.fc0.weight": (architecture.w_dim, architecture.z_dim),
        "synthesis.b4.torgb.bias": (architecture.n_channels,),
    }
    for resolution in architecture.resolutions:
        n, layer = architecture.features(resolution), f"synthesis.b{resolution}.conv1"
        shapes[f"{layer}.weight"] = (n, n, 3, 3)
        shapes[f"{layer}.affine.weight"] = (n, architecture.w_dim)
        shapes[f"{layer}.noise_const"] = (resolution, resolution)
    _check_shapes(shapes, architecture, generator)
    return architecture


def _numbers(network: Network, prefix: str) -> set[str]:
    """The numbers that follow a prefix in the names of the modules."""
    rests = (
        path[len(prefix) :].split(".")[0] for path in network.modules if path.startswith(prefix)
    )
    return {rest for rest in rests if rest.isdecimal() and len(rest) < 8}


def _channels(generator: Network) -> dict[str, int]:
    """channel_base and channel_max as given to the generator, in either of NVlabs' ways."""
    given = generator.attribute("", "_init_kwargs")
    given = given if isinstance(given, dict) else {}
    inner = given.get("synthesis_kwargs")
    given = {**given, **(inner if isinstance(inner, dict) else {})}
    return {
        name: _count(number(given.get(name, value)), f"{name} in {generator.where}", 1)
        for name, value in CHANNELS.items()
    }


def build(kind: type[N], architecture: Architecture, network: Network) -> N:
    """Our network with the weights of a recorded one.

    Raises InputError if a name, a shape or a constant of the recorded network is another.
    """
    _need_blocks(network, "skip" if kind is Generator else "resnet")
    taps = setup_filter(FILTER_TAPS)
    for name, values in network.tensors.items():
        if name.endswith("resample_filter") and (
            values.shape != taps.shape or not torch.allclose(values, taps, atol=1e-6)
        ):
            raise InputError(
                f"Found another resampling filter ({tuple(values.shape)}) as {name} of "
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
    """What a layer's tensors do not tell, under NVlabs' names."""
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
    for path, attributes in network.modules.items():
        _need(network, path, "architecture", attributes.get("architecture", wanted), wanted)


def _need(network: Network, path: str, name: str, found: Any, wanted: Any) -> None:  # noqa: ANN401
    """Raise InputError if a constant of a recorded layer is not ours."""
    numbers = all(isinstance(value, int | float) for value in (found, wanted))
    if math.isclose(found, wanted, rel_tol=1e-6) if numbers else found == wanted:
        return
    raise InputError(
        f"Found {name} {short(found)} at '{path}' of {network.where}, expected {wanted}. {ONLY}"
    )
