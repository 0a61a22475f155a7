import numpy as np
import pytest

from rls.io import Intensity, read_intensity, write_intensity
from rls.runtime.errors import InputError

SCALE = Intensity(("dna", "nfkb"), (100.0, 50.0), (1100.0, 4050.0))


def test_black_is_zero_white_is_one_and_nothing_is_clipped():
    counts = np.zeros((1, 2, 1, 3), np.uint16)
    counts[0, 0, 0] = [100, 1100, 2100]
    counts[0, 1, 0] = [50, 4050, 0]
    unit = SCALE.to_unit(counts)
    np.testing.assert_allclose(unit[0, 0, 0], [0, 1, 2], atol=1e-6)
    np.testing.assert_allclose(unit[0, 1, 0], [0, 1, -50 / 4000], atol=1e-6)


def test_counts_and_unit_are_inverse():
    counts = np.random.default_rng(0).uniform(0, 5000, (3, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(SCALE.to_counts(SCALE.to_unit(counts)), counts, rtol=1e-5, atol=1e-2)


def test_the_scale_comes_back_from_its_file(tmp_path):
    write_intensity(tmp_path / "i.json", SCALE, written_by="select_cells")
    assert read_intensity(tmp_path / "i.json") == SCALE


def test_a_blank_channel_is_refused():
    with pytest.raises(InputError, match="Channel dna .* blank"):
        Intensity(("dna",), (5.0,), (5.0,))


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "i.json").write_text("{}")
    with pytest.raises(InputError, match="not an intensity scale"):
        read_intensity(tmp_path / "i.json")
