"""The command path_lengths: finite differences, known maps and known spreads."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from rls import path_lengths
from rls.io import read_table, read_weights, write_weights
from rls.prior.flows import StyleFlow, write_flow
from rls.runtime.errors import InputError
from rls.runtime.streams import torch_stream
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.generator_io import load_generator, write_generator
from rls.stylegan2.jacobian import (
    draw_path_lengths,
    draw_step_lengths,
    half_log_det,
    jacobian,
    step,
    tied,
)
from rls.stylegan2.jacobian_table import variation
from rls.stylegan2.networks import Generator

N_WS, D = 4, 5
# torch itself uses a deprecated function for forward mode
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def lively_generator(w_dim=D):
    torch.manual_seed(1)
    generator = Generator(Architecture(8, 2, 6, w_dim, 2, 64, 8))
    for name, parameter in generator.named_parameters():
        if name.endswith(("noise_strength", "bias")) and "affine" not in name:
            parameter.data = 0.3 * torch.randn_like(parameter)
    return generator.eval().requires_grad_(False)


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def linear(seed=0, scale=1.0):
    """Return the synthesis images = A vec(ws) and its matrix (c y x, d) with respect to W."""
    random = torch.Generator().manual_seed(seed)
    full = scale * torch.randn(2, 3, 4, N_WS, D, dtype=torch.float64, generator=random)
    by_w = full.sum(dim=3).reshape(-1, D)
    return (lambda ws: torch.einsum("cyxld,nld->ncyx", full, ws)), by_w


def draws_of(function, synthesis, ws, n_draws):
    random = torch.Generator().manual_seed(1)
    return torch.stack([function(synthesis, ws, random) for _ in range(n_draws)], dim=1)


def test_forward_mode_equals_central_differences():
    generator = lively_generator().double()
    ws = generator.mapping(drawn(6, 6)) + 0.3 * drawn(6, N_WS, D)
    u = drawn(6, N_WS, D)
    h = 1e-6
    ahead, behind = (generator.synthesis(ws + s * h * u) for s in (1, -1))
    found = step(generator.synthesis, ws, u)
    assert found.abs().max() > 0.1
    torch.testing.assert_close(found, (ahead - behind) / (2 * h), atol=1e-7, rtol=1e-6)


def test_forward_and_backward_are_adjoint():
    generator = lively_generator().double()
    ws = generator.mapping(drawn(3, 6)).requires_grad_()
    images = generator.synthesis(ws)
    y, u = drawn(*images.shape), drawn(*ws.shape)
    (back,) = torch.autograd.grad((images * y).sum(), ws)
    ahead = step(generator.synthesis, ws.detach(), u)
    left, right = (back * u).sum(dim=(1, 2)), (ahead * y).sum(dim=(1, 2, 3))
    torch.testing.assert_close(left, right)


def test_a_column_of_the_jacobian_is_a_step_along_its_axis():
    generator = lively_generator().double()
    w = generator.mapping(drawn(1, 6))[0, 0]
    found = jacobian(generator.synthesis, w, N_WS, 2)
    assert found.shape == (2 * 8 * 8, D)
    axis = torch.eye(D, dtype=torch.float64)[3:4]
    column = step(generator.synthesis, tied(w[None], N_WS), tied(axis, N_WS))
    torch.testing.assert_close(found[:, 3], column.flatten())


def test_the_jacobian_of_a_linear_map_is_its_matrix():
    synthesis, matrix = linear()
    for w in drawn(2, D):
        torch.testing.assert_close(jacobian(synthesis, w, N_WS, 3), matrix)


def test_the_log_determinant_is_that_of_the_gram_matrix_and_counts_scale_once_a_dimension():
    _, matrix = linear()
    value, condition, rank = half_log_det(matrix)
    expected = 0.5 * np.linalg.slogdet((matrix.T @ matrix).numpy())[1]
    assert rank == D
    assert value == pytest.approx(expected, abs=1e-9)
    assert condition == pytest.approx(np.linalg.cond(matrix.numpy()))
    assert half_log_det(3 * matrix)[0] - value == pytest.approx(D * math.log(3))


def test_a_lost_direction_has_no_determinant():
    _, matrix = linear()
    matrix[:, 1] = 2 * matrix[:, 0]
    assert half_log_det(matrix.float()) == (-math.inf, math.inf, D - 1)


def test_lengths_of_a_linear_map_are_those_of_its_matrix():
    synthesis, matrix = linear()
    ws = tied(drawn(4000, D), N_WS)
    # E |J u|^2 = |A|^2 / d over unit u; E |J^T y|^2 = |A_W+|^2 / (h w num_ws) over y
    steps = draws_of(draw_step_lengths, synthesis, ws, 1)
    assert steps.square().mean().item() == pytest.approx(matrix.square().sum().item() / D, rel=0.03)
    units = torch.eye(N_WS * D, dtype=torch.float64).reshape(-1, N_WS, D)
    norm = synthesis(units).square().sum().item()
    paths = draws_of(draw_path_lengths, synthesis, ws, 1)
    assert paths.square().mean().item() == pytest.approx(norm / (3 * 4 * N_WS), rel=0.03)


def test_a_scaled_isometry_keeps_every_step_and_a_curved_map_does_not():
    torch.manual_seed(0)
    basis = torch.linalg.qr(drawn(24, D))[0]

    def isometry(ws):
        return 3 * (ws.mean(dim=1) @ basis.T).reshape(-1, 2, 3, 4)

    ws = tied(drawn(50, D), N_WS)
    steps = draws_of(draw_step_lengths, isometry, ws, 3)
    torch.testing.assert_close(steps, torch.full_like(steps, 3.0))
    curved = draws_of(draw_step_lengths, lambda x: isometry(x).exp(), ws, 3)
    assert curved.std() > 0.2 * curved.mean()


def test_the_spread_of_draws_at_one_style_is_not_taken_for_that_of_styles():
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (4000, 4))
    every, styles = variation(10 + noise)
    assert every == pytest.approx(0.1, rel=0.05) and styles < 0.03
    every, styles = variation(10 + noise + random.normal(0, 2, (4000, 1)))
    assert every == pytest.approx(math.sqrt(5) / 10, rel=0.05)
    assert styles == pytest.approx(0.2, rel=0.05)


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture
def generator_file(tmp_path):
    write_generator(
        tmp_path / "generator.safetensors", lively_generator(), {"channels": ["a", "b"]}
    )
    return tmp_path / "generator.safetensors"


def measured(generator_file, name="lengths.parquet", *flags, n_styles=7, n_jacobians=3):
    output = generator_file.parent / name
    numbers = ["--n-styles", str(n_styles), "--n-draws", "2", "--n-jacobians", str(n_jacobians)]
    path_lengths.main(
        [
            *("--generator", str(generator_file), "--output", str(output), "--device", "cpu"),
            *(*numbers, "--batch-size", "4", *flags),
        ]
    )
    return read_table(output)


def write_styles_and_flow(generator_file):
    digest = load_generator(generator_file).header["digest"]
    styles, flow = (generator_file.parent / f"{name}.safetensors" for name in ("styles", "flow"))
    random = torch.Generator().manual_seed(0)
    tensors = {"w": torch.randn(50, D, generator=random)}
    write_weights(styles, tensors, {"kind": "styles", "generator_digest": digest})
    network = StyleFlow("realnvp", D, 8, 1)
    network.set_scale(tensors["w"])
    network.recompute_batch_norm(tensors["w"])
    write_flow(flow, network, {"styles_digest": read_weights(styles)[1]["digest"]})
    return ["--flow", str(flow), "--styles", str(styles)]


def test_the_table_holds_every_quantity_of_the_same_styles(generator_file):
    table = measured(generator_file, "lengths.csv", *write_styles_and_flow(generator_file))
    counts = table.groupby("quantity")["value"].count().to_dict()
    assert counts == {
        "path_length": 14, "step_length": 14, "half_log_det": 3, "condition_number": 3,
        "log_p_flow": 7,
    }  # fmt: skip
    generator = load_generator(generator_file)
    z = torch.randn(7, 6, generator=torch_stream(0, "z", "path_lengths"))
    w = generator.mapping(z)[2, 0]
    expected = half_log_det(jacobian(generator.synthesis, w, N_WS, 8))[0]
    row = table[(table["quantity"] == "half_log_det") & (table["style"] == 2)]
    assert row["value"].item() == pytest.approx(expected, rel=1e-4)
    assert set(table["generator_digest"]) == {generator.header["digest"]}


def test_the_same_seed_gives_the_same_table(generator_file):
    first, again = measured(generator_file), measured(generator_file, "again.parquet")
    pd.testing.assert_frame_equal(first, again)
    other = measured(generator_file, "other.parquet", "--seed", "1")
    assert not np.isclose(first["value"], other["value"]).any()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--n-styles", "1"), "Found n_styles 1, expected 2 or more"),
        (("--n-jacobians", "8"), "Found n_jacobians 8, expected at most n_styles, 7"),
        (("--flow", "flow.safetensors"), "one of --flow and --styles"),
    ],
)
def test_wrong_settings_are_refused(generator_file, flags, message):
    with pytest.raises(InputError, match=message):
        measured(generator_file, "lengths.parquet", *flags)


def test_another_suffix_and_a_flow_of_another_generator_are_refused(generator_file):
    with pytest.raises(InputError, match="parquet or"):
        measured(generator_file, "lengths.txt")
    files = write_styles_and_flow(generator_file)
    torch.manual_seed(5)
    other = Generator(Architecture(8, 2, 6, D, 2, 64, 8))
    write_generator(generator_file, other, {"channels": ["a", "b"]})
    with pytest.raises(InputError, match="Run sample_styles again"):
        measured(generator_file, "lengths.parquet", *files)


def test_more_dimensions_than_pixels_have_no_determinant(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "generator.safetensors"
    write_generator(path, Generator(Architecture(8, 1, 4, 70, 1, 32, 4)), {"channels": ["a"]})
    with pytest.raises(InputError, match="Set n_jacobians to 0"):
        measured(path)
    table = measured(path, n_jacobians=0)
    assert set(table["quantity"]) == {"path_length", "step_length"}
