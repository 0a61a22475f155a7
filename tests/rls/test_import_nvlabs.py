"""NVlabs' network pickles give the reference's numbers, and nothing in them is run."""

from __future__ import annotations

import dataclasses
import io
import json
import operator
import pickle
import sys
from unittest import mock

import numpy as np
import pytest
import torch

from rls.import_nvlabs import main
from rls.io import Intensity, file_digest, read_intensity, read_weights, write_intensity
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.generator_io import load_generator
from rls.stylegan2.networks import Generator
from rls.stylegan2.operators import setup_filter
from tests.rls.nvlabs_stand_ins import SIZES, install_reference, snapshot_of


@pytest.fixture
def reference(monkeypatch):
    install_reference(monkeypatch)


@pytest.mark.parametrize(
    ("protocol", "old_numpy", "flat"), [(3, True, False), (4, False, True), (5, False, False)]
)
def test_all_weights_and_sizes_of_a_snapshot_arrive(tmp_path, reference, protocol, old_numpy, flat):
    snapshot, made = snapshot_of(SIZES, tmp_path / "marker", flat=flat)
    content = pickle.dumps(snapshot, protocol)
    name = b"numpy._core.multiarray"
    assert name in content
    if old_numpy:
        content = content.replace(b"c" + name + b"\n", b"cnumpy.core.multiarray\n")
        assert name not in content and b"cbuiltins\nset\n" in content
    (tmp_path / "net.pkl").write_bytes(content)
    output, training = tmp_path / "generator.safetensors", tmp_path / "training.safetensors"
    main([str(tmp_path / "net.pkl"), "--output", str(output), "--output-training", str(training)])
    assert not (tmp_path / "marker").exists()
    average = load_generator(output, image_size=16, channels=("c0", "c1"))
    assert average.architecture == SIZES
    both, header = read_weights(training, kind="discriminator")
    assert header["architecture"] == dataclasses.asdict(SIZES)
    found = {k: v for k, v in average.state_dict().items()} | both
    expected = dict(made[0].state_dict())
    for prefix, network in (("generator.", made[1]), ("discriminator.", made[2])):
        expected |= {prefix + k: v for k, v in network.state_dict().items()}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_snapshot_can_be_trained_on(tmp_path, reference):
    from rls.stylegan2.initial_weights import load_initial

    snapshot, (average, last, discriminator) = snapshot_of(SIZES, tmp_path / "marker")
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(snapshot))
    output, training = tmp_path / "generator.safetensors", tmp_path / "training.safetensors"
    main([str(tmp_path / "net.pkl"), str(output), "--output-training", str(training)])
    trainer = mock.Mock(
        generator=Generator(SIZES), average=Generator(SIZES), discriminator=Discriminator(SIZES)
    )
    load_initial(trainer, tmp_path)
    z = torch.randn(4, 10)
    assert torch.equal(trainer.average(z), average(z))
    images = last(z)
    assert torch.equal(trainer.generator(z), images)
    assert torch.equal(trainer.discriminator(images), discriminator(images))


def test_the_header_says_where_the_generator_is_from_and_what_its_images_are(tmp_path, reference):
    snapshot, _ = snapshot_of(SIZES, tmp_path / "marker")
    source, output = tmp_path / "net.pkl", tmp_path / "generator.safetensors"
    source.write_bytes(pickle.dumps(snapshot))
    main([str(source), str(output)])
    header = load_generator(output).header
    assert header["source"] == {
        "format": "stylegan2-ada-pytorch",
        "file": "net.pkl",
        "digest": file_digest(source),
        "augment_p": 0.3125,
    }
    assert header["images_seen"] == 0 and header["pixel_size_um"] is None
    scale = Intensity.from_dict(header["intensity"])
    unit = scale.to_unit(np.array([0.0, 255.0]).repeat(2).reshape(2, 2, 1, 1))
    np.testing.assert_array_equal(unit[:, :, 0, 0], [[0, 0], [1, 1]])
    own = Intensity(("dna", "actin"), (100.0, 200.0), (4000.0, 3000.0))
    write_intensity(tmp_path / "intensity.json", own, written_by="select_cells")
    scale_flags = ["--intensity", str(tmp_path / "intensity.json"), "--pixel-size-um", "0.65"]
    main([str(source), str(output), *scale_flags])
    header = load_generator(output, channels=("dna", "actin")).header
    assert Intensity.from_dict(header["intensity"]) == own and header["pixel_size_um"] == 0.65
    beside = tmp_path / "model" / "intensity.json"
    flags = ["--channels", "tubulin", "dna", "--output-intensity", str(beside)]
    main([str(source), str(output), *flags])
    assert read_intensity(beside).channels == ("tubulin", "dna")
    assert load_generator(output).header["channels"] == ["tubulin", "dna"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no file to write"),
        (["a.safetensors", "--output", "b.safetensors"], "two files to write"),
        (["a.safetensors", "--channels", "dna"], "1 channel names"),
        (["a.safetensors", "--channels", "dna", "dna"], "2 different ones"),
        (["a.safetensors", "--channels", "x", "y", "--intensity", "i.json"], "expected the same"),
        (["a.safetensors", "--pixel-size-um", "0"], "more than 0"),
    ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path, reference, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    snapshot, _ = snapshot_of(SIZES, tmp_path / "marker")
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(snapshot))
    own = Intensity(("dna", "actin"), (100.0, 200.0), (4000.0, 3000.0))
    write_intensity(tmp_path / "i.json", own, written_by="select_cells")
    with pytest.raises(InputError, match=message):
        main(["net.pkl", *flags])
    assert not list(tmp_path.glob("*.safetensors"))


