import copy

import pytest
import yaml

from analysis import configuration
from analysis.configuration import (
    ROOT,
    SHARED,
    check,
    condition_methods,
    keys_of,
    method_fact,
    section_values,
)
from rls.runtime.command import flags
from rls.runtime.errors import InputError

CONFIG = ROOT / "config"


def merge(base, overlay):
    """As Snakemake merges configuration files: dictionaries merge, everything else is replaced."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value
    return base


def load(*overlays):
    config = yaml.safe_load((CONFIG / "config.yaml").read_text())
    for name in overlays:
        merge(config, yaml.safe_load((CONFIG / name).read_text()))
    return copy.deepcopy(config)


@pytest.mark.parametrize(
    "overlays",
    [
        (),
        ("demo.yaml",),
        ("demo.yaml", "demo_from_scratch.yaml"),
        ("smoke.yaml",),
        ("bbbc014.yaml",),
        ("bbbc021_crops.yaml",),
        ("bbbc021_demonstration.yaml",),
        ("acquired.yaml",),
        ("png_archive.yaml",),
    ],
)
def test_every_configuration_of_the_program_is_valid(overlays):
    check(load(*overlays))


def test_every_overlay_changes_something_at_every_key():
    base = load()
    overlays = ("demo.yaml", "smoke.yaml", "bbbc014.yaml", "bbbc021_crops.yaml")
    for name in (*overlays, "bbbc021_demonstration.yaml"):
        overlay = yaml.safe_load((CONFIG / name).read_text())
        for section, values in overlay.items():
            if section in configuration.SECTIONS:
                for key, value in values.items():
                    assert base[section].get(key) != value, (
                        f"{name}: {section}.{key} is the paper's"
                    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gna": {}}, "Unknown key 'gna' in the top level"),
        ({"train_gan": {"total_kimgs": 3}}, "Unknown key 'total_kimgs' in train_gan"),
        ({"methods": {"rls": {"lamda_w": 1.0}}}, "methods.rls: Unknown key 'lamda_w'"),
        ({"methods": {"rls": {"lambda_w": "5e-5"}}}, "write 5.0e-5, not 5e-5"),
        ({"train_gan": {"learning_rate": "2e-3"}}, "write 5.0e-5, not 5e-5"),
        ({"train_gan": {"batch_size": 8.5}}, "train_gan.batch_size"),
        ({"device": "gpu"}, "expected one of: auto, cpu, cuda"),
        ({"run": {"methods": ["pulze"]}}, "run.methods names 'pulze'"),
        ({"run": {"degraded_methods": ["pulze"]}}, "degraded_methods names 'pulze', which"),
        ({"run": {"degraded_methods": []}}, "run.degraded_methods .* none of run.methods"),
        ({"run": {"degraded_factors": [8]}}, "run.degraded_factors .8. has none of run.factors"),
        ({"run": {"degradations": ["clean", "fog"]}}, "run.degradations names 'fog'"),
        ({"run": {"assays": ["golgy"]}}, "run.assays names 'golgy'"),
        ({"run": {"factors": [24]}, "assays": {"translocation": {"factors": [24]}}},
         "The factor 24 does not divide the image size 128 of assay translocation"),
        ({"run": {"factors": [16]}}, "nothing would run"),
        ({"methods": {"high_resolution": {"search": "rls"}}}, "the name is reserved"),
        ({"methods": {"new": {"search": "newest"}}}, "There is no search 'newest'"),
        ({"methods": {"new": {"search": "rls", "steps": 3}}}, "methods.new: Missing key"),
        ({"assays": {"translocation": {"negative_control": "water"}}}, "'water' is not among its"),
        ({"assays": {"translocation": {"positive_control": "LPS"}}}, "'LPS' is not among its"),
        ({"assays": {"translocation": {"nucleus_channel": "dapi"}}}, "'dapi' is not among its"),
        ({"assays": {"translocation": {"settings": {"train_gan": {"bach": 1}}}}}, "key 'bach'"),
        ({"assays": {"translocation": {"plates": ["P1", "P1"]}}}, "names a plate twice"),
        ({"assays": {"translocation": {"source": "crops", "sheet": "s.csv"}}}, "no key 'crops'"),
        ({"crop_cells": {"on_broken_field": "ignore"}}, "expected one of: skip, stop"),
        ({"assays": {"translocation": {"positive_control": "DMSO"}}}, "DMSO as both controls"),
        ({"assays": {"translocation": {"generator": "none"}}}, "generator is none, but 'pulse', "),
        ({"select_cells": {"plates_evaluation": ["P1", "P4"]}},
         "translocation: select_cells.plates_evaluation names P4, which is no plate"),
        ({"select_cells": {"plates_gan": ["P1", "P1"]}}, "plates_gan names P1 twice"),
        ({"select_cells": {"plates_evaluation": ["P1"], "plates_tune": ["P1"]}},
         "plates_tune and select_cells.plates_evaluation both name P1"),
    ],
)  # fmt: skip
def test_a_faulty_configuration_is_refused_by_name(change, message):
    with pytest.raises(InputError, match=message):
        check(merge(load(), change))


def test_all_methods_run_on_the_first_degradation_and_few_on_the_others():
    run = load()["run"] | {"methods": ["bicubic", "rls"], "degraded_factors": [16]}
    run |= {"degraded_methods": ["rls", "pulse"]}
    assert condition_methods(run, 32, "clean") == ["bicubic", "rls"]
    assert condition_methods(run, 16, "gaussian_blur") == ["rls"]
    assert condition_methods(run, 32, "gaussian_blur") == []


def test_a_run_of_one_degradation_need_not_say_what_runs_on_others():
    check(merge(load(), {"run": {"degradations": ["clean"], "degraded_methods": []}}))


def test_a_missing_key_is_named():
    config = load()
    del config["train_gan"]["r1_gamma"]
    with pytest.raises(InputError, match="Missing key 'r1_gamma' in train_gan"):
        check(config)


def test_an_assay_changes_a_section_for_itself_alone():
    config = merge(
        load(), {"assays": {"translocation": {"settings": {"train_gan": {"r1_gamma": 3.0}}}}}
    )
    check(config)
    assert section_values(config, "train_gan", "translocation")["r1_gamma"] == 3.0
    assert section_values(config, "train_gan", "bbbc021")["r1_gamma"] == 10


def test_what_is_shared_reaches_every_command_that_has_the_field():
    values = section_values(load(), "train_gan", "translocation")
    assert values["seed"] == 1 and values["device"] == "auto" and values["image_size"] == 128
    assert "crop_size" not in values
    assert section_values(load(), "crop_cells", "translocation")["crop_size"] == 196


def test_flags_are_those_that_commands_read():
    values = {"batch_size": 8, "shuffle": True, "limit": None, "treatments": ["a", "b c"]}
    expected = ["--batch-size", "8", "--shuffle", "true", "--limit", "none"]
    assert flags(values) == [*expected, "--treatments", "a", "b c"]


def test_the_schema_is_that_of_the_settings():
    found = (configuration.SCHEMAS / "sections.schema.yaml").read_text()
    assert found == configuration.sections_text(), "out of date: run `make schema`"


def test_the_description_of_the_keys_is_that_of_the_settings():
    found = (CONFIG / "README.md").read_text()
    assert found == configuration.readme_text(found), "out of date: run `make schema`"


def test_shared_keys_stand_in_no_section():
    for section in configuration.SECTIONS:
        assert not set(load()[section]) & set(SHARED), section


def test_the_search_says_whether_it_needs_a_generator():
    assert method_fact("rls", "NEEDS_GENERATOR", True)
    assert not method_fact("bicubic", "NEEDS_GENERATOR", True)
    assert "lambda_w" in keys_of("rls/search/rls.py")


def test_an_environment_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("PLATES", raising=False)
    with pytest.raises(InputError, match="export PLATES="):
        configuration.expand_folder("$PLATES/fields")
    monkeypatch.setenv("PLATES", "/p")
    assert configuration.expand_folder("$PLATES/fields") == "/p/fields"
