"""Every command and code block of the documentation is run, or its page says why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from rls.io.stacks import write_stack
from rls.search.forward import downscale
from rls.stylegan2.generator_io import load_generator
from tests.conftest import ROOT
from tests.docs.blocks import Block, blocks_of, pages

PROGRAM = (
    *("Snakefile", "Makefile", "requirements.lock"),
    *("config", "workflow", "rls", "analysis", "benchmarks"),
)
WITH_BLOCKS = [page for page in pages() if blocks_of(page)]
TESTED = [
    page for page in WITH_BLOCKS if any(b.comment.startswith("test: ") for b in blocks_of(page))
]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=_name)
def test_every_block_says_how_it_is_tested(page: Path) -> None:
    silent = [block.line for block in blocks_of(page) if not block.comment]
    assert not silent, f"{_name(page)}: no comment above the blocks of lines {silent}"


def test_the_pages_have_blocks_that_run_and_the_comment_is_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- test: run -->\n```\nfalse  # a comment\nmake \\\n    demo\n```\n\n```python\n1\n```\n"
    )
    first, second = blocks_of(page)
    assert (first.comment, first.line, first.commands()) == ("test: run", 2, ["false", "make demo"])
    assert (second.comment, second.language) == ("", "python")
    assert len(TESTED) >= 5


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that the pages name: low.tif, field.tif, and the cells and scale of a run."""
    folder = tmp_path_factory.mktemp("inputs")
    model = ROOT / "models" / "translocation_32px"
    shutil.copy(model / "intensity.json", folder)
    G = load_generator(model)
    styles = G.mapping(torch.randn(3, G.z_dim, generator=torch.Generator().manual_seed(5)))
    images = G.to_counts(G.synthesis(styles, "const"))
    low = downscale(32, 8, "renormalize")(torch.as_tensor(images)).numpy()
    _write_cells(folder / "low.tif", low[0])
    field = np.full((2, 96, 96), 40.0, np.float32)
    for cell, (y, x) in zip(images, ((8, 8), (8, 56), (56, 32)), strict=True):
        field[:, y : y + 32, x : x + 32] = cell
    _write_cells(folder / "field.tif", downscale(96, 4, "renormalize")(_one(field))[0].numpy(), 4)
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "split": "gan", "treatment": "DMSO"})
    write_stack(
        folder / "cells.ome.tif", images.repeat(4, axis=2).repeat(4, axis=3), table,
        channels=("dna", "nfkb"), pixel_size_um=0.25, written_by="select_cells",
    )  # fmt: skip
    return folder


@pytest.fixture
def program(tmp_path: Path, inputs: Path) -> Path:
    """A copy of the program, into which a page may write, with those files in it."""
    for name in PROGRAM:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.docs
@pytest.mark.parametrize("page", TESTED, ids=_name)
def test_the_blocks_of_a_page_run(page: Path, program: Path) -> None:
    for block in blocks_of(page):
        how = block.comment.removeprefix("test: ")
        if how.startswith("file "):
            (program / how.removeprefix("file ")).write_text(block.text)
        elif how == "dry run":
            for command in block.commands():
                _run(["sh", "-ec", _dry(command)], program)
        elif how == "run":
            _run(_shell_or_python(block), program)
        else:
            assert block.comment.startswith("not run: "), (_name(page), block)


def _shell_or_python(block: Block) -> list[str]:
    if block.language == "python":
        return [sys.executable, "-c", block.text]
    return ["sh", "-ec", "\n".join(block.commands())]


def _dry(command: str) -> str:
    """Return a command of make or snakemake that only says what it would do."""
    words = command.split()
    program = next(word for word in words if "=" not in word)
    assert program in ("make", "snakemake"), command
    return command.replace(program, f"{program} -n", 1)


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder if (folder / "rls").is_dir() else ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def _one(field: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(field[None])


def _write_cells(path: Path, image: np.ndarray, pixel_um: float = 8.0) -> None:
    """Write one image (2, y, x) as a microscope's program does."""
    sizes = {f"PhysicalSize{axis}": pixel_um for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": "um" for axis in "XY"}
    tifffile.imwrite(
        path,
        np.rint(image).clip(0).astype(np.uint16),
        ome=True,
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": ["dna", "nfkb"]}, **sizes, **units},
    )
