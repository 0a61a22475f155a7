"""Simulated beside real: equal cells give equal numbers, planted differences are seen."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import compare_simulation
from analysis.drawing.beside import draw_cells, draw_statistics
from analysis.features.nuclei import NucleusSettings
from analysis.run import checks
from analysis.run.keys import ROOT
from analysis.run.values import read_config
from analysis.simulation.comparison import check_alike, compare, pair_up
from analysis.simulation.crop_statistics import describe, noise_line
from rls.io import Stack, image_digests, write_stack
from rls.runtime.errors import InputError
from tests.analysis.disc_cells import CHANNELS, cell

SECTION = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["measure"]
SETTINGS = NucleusSettings(**{f.name: SECTION[f.name] for f in fields(NucleusSettings)})
KEYS = ["statistic", "channel"]


def stack(treatments, seed, gain=1.0, diameter=15.0, channels=CHANNELS):
    rng = np.random.default_rng(seed)
    images = np.stack([cell(1.5, diameter=diameter) for _ in treatments])
    images = rng.poisson(gain * np.maximum(images, 0) + 40.0).astype(np.uint16)
    ids = [f"P{seed}_B02_s1_y{i}_x1" for i in range(len(treatments))]
    table = pd.DataFrame({"image_id": ids, "treatment": treatments})
    table["image_digest"] = image_digests(images)
    return Stack(images, table, channels, 1.0)


def statistics(part):
    table = describe(part.images, part.channels, "dna", part.pixel_size_um, SETTINGS)
    return table.set_index(KEYS)


def test_statistics_tell_a_nucleus_that_is_larger_and_cells_that_are_brighter():
    plain, larger, brighter = (
        statistics(stack(["a"] * 20, 0, **more)) for more in ({}, {"diameter": 18.0}, {"gain": 2.0})
    )
    size = ("nucleus diameter", "")
    assert plain.loc[size, "median"] == pytest.approx(15.0, rel=0.03)
    assert larger.loc[size, "median"] == pytest.approx(18.0, rel=0.03)
    level = ("nucleus median", "nfkb")
    assert brighter.loc[level, "median"] == pytest.approx(2 * plain.loc[level, "median"], rel=0.05)
    profile = ("radial profile, core", "nfkb")
    assert brighter.loc[profile, "median"] == pytest.approx(plain.loc[profile, "median"], rel=0.03)
    assert plain.loc[("background", "dna"), "median"] == pytest.approx(40, abs=18)


def test_noise_is_found_beneath_structure():
    rng = np.random.default_rng(0)
    ys, xs = np.indices((64, 64))
    light = 500 + 400 * np.sin(xs / 9.0) * np.cos(ys / 11.0)
    images = rng.poisson(np.broadcast_to(light, (60, 64, 64)) * 4.0) / 4.0
    images = images + rng.normal(0, 3.0, images.shape)
    slope, floor = noise_line(images, 100.0)
    assert slope == pytest.approx(0.25, rel=0.1)
    assert floor == pytest.approx(0.25 * 100 + 9.0, rel=0.15)


def test_equal_stacks_have_equal_statistics_and_pairs_their_own():
    here = stack(["DMSO"] * 8 + ["drug"] * 8, 1)
    pairs = pair_up(here, here, ["DMSO=DMSO", "drug=DMSO"])
    assert list(pairs) == ["DMSO", "drug | DMSO"]
    table = compare(here, here, pairs, "dna", SETTINGS, cells_at_most=50)
    same = table[table["treatment"] == "DMSO"]
    for end in ("low", "median", "high", "n"):
        np.testing.assert_array_equal(same[f"{end}_real"], same[f"{end}_simulated"])
    other = table[table["treatment"] == "drug | DMSO"]
    assert (other["median_real"] != other["median_simulated"]).any()


def test_pairs_are_treatments_of_one_name_unless_given():
    here, there = stack(["DMSO", "drug"], 1), stack(["untreated", "drug"], 2)
    assert list(pair_up(here, there, [])) == ["drug"]
    rows = pair_up(here, there, ["DMSO=untreated"])["DMSO | untreated"]
    assert [list(part) for part in rows] == [[0], [0]]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [(["DMSO"], "expected SIMULATED=REAL"), (["DMSO=none"], "no cell of treatment 'none'")],
)
def test_pairs_that_cannot_be_are_refused(pairs, message):
    with pytest.raises(InputError, match=message):
        pair_up(stack(["DMSO"], 1), stack(["DMSO"], 2), pairs)


def test_stacks_of_other_channels_or_without_enough_cells_are_refused():
    here = stack(["DMSO"] * 3, 1)
    with pytest.raises(InputError, match="Found channels"):
        check_alike(here, replace(here, channels=("dna", "golgi")))
    with pytest.raises(InputError, match="pixel size"):
        check_alike(here, replace(here, pixel_size_um=0.5))
    pairs = pair_up(here, here, [])
    with pytest.raises(InputError, match="5 cells"):
        compare(here, here, pairs, "dna", SETTINGS, cells_at_most=9)
    with pytest.raises(InputError, match="no treatment in both"):
        pair_up(here, stack(["x"], 3), [])


def test_both_sides_of_a_row_have_one_grey_scale_if_it_is_shared():
    bright, dim = (stack(["a"] * 4, 1, gain=gain).images for gain in (1.0, 0.3))
    ratios = {}
    for scale in ("shared", "own"):
        figure = draw_cells({"a": (bright, dim)}, CHANNELS, 1.0, scale)
        panels = [axes.images[0].get_array() for axes in figure.axes]
        assert len(panels) == 2 * len(CHANNELS) * 4
        ratios[scale] = np.max(panels[4]) / np.max(panels[0])
    assert ratios["shared"] < 0.7 and ratios["own"] > 0.9


def test_the_command_writes_two_figures_with_their_numbers(tmp_path):
    paths = []
    for name, seed in (("simulated", 1), ("real", 2)):
        part = stack(["DMSO"] * 7, seed)
        paths.append(tmp_path / f"{name}.ome.tif")
        write_stack(paths[-1], part.images, part.table.drop(columns="image_digest"),
                    channels=CHANNELS, pixel_size_um=1.0, written_by="test")  # fmt: skip
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"measure": SECTION | {"device": "cpu", "threads": 1}}))
    compare_simulation.main(
        ["--config", str(config), "--simulated", str(paths[0]), "--real", str(paths[1]),
         "--nucleus-channel", "dna", "--scale", "shared", "--output", str(tmp_path / "a")]
    )  # fmt: skip
    for name in ("cells", "statistics"):
        for kind in ("pdf", "png", "csv"):
            assert (tmp_path / f"a_{name}.{kind}").stat().st_size > 100
    table = pd.read_csv(tmp_path / "a_statistics.csv")
    assert {"treatment", *KEYS, "median_real", "median_simulated"} <= set(table)
    cells = pd.read_csv(tmp_path / "a_cells.csv")
    assert cells.groupby("side").size().to_dict() == {"real": 6, "simulated": 6}
    assert cells.set_index("side").loc["real", "image_id"].str.startswith("P2").all()
    assert draw_statistics(table).axes


@pytest.mark.parametrize("real", ["bbbc021_crops", "bbbc014"])
def test_the_configurations_of_make_beside_are_valid(real):
    names = (real, f"beside_{real.removesuffix('_crops')}")
    checks.check(read_config([ROOT / "config" / f"{name}.yaml" for name in names]))
