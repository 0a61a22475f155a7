"""train_encoder and its pairs: the same bits after a kill, and searches from it in any shards."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rls.encoder import pool
from rls.encoder.network import read_encoder
from rls.encoder.pairs import PairSource
from rls.encoder.pool import held_out
from rls.encoder.settings import NAME
from rls.gather_shards import main as gather_main
from rls.io import read_stack, read_weights, write_stack
from rls.runtime.errors import InputError
from rls.runtime.stopping import Stopped, Watch
from rls.search.degradation import degrade
from rls.search.forward import forward_operator
from rls.search.forward_model import ForwardModel
from rls.search.shards import solutions_path
from rls.super_resolve import main as super_resolve
from rls.train_encoder import main
from tests.rls.search_stand_ins import tiny_generator
from tests.rls.test_super_resolve import N, arguments, content, folder, write_models

__all__ = ["folder"]  # a fixture
CHAIN = (("gaussian_noise", 0.1),)


def source_of(**changes: Any) -> PairSource:
    generator = tiny_generator()
    forward = forward_operator(ForwardModel(), 8, 4, 1.0)
    values: dict[str, Any] = {
        "generator": generator, "forward": forward, "chain": (), "quantise": "none",
        "batch_size": 6, "mixing_probability": 0.0, "seed": 1,
    }  # fmt: skip
    return PairSource(**(values | changes))


def test_y_is_what_degrade_makes_of_x() -> None:
    pairs = source_of(chain=CHAIN, quantise="8bit").draw(3)
    ids = [f"pairs 3 {i}" for i in range(6)]
    expected = degrade(
        pairs.x.numpy(), ids, 4, CHAIN, forward=ForwardModel(), pixel_size_um=1.0,
        quantise="8bit", seed=1,
    )  # fmt: skip
    assert len(pairs) == 6 and np.array_equal(pairs.y.numpy(), expected)


def test_x_is_the_image_of_w_under_noise_of_its_own() -> None:
    source = source_of()
    pairs = source.draw(0)
    images = (source.generator.synthesis(pairs.w, "none") + 1) / 2
    silent = tiny_generator()
    for layer in silent.synthesis.layers():
        layer.noise_strength.data.zero_()
    assert torch.allclose(source_of(generator=silent).draw(0).x, images, atol=1e-5)
    assert (pairs.x - images).abs().max() > 0.01
    repeated = source.draw(0)
    assert torch.equal(repeated.x, pairs.x) and torch.equal(repeated.w, pairs.w)
    others = (source.draw(1), source_of(seed=2).draw(0), source_of(purpose="other").draw(0))
    assert all(not torch.equal(other.w, pairs.w) for other in others)


def test_mixed_styles_change_from_one_layer_on() -> None:
    plain, mixed = source_of().draw(0).w, source_of(mixing_probability=1.0).draw(0).w
    assert torch.equal(plain, plain[:, :1].expand_as(plain))
    assert torch.equal(mixed[:, 0], plain[:, 0])
    changes = (mixed[:, 1:] != mixed[:, :-1]).any(dim=2).sum(dim=1)
    assert (changes == 1).all()


def test_held_out_pairs_are_others_and_never_mixed() -> None:
    source = source_of(mixing_probability=1.0)
    held = held_out(source).draw(0)
    assert torch.equal(held.w, held.w[:, :1].expand_as(held.w))
    assert (held.w[:, 0] != source.draw(0).w[:, 0]).any(dim=1).all()


def test_drawing_stops_before_a_time_limit_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "PAIRS_OF_FILE", 12)
    whole = pool.draw_pool(source_of(), 30, tmp_path / "whole", NAME)
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "due", lambda self: True)
        for n_files in (1, 2):
            with pytest.raises(Stopped):
                pool.draw_pool(source_of(), 30, tmp_path / "cut", NAME)
            assert len(list((tmp_path / "cut").iterdir())) == n_files
    again = pool.draw_pool(source_of(), 30, tmp_path / "cut", NAME)
    assert len(again.w) == 30 and torch.equal(again.w, whole.w) and torch.equal(again.y, whole.y)


def command(folder: Path, output: Path, state: Path, **changes: object) -> list[str]:
    values: dict[str, object] = {
        "generator": folder / "generator.safetensors", "styles": folder / "styles.safetensors",
        "factor": 4, "quantise": "8bit", "output": output, "state": state, "n-pairs": 400,
        "n-held-out": 100, "pair-batch-size": 20, "mixing-probability": 0.0, "hidden": 16,
        "blocks": 1, "epochs": 10, "batch-size": 20, "learning-rate": 0.002, "weight-decay": 0.01,
        "seed": 1, "device": "cpu", "threads": 1,
    }  # fmt: skip
    values |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    output = folder / "whole" / "encoder.safetensors"
    main(command(folder, output, folder / "whole state"))
    return output


def test_it_learns_something_and_its_header_says_what_it_is_for(whole: Path) -> None:
    _, header = read_encoder(whole)
    prior = -0.5 * 16 * np.log(2 * np.pi * np.e)
    assert header["held_out_log_prob"] > prior + 0.2 and header["explained_variance"] > 0.02
    assert header["factor"] == 4 and header["channels"] == ["dna", "nfkb"]
    assert len(header["curves"]) == 10
    assert not list((whole.parent.parent / "whole state").glob("*/*.safetensors"))


@pytest.mark.parametrize("pattern", ["pairs-pairs-*.safetensors", "checkpoint-*"])
def test_killed_and_run_again_it_ends_with_the_same_bits(
    folder: Path, whole: Path, tmp_path: Path, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output, state = tmp_path / "encoder.safetensors", tmp_path / "state"
    flags = command(folder, output, state)
    call = [sys.executable, "-m", "rls.train_encoder", *flags]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    while not list(state.glob(f"*/{pattern}")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    main(flags)  # in this process, whose imports are done
    assert ("goes on after epoch" in capsys.readouterr().out) == pattern.startswith("checkpoint")
    (one, header), (other, other_header) = read_weights(output), read_weights(whole)
    assert header == other_header
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_other_settings_begin_anew_and_damaged_pairs_are_drawn_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], whole: Path
) -> None:
    output, state = tmp_path / "encoder.safetensors", tmp_path / "state"
    short = {"epochs": 1, "n_pairs": 40}
    main(command(folder, output, state, **short))
    kept = {path.name for path in state.iterdir()}
    main(command(folder, output, state, **short, seed=2))
    assert len({path.name for path in state.iterdir()} - kept) == 1
    place = next(iter(state.glob(f"{NAME}-*")))
    (place / "pairs-pairs-000000.safetensors").write_bytes(b"half a file")
    main(command(folder, output, state, **short))
    assert "drawn again" in capsys.readouterr().out or place.name not in kept


def test_styles_of_another_generator_are_refused(folder: Path, tmp_path: Path) -> None:
    write_models(tmp_path, 16, 2)
    changed = {"styles": tmp_path / "styles.safetensors"}
    with pytest.raises(InputError, match="Run sample_styles again"):
        main(command(folder, tmp_path / "e.safetensors", tmp_path / "state", **changed))


@pytest.fixture(scope="module")
def search(folder: Path, whole: Path) -> Callable[..., list[str]]:
    def of(output: Path, **changes: Any) -> list[str]:
        return arguments(folder, output, **{"encoder": str(whole), "start": "encoder", **changes})

    return of


def test_a_search_from_it_is_the_same_in_any_shards(
    search: Callable[..., list[str]], tmp_path: Path
) -> None:
    super_resolve(search(tmp_path / "whole.ome.tif"))
    images, table, w = content(tmp_path / "whole.ome.tif")
    assert len(images) == N and (table["start_distance"] > 0).all()
    for count in (2, 3):
        paths = []
        for i in range(1, count + 1):
            paths.append(tmp_path / str(count) / f"shard{i}.ome.tif")
            super_resolve(search(paths[-1], shard=f"{i}-of-{count}"))
        gathered = tmp_path / f"gathered{count}.ome.tif"
        gather_main(["--shards", *map(str, paths), "--output", str(gathered)])
        found, its_table, its_w = content(gathered)
        assert np.array_equal(found, images) and torch.equal(its_w, w)
        assert table["start_distance"].equals(its_table["start_distance"])


def test_draws_that_stop_one_by_one_are_the_same_in_any_shards(
    search: Callable[..., list[str]], tmp_path: Path
) -> None:
    several = {"start": "draws", "n_solutions": 2, "stop_fidelity": 0.1, "steps": 6}
    found = []
    for count in (1, 2, 5):
        paths = [tmp_path / f"{i}-of-{count}.ome.tif" for i in range(1, count + 1)]
        for path in paths:
            super_resolve(search(path, shard=path.name.removesuffix(".ome.tif"), **several))
        gathered = tmp_path / f"gathered{count}.ome.tif"
        gather_main(["--shards", *map(str, paths), "--output", str(gathered)])
        found.append(content(solutions_path(gathered)))
    images, table, w = found[0]
    assert len(images) == 2 * N and table["steps_taken"].nunique() > 1
    for its_images, its_table, its_w in found[1:]:
        assert np.array_equal(its_images, images) and torch.equal(its_w, w)
        pd.testing.assert_frame_equal(its_table, table)


def test_0_steps_from_it_are_the_image_of_its_style(
    search: Callable[..., list[str]], whole: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "encoder.ome.tif"
    super_resolve(search(output, steps=0))
    encoder, _ = read_encoder(whole)
    low = read_stack(folder / "low.ome.tif")
    table = read_stack(output).table
    rows = [list(low.table["image_id"]).index(name) for name in table["image_id"]]
    scale = torch.tensor([1000.0, 2000.0]).view(1, 2, 1, 1)
    black = torch.tensor([100.0, 50.0]).view(1, 2, 1, 1)
    y = (torch.as_tensor(low.images[rows]) - black) / scale
    _, _, w = content(output)
    expected = encoder.mean_style(encoder(y))[:, None].expand_as(w)
    assert torch.allclose(w, expected, atol=1e-3) and (table["start_distance"] == 0).all()


def test_an_encoder_of_another_factor_is_refused(
    search: Callable[..., list[str]], folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "encoder.safetensors"
    main(command(folder, other, tmp_path / "state", factor=2, epochs=1, n_pairs=40))
    flags = arguments(folder, tmp_path / "x.ome.tif", encoder=str(other), start="encoder")
    with pytest.raises(InputError, match="was trained for 2x"):
        super_resolve(flags)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"border": "reflect"}, "reflect.* and the chain '', and"),
        ({"chain": "gaussian_noise:0.1"}, "and the chain 'gaussian_noise:0.1', and"),
    ],
)
def test_an_encoder_of_another_d_or_chain_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    other = tmp_path / "encoder.safetensors"
    main(command(folder, other, tmp_path / "state", epochs=1, n_pairs=40, **changes))
    low = read_stack(folder / "low.ome.tif")
    degraded = low.table.drop(columns="image_digest")
    degraded = degraded.assign(high_resolution_digest="x", chain="")
    write_stack(tmp_path / "low.ome.tif", low.images, degraded, channels=low.channels,
                pixel_size_um=low.pixel_size_um, written_by="degrade")  # fmt: skip
    flags = {"encoder": str(other), "start": "encoder"}
    of_degraded = {**flags, "low_resolution": str(tmp_path / "low.ome.tif")}
    with pytest.raises(InputError, match=f"was trained on images made by .*{said}"):
        super_resolve(arguments(folder, tmp_path / "x.ome.tif", **of_degraded))
    if "chain" in changes:  # Acquired images may have noise of the same kind.
        super_resolve(arguments(folder, tmp_path / "x.ome.tif", **flags))
