"""super_resolve: sharding and interruption change no bit, and wrong files are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rls.gather_shards import main as gather_main
from rls.io import Intensity, read_stack, read_weights, write_intensity, write_stack, write_weights
from rls.prior.flows import StyleFlow, write_flow
from rls.runtime.errors import InputError
from rls.search.degradation import degrade
from rls.search.forward import downscale
from rls.search.forward_model import ForwardModel
from rls.search.results import latents_path
from rls.search.shards import Shard
from rls.stylegan2.generator_io import write_generator
from rls.super_resolve import main
from tests.conftest import ROOT
from tests.rls.search_stand_ins import add_method, tiny_generator, tiny_styles

INTENSITY = Intensity(("dna", "nfkb"), (100.0, 50.0), (1100.0, 2050.0))
N = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What earlier stages have written: 11 images to search and 2 of another split."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("run")
    write_intensity(path / "intensity.json", INTENSITY, written_by="test")
    rng = np.random.default_rng(0)
    unit = rng.random((N + 2, 2, 8, 8), dtype=np.float32)
    ids = [f"p_B02_s1_y{i}_x0" for i in rng.permutation(N + 2)]
    plain = {"forward": ForwardModel(), "pixel_size_um": 1.0}
    low = degrade(unit, ids, 4, (), **plain, quantise="none", seed=0)
    table = pd.DataFrame({"image_id": ids, "split": "evaluation", "well": "B02", "factor": 4})
    table.loc[[3, 7], "split"] = "tune"
    table["border"] = "renormalize"
    write_stack(path / "low.ome.tif", INTENSITY.to_counts(low), table, channels=INTENSITY.channels,
                pixel_size_um=2.0, written_by="degrade")  # fmt: skip
    write_models(path, 8, 2)
    return path


def write_models(path: Path, size: int, n_channels: int) -> None:
    generator = tiny_generator(size, n_channels)
    names = list(INTENSITY.channels) + ["third"]
    header = {"channels": names[:n_channels], "pixel_size_um": 0.5}
    header["intensity"] = INTENSITY.as_dict()
    write_generator(path / "generator.safetensors", generator, header)
    digest = read_weights(path / "generator.safetensors")[1]["digest"]
    styles = tiny_styles(generator)
    write_weights(path / "styles.safetensors", {"w": styles.w, "w_mean": styles.mean},
                  {"kind": "styles", "generator_digest": digest})  # fmt: skip
    digest = read_weights(path / "styles.safetensors")[1]["digest"]
    write_flow(path / "flow.safetensors", unfolded(styles.w), {"styles_digest": digest})


def unfolded(w: torch.Tensor) -> StyleFlow:
    """Return a flow as it is before freezing, which is what fit_flow writes."""
    torch.manual_seed(2)
    flow = StyleFlow("maf", w.shape[1], 32, 2)
    flow.set_scale(w)
    flow.recompute_batch_norm(w)
    return flow


def arguments(folder: Path, output: Path, **other: str) -> list[str]:
    values = {
        "low-resolution": folder / "low.ome.tif", "intensity": folder / "intensity.json",
        "generator": folder / "generator.safetensors", "flow": folder / "flow.safetensors",
        "styles": folder / "styles.safetensors", "factor": 4, "method": "rls", "search": "rls",
        "output": output, "state": output.parent / "state", "batch-size": 4,
        "precision": "float32", "noise": "shared", "forward": "as_degraded", "seed": 1,
        "device": "cpu", "threads": 1, "steps": 12, "learning-rate": 0.5,
        "learning-rate-unit": "absolute", "schedule": "one_cycle_drop", "lambda-w": 5.0e-5,
        "lambda-c": 0.01, "lambda-n": 0.0, "cross": "mean_distance",
    }  # fmt: skip
    values |= {name.replace("_", "-"): value for name, value in other.items()}
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


def content(path: Path) -> tuple[np.ndarray, pd.DataFrame, torch.Tensor]:
    stack = read_stack(path)
    return stack.images, stack.table, read_weights(latents_path(path), kind="latents")[0]["w"]


def assert_same(found: tuple, expected: tuple) -> None:
    """Compare the contents of two results, bit for bit."""
    assert np.array_equal(found[0], expected[0]) and torch.equal(found[2], expected[2])
    pd.testing.assert_frame_equal(found[1], expected[1])


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    output = folder / "whole" / "rls.ome.tif"
    main(arguments(folder, output))
    return output


def test_the_evaluation_rows_are_written_in_order_with_what_was_found(
    folder: Path, whole: Path
) -> None:
    low, high = read_stack(folder / "low.ome.tif"), read_stack(whole)
    ids = low.table.loc[low.table["split"] == "evaluation", "image_id"]
    assert list(high.table["image_id"]) == sorted(ids) and len(high) == N
    assert high.images.shape == (N, 2, 8, 8) and high.images.dtype == np.float32
    assert high.pixel_size_um == 0.5
    digest = read_weights(folder / "generator.safetensors")[1]["digest"]
    said = f"synthesised by rls, generator {digest}; D in the search: bicubic (renormalize)"
    assert high.description == said
    assert set(high.table["search_status"]) == {"ok"} and set(high.table["well"]) == {"B02"}
    for name in ("loss_total", "loss_fidelity", "log_prior", "loss_cross"):
        assert np.isfinite(high.table[name]).all()
    assert content(whole)[2].shape == (N, 4, 16)
    # The loss in the table is that of the image in the stack.
    order = [list(low.table["image_id"]).index(image_id) for image_id in high.table["image_id"]]
    y = torch.as_tensor(INTENSITY.to_unit(low.images[order]))
    x = torch.as_tensor(INTENSITY.to_unit(high.images))
    loss = (downscale(8, 4, "renormalize")(x) - y).abs().mean((1, 2, 3))
    assert np.allclose(loss.numpy(), high.table["loss_fidelity"], atol=1e-5)


def test_shards_give_the_bits_of_the_whole_whatever_their_number(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    for count in (2, 3):
        shards = [tmp_path / f"rls.{i}-of-{count}.ome.tif" for i in range(1, count + 1)]
        for i, shard in enumerate(shards):
            main(arguments(folder, shard, shard=f"{i + 1}-of-{count}"))
        gathered = tmp_path / f"{count}.ome.tif"
        gather_main(["--shards", *map(str, reversed(shards)), "--output", str(gathered)])
        assert_same(content(gathered), content(whole))


def test_the_batch_size_of_auto_is_printed_and_written_and_names_the_result(
    folder: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rls.ome.tif"
    main(arguments(folder, output, batch_size="auto", cuda_graphs="off"))
    said = capsys.readouterr().out
    assert "super_resolve: batch_size 4 (auto)" in said
    assert "search steps in CUDA graphs: no, the device is cpu" in said
    assert_same(content(output), content(whole))  # with its result_digest
    assert read_weights(latents_path(output))[1]["batch_size"] == "4"


def kill_after_a_batch(command: list[str], folder: Path) -> None:
    """Run Python until a batch is kept under ``folder``, and kill it with SIGKILL."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True
    )
    while not list((folder / "state").glob("*/batch-*")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_search_goes_on_with_the_same_bits(
    folder: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rls.ome.tif"
    kill_after_a_batch(["-m", "rls.super_resolve", *arguments(folder, output)], tmp_path)
    assert not output.exists()
    kept = list((tmp_path / "state").glob("*/batch-*.safetensors"))
    assert 1 <= len(kept) < 3
    main(arguments(folder, output))
    said = capsys.readouterr().out
    assert "taken over" in said and f"{4 * len(kept)} of {N} images were found" in said
    assert_same(content(output), content(whole))
    assert not list((tmp_path / "state").glob("*/batch-*"))


# ---- images that stop one by one ---------------------------------------------------------------

STOPS = {"stop_fidelity": "0.01", "steps": "40", "batch_size": "2"}
TWO_ROUNDS = "import rls.search.batches as b, rls.super_resolve as s, sys; b.ROUNDS = 2; s.main()"


@pytest.fixture(scope="module")
def stopped(folder: Path) -> Path:
    output = folder / "stopped" / "rls.ome.tif"
    main(arguments(folder, output, **STOPS))
    return output


def test_images_stop_where_they_reach_the_goal(folder: Path, stopped: Path) -> None:
    table = content(stopped)[1]
    reached, taken = table["loss_fidelity"] <= 0.01, table["steps_taken"]
    assert 2 < reached.sum() < N and taken[reached].nunique() > 3
    assert (taken[~reached] == 40).all()


def test_shards_and_queues_of_any_length_give_the_same_bits(
    folder: Path, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count, rounds in ((1, 3), (2, 2), (3, 8)):
        monkeypatch.setattr("rls.search.batches.ROUNDS", rounds)
        shards = [tmp_path / f"rls.{i}-of-{count}.ome.tif" for i in range(1, count + 1)]
        for i, shard in enumerate(shards):
            main(arguments(folder, shard, shard=f"{i + 1}-of-{count}", **STOPS))
        gathered = tmp_path / f"{count}.ome.tif"
        gather_main(["--shards", *map(str, shards), "--output", str(gathered)])
        assert_same(content(gathered), content(stopped))


def test_a_killed_queue_goes_on_with_the_same_bits(
    folder: Path, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    output = tmp_path / "rls.ome.tif"
    kill_after_a_batch(["-c", TWO_ROUNDS, *arguments(folder, output, **STOPS)], tmp_path)
    kept = list((tmp_path / "state").glob("*/batch-*.safetensors"))
    assert 1 <= len(kept) < 3 and not output.exists()
    monkeypatch.setattr("rls.search.batches.ROUNDS", 2)
    main(arguments(folder, output, **STOPS))
    assert f"{4 * len(kept)} of {N} images were found" in capsys.readouterr().out
    assert_same(content(output), content(stopped))


def test_a_damaged_kept_batch_is_named_and_searched_again(
    folder: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    output = tmp_path / "rls.ome.tif"
    with monkeypatch.context() as patch:
        patch.setattr("rls.search.solutions.write_shard", lambda *a: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):
            main(arguments(folder, output))
    kept = sorted((tmp_path / "state").glob("*/batch-*.safetensors"))
    assert len(kept) == 3
    bits = bytearray(kept[1].read_bytes())
    bits[-5] ^= 1
    kept[1].write_bytes(bytes(bits))
    main(arguments(folder, output))
    assert "searched again" in capsys.readouterr().out
    assert np.array_equal(content(output)[0], content(whole)[0])


def test_other_settings_do_not_take_up_kept_batches(folder: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"
    main(arguments(folder, one))
    main(arguments(folder, other, lambda_c=0.5))
    assert not np.array_equal(content(one)[0], content(other)[0])


def test_bicubic_needs_no_model(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "bicubic.ome.tif"
    plain = arguments(folder, output, search="bicubic", method="bicubic")
    kept: list[str] = []
    own = ("generator", "flow", "styles", "steps", "learning-rate", "learning-rate-unit",
           "schedule", "lambda-w", "lambda-c", "lambda-n", "cross")  # fmt: skip
    for name, value in zip(plain[::2], plain[1::2], strict=True):
        kept += [] if name.removeprefix("--") in own else [name, value]
    main(kept)
    images, table, w = content(output)
    assert images.shape == (N, 2, 8, 8) and w.shape == (N, 0, 0)
    assert "no generator" in read_stack(output).description
    assert "loss_fidelity" in table.columns


def test_a_method_that_was_just_written_runs_by_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = add_method(tmp_path, monkeypatch)
    files = ["--low-resolution", folder / "low.ome.tif", "--intensity", folder / "intensity.json"]
    base = [*files, "--factor", 4, "--state", tmp_path / "state", "--batch-size", 4, "--seed", 1]
    base += ["--precision", "float32", "--noise", "shared", "--forward", "as_degraded"]
    base += ["--device", "cpu", "--threads", 1, "--output", tmp_path / "grey.ome.tif"]
    main([*map(str, base), "--method", "grey", "--search", name, "--grey", "0.25"])
    unit = INTENSITY.to_unit(read_stack(tmp_path / "grey.ome.tif").images)
    assert np.allclose(unit, 0.25, atol=1e-5)
    with pytest.raises(InputError, match="grey"):
        main([*map(str, base), "--method", "grey", "--search", name])


def test_a_configuration_file_gives_the_methods_block(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "super_resolve: {batch_size: 4, precision: float32, noise: shared, forward: as_degraded,\n"
        "  seed: 1, device: cpu, threads: 1}\n"
        "methods:\n  grey: {search: bicubic}\n  wrong: {search: bicubic, steps: 3}\n"
    )
    files = ["--low-resolution", folder / "low.ome.tif", "--intensity", folder / "intensity.json"]
    base = [*files, "--factor", 4, "--state", tmp_path / "state", "--config", config]
    base = [*map(str, base), "--output", str(tmp_path / "grey.ome.tif")]
    main([*base, "--method", "grey"])
    assert set(read_stack(tmp_path / "grey.ome.tif").table["search"]) == {"bicubic"}
    with pytest.raises(InputError, match="no setting steps"):
        main([*base, "--method", "wrong"])
    with pytest.raises(InputError, match="Give --search"):
        main([*base, "--method", "unknown"])


def test_models_that_do_not_fit_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.ome.tif"
    for size, n_channels, said in ((16, 2, "16 px"), (8, 3, "3 channels")):
        other = tmp_path / f"{size}_{n_channels}"
        write_models(other, size, n_channels)
        with pytest.raises(InputError, match=said):
            main(arguments(folder, output, generator=other / "generator.safetensors"))
        with pytest.raises(InputError, match="sample_styles again"):
            main(arguments(folder, output, styles=other / "styles.safetensors"))
        with pytest.raises(InputError, match="fit_flow again"):
            main(arguments(folder, output, flow=other / "flow.safetensors"))
    with pytest.raises(InputError, match="reduced by 4"):
        main(arguments(folder, output, factor=8))


def test_a_model_folders_flow_serves_styles_drawn_anew(folder: Path, tmp_path: Path) -> None:
    of = read_weights(folder / "generator.safetensors")[1]["digest"]
    flow = unfolded(tiny_styles(tiny_generator(8, 2)).w)
    header = {"styles_digest": "of others", "generator_digest": of}
    write_flow(tmp_path / "flow.safetensors", flow, header)
    output = tmp_path / "x.ome.tif"
    main(arguments(folder, output, flow=tmp_path / "flow.safetensors", steps="1"))
    assert output.is_file()
    write_flow(tmp_path / "flow.safetensors", flow, header | {"generator_digest": "another"})
    with pytest.raises(InputError, match="fit_flow again"):
        main(arguments(folder, output, flow=tmp_path / "flow.safetensors", steps="1"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shard": "3-of-2"}, "1 to 2"),
        ({"shard": "one"}, "I-of-N"),
        ({"shard": "1-of-50"}, "50 shards"),
        ({"search": "unknown"}, "bicubic"),
        ({"cross": "cubed"}, "mean_distance"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_wrong_arguments_are_refused(
    folder: Path, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        main(arguments(folder, tmp_path / "x.ome.tif", **change))


@pytest.mark.parametrize(("n", "count"), [(11, 1), (11, 3), (12, 12), (100, 7)])
def test_shards_cover_every_row_once_and_evenly(n: int, count: int) -> None:
    parts = [Shard(i + 1, count).rows(n) for i in range(count)]
    assert np.array_equal(np.concatenate(parts), np.arange(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
