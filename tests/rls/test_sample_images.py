"""The command sample_images: the stack of samples and its grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from rls import sample_images
from rls.io import Intensity, read_stack
from rls.runtime.errors import InputError
from rls.stylegan2 import sampling
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.generator_io import load_generator, write_generator
from rls.stylegan2.grid import GAP, LABEL
from rls.stylegan2.networks import Generator
from rls.stylegan2.sampling import draw_images, mixed_range
from rls.stylegan2.settings import SampleSettings

INTENSITY = Intensity(("dna", "nfkb"), (100.0, 50.0), (300.0, 1050.0))
HEADER = {"channels": ["dna", "nfkb"], "pixel_size_um": 0.65, "intensity": INTENSITY.as_dict()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a folder with a generator of 32 px whose w_mean and noise strengths are not 0."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(1)
    generator = Generator(Architecture(32, 2, 6, 5, 2, 128, 8))
    for layer in generator.synthesis.layers():
        layer.noise_strength.data.fill_(0.3)
    generator.mapping.w_avg.normal_()
    write_generator(folder / "generator.safetensors", generator, HEADER)
    return folder


def sampled(model, output, *flags):
    sample_images.main(
        ["--generator", str(model), "--output", str(output), *flags, "--device", "cpu"]
    )
    return read_stack(output)


def test_the_stack_holds_counts_of_the_images_and_says_what_made_it(model, tmp_path):
    stack = sampled(model, tmp_path / "s.ome.tif", "--n-images", "5", "--truncation-psi", "0.7")
    generator = load_generator(model)
    z = sampling.draw_z(generator, 0, 0, 5)
    expected = generator.to_counts(generator(z, 0.7))
    np.testing.assert_allclose(stack.images, expected, rtol=1e-5, atol=1e-2)
    assert stack.images.dtype == np.float32 and stack.images.shape == (5, 2, 32, 32)
    assert stack.channels == ("dna", "nfkb") and stack.pixel_size_um == 0.65
    digest = generator.header["digest"]
    assert stack.description == f"synthesised by sample_images, generator {digest}"
    assert stack.table["image_id"].is_unique
    for name, value in {"seed": 0, "truncation_psi": 0.7, "truncation_cutoff": 8}.items():
        assert (stack.table[name] == value).all()


@pytest.mark.parametrize("noise", ["const", "random"])
def test_one_seed_gives_the_same_bits_and_another_seed_others(model, tmp_path, noise):
    flags = ("--n-images", "6", "--batch-size", "4", "--noise", noise, "--seed")
    first = sampled(model, tmp_path / "a.ome.tif", *flags, "3")
    again = sampled(model, tmp_path / "b.ome.tif", *flags, "3")
    other = sampled(model, tmp_path / "c.ome.tif", *flags, "4")
    assert np.array_equal(first.images, again.images)
    assert first.table.equals(again.table)
    assert not set(first.table["image_digest"]) & set(other.table["image_digest"])
    assert not set(first.table["image_id"]) & set(other.table["image_id"])


def test_an_image_does_not_depend_on_how_many_are_drawn(model):
    generator = load_generator(model)
    many = draw_images(generator, SampleSettings(n_images=9, batch_size=4, noise="random"))
    few = draw_images(generator, SampleSettings(n_images=5, batch_size=4, noise="random"))
    assert torch.equal(many[:5], few)
    alone = draw_images(generator, SampleSettings(n_images=5, batch_size=1, noise="random"))
    torch.testing.assert_close(alone, few, atol=1e-4, rtol=1e-7)


def test_random_noise_differs_between_images_of_one_style(model):
    generator = load_generator(model)
    still = SampleSettings(n_images=3, truncation_psi=0.0)
    const = draw_images(generator, still)
    assert (const - const[:1]).abs().max() < 1e-5
    noisy = draw_images(generator, SampleSettings(n_images=3, truncation_psi=0.0, noise="random"))
    assert (noisy[0] - noisy[1]).abs().max() > 0.01


def test_psi_zero_is_the_mean_style_and_psi_one_the_stack(model):
    generator = load_generator(model)
    settings = SampleSettings(n_images=3, grid_size=3, grid_psi=(0.0, 1.0), batch_size=4)
    grid = sampling.truncation_grid(generator, settings)
    assert grid.shape == (3, 2, 2, 32, 32)
    torch.testing.assert_close(grid[1:, 0], grid[:1, 0].expand(2, -1, -1, -1))
    stack = (draw_images(generator, settings) + 1) / 2
    torch.testing.assert_close(grid[:, 1], stack, atol=1e-4, rtol=1e-4)


def test_a_cutoff_leaves_the_finer_styles_alone(model):
    generator = load_generator(model)
    none_cut = draw_images(
        generator, SampleSettings(n_images=2, truncation_psi=0.2, truncation_cutoff=0)
    )
    whole = draw_images(generator, SampleSettings(n_images=2))
    assert torch.equal(none_cut, whole)
    cut = draw_images(
        generator, SampleSettings(n_images=2, truncation_psi=0.2, truncation_cutoff=3)
    )
    assert (cut - whole).abs().max() > 0.01


def test_mixing_takes_every_style_or_none_at_the_limits(model):
    generator = load_generator(model)
    everything = SampleSettings(grid_size=2, mixed_styles="0-7")
    grid = sampling.style_mixing_grid(generator, everything)
    assert grid.shape == (3, 3, 2, 32, 32) and not grid[0, 0].any()
    torch.testing.assert_close(grid[1:, 1:], grid[:1, 1:].expand(2, -1, -1, -1, -1))
    fine = sampling.style_mixing_grid(generator, SampleSettings(grid_size=2, mixed_styles="fine"))
    torch.testing.assert_close(fine[0], grid[0])
    torch.testing.assert_close(fine[:, 0], grid[:, 0])
    assert (fine[1, 1] - fine[1, 0]).abs().max() > 1e-3
    assert (fine[1, 1] - fine[0, 1]).abs().max() > 1e-3


def test_the_ranges_cut_the_style_inputs_into_thirds_of_the_resolutions(model):
    at_128 = Generator(Architecture(128, 1, 4, 4, 1, 128, 2))
    found = [list(mixed_range(at_128, name)) for name in sampling.RANGES]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    generator = load_generator(model)
    thirds = [list(mixed_range(generator, name)) for name in sampling.RANGES]
    assert thirds == [[0, 1, 2, 3], [4, 5], [6, 7]]
    assert list(mixed_range(generator, "2-4")) == [2, 3, 4]
    with pytest.raises(InputError, match="Found mixed_styles 'fine'"):
        mixed_range(Generator(Architecture(8, 1, 4, 4, 1, 32, 2)), "fine")


def test_grids_have_a_label_above_every_column(model, tmp_path):
    grids = [tmp_path / "truncation.png", tmp_path / "mixing.png"]
    flags = ["--n-images", "1", "--grid-size", "2", "--grid-psi", "-1", "0", "0.7"]
    flags += ["--truncation-grid", str(grids[0]), "--style-mixing-grid", str(grids[1])]
    sampled(model, tmp_path / "s.ome.tif", *flags)
    truncation, mixing = (np.asarray(Image.open(path)) for path in grids)
    side = 64 + GAP
    assert truncation.shape == (2 * side + 2 * LABEL, 3 * side, 3)
    assert mixing.shape == (3 * side + LABEL, 3 * side, 3)
    labels = truncation[LABEL : 2 * LABEL]
    for column in range(3):
        assert labels[:, column * side : (column + 1) * side].max() > 128


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--n-images", "0"), "Found n_images 0, expected 1 or more"),
        (("--truncation-psi", "nan"), "Found truncation_psi nan, expected finite"),
        (("--grid-psi",), "Found grid_psi empty"),
        (("--truncation-cutoff", "9"), "Found truncation_cutoff 9, expected 0 to 8"),
        (("--noise", "loud"), "noise is 'loud', expected one of: const, none, random"),
        (("--mixed-styles", "3-8"), "Found mixed_styles '3-8'"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(model, tmp_path, flags, message):
    flags = (*flags, "--style-mixing-grid", str(tmp_path / "m.png"))
    with pytest.raises(InputError, match=message):
        sampled(model, tmp_path / "s.ome.tif", *flags)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_stack_and_a_generator_without_a_scale_are_refused(model, tmp_path):
    with pytest.raises(InputError, match="A stack is named"):
        sampled(model, tmp_path / "s.tif")
    generator = load_generator(model)
    write_generator(tmp_path / "generator.safetensors", generator, {"channels": ["a", "b"]})
    with pytest.raises(InputError, match="no pixel_size_um in the header"):
        sampled(tmp_path, tmp_path / "s.ome.tif")
