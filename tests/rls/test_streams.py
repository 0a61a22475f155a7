import numpy as np
import torch

from rls.runtime.streams import stream, torch_stream


def test_a_stream_depends_on_seed_key_and_purpose_alone():
    draw = stream(1, "P_A01_s1_y3_x4", "noise").random(4)
    stream(9, "other", "noise").random(100)
    np.testing.assert_array_equal(stream(1, "P_A01_s1_y3_x4", "noise").random(4), draw)
    for other in [
        (2, "P_A01_s1_y3_x4", "noise"),
        (1, "P_A01_s1_y3_x5", "noise"),
        (1, "P_A01_s1_y3_x4", "start"),
    ]:
        assert not np.array_equal(stream(*other).random(4), draw)


def test_joined_names_do_not_collide():
    assert stream(1, "ab", "c").random() != stream(1, "a", "bc").random()


def test_torch_streams_are_reproducible():
    a = torch.randn(3, generator=torch_stream(1, "a", "b"))
    assert torch.equal(a, torch.randn(3, generator=torch_stream(1, "a", "b")))
