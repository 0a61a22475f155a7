"""All arrays of the reference program, and its networks at 128 px by rule and by size."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

from rls.stylegan2 import operators as ops
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator, minibatch_std
from rls.stylegan2.networks import Generator

TINY = Architecture(32, 3, 64, 64, 2, 1024, 64)
AUTO_128 = Architecture(128, 3, 512, 512, 2, 16384, 512)


def normal(seed, *shape):
    """Return the array that the reference program was given."""
    values = np.random.RandomState(seed).standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def hashfill(module):
    """Fill a network with weights that depend on names and shapes alone, so that all terms count.

    Biases and noise strengths of a new network are zero; here they are not.
    """
    filled = {}
    for name, old in module.state_dict().items():
        random = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
        v = torch.from_numpy(np.asarray(random.standard_normal(old.shape), dtype=np.float32))
        if name.endswith("resample_filter"):
            v = old
        elif name.endswith(".bias") and "affine" in name:
            v = 1 + np.float32(0.1) * v
        elif name.endswith(".bias"):
            v = (10 if name.startswith("mapping.") else np.float32(0.1)) * v
        elif name.endswith(("noise_strength", "w_avg")):
            v = np.float32(0.1) * v
        elif name.startswith("mapping.") and name.endswith(".weight"):
            v = 100 * v
        filled[name] = v
    module.load_state_dict(filled)
    return module.requires_grad_(False)


def read(path):
    return {name: torch.from_numpy(values) for name, values in np.load(path).items()}


def relative(found, expected):
    return ((found - expected).norm() / expected.norm().clamp_min(1e-30)).item()


def assert_all_equal(found, expected):
    """Check that exactly the expected arrays were found, each within 1e-5 of its norm."""
    print(f"{len(found)} of {len(expected)} arrays compared")
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values.shape == expected[name].shape, name
        assert relative(values, expected[name]) < 1e-5, name


def layer_shapes(name, n_in, n_out, size):
    """Return names and shapes of a convolution of the discriminator."""
    return {
        f"{name}.weight": (n_out, n_in, size, size),
        f"{name}.bias": (n_out,),
        f"{name}.resample_filter": (4, 4),
    }


def generator_shapes(a):
    """Return names and shapes of the reference's generator by its naming rules."""
    shapes = {"mapping.w_avg": (a.w_dim,)}
    for i in range(a.mapping_layers):
        shapes[f"mapping.fc{i}.weight"] = (a.w_dim, a.w_dim if i else a.z_dim)
        shapes[f"mapping.fc{i}.bias"] = (a.w_dim,)
    resolution = 4
    while resolution <= a.image_size:
        n = min(a.channel_base // resolution, a.channel_max)
        n_before = min(a.channel_base * 2 // resolution, a.channel_max)
        block = f"synthesis.b{resolution}"
        shapes[f"{block}.resample_filter"] = (4, 4)
        inputs = {"conv1": n, "torgb": n}
        if resolution == 4:
            shapes[f"{block}.const"] = (n, 4, 4)
        else:
            inputs["conv0"] = n_before
        for layer, n_in in inputs.items():
            name = f"{block}.{layer}"
            shapes[f"{name}.affine.weight"] = (n_in, a.w_dim)
            shapes[f"{name}.affine.bias"] = (n_in,)
            if layer == "torgb":
                shapes[f"{name}.weight"] = (a.n_channels, n, 1, 1)
                shapes[f"{name}.bias"] = (a.n_channels,)
            else:
                shapes |= layer_shapes(name, n_in, n, 3)
                shapes[f"{name}.noise_const"] = (resolution, resolution)
                shapes[f"{name}.noise_strength"] = ()
        resolution *= 2
    return shapes


def discriminator_shapes(a):
    """Return names and shapes of the reference's discriminator by its naming rules."""
    shapes = {}
    resolution = a.image_size
    while resolution > 4:
        n = min(a.channel_base // resolution, a.channel_max)
        n_after = min(a.channel_base * 2 // resolution, a.channel_max)
        block = f"b{resolution}"
        shapes[f"{block}.resample_filter"] = (4, 4)
        if resolution == a.image_size:
            shapes |= layer_shapes(f"{block}.fromrgb", a.n_channels, n, 1)
        shapes |= layer_shapes(f"{block}.conv0", n, n, 3)
        shapes |= layer_shapes(f"{block}.conv1", n, n_after, 3)
        shapes |= layer_shapes(f"{block}.skip", n, n_after, 1)
        del shapes[f"{block}.skip.bias"]
        resolution //= 2
    n = min(a.channel_base // 4, a.channel_max)
    shapes |= layer_shapes("b4.conv", n + 1, n, 3)
    shapes |= {"b4.fc.weight": (n, n * 16), "b4.fc.bias": (n,)}
    return shapes | {"b4.out.weight": (1, n), "b4.out.bias": (1,)}


def shapes_of(tensors):
    return {name: tuple(values.shape) for name, values in tensors.items()}


@pytest.mark.parametrize("architecture", [TINY, Architecture(8, 5, 6, 7, 8, 64, 12)])
def test_names_and_shapes_follow_the_references_rules(architecture):
    found = Generator(architecture).state_dict(), Discriminator(architecture).state_dict()
    assert shapes_of(found[0]) == generator_shapes(architecture)
    assert shapes_of(found[1]) == discriminator_shapes(architecture)


@pytest.mark.parametrize(
    ("file", "kind", "rules"),
    [
        ("tiny_G_ema_state.npz", Generator, generator_shapes),
        ("tiny_D_state.npz", Discriminator, discriminator_shapes),
    ],
)
def test_the_rules_and_the_weights_from_names_are_the_references(golden, file, kind, rules):
    expected = read(golden / file)
    assert rules(TINY) == shapes_of(expected)
    assert_all_equal(dict(hashfill(kind(TINY)).state_dict()), expected)


def test_the_networks_of_auto_at_128_px_have_the_references_size_and_single_precision_suffices():
    generator, discriminator = hashfill(Generator(AUTO_128)), hashfill(Discriminator(AUTO_128))
    assert shapes_of(generator.state_dict()) == generator_shapes(AUTO_128)
    assert shapes_of(discriminator.state_dict()) == discriminator_shapes(AUTO_128)

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(generator) == 22_949_277
    assert count(generator.synthesis) == 22_423_965
    assert count(generator.mapping) == 525_312
    assert count(discriminator) == 23_882_369
    assert generator.num_ws == 12
    z = normal(1, 1, 512)
    w = generator.mapping(z)
    image = generator.synthesis(w)
    logit = discriminator(image)
    exact_w = generator.double().mapping(z)
    exact_image = generator.synthesis(exact_w)
    exact_logit = discriminator.double()(exact_image)
    assert exact_image.dtype == exact_logit.dtype == torch.float64
    assert image.shape == (1, 3, 128, 128)
    assert exact_image.std() > 0.01 and exact_logit.abs() > 1e-3
    assert relative(w, exact_w) < 1e-5
    assert relative(image, exact_image) < 1e-5
    assert relative(logit, exact_logit) < 1e-5


def test_all_arrays_of_the_tiny_networks(golden):
    expected = read(golden / "tiny_io.npz")
    generator, discriminator = hashfill(Generator(TINY)), hashfill(Discriminator(TINY))
    z, cotangent = normal(1, 8, 64), normal(3, 2, 3, 32, 32)
    w = generator.mapping(z)
    wplus = (expected["w"][:2] + np.float32(0.3) * normal(2, 2, 8, 64)).requires_grad_()
    image_wplus = generator.synthesis(wplus)
    (grad_wplus,) = torch.autograd.grad((image_wplus * cotangent).sum(), wplus)
    images = expected["img_const"].requires_grad_()
    logits = discriminator(images)
    (grad_images,) = torch.autograd.grad(logits.mean(), images)
    found = {
        "z": z,
        "w": w,
        "w_psi07": generator.mapping(z, 0.7),
        "w_psi07_cutoff4": generator.mapping(z, 0.7, truncation_cutoff=4),
        "img_const": generator.synthesis(w, "const"),
        "img_const_psi07": generator(z, 0.7),
        "img_nonoise": generator.synthesis(w, "none"),
        "wplus": wplus,
        "img_wplus": image_wplus,
        "cotangent": cotangent,
        "grad_wplus": grad_wplus,
        "D_logits": logits,
        "D_grad_img": grad_images,
    }
    for name, module in generator.synthesis.named_modules():
        if name.endswith(("conv0", "conv1")):
            found[f"noise/{name}.noise_const"] = module.noise_const
        if name.endswith(("conv0", "conv1", "torgb")):
            module.register_forward_hook(
                lambda module, inputs, y, name=name: found.update({f"act/{name}": y})
            )
    generator.synthesis(expected["w"][:1])
    assert_all_equal({name: values.detach() for name, values in found.items()}, expected)
    assert len(found) == 31


def test_all_arrays_of_the_operators(golden):
    """The reference's plain filter and its activations other than leaky ReLU are not used here."""
    unused = ("filter2d", "bias_act")
    arrays = read(golden / "ops.npz").items()
    expected = {name: values for name, values in arrays if not name.startswith(unused)}
    x, kernel, bias = normal(20, 2, 3, 16, 16), ops.setup_filter((1, 3, 3, 1)), normal(21, 3)
    line, ones = expected["f_12sep"], torch.ones(1, 1, 8, 8)
    assert line.shape == (12,) and abs(line.sum() - 1) < 1e-6 and not line.equal(line.flip(0))

    def separable(flip):
        return ops.upfirdn2d(x, line, up=2, padding=(6, 5, 6, 5), gain=4.0, flip=flip)

    found = {
        "x": x,
        "bias": bias,
        "f_1331": kernel,
        "f_12sep": line,  # an input that no formula gives
        "upsample2d": ops.upsample2d(x, kernel),
        "downsample2d": ops.downsample2d(x, kernel),
        "upfirdn_up2_down1_pad2111": ops.upfirdn2d(x, kernel, up=2, padding=(2, 1, 2, 1), gain=4.0),
        "upfirdn_up3_down2_pad1234": ops.upfirdn2d(
            x, kernel, up=3, down=2, padding=(1, 2, 3, 4), gain=1.5
        ),
        "upfirdn_up1_down2_negpad": ops.upfirdn2d(x, kernel, down=2, padding=(-1, 2, 3, -2)),
        "upfirdn_sep12_up2_flip": separable(True),
        "upfirdn_sep12_up2_noflip": separable(False),
        "upsample2d_ones": ops.upsample2d(ones, kernel),
        "downsample2d_ones": ops.downsample2d(ones, kernel),
    }
    assert_all_equal(found, expected)
    assert len(found) == 13


def test_all_arrays_of_the_modulated_convolution(golden):
    expected = read(golden / "modconv.npz")
    kernel = ops.setup_filter(ops.FILTER_TAPS)
    found = {
        "x": normal(30, 2, 8, 16, 16),
        "weight": normal(31, 6, 8, 3, 3),
        "weight_1x1": normal(32, 3, 8, 1, 1),
        "styles": 1 + np.float32(0.5) * normal(33, 2, 8),
        "noise_16": normal(34, 2, 1, 16, 16),
        "noise_32": normal(35, 2, 1, 32, 32),
    }
    x, weight, styles = found["x"], found["weight"], found["styles"]
    for up in (1, 2):
        for demodulate in (0, 1):
            y = ops.modulated_conv2d(
                x, weight, styles, demodulate=bool(demodulate), up=up == 2, kernel=kernel
            )
            for fused in (0, 1):  # two ways to compute the same
                name = f"up{up}_demod{demodulate}_fused{fused}_noise"
                found |= {name + "0": y, name + "1": y + found[f"noise_{16 * up}"]}
    found["torgb_1x1_nodemod"] = ops.modulated_conv2d(
        x, found["weight_1x1"], styles, demodulate=False
    )
    assert_all_equal(found, expected)
    assert len(found) == 23


def test_all_arrays_of_the_minibatch_deviation(golden):
    x = normal(40, 8, 6, 4, 4)
    found = {
        "x": x,
        "G4_F1": minibatch_std(x, 4, 1),
        "G4_F2": minibatch_std(x, 4, 2),
        "G8_F1": minibatch_std(x, 8, 1),
        "GNone_F1": minibatch_std(x, None, 1),
        "G2_F3": minibatch_std(x, 2, 3),
        "N2_G4_F1": minibatch_std(x[:2], 4, 1),
    }
    assert_all_equal(found, read(golden / "mbstd.npz"))
    assert len(found) == 7


def test_all_arrays_of_the_layers(golden):
    expected = read(golden / "layers.npz")
    found = {"x": normal(41, 2, 3, 16, 16), "xf": normal(42, 4, 7)}
    layers = {
        "conv3_down2": ops.Conv2dLayer(3, 5, 3, activation="lrelu", down=True),
        "conv3_up2": ops.Conv2dLayer(3, 5, 3, activation="lrelu", up=True),
        "conv1_down2_nobias": ops.Conv2dLayer(3, 5, 1, bias=False, down=True),
        "fc_lrelu_lr001": ops.FullyConnectedLayer(7, 5, activation="lrelu", rate_multiplier=0.01),
        "fc_linear": ops.FullyConnectedLayer(7, 5),
    }
    for name, layer in layers.items():
        new_filter = {k: v.clone() for k, v in layer.state_dict().items() if "filter" in k}
        given = {k.split(".")[1]: v for k, v in expected.items() if k.startswith(name + ".")}
        layer.load_state_dict(given)
        found |= {f"{name}.{k}": v for k, v in (layer.state_dict() | new_filter).items()}
        found[name] = layer(found["xf" if name.startswith("fc") else "x"]).detach()
    assert_all_equal(found, expected)
    assert len(found) == 19
