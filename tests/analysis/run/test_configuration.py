"""The configuration: its keys, its checks, its values, and what is derived from the settings."""

import importlib
from dataclasses import fields

import pytest
import yaml

from analysis.cells.crop_settings import Settings as CropSettings
from analysis.cells.quality_settings import QualityLimits
from analysis.comparison.settings import IntervalSettings
from analysis.run import reference, schema
from analysis.run.checks import check
from analysis.run.keys import (
    ELSEWHERE,
    GROUP_OF,
    GROUPS,
    ROOT,
    SECTIONS,
    keys_of,
    method_keys,
    needs_generator,
    search_names,
    section_keys,
    trained_by,
)
from analysis.run.values import (
    ALWAYS,
    expand_folder,
    lay_over,
    merged,
    operator_values,
    read_config,
    read_files,
    section_values,
)
from rls.networks.weights_settings import WeightsSettings
from rls.runtime.command import Parser, flags
from rls.runtime.errors import InputError
from rls.search.methods import method_names

CONFIG = ROOT / "config"


def load(*overlays):
    return read_config([CONFIG / name for name in overlays])


def merge(base, overlay):
    lay_over(base, overlay)
    return base


CHAINS = [
    (),
    ("demo.yaml",),
    ("demo.yaml", "demo_from_scratch.yaml"),
    ("demo.yaml", "demo_train.yaml"),
    ("demo.yaml", "all_methods.yaml"),
    ("demo.yaml", "demo_from_scratch.yaml", "translocation_32px.yaml"),
    ("demo.yaml", "demo_from_scratch.yaml", "golgi_64px.yaml"),
    ("demo.yaml", "demo_from_scratch.yaml", "data_or_prior.yaml"),
    ("demo.yaml", "demo_from_scratch.yaml", "transfer.yaml"),
    ("demo.yaml", "golgi_factors.yaml"),
    ("article.yaml",),
    ("article.yaml", "article_small.yaml"),
    ("auto.yaml",),
    ("smoke.yaml",),
    ("bbbc014.yaml",),
    ("bbbc021_crops.yaml",),
    ("bbbc021_crops.yaml", "bbbc021_64px.yaml"),
    ("bbbc021_crops.yaml", "beside_bbbc021.yaml"),
    ("bbbc014.yaml", "beside_bbbc014.yaml"),
    ("bbbc021_lookalike_64px.yaml",),
    ("bbbc021_demonstration.yaml",),
    ("acquired.yaml",),
    ("png_archive.yaml",),
    ("my_plates.yaml",),
    ("bbbc021_crops.yaml", "mechanism.yaml"),
    ("bbbc021_crops.yaml", "mechanism.yaml", "table1_bbbc021.yaml"),
    ("bbbc021_crops.yaml", "mechanism.yaml", "mechanism_trained.yaml"),
    ("starts.yaml",),
    ("starts.yaml", "rivals.yaml"),
    ("bbbc021_crops.yaml", "starts.yaml", "starts_bbbc021.yaml"),
]


@pytest.mark.parametrize("overlays", CHAINS)
def test_every_configuration_of_the_program_is_valid(overlays):
    check(load(*overlays))


def test_no_overlay_is_forgotten_above():
    named = {name for overlays in CHAINS for name in overlays}
    assert named | set(ALWAYS) == {path.name for path in CONFIG.glob("*.yaml")}


def test_the_demo_evaluates_cells_that_its_generators_have_not_seen():
    demo, scratch = load("demo.yaml"), ("demo.yaml", "demo_from_scratch.yaml")
    trained = load(*scratch, "golgi_64px.yaml")["assays"]["golgi"]
    assert not set(demo["assays"]["golgi"]["plates"]) & set(trained["plates"])
    for key in ("pixel_size_um", "image_size", "channels", "treatments"):
        assert demo["assays"]["golgi"][key] == trained[key]
    # The other one has seen split gan of the plates of the demo, so the split must be the same.
    trained = load(*scratch, "translocation_32px.yaml")
    assert trained["assays"]["translocation"]["plates"] == ["P1", "P2"]
    assert demo["assays"]["translocation"]["plates"] == ["P1", "P2"]
    for section in ("simulate_plate", "crop_cells", "quality_flags", "select_cells"):
        both = [c[section] if section in GROUPS else section_values(c, section, "translocation")
                for c in (demo, trained)]  # fmt: skip
        assert both[0] == both[1], section
    assert both[0]["cells_gan"] == 900 and both[0]["split_by"] == "well"
    shares = {key: value for key, value in both[0].items() if key.startswith("share_")}
    assert list(shares.values()) == [0.42, 0.08, 0.08, 0.17, 0.25]


