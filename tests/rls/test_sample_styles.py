"""The command sample_styles."""

from __future__ import annotations

import pytest
import torch

from rls import sample_styles
from rls.io import read_weights
from rls.runtime.errors import InputError
from rls.runtime.streams import torch_stream
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.generator_io import load_generator, write_generator
from rls.stylegan2.networks import Generator


@pytest.fixture
def generator_file(tmp_path):
    torch.manual_seed(1)
    generator = Generator(Architecture(8, 1, 6, 5, 2, 32, 4))
    write_generator(tmp_path / "generator.safetensors", generator, {"channels": ["dna"]})
    return tmp_path / "generator.safetensors"


def sampled(generator_file, name="styles.safetensors", n_styles=70, batch_size=32, seed=1):
    output = generator_file.parent / name
    numbers = {"n-styles": n_styles, "n-mean": 4000, "batch-size": batch_size, "seed": seed}
    flags = [str(x) for k, v in numbers.items() for x in (f"--{k}", v)]
    files = ["--generator", str(generator_file), "--output", str(output)]
    sample_styles.main([*files, *flags, "--device", "cpu", "--threads", "1"])
    return read_weights(output, kind="styles")


def test_styles_are_those_of_the_mapping_network(generator_file):
    tensors, header = sampled(generator_file)
    generator = load_generator(generator_file)
    assert tensors["w"].shape == (70, 5)
    assert tensors["w"].dtype == torch.float32
    assert header["generator_digest"] == generator.header["digest"]
    assert header["z_seed"] == 1
    random = torch_stream(1, "styles", "sample_styles")
    w = generator.mapping(torch.randn((70, 6), generator=random))[:, 0]
    torch.testing.assert_close(tensors["w"], w)


def test_mean_and_deviation_are_those_of_the_distribution(generator_file):
    tensors, _ = sampled(generator_file, n_styles=4000, batch_size=500)
    w = tensors["w"]
    torch.testing.assert_close(tensors["w_sd"], w.std(dim=0))
    # The mean comes from other samples of the same size, so it differs by its standard error.
    error = (tensors["w_mean"] - w.mean(dim=0)) / (tensors["w_sd"] * (2 / 4000) ** 0.5)
    assert 0 < error.abs().max() < 5


def test_one_seed_gives_one_file_and_another_another(generator_file):
    first, second = sampled(generator_file)[0], sampled(generator_file, "again.safetensors")[0]
    assert all(torch.equal(first[k], second[k]) for k in first)
    other = sampled(generator_file, "other.safetensors", seed=2)[0]
    assert not torch.equal(first["w"], other["w"])


def test_too_few_styles_are_refused(generator_file):
    with pytest.raises(InputError, match="n_styles"):
        sampled(generator_file, n_styles=1)
