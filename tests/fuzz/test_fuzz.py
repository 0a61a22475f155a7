"""Kinds of inputs that no other test tries at random, a few hundred of each."""

import pytest

from tests.fuzz.kinds import KINDS

COUNTS = {"zip of PNG": 300, "safetensors": 300, "configuration (YAML)": 200}


@pytest.mark.parametrize("name", COUNTS)
def test_harmed_inputs_end_right_or_in_a_sentence(name, tmp_path):
    found = KINDS[name](1, COUNTS[name], tmp_path)
    assert sum(found.values()) == COUNTS[name]
    assert found["refused"] > COUNTS[name] / 4