# --- networks that cannot be used


def drop(mapping, key):
    del mapping[key]


def put(mapping, **values):
    mapping.update(values)


REFUSED = {
    "G_ema in .* holds training_set_kwargs, G, D": lambda s: drop(s, "G_ema"),
    "no G in ": lambda s: drop(s, "G"),
    "no D in ": lambda s: put(s, D=None),
    "3 conditions": lambda s: put(s["G_ema"].at(""), c_dim=3),
    "architecture orig at 'synthesis.b8'": lambda s: put(
        s["G_ema"].at("synthesis.b8"), architecture="orig"
    ),
    "architecture skip at 'b16'": lambda s: put(s["D"].at("b16"), architecture="skip"),
    "another resampling filter .* as synthesis.b8.conv0": lambda s: put(
        s["G_ema"].at("synthesis.b8.conv0")["_buffers"], resample_filter=setup_filter((1, 2, 2, 1))
    ),
    "filter .*12, 12.* as b8.skip": lambda s: put(
        s["D"].at("b8.skip")["_buffers"], resample_filter=setup_filter(range(1, 13))
    ),
    "activation relu at 'mapping.fc1'": lambda s: put(
        s["G_ema"].at("mapping.fc1"), activation="relu"
    ),
    "bias_gain 0.1 at 'mapping.fc0'": lambda s: put(s["G_ema"].at("mapping.fc0"), bias_gain=0.1),
    "weight_gain .* at 'b4.fc'": lambda s: put(s["D"].at("b4.fc"), weight_gain=np.float64(0.5)),
    "use_noise False": lambda s: put(s["G"].at("synthesis.b4.conv1"), use_noise=False),
    "conv_clamp None at 'b8.conv1'": lambda s: put(s["D"].at("b8.conv1"), conv_clamp=None),
    "conv_clamp -1 ": lambda s: put(s["G_ema"].at("synthesis.b4.conv1"), conv_clamp=-1),
    "no conv_clamp of 'synthesis.b16.torgb'": lambda s: drop(
        s["G_ema"].at("synthesis.b16.torgb"), "conv_clamp"
    ),
    "image_size 32 said and 16": lambda s: put(s["G_ema"].at(""), img_resolution=32),
    "mapping_layers 8 said and 5": lambda s: put(s["G_ema"].at("mapping"), num_layers=8),
    "as z_dim .* expected a count": lambda s: put(s["G_ema"].at(""), z_dim=10**12),
    "b4.conv1.weight of .16, 16, 3, 3. and not .8, 8, .* and 3 more in G_ema": lambda s: put(
        s["G_ema"].at("")["_init_kwargs"]["synthesis_kwargs"], channel_base=32
    ),
    "b4.conv1.affine.weight of .16, 12. and not .32, 12. in G_ema": lambda s: put(
        s["G_ema"].at("")["_init_kwargs"]["synthesis_kwargs"], channel_max=32
    ),
    "const of .16, 2, 2. and not .16, 4, 4. in G ": lambda s: put(
        s["G"].at("synthesis.b4")["_parameters"], const=torch.ones(16, 2, 2)
    ),
    "no synthesis.b4.const, .*, .* and .* more in G ": lambda s: put(
        s["G"].at("")["_modules"], synthesis=s["G"].at("")["_modules"]["mapping"]
    ),
    "no b8.conv0.bias in D": lambda s: put(s["D"].at("b8.conv0")["_parameters"], bias=None),
    "1 unknown tensors .mapping.embed. in G_ema": lambda s: put(
        s["G_ema"].at("mapping")["_buffers"], embed=torch.ones(2)
    ),
    "as group_size .* expected a count": lambda s: put(s["D"].at("b4.mbstd"), group_size=None),
    "not finite at mapping.w_avg": lambda s: put(
        s["G_ema"].at("mapping")["_buffers"], w_avg=torch.full((12,), np.nan)
    ),
    "no usable tensor at mapping.w_avg": lambda s: put(
        s["G_ema"].at("mapping")["_buffers"], w_avg="w_avg"
    ),
    "in 1 numbers": lambda s: put(
        s["G_ema"].at("mapping")["_buffers"], w_avg=torch.ones(1).expand(10**6, 10**6)
    ),
    "no module at 'mapping'": lambda s: operator.setitem(
        s["G_ema"].at("")["_modules"], "mapping", {"state": {}}
    ),
    "more than 1000 modules": lambda s: put(s["G_ema"].at("")["_modules"], again=s["G_ema"]),
    "pickle of the TensorFlow repository": lambda s: put(
        s, G=sys.modules["dnnlib.tflib.network"].Network()
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_networks_that_are_not_ours_are_refused_and_nothing_is_written(
    tmp_path, reference, message
):
    snapshot, _ = snapshot_of(SIZES, tmp_path / "marker")
    REFUSED[message](snapshot)
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(snapshot))
    outputs = [tmp_path / "g.safetensors", tmp_path / "t.safetensors"]
    with pytest.raises(InputError, match=message):
        main([str(tmp_path / "net.pkl"), str(outputs[0]), "--output-training", str(outputs[1])])
    assert not any(path.exists() for path in [*outputs, tmp_path / "marker"])


def test_files_that_are_no_whole_pickle_are_refused(tmp_path, reference):
    snapshot, _ = snapshot_of(SIZES, tmp_path / "marker")
    whole = pickle.dumps(snapshot)
    archive = io.BytesIO()
    torch.save({"G_ema": torch.ones(2)}, archive)
    for content, message in (
        (whole[: len(whole) // 2], "truncated"),
        (whole[:-1], "truncated"),
        (b"", "no binary pickle"),
        (b"<!DOCTYPE html>", "no binary pickle"),
        (archive.getvalue(), "zip archive"),
        (pickle.dumps([1, 2]), "pickle of a list"),
        (pickle.dumps({"a": 1}), "no G_ema in .* .it holds a."),
    ):
        (tmp_path / "net.pkl").write_bytes(content)
        with pytest.raises(InputError, match=message):
            main([str(tmp_path / "net.pkl"), str(tmp_path / "g.safetensors")])
    with pytest.raises(InputError, match="does not exist"):
        main([str(tmp_path / "other.pkl"), str(tmp_path / "g.safetensors")])


# --- the reference program's numbers


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@torch.no_grad()
def test_an_imported_snapshot_gives_the_reference_programs_numbers(golden, tmp_path):
    output, training = tmp_path / "generator.safetensors", tmp_path / "training.safetensors"
    source = golden / "nvlabs_tiny.pkl"
    main([str(source), "--output", str(output), "--output-training", str(training)])
    expected = {
        k: torch.from_numpy(v) for k, v in np.load(golden / "nvlabs_tiny_expected.npz").items()
    }
    average = load_generator(output, image_size=32, channels=3)
    tensors, header = read_weights(training, kind="discriminator")
    sizes = Architecture(**header["architecture"])
    assert sizes == average.architecture == Architecture(32, 3, 64, 64, 2, 1024, 64)
    networks = {"generator": Generator(sizes), "discriminator": Discriminator(sizes)}
    for name, network in networks.items():
        network.load_state_dict(
            {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
        )
    z = expected["z"]
    assert json.dumps(header)  # plain values only
    found = {
        "z": torch.from_numpy(np.random.RandomState(60).standard_normal((2, 64))).float(),
        "img_G_ema": average(z),
        "img_G_ema_psi07": average(z, 0.7),
        "img_G": networks["generator"](z),
        "w_G_ema": average.mapping(z),
        "D_logits": networks["discriminator"](expected["img_G_ema"]),
        "augment_p": torch.tensor(header["source"]["augment_p"]),
    }
    assert found.keys() == expected.keys()
    assert len(found) == 7
    for name, values in found.items():
        assert values.shape == expected[name].shape, name
        assert relative(values, expected[name]) < 1e-5, name