def test_every_overlay_changes_something_at_every_key():
    base = load()
    overlays = ("demo.yaml", "smoke.yaml", "bbbc014.yaml", "bbbc021_crops.yaml")
    for name in (*overlays, "bbbc021_demonstration.yaml"):
        overlay = yaml.safe_load((CONFIG / name).read_text())
        for section, values in overlay.items():
            if section in {*SECTIONS, *GROUPS}:
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
        ({"compile": False}, 'one of: auto, off. YAML reads a bare word or number as false'),
        ({"run": {"methods": ["pulze"]}}, "run.methods names 'pulze'"),
        ({"run": {"degraded_methods": ["pulze"]}}, "degraded_methods names 'pulze', which"),
        ({"figures": {"norms_assay": "golgi"}}, "norms_assay is 'golgi', which is not among run.a"),
        ({"figures": {"lettered_first": ["golgy"]}}, "lettered_first names 'golgy', which assays"),
        ({"run": {"also": ["figure9"]}}, "run.also.0 is 'figure9', expected one of: figure8"),
        ({"run": {"degraded_methods": []}}, "run.degraded_methods .* none of run.methods"),
        ({"run": {"degraded_factors": [8]}}, "run.degraded_factors .8. has none of run.factors"),
        ({"run": {"degradations": ["clean", "fog"]}}, "run.degradations names 'fog'"),
        ({"degradations": {"binning": {"operator": "camera"}}}, "one of: bicubic, binning"),
        ({"degradations": {"binning": {"operater": "binning"}}}, "Unknown key 'operater'"),
        ({"degradations": {"binning": {"methods": ["pulze"]}}}, "binning.methods names 'pulze'"),
        ({"degradations": {"binning": {"operator": "psf_binning"}}},
         "D of assay translocation, degradation binning: .* neither of psf_sd_um and psf_file"),
        ({"degrade": {"psf_sd_um": 1.0}}, "degradation clean: psf_sd_um is given, and"),
        ({"degrade": {"shift_px": [1.0]}}, "expected two numbers, y and x"),
        ({"super_resolve": {"border": "reflect"}}, "Unknown key 'border' in super_resolve"),
        ({"run": {"assays": ["golgy"]}}, "run.assays names 'golgy'"),
        ({"run": {"factors": [24]}, "assays": {"translocation": {"factors": [24]}}},
         "The factor 24 does not divide the image size 128 of assay translocation"),
        ({"run": {"factors": [16]}}, "nothing would run"),
        ({"methods": {"high_resolution": {"search": "rls"}}}, "the name is reserved"),
        ({"methods": {"amortised": {"search": "rls"}}}, "amortised: the name is reserved"),
        ({"assays": {"translocation": {"features": []}}}, "amortised', which gives features alone"),
        ({"run": {"methods": ["bicubic", "amortised"]},
          "assays": {"translocation": {"generator": "none"}}}, "is none, but 'amortised' of"),
        ({"methods": {"new": {"search": "newest"}}}, "There is no search 'newest'"),
        ({"methods": {"new": {"search": "rls", "steps": 3}}}, "methods.new: Missing key"),
        ({"assays": {"translocation": {"negative_control": "water"}}}, "'water' is not among its"),
        ({"assays": {"translocation": {"positive_control": "LPS"}}}, "'LPS' is not among its"),
        ({"assays": {"translocation": {"nucleus_channel": "dapi"}}}, "'dapi' is not among its"),
        ({"assays": {"translocation": {"settings": {"train_gan": {"bach": 1}}}}}, "key 'bach'"),
        ({"assays": {"translocation": {"plates": ["P1", "P1"]}}}, "names a plate twice"),
        ({"assays": {"translocation": {"source": "crops", "sheet": "s.csv"}}}, "no key 'crops'"),
        ({"assays": {"translocation": {"plates_of": "trans"}}}, "is .trans., which is no"),
        ({"assays": {"translocation": {"plates_of": "golgi"}}},
         "translocation.plates_of is 'golgi', whose plates differ"),
        ({"crop_cells": {"on_broken_field": "ignore"}}, "expected one of: skip, stop"),
        ({"super_resolve": {"batch_size": "most"}}, "the text 'most', expected integer or auto"),
        ({"assays": {"translocation": {"positive_control": "DMSO"}}}, "DMSO as both controls"),
        ({"assays": {"translocation": {"generator": "none"}}}, "generator is none, but 'pulse', "),
        ({"select_cells": {"plates_evaluation": ["P1", "P4"]}},
         "translocation: select_cells.plates_evaluation names P4, which is no plate"),
        ({"select_cells": {"plates_gan": ["P1", "P1"]}}, "plates_gan names P1 twice"),
        ({"solutions": {"kinds": ["best"]}}, "solutions.kinds and kind_shown: found 'best'"),
        ({"solutions": {"kinds": ["article"]}}, "kind_shown is not among solutions.kinds"),
        ({"trace_search": {"methods": ["pulze"]}}, "trace_search.methods names 'pulze', which"),
        ({"trace_search": {"methods": ["bicubic"]}}, "'bicubic', whose search has no steps"),
        ({"gather_trust": {"methods": ["rls", "rsl"]}}, "gather_trust.methods names 'rsl'"),
        ({"gather_trust": {"default": "pulse"}}, "default is not among gather_trust.methods"),
        ({"solutions": {"method": "pulse"}}, "solutions.method is 'pulse', expected a method"),
        ({"assays": {"translocation": {"plates": ["a/b"]}}}, "names 'a/b', but files are named"),
        ({"assays": {"translocation": {"plates": ["-P1"]}}}, "names '-P1', but files are named"),
        ({"assays": {"translocation": {"plates": [".."]}}}, "names '..', but files are named"),
        ({"assays": {"translocation": {"plates": ["P" * 201]}}}, "is longer than 200 bytes"),
        ({"assays": {"translocation": {"treatments": ["DMSO", "TNF", "a\nb"]}}},
         r"treatments names 'a.nb', which holds a line break"),
        ({"assays": {"translocation": {"treatments": ["DMSO", "TNF", " "]}}}, "which is empty"),
        ({"crop_cells": {"nucleus_diameter_um": 0}}, "diameter_um is 0, expected more than 0."),
        ({"assays": {"translocation": {"crop_size": 0}}}, "crop_size is 0, expected 2 or more."),
        ({"assays": {"translocation": {"crop_size": 100}}}, "less than the image_size 128 that is"),
        ({"assays": {"translocation": {"image_size": 48}}}, "image_size is 48, expected a power of "
         "two: .* Set it to 32 or 64."),
        ({"assays": {"translocation": {"bit_depth": 11}}}, "one of: 8, 10, 12, 14, 16"),
        ({"select_cells": {"share_gan": 1.5}}, "is 1.5, expected 0 to 1."),
        ({"select_cells": {"prevalence_gan": -0.1}}, "prevalence_gan is -0.1, expected 0 to 1"),
        ({"super_resolve": {"batch_size": 0}}, "super_resolve.batch_size is 0, expected 1 or"),
        ({"stop_after_minutes": 0}, "stop_after_minutes is 0, expected more than 0."),
        ({"sweep_lambdas": {"lambdas_w": [0.1, -1.0]}}, "lambdas_w.1 is -1.0, expected 0 or more"),
        ({"methods": {"rls": {"steps": -1}}}, "methods.rls: steps is -1, expected 0 or more."),
        ({"select_cells": {"plates_evaluation": ["P1"], "plates_tune": ["P1"]}},
         "plates_tune and select_cells.plates_evaluation both name P1"),
    ],
)  # fmt: skip
def test_a_faulty_configuration_is_refused_by_name(change, message):
    with pytest.raises(InputError, match=message):
        check(merge(load(), change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("assays: {translocation: {plates: [P1, 00123]}}",
         r'plates.1 is 83, expected string. YAML reads 00123 \(.*mine.yaml, line 1\) as the num'),
        ("assays:\n translocation: {treatments: [NO, TNF], negative_control: NO}",
         r'treatments.0 is False, .* line 2\) as false: write "NO", in quotes.'),
        ("methods: {rls: {lambda_w: 5e-5}}", r"mine.yaml, line 1\) as text: write 5.0e-5"),
        ("compile: off", r'expected one of: auto, off. YAML reads off \(.* as false: write "off"'),
        ("tables: {}\ntables: {}", "gives the key 'tables' twice, in lines 1 and 2"),
        ("stop_after_minutes: long", "is the text 'long', expected number or null.$"),
        ('train_gan: {batch_size: "8"}', r'In quotes 8 \(.*line 1\) is text: write it without'),
    ],
)  # fmt: skip
def test_a_value_that_yaml_misreads_is_shown_as_it_was_written(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        files = read_files([path])
        check(merged(files), files)


@pytest.mark.parametrize("bit_depth", [10, 14])
def test_cameras_of_10_and_14_bit_are_allowed(bit_depth):
    change = {"assays": {"translocation": {"bit_depth": bit_depth}}}
    check(merge(load(), change))


def test_an_image_size_matters_to_networks_alone():
    """Bicubic and a classifier take any size."""
    change = {"generator": "none", "image_size": 96}
    config = merge(load(), {"run": {"methods": ["bicubic"]}, "assays": {"translocation": change}})
    check(config)
    config["run"]["methods"] = ["bicubic", "pix2pix"]
    with pytest.raises(InputError, match="Set it to 64 or 128"):
        check(config)


def test_every_number_of_the_settings_has_a_bound():
    """Without one, a size of 0 fails in the middle of a run."""
    free = {"shift_px", "truncation_psi", "truncation_cutoff", "grid_psi"}
    of_sections = [key for section in SECTIONS for key in section_keys(section).values()]
    of_methods = [
        key for name in search_names() for key in keys_of(f"rls/search/{name}.py").values()
    ]
    for key in (*of_sections, *of_methods):
        if ("int" in key.kind or "float" in key.kind) and key.name not in free:
            assert key.bounds or key.choices, f"{key.file}: {key.name}"


def test_a_run_of_one_degradation_need_not_say_what_runs_on_others():
    check(merge(load(), {"run": {"degradations": ["clean"], "degraded_methods": []}}))


def test_overlays_merge_keys_and_replace_lists(tmp_path):
    path = tmp_path / "more.yaml"
    path.write_text("run: {factors: [4]}\ntrain_gan: {total_kimg: 7}\n")
    config = read_config([path])
    assert config["run"]["factors"] == [4] and config["run"]["shards"] == 4
    assert config["train_gan"]["total_kimg"] == 7 and config["train_gan"]["batch_size"] == 32
    with pytest.raises(InputError, match="does not exist"):
        read_config([tmp_path / "none.yaml"])


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
    assert schema.DERIVED.read_text() == schema.sections_text(), "out of date: run `make schema`"


def test_the_description_of_the_keys_is_that_of_the_settings():
    found = reference.README.read_text()
    assert found == reference.with_tables(found), "out of date: run `make schema`"


def test_shared_keys_stand_in_no_section():
    for section in SECTIONS:
        assert not set(load()[section]) & ELSEWHERE, section


def test_a_shared_section_reaches_its_commands_and_an_assay_may_change_it():
    config = load()
    change = {"settings": {"quality_flags": {"blur_max_nd": 0.3}}}
    merge(config, {"assays": {"golgi": change}})
    check(config)
    for section in ("crop_cells", "import_crops"):
        assert section_values(config, section, "golgi")["blur_max_nd"] == 0.3
        assert section_values(config, section, "translocation")["blur_max_nd"] == 0.13
    assert section_values(config, "tables")["confidence_level"] == 0.95
    assert "blur_max_nd" not in section_values(config, "select_cells", "golgi")


def test_a_key_that_moved_into_a_shared_section_is_sent_there():
    with pytest.raises(InputError, match="confidence_level stands in intervals"):
        check(merge(load(), {"tables": {"confidence_level": 0.9}}))
    with pytest.raises(InputError, match="blur_max_nd stands in quality_flags"):
        check(merge(load(), {"crop_cells": {"blur_max_nd": 0.2}}))
    with pytest.raises(InputError, match="inception_path stands in weights"):
        check(merge(load(), {"measure": {"inception_path": None}}))
    for change in ({"measure": {"vgg_path": "a.pt"}}, {"methods": {"brgm": {"vgg_path": "a.pt"}}}):
        with pytest.raises(InputError, match="vgg_path stands in weights as vgg16_path"):
            check(merge(load(), change))
    with pytest.raises(InputError, match="bootstrap stands in intervals and figures"):
        check(merge(load(), {"bootstrap": {"n_bootstrap": 9}}))
    with pytest.raises(InputError, match="border stands in degrade, .* forward"):
        check(merge(load(), {"super_resolve": {"border": "reflect"}}))


def test_every_key_of_a_shared_section_belongs_to_two_commands():
    for group, keys in GROUPS.items():
        for key in keys:
            users = [section for section in SECTIONS if key in section_keys(section)]
            # The methods share weights of VGG16 with measure, and one block holds all weights.
            assert len(users) >= (1 if group == "weights" else 2), f"{group}.{key}"
    assert "vgg16_path" in keys_of("rls/search/brgm.py") and "vgg16_path" not in method_keys("brgm")


def test_a_command_reads_the_shared_section_of_its_config_file(tmp_path):
    """By hand, as the workflow does it: python -m analysis.crop_cells --config config.yaml."""
    given = ["--config", str(CONFIG / "config.yaml"), *crop_flags()]
    _, settings = Parser(None, CropSettings, "crop_cells").parse(given)
    assert settings.blur_max_nd == 0.13 and settings.cells_per_field == 80
    _, settings = Parser(None, CropSettings, "crop_cells").parse([*given, "--blur-max-nd", "0.5"])
    assert settings.blur_max_nd == 0.5
    sections = {QualityLimits.SECTION, IntervalSettings.SECTION, WeightsSettings.SECTION}
    assert sections == set(GROUPS)
    assert GROUPS["intervals"] == ("confidence_level",)
    assert len(GROUPS["quality_flags"]) == 7


@pytest.mark.parametrize(
    ("module", "section"),
    [
        ("rls.stylegan2.settings", "train_gan"),
        ("rls.prior.settings", "fit_flow"),
        ("rls.networks.classifier_settings", "train_classifier"),
        ("rls.networks.pix2pix_settings", "train_pix2pix"),
        ("rls.search.settings", "super_resolve"),
    ],
)
def test_how_a_gpu_computes_need_not_be_said_by_hand(module, section):
    """As in the README: neither the section nor the flags name cuda_graphs or compile."""
    given = {"image_size": 64, "seed": 1, "device": "auto", "threads": 4}
    kind = importlib.import_module(module).Settings
    given = {name: value for name, value in given.items() if name in section_keys(section)}
    config = ["--config", str(CONFIG / "config.yaml")]
    _, settings = Parser(None, kind, section).parse([*config, *flags(given)])
    assert settings.cuda_graphs == getattr(settings, "compile", "auto") == "auto"


def crop_flags():
    """What stands in an assay and in the run."""
    values = section_values(load(), "crop_cells", "translocation")
    return flags({name: values[name] for name in values if name in ELSEWHERE - set(GROUP_OF)})


def test_settings_are_read_from_the_source_as_python_reads_them():
    """The classes that an import gives have the same fields, in the same order."""
    for section, path in SECTIONS.items():
        if section == "measure":
            continue  # composed of every feature's: see the test of the schema
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        names = [field.name for field in fields(module.Settings)]
        assert list(section_keys(section)) == names, section


def test_the_search_says_what_it_needs():
    assert needs_generator("rls") and not needs_generator("bicubic")
    assert trained_by("pix2pix") == "train_pix2pix" and trained_by("rls") is None
    assert "lambda_w" in keys_of("rls/search/rls.py")
    assert search_names() == method_names()
    with pytest.raises(InputError, match="There is no search 'newest'"):
        method_keys("newest")


def test_defaults_and_sources_are_read_off_the_configuration():
    sources = reference.sources_of_values()
    assert sources[("fit_flow", "n_blocks")] == "article 4.1"
    assert sources[("train_gan", "r1_gamma")] == "released"
    assert sources[("methods", "rls", "lambda_w")] == "article 4.1"
    text = reference.README.read_text()
    assert "| `n_blocks` | whole number, 1 or more | 5 | article 4.1 |" in text
    assert "| `lambdas_w` | list of numbers, 0 or more |" in text


def test_an_environment_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("PLATES", raising=False)
    with pytest.raises(InputError, match="export PLATES="):
        expand_folder("$PLATES/fields")
    monkeypatch.setenv("PLATES", "/p")
    assert expand_folder("$PLATES/fields") == "/p/fields"


def test_a_degradation_of_another_operator_drops_the_psf_of_the_run() -> None:
    config = read_config()
    config["degrade"] |= {"operator": "psf_binning", "psf_sd_um": 1.2, "shift_px": [0.5, 0.0]}
    config["degradations"]["own"] = {"psf_file": "psf.tif"}
    found = {n: operator_values(config, "translocation", n) for n in ("clean", "binning", "own")}
    assert found["clean"]["psf_sd_um"] == 1.2
    assert found["binning"]["operator"] == "binning" and found["binning"]["psf_sd_um"] == 0.0
    assert found["own"]["operator"] == "psf_binning" and found["own"]["psf_file"] == "psf.tif"
    assert found["own"]["psf_sd_um"] == 0.0
    assert all(values["shift_px"] == [0.5, 0.0] for values in found.values())
