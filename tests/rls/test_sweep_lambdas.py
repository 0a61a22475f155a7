"""sweep_lambdas: balanced cells of tune, each pair of weights once, the same bits when resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rls.io import read_stack, write_intensity, write_stack
from rls.runtime.errors import InputError
from rls.search import points as shared
from rls.search.degradation import degrade
from rls.search.forward_model import ForwardModel
from rls.search.points import choose_cells
from rls.search.sweep import Weights, sweep_points
from rls.sweep_lambdas import main
from tests.rls.test_super_resolve import INTENSITY, write_models

SEARCH = {
    "steps": 3, "learning-rate": 0.1, "learning-rate-unit": "absolute", "schedule": "constant",
    "lambda-w": 0.01, "lambda-c": 0.02, "lambda-n": 0.0, "cross": "mean_distance",
}  # fmt: skip


def cells(n: int = 24) -> pd.DataFrame:
    treatments = ["b" if i % 3 else "a" for i in range(n)]
    return pd.DataFrame({"image_id": [f"c{i}" for i in range(n)], "treatment": treatments})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight low-resolution cells of tune and two of evaluation, with small models."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("sweep")
    write_intensity(path / "intensity.json", INTENSITY, written_by="test")
    unit = np.random.default_rng(0).random((10, 2, 8, 8), dtype=np.float32)
    ids = [f"p_B02_s1_y{i}_x0" for i in range(10)]
    plain = {"forward": ForwardModel(), "pixel_size_um": 1.0}
    low = degrade(unit, ids, 4, (), **plain, quantise="none", seed=0)
    table = pd.DataFrame({"image_id": ids, "split": ["tune"] * 8 + ["evaluation"] * 2, "factor": 4})
    table = table.assign(treatment=["DMSO", "TNF"] * 5, border="renormalize")
    write_stack(path / "low.ome.tif", INTENSITY.to_counts(low), table, channels=INTENSITY.channels,
                pixel_size_um=2.0, written_by="degrade")  # fmt: skip
    write_models(path, 8, 2)
    return path


def arguments(folder: Path, output: Path, **other: object) -> list[str]:
    values = {
        "low-resolution": folder / "low.ome.tif", "intensity": folder / "intensity.json",
        "generator": folder / "generator.safetensors", "flow": folder / "flow.safetensors",
        "styles": folder / "styles.safetensors", "factor": 4, "method": "rls", "search": "rls",
        "output": output, "state": output.parent / "state", "batch-size": 3, "n-cells": 4,
        "precision": "float32", "noise": "shared", "forward": "as_degraded", "seed": 1,
        "device": "cpu", "threads": 1, **SEARCH, **other,
    }  # fmt: skip
    flags = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    return [*flags, "--lambdas-w", "0", "1", "--lambdas-c", "0", "0.5"]


@pytest.fixture(scope="module")
def swept(folder):
    main(arguments(folder, folder / "sweep.ome.tif"))
    return read_stack(folder / "sweep.ome.tif")


def test_a_pair_of_weights_is_searched_once_and_the_methods_own_is_among_them():
    own = Weights(1.0, 0.5)
    points = sweep_points(own, (0.0, 1.0), (0.0, 0.5))
    assert points[0] == own and len(set(points)) == len(points)
    assert set(points) == {own, Weights(0.0, 0.5), Weights(1.0, 0.0)}
    with pytest.raises(InputError, match="w-1"):
        sweep_points(own, (-1.0,), ())


def test_cells_are_balanced_and_do_not_depend_on_the_order_or_on_other_cells():
    table = cells()
    chosen = table.iloc[choose_cells(table, 7, seed=3)]
    assert sorted(chosen["treatment"].value_counts()) == [3, 4]
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    again = shuffled.iloc[choose_cells(shuffled, 7, seed=3)]
    assert set(again["image_id"]) == set(chosen["image_id"])
    more = table.iloc[choose_cells(table, 8, seed=3)]
    assert set(chosen["image_id"]) < set(more["image_id"])
    assert set(table.iloc[choose_cells(table, 7, seed=4)]["image_id"]) != set(chosen["image_id"])


@pytest.mark.parametrize("count", [1, 20])
def test_more_cells_than_a_treatment_has_and_less_than_one_are_refused(count):
    with pytest.raises(InputError, match="n_cells"):
        choose_cells(cells(), count, seed=0)


def test_every_point_has_the_same_cells_of_tune_and_its_own_weights(swept):
    table = swept.table
    # The table names the D in the search and the likelihood, as that of super_resolve does.
    assert {ForwardModel.from_text(text) for text in table["search_forward"]} == {ForwardModel()}
    assert set(table["likelihood"]) == {"laplace"} and "bicubic" in swept.description
    points = table.groupby(["lambda_w", "lambda_c"])
    assert set(points.groups) == {(0.01, 0.02), (0, 0.02), (1, 0.02), (0.01, 0), (0.01, 0.5)}
    assert {tuple(sorted(part["cell_id"])) for _, part in points} == {
        tuple(sorted(table.loc[table["own"], "cell_id"]))
    }
    assert set(table["split"]) == {"tune"} and len(table) == 4 * 5
    assert table["own"].sum() == 4
    assert set(points.get_group((0.01, 0.02))["own"]) == {True}
    total = table["loss_fidelity"] - table["lambda_w"] * table["log_prior"]
    total += table["lambda_c"] * table["loss_cross"]
    np.testing.assert_allclose(table["loss_total"], total, rtol=1e-4)
    np.testing.assert_allclose(table["mean_pair_distance"], table["loss_cross"], rtol=1e-5)


def test_weights_change_the_result(swept):
    by_point = {key: part.index for key, part in swept.table.groupby(["lambda_w", "lambda_c"])}
    own, free = (swept.images[by_point[key]] for key in ((0.01, 0.02), (0.01, 0.0)))
    assert not np.array_equal(own, free)


def test_an_interrupted_sweep_goes_on_with_the_same_bits(folder, swept, tmp_path, monkeypatch):
    real, calls = shared.solve, []

    def interrupted(*given: object) -> object:
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(shared, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(arguments(folder, tmp_path / "sweep.ome.tif"))
    kept = len(list((tmp_path / "state").rglob("batch-*")))
    assert kept == 3 * 2  # Three points have two batches each.
    searched: list[object] = []

    def counted(method, *rest):  # noqa: ANN001, ANN002, ANN202
        def once(*given: object) -> object:
            searched.append(given)
            return method.super_resolve(*given)

        return real(type("Counted", (), {"super_resolve": staticmethod(once)}), *rest)

    monkeypatch.setattr(shared, "solve", counted)
    main(arguments(folder, tmp_path / "sweep.ome.tif"))
    assert len(searched) == 2 * 2  # Two points were left.
    again = read_stack(tmp_path / "sweep.ome.tif")
    np.testing.assert_array_equal(again.images, swept.images)
    assert not list((tmp_path / "state").rglob("batch-*"))


def test_a_method_without_these_weights_is_refused(folder, tmp_path):
    flags = arguments(folder, tmp_path / "s.ome.tif", search="bicubic")
    dropped = {f"--{name}" for name in SEARCH}
    kept = [f for a, b in zip(flags[::2], flags[1::2], strict=False) if a not in dropped for f in (a, b)]  # fmt: skip  # noqa: E501
    with pytest.raises(InputError, match="no lambda_w"):
        main([*kept[: kept.index("--lambdas-w")], "--lambdas-w", "0", "--lambdas-c", "0"])


def test_a_method_that_searches_an_image_several_times_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="n_solutions 3 of rls, expected 1: sweep_lambdas makes"):
        main(arguments(folder, tmp_path / "x.ome.tif", **{"n-solutions": 3}))
