"""The tables: known numbers, a floor, every empty cell with its reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison import image_quality
from analysis.comparison.article_quality import ARTICLE, article_quality, best_two
from analysis.comparison.design import shared_sentence
from analysis.comparison.image_metrics import FLOOR, mean_fact
from analysis.comparison.long_table import LONG_COLUMNS, long_table, read_long
from analysis.comparison.measured import feature_column, same_cells
from analysis.comparison.settings import Settings
from analysis.comparison.wide_table import TABLE1, format_estimate, wide_table
from analysis.tables import features, table1, table2
from rls.io import read_table, write_table
from rls.io.splits import COMPARE, COMPARE_BY_CLASSIFIER
from rls.networks.kernel_distance import centre_and_scale, kernel_distance, standardise
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.flags import as_flags

SETTINGS = Settings(confidence_level=0.95, seed=0)
QUALITY = {"high_resolution": 1.0, "bicubic": 0.2, "rls": 0.8}


def numbers_of(root, quality, methods):
    made_up.write_metrics(root, quality)
    table = long_table(image_quality.quality_rows(made_up.run_of(root, methods), SETTINGS))
    return table.set_index(["method", "metric"])


# ---- table 1 -----------------------------------------------------------------------------------


def test_means_and_distances_are_those_of_the_cells(tmp_path):
    numbers = numbers_of(tmp_path, QUALITY, ("bicubic", "rls"))
    assert numbers.loc[("rls", "psnr_db"), "value"] == pytest.approx(26.0)
    assert numbers.loc[("rls", "psnr_db"), "unit_of_replication"] == "well"
    folder = tmp_path / "translocation" / "8x" / "bicubic"
    here, there = (
        read_table(folder / f"{name}.features.parquet").filter(regex=r"^random_feature_").to_numpy()
        for name in ("rls", "high_resolution")
    )
    here, there = ((part - there.mean(axis=0)) / there.std(axis=0) for part in (here, there))
    row = numbers.loc[("rls", "kernel_distance_random_x1000")]
    assert row["value"] == pytest.approx(1000 * kernel_distance(here, there))
    assert row["low"] <= row["value"] <= row["high"]
    worse = numbers.loc[("bicubic", "kernel_distance_random_x1000"), "value"]
    assert worse > row["value"]


def test_the_interval_of_a_mean_stays_where_means_can_lie():
    cells = pd.DataFrame({"plate": "P1", "well": list("ABCDEF"), "site": 1, "treatment": "DMSO"})
    cells["ms_ssim"] = cells["fidelity_l1"] = [0.0, 0.0, 0.01, 0.0, 0.02, 0.9]
    for metric in ("ms_ssim", "fidelity_l1"):
        fact = mean_fact(cells, metric, SETTINGS)
        assert 0 <= fact["low"] < fact["value"] < fact["high"]
    assert mean_fact(cells, "ms_ssim", SETTINGS)["high"] < 1


def test_an_oracle_lies_at_or_under_the_floor_of_other_hr_cells(tmp_path):
    numbers = numbers_of(tmp_path, {"high_resolution": 1.0, "rls": 1.0}, ("rls",))
    for kind in ("classifier", "random"):
        metric = f"kernel_distance_{kind}_x1000"
        floor = numbers.loc[(FLOOR, metric)]
        assert numbers.loc[("rls", metric), "value"] <= floor["value"]
        assert floor["reason"].count("halves") == 1
        assert numbers.loc[(FLOOR, f"frechet_distance_{kind}"), "reason"].count("halves") == 1


def test_frechet_distance_never_stands_without_n_and_the_distance_of_two_hr_sets(tmp_path):
    numbers = numbers_of(tmp_path, QUALITY, ("bicubic", "rls"))
    for kind in ("classifier", "random"):
        name = f"frechet_distance_{kind}"
        other = numbers.loc[(FLOOR, f"{name}_against_other_cells")]
        for method in ("bicubic", "rls"):
            row = numbers.loc[(method, name)]
            assert row["value"] > 0 and row["n"] == 60 and "60 images" in row["reason"]
            assert f"two disjoint sets of {other['n']} HR images" in row["reason"]
            assert f"{other['value']:.3g} apart" in row["reason"]
            # the floor's own cells, at its own n: what exceeds the floor is the method's
            row = numbers.loc[(method, f"{name}_against_other_cells")]
            assert row["n"] == other["n"] and "HR images" in row["reason"]
        floor = numbers.loc[(FLOOR, name)]
        assert np.isnan(floor["value"]) and "no two disjoint sets of 60" in floor["reason"]


def test_a_perfect_method_has_the_frechet_distance_of_the_floor_to_other_cells(tmp_path):
    numbers = numbers_of(tmp_path, {"high_resolution": 1.0, "rls": 1.0}, ("rls",))
    name = "frechet_distance_random_against_other_cells"
    path = tmp_path / "translocation" / "8x" / "bicubic"
    same = [read_table(path / f"{m}.features.parquet") for m in ("rls", "high_resolution")]
    high = same[1].set_index("image_id").loc[same[0]["image_id"]].reset_index()
    write_table(path / "rls.features.parquet", high[same[0].columns], written_by="test")
    rows = long_table(image_quality.quality_rows(made_up.run_of(tmp_path, ("rls",)), SETTINGS))
    numbers = rows.set_index(["method", "metric"])
    assert numbers.loc[("rls", name), "value"] == numbers.loc[(FLOOR, name), "value"]
    assert numbers.loc[("rls", "frechet_distance_random"), "value"] == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_extrapolated_from_five_images_a_feature_on(tmp_path):
    made_up.write_metrics(tmp_path, QUALITY, cells=20, dimensions=4)
    rows = long_table(image_quality.quality_rows(made_up.run_of(tmp_path, ("rls",)), SETTINGS))
    found = rows.set_index(["method", "metric"]).loc[
        ("rls", "frechet_distance_random_extrapolated")
    ]
    assert np.isfinite(found["value"]) and "extrapolated in 1/n" in found["reason"]
    made_up.write_metrics(tmp_path, QUALITY, wells=2, cells=9, dimensions=4)
    rows = long_table(image_quality.quality_rows(made_up.run_of(tmp_path, ("rls",)), SETTINGS))
    few = rows.set_index(["method", "metric"]).loc[("rls", "frechet_distance_random_extrapolated")]
    assert np.isnan(few["value"]) and "extrapolation needs" in few["reason"]


def test_every_empty_cell_carries_a_reason(tmp_path):
    numbers = numbers_of(tmp_path, QUALITY, ("bicubic", "rls"))
    empty = numbers[numbers["value"].isna()]
    assert len(empty) > 0 and (empty["reason"].str.len() > 10).all()
    assert "VGG" in empty.loc[("rls", "lpips_vgg16"), "reason"]
    assert "Inception" in empty.loc[("rls", "fid"), "reason"]
    assert "grid" in empty.loc[("low_resolution", "psnr_db"), "reason"]


def test_the_floor_of_fidelity_is_what_degradation_leaves_of_hr_itself(tmp_path):
    made_up.write_metrics(tmp_path, QUALITY)
    path = tmp_path / "translocation" / "8x" / "bicubic" / "high_resolution.metrics.parquet"
    write_table(path, read_table(path).assign(fidelity_l1=0.003), written_by="test")
    rows = long_table(image_quality.quality_rows(made_up.run_of(tmp_path, ("rls",)), SETTINGS))
    numbers = rows.set_index(["method", "metric"])
    assert numbers.loc[(FLOOR, "fidelity_l1"), "value"] == pytest.approx(0.003)
    assert np.isnan(numbers.loc[(FLOOR, "psnr_db"), "value"])


def test_a_method_that_is_added_has_its_rows(tmp_path):
    numbers = numbers_of(tmp_path, {**QUALITY, "my_search": 0.9}, ("rls", "my_search"))
    metrics = {name: set(numbers.loc[name].index) for name in ("rls", "my_search")}
    assert metrics["rls"] == metrics["my_search"] >= set(TABLE1) - {"fidelity_clean_l1"}


def test_the_floor_takes_as_many_cells_of_another_split_where_there_are_enough():
    evaluation = made_up.cells_table()
    other = evaluation.assign(
        image_id=evaluation["image_id"] + "_other", split="classifier", well="X1"
    )
    everything = pd.concat([evaluation, other])
    here, there, note = image_quality.floor_sets(everything, evaluation, COMPARE, seed=0)
    assert len(here) == len(there) == len(evaluation) and "split classifier" in note
    assert here["treatment"].value_counts().equals(there["treatment"].value_counts())
    use = COMPARE_BY_CLASSIFIER
    here, there, note = image_quality.floor_sets(everything, evaluation, use, seed=0)
    assert "halves" in note
    assert not set(here["well"]) & set(there["well"])
    assert set(here["treatment"]) == set(there["treatment"]) == set(made_up.CONTROLS)


def test_the_command_writes_the_agreed_columns(tmp_path):
    made_up.write_metrics(tmp_path, QUALITY)
    run = made_up.write_run(tmp_path, ("bicubic", "rls"))
    output = tmp_path / "table1.csv"
    given = ["--run", str(run), *as_flags(SETTINGS), "--output-csv", str(output)]
    table1.main([*given, "--output-article", str(tmp_path / "table1_article.csv")])
    table = read_long(output)
    assert list(table.columns) == [*LONG_COLUMNS, "n_wells_shared_with_training"]
    assert table["simulated"].all() and set(table["split_by"]) == {"well"}
    assert (table["n_wells_shared_with_training"] == 0).all()


def test_wells_that_training_and_evaluation_share_stand_in_every_table(tmp_path):
    """split_by: field lets classifier and evaluation share wells."""
    made_up.write_metrics(tmp_path, QUALITY)
    made_up.write_classification(tmp_path, {"low_resolution": 0.8, **QUALITY})
    path = tmp_path / "translocation" / "high_resolution.parquet"
    cells = read_table(path)
    trained = cells[cells["well"].isin(["B02", "B03", "B05"])].assign(split="classifier")
    trained = trained.assign(image_id=trained["image_id"] + "_other")
    unused = cells[cells["well"] == "B06"].assign(split="gan", image_id="other")
    write_table(path, pd.concat([cells, trained, unused]), written_by="test")
    run = made_up.write_run(tmp_path, ("bicubic", "rls"))
    flags = ["--run", str(run), *as_flags(SETTINGS), "--output-csv"]
    article = ["--output-article", str(tmp_path / "article.csv")]
    table1.main([*flags, str(tmp_path / "1.csv"), *article])
    table2.main([*flags, str(tmp_path / "2.csv"), *article])
    features.main([*flags, str(tmp_path / "3.csv")])
    for name in "123":
        table = read_long(tmp_path / f"{name}.csv")
        assert (table["n_wells_shared_with_training"] == 3).all()
        assert "3 evaluation wells" in shared_sentence(table)
        assert shared_sentence(table.assign(n_wells_shared_with_training=0)) == ""
    row = read_long(tmp_path / "2.csv").set_index("metric").loc["n_wells_shared_with_training"]
    assert row["value"] == 3 and row["reason"] == "P1/B02, P1/B03, P1/B05" and row["n"] == 6


def test_a_long_table_is_read_back_to_the_last_bit(tmp_path):
    made_up.write_metrics(tmp_path, QUALITY)
    run = made_up.run_of(tmp_path, ("bicubic", "rls"))
    table = long_table(image_quality.quality_rows(run, SETTINGS))
    write_table(tmp_path / "table1.csv", table, written_by="table1")
    pd.testing.assert_frame_equal(
        read_long(tmp_path / "table1.csv"), table, check_exact=True, check_dtype=False
    )


# ---- what both tables stand on -----------------------------------------------------------------


def test_a_method_measured_on_other_cells_is_refused(tmp_path):
    table = made_up.cells_table()
    with pytest.raises(InputError, match="rls.parquet"):
        same_cells(table, table.iloc[1:], tmp_path / "rls.parquet")
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        same_cells(table, shuffled, tmp_path / "rls.parquet")[table.columns], table
    )


def test_a_feature_is_found_by_its_module_and_another_is_named(tmp_path):
    name = "nucleocytoplasmic_ratio"
    assert feature_column(pd.DataFrame({name: [1.0]}), name, tmp_path) == name
    for wrong, frame in ((name, pd.DataFrame({"site": [1]})), ("spots_of_mars", pd.DataFrame())):
        with pytest.raises(InputError, match=wrong):
            feature_column(frame, wrong, tmp_path)


def test_a_table_lists_a_method_only_where_it_ran(tmp_path):
    for degradation, names in (("bicubic", ("bicubic", "rls")), ("noise", ("rls",))):
        quality = {name: QUALITY[name] for name in ("high_resolution", *names)}
        made_up.write_metrics(tmp_path, quality, degradation=degradation)
    run = made_up.run_of(
        tmp_path, ("bicubic", "rls"), degradations=("bicubic", "noise"), degraded=("rls",)
    )
    table = long_table(image_quality.quality_rows(run, SETTINGS))
    there = table[table["degradation"] == "noise"]
    assert "bicubic" in set(table["method"]) and "bicubic" not in set(there["method"])
    metric = there[there["metric"] == "fidelity_clean_l1"].set_index("method")["value"]
    assert metric["rls"] == pytest.approx(0.02) and metric["low_resolution"] == pytest.approx(0.08)
    assert "fidelity_clean_l1" not in set(table[table["degradation"] == "bicubic"]["metric"])


def test_numbers_are_written_for_people(tmp_path):
    assert format_estimate(1.234, 1.0, 1.5, 2) == "1.23 [1.00, 1.50]"
    assert format_estimate(1.234, float("nan"), float("nan"), 1) == "1.2"
    assert format_estimate(float("nan"), 0.0, 1.0, 1) == ""


def test_the_wide_table_keeps_every_method_and_says_why_a_column_is_gone(tmp_path):
    numbers = numbers_of(tmp_path, QUALITY, ("bicubic", "rls")).reset_index()
    frame, notes = wide_table(numbers, TABLE1, {"rls": "RLS"})
    assert list(frame[""])[-1] == "RLS" and len(frame) == 4
    assert not any("LPIPS" in column for column in frame.columns)
    assert any(note.startswith("LPIPS") and "VGG" in note for note in notes)
    low = frame[frame[""] == "low_resolution"].iloc[0]
    assert low["PSNR, dB ↑"].startswith("–") and any("grid" in note for note in notes)


def test_the_scale_of_a_feature_does_not_decide_the_kernel_distance():
    random = np.random.default_rng(0)
    columns = [f"random_feature_{i:02d}" for i in range(4)]
    reference = pd.DataFrame(random.normal(size=(50, 4)), columns=columns)
    other = pd.DataFrame(random.normal(size=(50, 4)) + 0.5, columns=columns)
    plain = image_quality.standardised(other, reference, "random")
    factors = np.array([1.0, 1e-3, 1e3, 50.0])
    scaled = image_quality.standardised(other * factors, reference * factors, "random")
    np.testing.assert_allclose(scaled, plain, rtol=1e-9)
    np.testing.assert_allclose(
        image_quality.standardised(reference, reference, "random").std(axis=0), 1.0, rtol=1e-9
    )


# ---- table 1 as the article prints it ----------------------------------------------------------


def test_the_best_two_methods_are_marked_and_hr_and_lr_never():
    values = {FLOOR: 0.0, "low_resolution": 0.5, "high_resolution": 0.1, "a": 3.0, "b": 1.0, "c": 2}
    assert best_two(values, higher=False) == {"b": "**", "c": "*"}
    assert best_two(values, higher=True) == {"a": "**", "c": "*"}
    assert best_two({"a": 1.0, "b": 1.0, "c": 2.0}, higher=False) == {
        "a": "**",
        "b": "**",
        "c": "*",
    }
    assert best_two({FLOOR: 0.0, "a": 1.0}, higher=False) == {}


def test_the_articles_form_has_marks_their_caution_and_the_articles_own_numbers(tmp_path):
    methods = ("bicubic", "rls", "brgm_no_perceptual")
    made_up.write_metrics(tmp_path, QUALITY | {"brgm_no_perceptual": 0.5})
    run = made_up.run_of(tmp_path, methods)
    table = long_table(image_quality.quality_rows(run, SETTINGS))
    form = article_quality(table, run).set_index("method")
    assert list(form.index) == ["HR against other HR", "LR", "Bicubic", "RLS", "BRGM (L2)"]
    psnr, distance = form["PSNR, dB ↑"], form["KD random conv., x1e3 ↓"]
    assert psnr["RLS"].startswith("**26.00** [") and psnr["BRGM (L2)"].startswith("*2")
    assert not psnr["Bicubic"].startswith("*") and psnr["HR against other HR"] == ""
    assert distance["RLS"].startswith("**") and "*" not in distance["HR against other HR"] != ""
    assert all("know no intervals" in text for text in form["caution"])
    own = "FID in the article, BBBC021"
    assert set(form[own]) == {""}, "the article has no numbers at 8x"
    form = article_quality(table.assign(factor=32), run).set_index("method")
    assert form.loc["RLS", own] == "7.571" and form.loc["BRGM (L2)", own] == ""
    assert form.loc["RLS", "PSNR, dB in the article, BBBC021"] == "16.536"
    noisy = article_quality(table.assign(factor=32, degradation="noise"), run)
    assert set(noisy[own]) == {""}, "the article's Table 1 is without noise"


def test_the_articles_numbers_are_those_of_its_table():
    """Its marks are ours on its numbers: the best in bold, as far as its Table 1 has them."""
    for factor, best in ((32, "rls"), (16, "rls")):
        fid = {method: own[0] for (f, method), own in ARTICLE.items() if f == factor}
        assert best_two(fid, higher=False)[best] == "**" and len(fid) == 4
    psnr = {method: own[4] for (f, method), own in ARTICLE.items() if f == 16}
    assert best_two(psnr, higher=True) == {"pulse": "**", "pix2pix": "*"}


# ---- other people's networks -------------------------------------------------------------------


def with_vgg16(root, methods, text):
    """Write tables as measure does with weights of VGG16."""
    for method in methods:
        for kind in ("features", "metrics"):
            path = root / "translocation" / "8x" / "bicubic" / f"{method}.{kind}.parquet"
            table = read_table(path).assign(weights=text)
            if kind == "features":
                shown = table.filter(regex="^random").to_numpy()[:, :3]
                for i in range(shown.shape[1]):
                    table[f"vgg16_feature_{i:03d}"] = shown[:, i].astype(np.float32)
            elif method != "high_resolution":
                table["lpips_vgg16"] = 0.25
            write_table(path, table, written_by="test")


def test_numbers_of_vgg16_name_their_colours_and_are_never_called_fid(tmp_path):
    made_up.write_metrics(tmp_path, QUALITY)
    sha256 = "ab" * 32
    with_vgg16(tmp_path, ("high_resolution", "bicubic", "rls"), f"vgg16:{sha256[:16]}")
    run = replace(made_up.run_of(tmp_path, ("bicubic", "rls")), weights={"vgg16": sha256})
    table = long_table(image_quality.quality_rows(run, SETTINGS))
    numbers = table.set_index(["method", "metric"])
    kernel, distance = "kernel_distance_vgg16_x1000", "lpips_vgg16"
    for method, metric in (("rls", kernel), ("rls", distance), (FLOOR, kernel)):
        row = numbers.loc[(method, metric)]
        assert np.isfinite(row["value"]) and "blue are dna, nfkb, empty" in row["reason"]
    assert numbers.loc[("rls", distance), "value"] == pytest.approx(0.25)
    assert "AlexNet" in numbers.loc[("rls", "lpips_alexnet"), "reason"]
    assert np.isnan(numbers.loc[("rls", "fid"), "value"])
    chosen = [replace(run.assays[0], network_rgb_channels=("nfkb",))]
    grey = long_table(image_quality.quality_rows(replace(run, assays=chosen), SETTINGS))
    assert grey["reason"].str.contains("blue are nfkb, nfkb, nfkb").sum() == 5


def test_a_silent_feature_of_vgg16_does_not_decide_its_kernel_distance(tmp_path):
    """A channel that HR hardly excites has its own sd of 1e-4, in which a method is 1e4 away."""
    random = np.random.default_rng(0)
    high, found = random.normal(0, 1, (2, 200, 8))
    silent = np.full((200, 1), 0.0) + random.normal(0, 1e-4, (200, 1))
    high, found = np.hstack([high, silent]), np.hstack([found, silent + 1.0])
    own = kernel_distance(standardise(found, high), standardise(high, high))
    shared = kernel_distance(centre_and_scale(found, high), centre_and_scale(high, high))
    assert own > 1e6 and shared < 1
    near = pd.DataFrame(high).add_prefix("vgg16_feature_")
    scaled = image_quality.standardised(near, near, "vgg16")
    np.testing.assert_allclose(scaled, centre_and_scale(high, high))
    assert scaled.var(axis=0).mean() == pytest.approx(1) and scaled[:, -1].std() < 1e-3


def test_a_method_measured_with_other_weights_than_the_run_is_refused(tmp_path):
    made_up.write_metrics(tmp_path, QUALITY)
    run = made_up.run_of(tmp_path, ("bicubic", "rls"))
    fetched = replace(run, weights={"vgg16": "ab" * 32})
    with pytest.raises(InputError, match=r"high_resolution.features.parquet was measured"):
        image_quality.quality_rows(fetched, SETTINGS)
    with_vgg16(tmp_path, ("rls",), f"vgg16:{'ab' * 8}")
    with pytest.raises(InputError, match=r"rls.features.parquet was measured .*vgg16:abab"):
        image_quality.quality_rows(run, SETTINGS)
