from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import measure
from analysis.features.settings import feature_digest, settings_class
from analysis.measuring.embeddings import Networks, embedding_table
from analysis.measuring.reference import StackPaths, read_aligned
from analysis.measuring.tables import metrics_of_rows
from analysis.numbers.agreement import agreement
from rls import degrade, train_classifier
from rls.io import (
    Intensity,
    read_stack,
    read_table,
    write_intensity,
    write_stack,
)
from rls.networks.kernel_distance import kernel_distance
from rls.networks.lpips import Lpips
from rls.runtime.errors import InputError
from rls.search.forward import downscale
from tests.analysis.disc_cells import CHANNELS, SETTINGS, stack_of_cells

FACTOR = 8
N = 96  # cells, of which a quarter each are tune and evaluation
INTENSITY = Intensity(CHANNELS, (100.0, 100.0), (700.0, 500.0))
OPTIONS = {
    **SETTINGS, "batch_size": 32, "random_features_seed": 0, "device": "cpu", "threads": 1,
}  # fmt: skip


def flags(options):
    return [
        text for name, value in options.items() for text in ("--" + name.replace("_", "-"), value)
    ]


def call(main, *arguments):
    main([str(argument) for argument in arguments])


def write_run(folder, images, table):
    """Write HR, intensity, LR and both classifiers as the workflow would."""
    write_stack(
        folder / "high_resolution.ome.tif", images, table,
        channels=CHANNELS, pixel_size_um=1.0, written_by="high_resolution",
    )  # fmt: skip
    write_intensity(folder / "intensity.json", INTENSITY, written_by="select_cells")
    call(
        degrade.main, "--high-resolution", folder / "high_resolution.ome.tif",
        "--intensity", folder / "intensity.json", "--factor", FACTOR, "--degradation", "clean",
        "--output", folder / "low_resolution.ome.tif", "--border", "renormalize",
        "--quantise", "8bit", "--seed", 0, "--threads", 1,
    )  # fmt: skip
    for stack, output in (("high_resolution", "classifier"), ("low_resolution", "low_classifier")):
        call(
            train_classifier.main, "--stack", folder / f"{stack}.ome.tif",
            "--intensity", folder / "intensity.json", "--negative-control", "DMSO",
            "--positive-control", "TNF", "--output", folder / f"{output}.safetensors",
            "--state", folder / "state", "--epochs", 12, "--batch-size", 16,
            "--learning-rate", 0.01, "--weight-decay", 0.01, "--width", 4, "--dropout", 0.0,
            "--patience-epochs", 12, "--cuda-graphs", "auto", "--seed", 0, "--device", "cpu",
            "--threads", 1,
        )  # fmt: skip


def write_method(folder, name, images, table=None):
    """Write a stack of evaluation rows, as a method would."""
    high = read_stack(folder / "high_resolution.ome.tif")
    here = (high.table["split"] == "evaluation").to_numpy()
    table = high.table[here] if table is None else table
    write_stack(
        folder / f"{name}.ome.tif", images.astype(np.float32), table,
        channels=CHANNELS, pixel_size_um=1.0, written_by="gather_shards",
    )  # fmt: skip


def evaluation_images(folder):
    high = read_stack(folder / "high_resolution.ome.tif")
    return high.images[(high.table["split"] == "evaluation").to_numpy()]


def run(
    folder, method, stack=None, factor=FACTOR, marker="nfkb", classifier="classifier",
    low="low_resolution", clean=None, solutions=None, **changes,
):  # fmt: skip
    call(
        measure.main, "--stack", folder / f"{stack or method}.ome.tif", "--method", method,
        "--high-resolution", folder / "high_resolution.ome.tif",
        "--low-resolution", folder / f"{low}.ome.tif",
        *(("--clean-low-resolution", folder / f"{clean}.ome.tif") if clean else ()),
        *(("--solutions", solutions) if solutions else ()),
        "--intensity", folder / "intensity.json",
        *(("--classifier", folder / f"{classifier}.safetensors") if classifier else ()),
        "--factor", factor,
        "--nucleus-channel", "dna", "--marker-channel", marker,
        "--features", "nucleocytoplasmic_ratio",
        "--output-features", folder / f"{method}.features.parquet",
        "--output-metrics", folder / f"{method}.metrics.parquet",
        *flags({**OPTIONS, **changes}),
    )  # fmt: skip
    return (
        read_table(folder / f"{method}.features.parquet"),
        read_table(folder / f"{method}.metrics.parquet"),
    )


