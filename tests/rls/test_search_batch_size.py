"""batch_size auto: from memory, kept by a state, and part of what determines a result."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from rls.runtime.checkpoint import StateFolder
from rls.search import batch_size, equation5, rls
from rls.search.batch_size import CHOSEN, choose_size, expected_bytes, largest_size
from rls.search.batches import remove_batches, result_digest, solve
from rls.search.bicubic import Settings as Bicubic
from rls.search.methods import load_method
from rls.search.optimisers import Adam
from rls.search.problem import Problem
from rls.search.settings import AUTO, ON_A_CPU
from rls.search.steps import Searches, Steps, Walk
from rls.stylegan2.cost import Counter
from tests.rls.search_stand_ins import make_problem, tiny_generator

GIB = 2**30


def bicubic_problem(n: int) -> Problem:
    return make_problem(torch.rand(n, 1, 2, 2), 2)


def test_half_of_the_memory_or_less_is_planned_and_64_at_most() -> None:
    """A step of n images needs 1 + n / 4 GiB."""
    two, four = int(1.5 * GIB), 2 * GIB
    assert expected_bytes(two, four, 64) == 17 * GIB
    for free_gib, expected in ((80, 64), (43, 64), (42, 32), (8, 8), (1, 1)):
        assert largest_size(two, four, free_gib * GIB, 64) == expected
    assert largest_size(two, four, 80 * GIB, 12) == 12  # groups of five
    assert largest_size(two, four, 20 * GIB, 12) == 12
    assert largest_size(two, four, 9 * GIB, 12) == 6


def test_memory_grows_by_the_same_for_every_image() -> None:
    meta = torch.device("meta")
    generator = tiny_generator(32).to(meta)
    settings = rls.Settings(
        steps=4, learning_rate=0.5, learning_rate_unit="absolute", schedule="constant",
        lambda_w=0.0, lambda_c=0.01, lambda_n=0.0, cross="mean_distance",
    )  # fmt: skip
    found = {}
    for n in (2, 4, 64):
        problem = make_problem(torch.empty(n, 2, 8, 8, device=meta), 4, generator=generator)
        maps = tuple(torch.empty(shape, device=meta) for shape in generator.noise_shapes)
        equation = dataclasses.replace(
            equation5.objective_of(problem, settings), forward=problem.forward.to(meta)
        )
        start = (torch.empty(n, generator.num_ws, generator.w_dim, device=meta),)
        walk = Walk(equation, Adam, None, settings.steps, "float32")
        with Counter() as counter:
            given = {"y": (problem.y,), "noise": maps}
            Steps(walk, start, given, Searches().recorder).run["float32"]()
        found[n] = counter.peak
    assert expected_bytes(found[2], found[4], 64) == pytest.approx(found[64], rel=0.02)


def test_on_a_cpu_it_is_a_small_number_of_whole_groups() -> None:
    sizes = [
        choose_size(load_method("bicubic"), Bicubic(), bicubic_problem(3), n) for n in (1, 3, 5)
    ]
    assert sizes == [ON_A_CPU, 3, 5]


def test_a_state_goes_on_with_the_size_with_which_it_was_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bicubic, problem = load_method("bicubic"), bicubic_problem(9)
    with StateFolder(tmp_path, "t", {}) as state:
        first = solve(bicubic, Bicubic(), problem, AUTO, state, "t")
        assert first.batch_size == 4 and "t: batch_size 4 (auto)" in capsys.readouterr().out
        (state.folder / CHOSEN).write_text("2\n")
        for path in state.folder.glob("batch-*"):
            path.unlink()
        second = solve(bicubic, Bicubic(), problem, AUTO, state, "t")
        assert second.batch_size == 2 and len(list(state.folder.glob("batch-*.safetensors"))) == 5
        third = solve(bicubic, Bicubic(), problem, AUTO, state, "t")
        said = capsys.readouterr().out
        assert "t: batch_size 2, as the batches found were (auto)" in said
        assert "9 of 9 images were found" in said and np.array_equal(third.images, second.images)
        (state.folder / CHOSEN).write_text("two")
        assert solve(bicubic, Bicubic(), problem, AUTO, state, "t", most=3).batch_size == 3
        assert "is missing or damaged; the search begins anew" in capsys.readouterr().out
        remove_batches(state)
        assert not (state.folder / CHOSEN).exists()


def test_a_batch_of_another_size_is_searched_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep gives all points the size of its first, whose state may have been lost."""
    bicubic, problem = load_method("bicubic"), bicubic_problem(9)
    with StateFolder(tmp_path, "t", {}) as state:
        first = solve(bicubic, Bicubic(), problem, 4, state, "t")
        second = solve(bicubic, Bicubic(), problem, 6, state, "t")
    assert "holds 4 images, expected 6. This batch is searched again." in capsys.readouterr().out
    assert second.batch_size == 6 and np.array_equal(first.images, second.images)


def test_batches_hold_whole_groups(tmp_path: Path) -> None:
    bicubic, problem = load_method("bicubic"), bicubic_problem(9)
    for size, expected in ((7, 6), (2, 3), (AUTO, 3)):
        with StateFolder(tmp_path, "t", {"size": size}) as state:
            assert solve(bicubic, Bicubic(), problem, size, state, group=3).batch_size == expected


def test_the_size_that_was_chosen_is_part_of_what_determines_a_result(tmp_path: Path) -> None:
    problem, facts = bicubic_problem(9), {"settings": {"batch_size": AUTO, "seed": 1}}
    digests = []
    for size in (AUTO, 4, 5):
        with StateFolder(tmp_path, "t", {"size": size}) as state:
            solved = solve(load_method("bicubic"), Bicubic(), problem, size, state)
            digests.append(result_digest(facts, solved))
    assert digests[0] == digests[1] != digests[2]


def test_on_a_gpu_searches_of_two_and_four_groups_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first search also loads a network of 5 GiB, which later ones find in place."""
    sizes: list[int] = []

    def peak(method: object, settings: object, problem: Problem, n: int) -> int:
        sizes.append(n)
        return n * GIB // 2 + (5 * GIB if len(sizes) == 1 else 0)

    monkeypatch.setattr(batch_size, "peak_bytes", peak)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (35 * GIB, 80 * GIB))
    problem = dataclasses.replace(bicubic_problem(3), device=torch.device("cuda"))
    assert choose_size(load_method("bicubic"), Bicubic(), problem, 1) == 16
    assert choose_size(load_method("bicubic"), Bicubic(), problem, 5) == 15
    assert sizes == [2, 2, 4, 10, 10, 20]
