"""Implementations of the FIR filter against its definition, and the choice between them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from rls.stylegan2 import fir, jacobian, losses
from rls.stylegan2 import operators as ops
from rls.stylegan2.architecture import Architecture
from rls.stylegan2.discriminator import Discriminator
from rls.stylegan2.networks import Generator
from tests.conftest import ROOT

KERNEL = ops.setup_filter(ops.FILTER_TAPS)
USES = {  # arguments of low_pass
    "after the up-convolution": {"pad": 1, "gain": 4.0},
    "before the strided convolution": {"pad": 2},
    "down": {"down": 2, "pad": 1},
    "up": {"up": 2, "pad": 2, "gain": 4.0},
}
SHAPES = [(2, 1, 5, 7), (1, 3, 8, 6), (2, 40, 4, 9)]


def by_definition(x, *, up=1, down=1, pad, gain=1.0):
    end = pad - up + 1
    padding = (pad, end, pad, end)
    return ops.upfirdn2d(x, KERNEL.to(x.device), up=up, down=down, padding=padding, gain=gain)


@pytest.fixture(params=["triton", "pooling", "convolution", "compiled"])
def implementation(request, monkeypatch):
    """Filter by one implementation; Triton's kernel is computed by another one here."""
    if request.param == "compiled":
        monkeypatch.setattr(fir, "grouped", fir.shifted_sums)
    else:
        monkeypatch.setattr(fir, "choose_fir", lambda device: request.param)
    monkeypatch.setattr(fir, "by_kernel", fir.shifted_sums)
    return request.param


def value_and_derivatives(function, x):
    """Return the value, the gradient of a loss, and the gradient of its squared length."""
    x = x.clone().requires_grad_()
    y = function(x)
    (slope,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    return y, slope, torch.autograd.grad(slope.square().sum(), x)[0]


@pytest.mark.parametrize("use", USES)
def test_values_and_two_derivatives_are_those_of_the_definition(use, implementation):
    for shape in SHAPES:
        x = torch.randn(shape, dtype=torch.float64)
        found = value_and_derivatives(lambda x: fir.low_pass(x, **USES[use]), x)
        expected = value_and_derivatives(lambda x: by_definition(x, **USES[use]), x)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("use", USES)
def test_derivatives_are_those_of_differences(use, implementation):
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: fir.low_pass(x, **USES[use]), x, check_forward_ad=True)
    assert gradgradcheck(lambda x: fir.low_pass(x, **USES[use]), x)


def test_networks_and_penalties_are_the_same_for_each_implementation(monkeypatch):
    sizes = Architecture(16, 3, z_dim=6, w_dim=6, mapping_layers=2, channel_base=64, channel_max=6)
    torch.manual_seed(1)
    generator, discriminator = Generator(sizes).double(), Discriminator(sizes).double()
    z, noise = (torch.randn(s, dtype=torch.float64) for s in ((4, 6), (4, 3, 16, 16)))
    monkeypatch.setattr(fir, "by_kernel", fir.shifted_sums)
    results = []
    for choice in ("convolution", "triton", "pooling"):
        monkeypatch.setattr(fir, "choose_fir", lambda device, choice=choice: choice)
        ws = generator.mapping(z)
        images = generator.synthesis(ws)
        lengths = losses.path_lengths(images, ws, noise, create_graph=True)
        real = images.detach().requires_grad_()
        penalty = losses.r1_penalty(discriminator(real), real).sum()
        loss = lengths.sum() + penalty + discriminator(images).sum()
        parameters = [*generator.parameters(), *discriminator.parameters()]
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        step = jacobian.step(generator.synthesis, ws.detach(), torch.ones_like(ws))
        results.append([images, lengths, penalty, step, *found])
    assert results[0][3].abs().max() > 0
    for found in results[1:]:
        torch.testing.assert_close(found, results[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 5), (7, 6)])
