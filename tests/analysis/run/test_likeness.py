"""Assays that are like another: their keys, their plates, and the runs that are made of them."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from analysis.run.arguments import Arguments
from analysis.run.checks import check
from analysis.run.description import Run
from analysis.run.files import Files
from analysis.run.keys import ROOT
from analysis.run.trained import generators, kept_features
from analysis.run.values import fill_likenesses, lay_over, read_config, section_values
from rls.runtime.errors import InputError

CONFIG = ROOT / "config"
BELOW = ("demo.yaml", "demo_from_scratch.yaml")


def load(name=None, change=None):
    config = read_config([CONFIG / one for one in ((*BELOW, name) if name else ())])
    lay_over(config, change or {})
    fill_likenesses(config)
    return config


def like(**block):
    assays = {"other": {"like": "translocation", **block}}
    return load(change={"assays": assays, "run": {"assays": ["other"]}})


def test_its_own_keys_win_and_the_others_are_those_of_the_assay_that_it_is_like():
    own = {"settings": {"train_gan": {"seed": 7}, "select_cells": {"prevalence_gan": 0.1}}}
    config = like(**own, image_size=64)
    base, block = (config["assays"][name] for name in ("translocation", "other"))
    assert block["channels"] == base["channels"] and block["image_size"] == 64
    assert block["title"] == "other" and base["title"] == "NF-kB translocation"
    assert section_values(config, "train_gan", "other")["seed"] == 7
    assert section_values(config, "train_gan", "translocation")["seed"] == 1
    assert section_values(config, "train_encoder", "other")["seed"] == 1
    check(config)
    again = copy.deepcopy(config)
    fill_likenesses(again)
    assert again == config  # a job of Snakemake fills a configuration that is filled


def test_it_selects_from_the_plates_of_the_assay_that_it_is_like():
    files = Files(like(), ROOT)
    found = files.of_plates(".ome.tif")(SimpleNamespace(assay="other"))
    assert found == [f"results/translocation/plates/P{n}.ome.tif" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"plates": ["P9"]}, "whose plates differ"),
        ({"settings": {"crop_cells": {"cells_per_field": 3}}}, "settings.crop_cells is not that"),
        ({"settings": {"quality_flags": {"blur_max_nd": 0.9}}}, "settings.crop_cells is not that"),
        ({"settings": {"simulate_plate": {"sites_per_well": 1}}}, "settings.simulate_plate is not"),
        ({"plates_of": "nowhere"}, "which is no assay"),
    ],
)
def test_what_would_need_other_plates_is_refused(block, text):
    with pytest.raises(InputError, match=text):
        check(like(**block))


@pytest.mark.parametrize("other", ["nowhere", "third"])
def test_an_assay_is_like_one_that_has_plates_of_its_own(other):
    assays = {"third": {"like": "translocation"}, "other": {"like": other}}
    with pytest.raises(InputError, match=r"assays\.other\.like"):
        load(change={"assays": assays})


def test_only_a_share_of_treated_cells_hands_over_the_controls():
    config = like(settings={"select_cells": {"prevalence_gan": 0.0}})
    arguments = Arguments(config, Files(config, ROOT))
    given = arguments.selection(SimpleNamespace(assay="other"))
    assert given[-3:] == ["--controls", "DMSO", "TNF-alpha"]
    assert given[given.index("--prevalence-gan") + 1] == "0.0"
    plain = arguments.selection(SimpleNamespace(assay="translocation"))
    assert not {"--prevalence-gan", "--controls"} & set(plain)


def test_the_generators_of_data_or_prior_differ_in_share_and_seed_alone():
    config = load("data_or_prior.yaml")
    run = Run.of(config)
    trainings = [assay.training for assay in run.assays]
    varied = {(one.prevalence, one.seed) for one in trainings}
    assert varied == {(share, seed) for share in (0.0, 0.1, 0.5, 0.9) for seed in (1, 2, 3)}
    assert {(one.n_cells, one.init_from) for one in trainings} == {(1000, "")}
    for section in ("select_cells", "train_gan", "measure", "degrade", "train_amortised"):
        alike = [section_values(config, section, assay.name) for assay in run.assays]
        for values in alike:
            values.pop("prevalence_gan", None)
            values.pop("seed" if section == "train_gan" else "", None)
        assert all(values == alike[0] for values in alike), section
    long_enough(config)


def test_transfer_trains_as_long_from_nothing_as_from_the_model_with_as_many_cells():
    config = load("transfer.yaml")
    trainings = {assay.name: assay.training for assay in Run.of(config).assays}
    assert trainings.pop("as_shipped") is None
    starts = {"from_model": "models/translocation_32px", "from_nothing": ""}
    found = {(one.init_from, one.n_cells) for one in trainings.values()}
    assert found == {(start, n) for start in starts.values() for n in (50, 200, 1000)}
    assert {one.prevalence for one in trainings.values()} == {0.5}
    long_enough(config)
    files = Files(config, ROOT)
    assert "results/as_shipped/generated.csv" in generators(files)
    assert "results/as_shipped/generator.training.csv" not in generators(files)
    assert "results/from_model_50/4x/clean/amortised.features.parquet" in kept_features(files)


def long_enough(config):
    for name in config["run"]["assays"]:
        values = section_values(config, "train_gan", name)
        assert values["total_kimg"] * 1000 / values["batch_size"] >= 5000
        cells = section_values(config, "select_cells", name)
        assert cells["cells_evaluation"] >= 100 and cells["split_by"] == "well"
