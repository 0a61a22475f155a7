"""The generator as a library: what it tells about itself, from a file or a model folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rls.io import Intensity
from rls.runtime.errors import InputError
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.generator_io import load_generator, write_generator
from rls.stylegan2.networks import Generator
from tests.conftest import ROOT

INTENSITY = Intensity(("dna", "nfkb"), (100.0, 50.0), (300.0, 1050.0))
HEADER = {
    "channels": ["dna", "nfkb"],
    "pixel_size_um": 0.65,
    "intensity": INTENSITY.as_dict(),
}


def write(folder, header=HEADER):
    torch.manual_seed(1)
    generator = Generator(Architecture(16, 2, 6, 5, 2, 64, 8))
    generator.mapping.w_avg.normal_()
    write_generator(folder / "generator.safetensors", generator, header)
    return generator


def test_a_folder_and_its_file_hold_the_same_generator(tmp_path):
    written = write(tmp_path)
    for path in (tmp_path, str(tmp_path), tmp_path / "generator.safetensors"):
        generator = load_generator(path, image_size=16, channels=("dna", "nfkb"))
        for name, tensor in written.state_dict().items():
            assert torch.equal(generator.state_dict()[name], tensor)
        assert generator.source == str(tmp_path / "generator.safetensors")


def test_a_generator_tells_what_its_file_says(tmp_path):
    written = write(tmp_path)
    generator = load_generator(tmp_path)
    assert generator.channels == ("dna", "nfkb")
    assert generator.pixel_size_um == 0.65
    assert generator.intensity == INTENSITY
    assert (generator.image_size, generator.num_ws) == (16, 6)
    assert torch.equal(generator.w_mean, written.mapping.w_avg)


def test_mapping_and_synthesis_have_the_shapes_that_it_tells(tmp_path):
    write(tmp_path)
    generator = load_generator(tmp_path)
    z = torch.randn(3, generator.z_dim)
    ws = generator.mapping(z, 0.7)
    assert ws.shape == (3, generator.num_ws, generator.w_dim)
    expected = generator.w_mean.expand_as(ws)
    torch.testing.assert_close(generator.mapping(z, 0.0), expected)
    noise = [torch.zeros(shape) for shape in generator.noise_shapes]
    images = generator.synthesis(ws, noise)
    assert images.shape == (3, 2, 16, 16)
    torch.testing.assert_close(images, generator.synthesis(ws, "none"))
    torch.testing.assert_close(generator(z, 0.7, "none"), images)


def test_counts_put_minus_one_at_black_and_one_at_white(tmp_path):
    write(tmp_path)
    generator = load_generator(tmp_path)
    images = torch.tensor([-1.0, 0.0, 1.0, 1.5]).expand(1, 2, 4).reshape(1, 2, 2, 2)
    counts = generator.to_counts(images)
    assert counts.dtype == np.float32
    np.testing.assert_allclose(counts[0, 0].ravel(), [100, 200, 300, 350])
    np.testing.assert_allclose(counts[0, 1].ravel(), [50, 550, 1050, 1300])
    np.testing.assert_allclose(INTENSITY.to_unit(counts) * 2 - 1, images.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["channels", "pixel_size_um", "intensity"])
def test_what_the_header_lacks_is_named_when_it_is_asked_for(tmp_path, name):
    write(tmp_path, {key: value for key, value in HEADER.items() if key != name})
    generator = load_generator(tmp_path)
    with pytest.raises(InputError, match=rf"no {name} in the header of .*generator.safetensors"):
        getattr(generator, name)


def test_a_folder_without_a_generator_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="Found no generator.safetensors in the folder"):
        load_generator(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        load_generator(tmp_path / "other.safetensors")


def test_a_generator_with_another_filter_is_refused(tmp_path):
    generator = write(tmp_path)
    generator.synthesis.b8.resample_filter[0, 0] += 0.01
    write_generator(tmp_path / "generator.safetensors", generator, HEADER)
    with pytest.raises(InputError, match="resampling filter as synthesis.b8.resample_filter"):
        load_generator(tmp_path)


def test_the_model_that_comes_with_the_program_makes_cells():
    generator = load_generator(ROOT / "models" / "translocation_32px")
    random = torch.Generator().manual_seed(1)
    z = torch.randn(16, generator.z_dim, generator=random)
    counts = generator.to_counts(generator(z))
    assert counts.shape == (16, len(generator.channels), 32, 32)
    # Crops around nuclei have a nucleus in the middle and background in the corners.
    dna = counts[:, generator.channels.index("dna")]
    black, white = generator.intensity.black[0], generator.intensity.white[0]
    assert (dna[:, 12:20, 12:20].mean(axis=(1, 2)) > black + 0.2 * (white - black)).mean() > 0.9
    assert dna[:, :3, :3].mean() < black + 0.2 * (white - black)
