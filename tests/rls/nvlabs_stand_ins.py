"""Pickles in the layout of NVlabs' training, made from small networks of ours."""

from __future__ import annotations

import sys
import types

import numpy as np
import torch

from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.networks import Generator

SIZES = Architecture(16, 2, 10, 12, 5, 128, 16, mbstd_group_size=2, clamp=256.0)


def install_reference(monkeypatch):
    """Install modules with NVlabs' names, for pickling only; nothing may call what is in them."""
    sources = {
        "torch_utils.persistence": "def _reconstruct_persistent_obj(meta): raise AssertionError",
        "dnnlib.util": "class EasyDict(dict): pass",
        "dnnlib.tflib.network": "class Network(dict): pass",
    }
    for name in ("torch_utils", "dnnlib", "dnnlib.tflib", *sources):
        module = types.ModuleType(name)
        exec(sources.get(name, ""), module.__dict__)
        monkeypatch.setitem(sys.modules, name, module)


class Persistent:
    """A module pickled as NVlabs does it; its source text would leave a mark if it were run."""

    def __init__(self, class_name, state, marker):
        self.class_name, self.state, self.marker = class_name, state, marker

    def __reduce__(self):
        meta = {
            "type": "class",
            "version": 6,
            "module_src": f"open({str(self.marker)!r}, 'w').close()",
            "class_name": self.class_name,
            "state": self.state,
        }
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)

    def at(self, path):
        """Return the state of the module at a path."""
        found = self
        for name in path.split(".") if path else []:
            found = found.state["_modules"][name]
        return found.state


def easy(**values):
    return sys.modules["dnnlib.util"].EasyDict(values)


def constants_of(module):
    """Return what NVlabs' layers keep beside tensors; gains are numpy scalars there."""
    gain = {"weight_gain": np.float64(getattr(module, "weight_gain", 1))}
    up, down = ({True: 2}.get(getattr(module, name, None), 1) for name in ("up", "down"))
    clamp = {"conv_clamp": None if getattr(module, "clamp", None) is None else 256}
    activation = {"activation": getattr(module, "activation", "lrelu")}
    return {
        "FullyConnectedLayer": gain | activation | {"bias_gain": getattr(module, "bias_gain", 1)},
        "Conv2dLayer": gain | activation | clamp | {"up": up, "down": down},
        "SynthesisLayer": activation | clamp | {"up": up, "use_noise": True},
        "ToRGBLayer": gain | clamp,
        "SynthesisBlock": {"architecture": "skip"},
        "DiscriminatorBlock": {"architecture": "resnet"},
        "DiscriminatorEpilogue": {"architecture": "resnet"},
        "MappingNetwork": {"num_layers": getattr(module, "n_layers", None)},
    }.get(type(module).__name__, {})


def recorded(module, marker, **attributes):
    state = {
        "training": False,
        "_parameters": dict(module._parameters),
        "_buffers": dict(module._buffers),
        "_non_persistent_buffers_set": set(),
        "_forward_hooks": type(module._forward_hooks)(),
        "_modules": {k: recorded(v, marker) for k, v in module._modules.items()},
        **constants_of(module),
        **attributes,
    }
    return Persistent(type(module).__name__, state, marker)


def networks(sizes):
    torch.manual_seed(1)
    made = [Generator(sizes), Generator(sizes), Discriminator(sizes)]
    for network in made:
        for name, values in network.state_dict().items():
            if not name.endswith("resample_filter"):
                values.normal_()
    return made


def snapshot_of(sizes, marker, *, flat=False):
    """Return a snapshot of random networks as NVlabs' training writes it, and these networks."""
    average, last, discriminator = networks(sizes)
    common = {"c_dim": 0, "img_resolution": sizes.image_size, "img_channels": sizes.n_channels}
    channels = {"channel_base": sizes.channel_base, "channel_max": sizes.channel_max}
    generator = common | {"z_dim": sizes.z_dim, "w_dim": sizes.w_dim}
    mapping = easy(num_layers=sizes.mapping_layers)
    keywords = easy(**generator, mapping_kwargs=mapping)
    keywords.update(channels if flat else {"synthesis_kwargs": easy(**channels)})
    made = {
        "training_set_kwargs": easy(path="cells.zip", max_size=7),
        "G": recorded(last, marker, **generator, _init_kwargs=keywords),
        "D": recorded(discriminator, marker, **common, _init_kwargs=easy(**common, **channels)),
        "G_ema": recorded(average, marker, **generator, _init_kwargs=keywords),
        "augment_pipe": None,
    }
    mbstd = torch.nn.Module()
    made["D"].at("b4")["_modules"]["mbstd"] = recorded(
        mbstd, marker, group_size=sizes.mbstd_group_size, num_channels=1
    )
    pipe = torch.nn.Module()
    pipe.register_buffer("p", torch.tensor(0.3125))
    made["augment_pipe"] = recorded(pipe, marker)
    return made, (average, last, discriminator)
