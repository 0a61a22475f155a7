"""Faulty image files of every kind end in the right array or one sentence."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

from analysis.plates.image_files import channels_of, read_field
from rls.io.images import read_planes
from tests.analysis.crops_of import crops_of
from tests.rls.io import mutated

COUNT, SEED = 150, 1
SECONDS = 40  # Of processor time for COUNT files; 1 to 8 is usual.
GROWTH_KIB = 500_000  # Of the memory that the process has had at most.


def own_cells(path):
    return read_planes(path, 3 if path.suffix == ".png" else 2, "TCYX").images


def field(path):
    row = {"path": path.name, "bit_depth": 16, "channel_dna": "0", "channel_nfkb": "1"}
    channels_of(path)
    return read_field(row, ("dna", "nfkb"), path.parent)


def crops(path):
    how = {"stored_as": "counts", "bit_depth": 16, "axes": "TCYX"}
    return crops_of(path, range(3), n_labels=3, n_channels=2, **how)


def readers_of(kind):
    if kind == "png":
        return {"own cells": own_cells}
    if kind in mutated.NPY:
        return {"crops": crops}
    return {"own cells": own_cells, "plate": field, "crops": crops}


@pytest.mark.parametrize("kind", mutated.KINDS)
def test_a_valid_file_is_read(tmp_path, kind):
    suffix, content, right = mutated.valid(kind)
    (tmp_path / f"x{suffix}").write_bytes(content)
    for name, read in readers_of(kind).items():
        if name != "plate":  # It holds several cells.
            np.testing.assert_array_equal(read(tmp_path / f"x{suffix}"), right)


@pytest.mark.parametrize("kind", mutated.KINDS)
def test_a_faulty_file_is_the_right_array_or_one_sentence(tmp_path, kind):
    start, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = mutated.check(kind, SEED, COUNT, tmp_path, readers_of(kind))
    assert outcomes["sentence"] > COUNT / 4
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + GROWTH_KIB
