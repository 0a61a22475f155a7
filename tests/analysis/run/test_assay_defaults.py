"""The keys of an assay that are derived where a configuration leaves them out."""

import copy

import pytest

from analysis.run.checks import check
from analysis.run.files import Files
from analysis.run.keys import ROOT
from analysis.run.values import fill_assays, lay_over, read_config
from rls.runtime.errors import InputError

LEAST = {
    "source": "sheet", "sheet": "s.csv", "plates": ["P1"], "channels": ["dna", "actin", "nfkb"],
    "treatments": ["DMSO", "TNF-alpha", "other"], "image_size": 32, "pixel_size_um": 1.0,
    "bit_depth": 12, "features": ["nucleocytoplasmic_ratio"], "generator": "train",
}  # fmt: skip


def filled(**block):
    config = read_config()
    run = {"assays": ["mine"], "factors": [8], "degradations": ["clean"], "methods": ["bicubic"]}
    lay_over(config, {"assays": {"mine": {**LEAST, **block}}, "run": run})
    fill_assays(config)
    return config


def test_what_an_assay_leaves_out_follows_from_its_other_keys():
    config = filled()
    check(config)
    block = config["assays"]["mine"]
    assert block["title"] == "mine" and block["simulated"] is False
    assert (block["nucleus_channel"], block["marker_channel"]) == ("dna", "nfkb")
    assert (block["negative_control"], block["positive_control"]) == ("DMSO", "TNF-alpha")
    assert block["crop_size"] == 46
    again = copy.deepcopy(config)
    fill_assays(again)
    assert again == config


def test_what_an_assay_says_stays():
    said = {"title": "T", "marker_channel": "actin", "positive_control": "other", "crop_size": 64}
    block = filled(**said)["assays"]["mine"]
    assert {key: block[key] for key in said} == said


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_a_crop_has_room_to_turn_by_any_angle(size):
    crop = filled(image_size=size)["assays"]["mine"]["crop_size"]
    assert crop % 2 == 0 and 0 <= crop - size * 2**0.5 < 2


def test_a_crop_of_low_resolution_is_the_image_as_it_is():
    low = {"resolution": "low", "generator": "models/translocation_32px"}
    config = filled(**low, pixel_size_um=8.0)
    check(config)
    assert config["assays"]["mine"]["crop_size"] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"treatments": ["DMSO"]}, "Missing key 'positive_control' in assays.mine"),
        ({"channels": "dna"}, "mine.channels is the text 'dna', expected array"),
        ({"image_size": "32"}, "mine.image_size is the text '32', expected integer"),
        ({"treatments": 3, "channels": [], "image_size": None}, "mine.treatments is 3"),
    ],
)
def test_what_cannot_be_derived_is_named_by_the_schema(change, message):
    with pytest.raises(InputError, match=message):
        check(filled(**change))


def test_a_models_scale_may_be_the_plates_own():
    model = {"generator": "models/translocation_32px"}
    found = [
        Files(filled(**model, **more), ROOT).model_file("mine", "intensity.json")
        for more in ({}, {"intensity_scale": "model"}, {"intensity_scale": "own"})
    ]
    theirs = str(ROOT / "models" / "translocation_32px" / "intensity.json")
    assert found == [theirs, theirs, "results/mine/intensity.json"]