def test_the_adjoint_is_the_adjoint(size):
    """<g, A x> = <A' g, x>, and the adjoint of A' is A."""
    for up, down, pad in ((1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 2)):
        out = tuple((n * up + 2 * pad - up - 3) // down + 1 for n in size)
        form = fir.Form(up, down, pad, out, 4.0)
        x, g = (torch.randn(1, 2, *s, dtype=torch.float64) for s in (size, out))
        left = (g * fir.shifted_sums(x, form)).sum()
        right = (fir.shifted_sums(g, form.adjoint(size)) * x).sum()
        torch.testing.assert_close(left, right, rtol=1e-13, atol=1e-13)
        assert form.adjoint(size).adjoint(out) == form


@pytest.mark.parametrize("function", [fir.pooled, fir.shifted_sums])
def test_bfloat16_is_rounded_a_few_times(function):
    x = torch.randn(2, 8, 16, 16).bfloat16()
    for arguments in USES.values():
        expected = by_definition(x.double(), **arguments)
        values = {"up": 1, "down": 1, "gain": 1.0, **arguments}
        form = fir.Form(size=tuple(expected.shape[2:]), **values)
        error = (function(x, form).double() - expected).norm() / expected.norm()
        assert function(x, form).dtype == torch.bfloat16 and error < 3e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_on_a_cpu_the_standard_filter_gives_the_bits_of_the_general_one(dtype):
    x = torch.randn(2, 5, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
    w = torch.randn(4, 5, 3, 3).to(dtype)
    for function in (
        ops.upsample2d,
        ops.downsample2d,
        lambda x, kernel=None: ops.upsampled_convolution(x, w, kernel),
        lambda x, kernel=None: ops.upsampled_convolution(x, w[:, :, :1, :1], kernel),
        lambda x, kernel=None: ops.downsampled_convolution(x, w, kernel),
    ):
        for a, b in zip(
            value_and_derivatives(function, x),
            value_and_derivatives(lambda x, f=function: f(x, KERNEL), x),
            strict=True,
        ):
            assert torch.equal(a, b)


def test_a_constant_made_without_gradients_serves_those_with_them():
    fir._weight.cache_clear()
    x = torch.randn(1, 2, 4, 4)
    with torch.inference_mode():
        expected = fir.low_pass(x, pad=2)
    x.requires_grad_()
    y = fir.low_pass(x, pad=2)
    assert torch.equal(y, expected) and torch.autograd.grad(y.sum(), x)[0].shape == x.shape
    assert fir._weight(x.device, x.dtype, 1.0) is fir._weight(x.device, x.dtype, 1.0)


def test_shapes_are_known_without_numbers():
    x = torch.empty(2, 3, 9, 9, device="meta", requires_grad=True)
    y = fir.low_pass(x, down=2, pad=1)
    assert y.shape == (2, 3, 4, 4) and torch.autograd.grad(y.sum(), x)[0].shape == x.shape


# ---- Triton's kernel --------------------------------------------------------------------------

INTERPRETED = """
import torch
from rls.stylegan2 import fir, fir_kernel

torch.manual_seed(0)
fir_kernel.ROWS = fir_kernel.COLUMNS = fir_kernel.FEW_ROWS = 4
for shape, dtype, up, down, pad, gain in [
    ((1, 3, 3, 5), torch.float64, 1, 1, 1, 4.0),
    ((2, 1, 4, 6), torch.float32, 1, 1, 2, 1.0),
    ((1, 40, 5, 4), torch.float64, 1, 2, 1, 1.0),
    ((1, 3, 3, 2), torch.float64, 2, 1, 2, 4.0),
    ((1, 3, 3, 3), torch.bfloat16, 1, 2, 1, 1.0),
]:
    size = shape[2:]
    out = tuple((n * up + 2 * pad - up - 3) // down + 1 for n in size)
    form = fir.Form(up, down, pad, out, gain)
    x = torch.randn(shape).to(dtype).requires_grad_()
    found, expected = fir._Fir.apply(x, form), fir.shifted_sums(x.double(), form)
    assert found.is_contiguous(memory_format=torch.channels_last) and found.dtype == dtype
    g = torch.randn(*expected.shape).to(dtype)  # not channels last
    (by_x,) = torch.autograd.grad(found, x, g)
    (wanted,) = torch.autograd.grad(expected, x, g.double())
    # The interpreter truncates to bfloat16 where a GPU rounds.
    tolerance = {torch.float64: 1e-15, torch.float32: 3e-7, torch.bfloat16: 8e-3}[dtype]
    for a, b in ((found, expected), (by_x, wanted)):
        assert (a - b).abs().max() <= tolerance * b.abs().max(), (form, dtype)
print("all equal")
"""


def run(script, *arguments, **environment):
    """Run a script in a process of its own and return what it prints."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_interpreted_kernel_filters_and_so_does_its_adjoint():
    pytest.importorskip("triton")
    assert run(INTERPRETED, TRITON_INTERPRET="1") == "all equal\n"


@pytest.mark.parametrize(("up", "down"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize(("dtype", "name"), [(torch.bfloat16, "bf16"), (torch.float32, "fp32")])
def test_the_kernel_compiles_for_a_gpu_with_wide_loads_and_without_spills(
    up, down, dtype, name, tmp_path, monkeypatch
):
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from rls.stylegan2 import fir_kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    rows, columns, channels = fir_kernel.tiling(torch.empty(1, 512, 8, 8, dtype=dtype), (8, 8))
    tile = {"TILE_ROWS": rows, "TILE_COLUMNS": columns, "TILE_CHANNELS": channels}
    constants = {"UP": up, "DOWN": down, **tile, "KIND": triton.language.float32}
    sizes = ("height", "width", "out_height", "out_width", "n_channels", "pad")
    signature = {"x": f"*{name}", "y": f"*{name}", **dict.fromkeys(sizes, "i32"), "gain": "fp32"}
    signature |= dict.fromkeys(constants, "constexpr")
    assert list(signature) == fir_kernel.fir_kernel.arg_names
    places = {(list(signature).index(name),): value for name, value in constants.items()}
    wide = {(i,): [["tt.divisibility", 16]] for i in (0, 1, 6)}  # x, y and n_channels
    source = ASTSource(fir_kernel.fir_kernel, signature, places, wide)
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    accesses = [line for line in built.asm["ptx"].splitlines() if ".global." in line]
    assert len(accesses) > 20 and all(".global.v4.b32" in line for line in accesses)
    code = tmp_path / "kernel.ptx"
    code.write_text(built.asm["ptx"])
    assembler = [triton.knobs.nvidia.ptxas.path, "-v", "--gpu-name=sm_90a", str(code)]
    said = subprocess.run(
        [*assembler, "-o", str(tmp_path / "out")], capture_output=True, text=True, check=True
    ).stderr
    assert " 0 bytes spill stores, 0 bytes spill loads" in said


# ---- the choice -------------------------------------------------------------------------------

CHOOSE = """
import sys, torch
from rls.stylegan2 import fir
if sys.argv[1:]:
    sys.modules["triton"] = None
devices = [torch.device("cpu"), torch.device("cuda"), torch.device("cuda", 1), torch.device("cpu")]
print(*[fir.choose_fir(device) for device in devices])
"""
BUILD = """
from triton.runtime.build import compile_module_from_src
compile_module_from_src("", "nothing")
"""
POOLING = "FIR filters by average pooling, slower: "
CHOSEN = "\nconvolution pooling pooling convolution\n"


@pytest.fixture
def no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)


def test_without_a_compiler_averages_are_taken_and_that_is_said_once(no_compiler):
    pytest.importorskip("triton")
    assert run(CHOOSE) == f"{POOLING}no C compiler was found for Triton{CHOSEN}"
    with pytest.raises(AssertionError, match="Failed to find C compiler"):
        run(BUILD)  # Triton looks in the same places.


def test_without_triton_averages_are_taken():
    assert run(CHOOSE, "blocked") == f"{POOLING}Triton is not installed{CHOSEN}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="the first kernel would run")
def test_averages_are_taken_if_the_first_kernel_fails(no_compiler):
    pytest.importorskip("triton")
    said = run(CHOOSE, CC="cc")
    assert said.startswith(f"{POOLING}Triton's first kernel failed (") and said.endswith(CHOSEN)