@functools.lru_cache
def small_run(base):
    """Return a folder with HR, LR and both classifiers; test_classify uses the same."""
    path = base / "small_run"
    path.mkdir()
    images, table, _ = stack_of_cells(N)
    write_run(path, images, table)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_run(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def high(folder):
    return run(folder, "high_resolution")


def test_every_cell_of_hr_has_a_row_with_keys_feature_and_embeddings(folder, high):
    features, metrics = high
    stack = read_stack(folder / "high_resolution.ome.tif")
    assert list(features["image_id"]) == list(metrics["image_id"]) == list(stack.table["image_id"])
    assert set(features["split"]) == {"classifier", "tune", "evaluation"}
    assert (features["status"] == "ok").all()
    embedding = features.filter(regex=r"^(classifier|random)_feature_\d\d$")
    assert embedding.shape[1] == 32 + 96 and np.isfinite(embedding.to_numpy()).all()
    for kind in ("inception", "vgg16", "lpips"):
        assert not [name for name in (*features, *metrics) if name.startswith(kind)]
    assert set(features["weights"]) == set(metrics["weights"]) == {""}


def test_the_table_bears_the_thresholds_and_nothing_else_of_the_settings(high):
    (digest,) = set(high[0]["feature_settings"])
    settings = settings_class()(**{**OPTIONS, "batch_size": 7, "device": "auto"})
    assert feature_digest(settings) == digest
    moved = dataclasses.replace(settings, ring_width_um=2.6)
    assert feature_digest(moved) != digest


def test_the_ratio_in_the_table_is_the_planted_one(high):
    _, table, ratios = stack_of_cells(N)
    found = high[0]["nucleocytoplasmic_ratio"]
    assert np.corrcoef(found, ratios)[0, 1] > 0.98
    assert found.groupby(table["treatment"]).median()["TNF"] > 2


def triple_of(high, found):
    """The triple of what measure wrote of a method, on the evaluation cells."""
    column = "nucleocytoplasmic_ratio"
    reference = high[0].set_index("image_id").loc[found["image_id"], column].to_numpy()
    pairs = found.assign(high_resolution=reference, super_resolution=found[column])
    return agreement(pairs, negative_control="DMSO", positive_control="TNF", confidence=0.95)


def test_an_oracle_of_images_scores_one_a_constant_one_and_shuffled_cells_do_not_pass(folder, high):
    """Planted reconstructions go through the same measurement as every method."""
    images = evaluation_images(folder)
    treatment = high[0].loc[high[0]["split"] == "evaluation", "treatment"].to_numpy()
    shuffled, random = images.copy(), np.random.default_rng(0)
    for name in ("DMSO", "TNF"):
        rows = np.flatnonzero(treatment == name)
        shuffled[rows] = images[random.permutation(rows)]
    constant = np.repeat(images[:1], len(images), axis=0)
    found = {}
    for name, stack in (("oracle", images), ("shuffled", shuffled), ("constant", constant)):
        write_method(folder, name, stack)
        found[name] = triple_of(high, run(folder, name)[0])
    for one in (found["oracle"].shift_kept, found["oracle"].sd_ratio, found["oracle"].correlation):
        assert (one.value, one.low, one.high) == pytest.approx((1, 1, 1), abs=1e-6)
    assert found["oracle"].not_above_zero == ()
    assert found["shuffled"].shift_kept.value == pytest.approx(1, abs=1e-6)
    assert found["shuffled"].sd_ratio.value == pytest.approx(1, abs=1e-6)
    assert found["shuffled"].not_above_zero == ("correlation",)
    assert found["constant"].not_above_zero == ("shift_kept", "sd_ratio", "correlation")
    assert found["constant"].shift_kept.value == found["constant"].sd_ratio.value == 0


def test_hr_is_its_own_reference_and_its_fidelity_is_the_floor_of_quantisation(high):
    _, metrics = high
    assert metrics[["psnr_db", "ms_ssim"]].isna().all(axis=None)
    assert (metrics["status"] == "not_measurable:is_the_reference").all()
    assert 0 < metrics["fidelity_l1"].median() < 1 / 255


def test_low_resolution_is_not_measurable_and_says_so(folder):
    features, metrics = run(folder, "low_resolution")
    assert (features["status"] == "not_measurable:image_too_small").all()
    assert features.filter(like="nucle").isna().all(axis=None)
    assert features.filter(like="classifier_feature_").isna().all(axis=None)
    assert metrics[["psnr_db", "ms_ssim", "fidelity_l1"]].isna().all(axis=None)
    assert (metrics["status"] == "not_measurable:other_pixel_grid").all()


def test_an_oracle_is_perfect_and_noise_makes_each_metric_worse(folder, high):
    images = evaluation_images(folder).astype(np.float32)
    write_method(folder, "oracle", images)
    features, metrics = run(folder, "oracle")
    assert np.isinf(metrics["psnr_db"]).all() and np.allclose(metrics["ms_ssim"], 1)
    same = high[0].set_index("image_id").loc[features["image_id"]].reset_index()
    np.testing.assert_allclose(
        features["nucleocytoplasmic_ratio"], same["nucleocytoplasmic_ratio"], rtol=1e-5
    )
    noisy = images + np.random.default_rng(0).normal(0, 60, images.shape)
    write_method(folder, "noisy", noisy)
    noisy_features, noisy_metrics = run(folder, "noisy")
    assert (noisy_metrics["ms_ssim"] < 0.99).all()
    assert noisy_metrics["fidelity_l1"].mean() > metrics["fidelity_l1"].mean()
    columns = [name for name in features if name.startswith("random_feature_")]
    assert kernel_distance(noisy_features[columns], same[columns]) > 10 * abs(
        kernel_distance(features[columns], same[columns])
    )


def test_psnr_is_taken_on_unit_range_with_values_beyond_it_clipped(folder):
    unit = INTENSITY.to_unit(evaluation_images(folder))
    write_method(folder, "shifted", INTENSITY.to_counts(np.where(unit > 1, 99.0, unit + 0.1)))
    _, metrics = run(folder, "shifted")
    clipped = np.clip(unit, 0, 1), np.clip(np.where(unit > 1, 99.0, unit + 0.1), 0, 1)
    error = ((clipped[0] - clipped[1]) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(metrics["psnr_db"], -10 * np.log10(error), atol=1e-3)


def test_fidelity_uses_the_d_that_made_lr_and_the_rows_of_the_same_cell(folder):
    high = read_stack(folder / "high_resolution.ome.tif")
    low = read_stack(folder / "low_resolution.ome.tif")
    here = np.flatnonzero(high.table["split"] == "evaluation")[::-1]  # another order than LR's
    write_method(folder, "reversed", high.images[here] * 0.9, high.table.iloc[here])
    _, metrics = run(folder, "reversed")
    import torch

    operator = downscale(32, FACTOR, "renormalize")
    unit = INTENSITY.to_unit(high.images[here] * np.float32(0.9))
    expected = np.abs(
        operator(torch.as_tensor(unit)).numpy() - INTENSITY.to_unit(low.images[here])
    ).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(metrics["fidelity_l1"], expected, atol=1e-5)


def test_distance_to_the_clean_image_is_told_from_distance_to_the_given_one(folder):
    call(
        degrade.main, "--high-resolution", folder / "high_resolution.ome.tif",
        "--intensity", folder / "intensity.json", "--factor", FACTOR, "--degradation", "shifted",
        "--chain", "gaussian_noise:0.1", "--output", folder / "noisy_low.ome.tif",
        "--border", "renormalize", "--quantise", "none", "--seed", 0, "--threads", 1,
    )  # fmt: skip
    write_method(folder, "perfect", evaluation_images(folder).astype(np.float32))
    with pytest.raises(InputError, match="gaussian_noise:0.1"):
        run(folder, "perfect", low="noisy_low")
    _, here = run(folder, "perfect")
    np.testing.assert_array_equal(here["fidelity_clean_l1"], here["fidelity_l1"])
    _, noisy = run(folder, "perfect", low="noisy_low", clean="low_resolution")
    np.testing.assert_allclose(noisy["fidelity_clean_l1"], here["fidelity_clean_l1"], atol=1e-7)
    # E|N(0, 0.1)| = 0.0798: D of the true image is as far from its noisy LR as the noise is large
    assert noisy["fidelity_l1"].mean() == pytest.approx(0.0798, rel=0.05)
    _, own = run(
        folder, "low_resolution", stack="noisy_low", low="noisy_low", clean="low_resolution"
    )
    assert own["fidelity_clean_l1"].mean() == pytest.approx(0.0798, rel=0.05)
    assert own["fidelity_l1"].isna().all()


def test_each_fidelity_is_measured_with_the_d_that_made_its_images(folder):
    call(
        degrade.main, "--high-resolution", folder / "high_resolution.ome.tif",
        "--intensity", folder / "intensity.json", "--factor", FACTOR, "--degradation", "binning",
        "--output", folder / "binned_low.ome.tif", "--operator", "binning",
        "--quantise", "none", "--seed", 0, "--threads", 1,
    )  # fmt: skip
    write_method(folder, "perfect", evaluation_images(folder).astype(np.float32))
    _, here = run(folder, "perfect")
    _, binned = run(folder, "perfect", low="binned_low", clean="low_resolution")
    np.testing.assert_allclose(binned["fidelity_l1"], 0.0, atol=1e-6)  # HR explains its own LR
    np.testing.assert_array_equal(binned["fidelity_clean_l1"], here["fidelity_clean_l1"])


def test_ids_that_differ_are_refused_with_the_first_one_named(folder):
    images = evaluation_images(folder).astype(np.float32)
    high = read_stack(folder / "high_resolution.ome.tif")
    table = high.table[high.table["split"] == "evaluation"].reset_index(drop=True)
    table.loc[0, "image_id"] = "A_stranger"
    write_method(folder, "strange", images, table)
    with pytest.raises(InputError, match=r"2 differ \(first: A_stranger\)"):
        run(folder, "strange")
    write_method(folder, "short", images[:-1], table[:-1])
    with pytest.raises(InputError, match="images and 24 were expected"):
        run(folder, "short")


def test_a_stack_of_another_size_channel_or_factor_is_refused(folder):
    images = evaluation_images(folder).astype(np.float32)
    write_method(folder, "small", images[..., :16, :16])
    with pytest.raises(InputError, match="images of 16 px"):
        run(folder, "small")
    write_method(folder, "fine", images)
    with pytest.raises(InputError, match="Give the right --factor"):
        run(folder, "fine", factor=4)
    with pytest.raises(InputError, match="marker channel 'gfp'"):
        run(folder, "fine", marker="gfp")
    with pytest.raises(InputError, match="4 x 4 px; the stack has 32 x 32 px"):
        run(folder, "fine", classifier="low_classifier")
    with pytest.raises(InputError, match="method low_resolution is the stack"):
        run(folder, "low_resolution", stack="fine")


def test_a_missing_split_is_refused(folder, tmp_path):
    images, table, _ = stack_of_cells(N)
    for name in ("intensity.json", "low_resolution.ome.tif", "low_resolution.parquet"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "classifier.safetensors").write_bytes(
        (folder / "classifier.safetensors").read_bytes()
    )
    write_stack(
        tmp_path / "high_resolution.ome.tif", images, table.drop(columns="split"),
        channels=CHANNELS, pixel_size_um=1.0, written_by="high_resolution",
    )  # fmt: skip
    with pytest.raises(InputError, match="no column 'split'"):
        run(tmp_path, "high_resolution")


def test_a_file_of_weights_without_its_sha256_is_refused(folder, tmp_path):
    path = tmp_path / "inception.pt"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="SHA-256"):
        run(folder, "high_resolution", inception_path=path)


class Seen(Lpips):
    """Stands in for all networks for colour images: its features are the means of what it gets."""

    def __init__(self):
        super().__init__("alexnet")

    def features(self, images):
        return images.mean(dim=(2, 3))

    def forward(self, images, return_features):
        return self.features(images)

    embedding = features


def test_an_assay_without_a_classifier_is_measured_alike_but_for_its_features(folder):
    images = evaluation_images(folder) * 0.9
    write_method(folder, "dim", images)
    features, metrics = run(folder, "dim")
    others, same = run(folder, "dim", classifier=None)
    pd.testing.assert_frame_equal(metrics, same)
    own = [name for name in features if name.startswith("classifier_feature_")]
    assert len(own) == 32
    pd.testing.assert_frame_equal(features.drop(columns=own), others)


def test_networks_for_colour_images_get_the_channels_that_the_assay_names(folder):
    images = evaluation_images(folder).astype(np.float32)
    images[:, 0] = 100.0
    write_method(folder, "without_dna", images)
    names = ("without_dna", "high_resolution", "low_resolution")
    stacks = [folder / f"{name}.ome.tif" for name in names]
    inputs = read_aligned("without_dna", StackPaths(*stacks, folder / "intensity.json"), FACTOR)
    settings, rows, unit = settings_class()(**OPTIONS), np.arange(4), INTENSITY.to_unit(images[:4])
    blind = SimpleNamespace(features=lambda x: np.zeros((4, 32)))
    for rgb, position in (((0,), 0), ((1,), 1), ((1, 0), 1)):
        networks = Networks(
            torch.device("cpu"), blind, Seen(), {"vgg16": Seen()}, rgb=rgb, image_size=(32, 32)
        )
        differ = metrics_of_rows(inputs, rows, networks, settings)["lpips_vgg16"] > 0
        assert (differ == (0 in rgb)).all()
        found = embedding_table(unit, networks, settings)
        expected = (unit[:, position].clip(0, 1) * 255).round().mean(axis=(1, 2))
        for kind in ("vgg16", "inception"):
            np.testing.assert_allclose(found[f"{kind}_feature_00"], expected, rtol=1e-5)
