"""The sizes of a run, and that networks are counted as they are built."""

import copy
import typing
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from analysis.run.rates import Machine, kind_of
from analysis.run.sizes import Sizes, flow_weights
from analysis.run.values import lay_over, read_config, section_values
from benchmarks.training_step import noise_images
from rls.networks.pix2pix import UNet
from rls.prior.flows import StyleFlow
from rls.runtime.command import convert, make_settings
from rls.stylegan2.architecture import architecture_of
from rls.stylegan2.arithmetic import Arithmetic, unet_gflop
from rls.stylegan2.cost import META, Counter, costs, flop_per_image, n_parameters
from rls.stylegan2.settings import Settings, fill_auto
from rls.stylegan2.trainer import Trainer
from rls.stylegan2.training_images import TrainingImages
from tests.conftest import ROOT

PAPER = read_config()
WILDCARDS = {"assay": "translocation", "factor": "32", "degradation": "clean"}


def units(change, rule, **wildcards):
    config = copy.deepcopy(PAPER)
    lay_over(config, change)
    return Sizes(config).units(rule, {**WILDCARDS, **wildcards})


def built(n_channels, **changes):
    """Settings and networks of a training on tensors without numbers, and the closed form."""
    hints = typing.get_type_hints(Settings)
    values = section_values(PAPER, "train_gan", "translocation") | changes
    known = {
        f.name: convert(values[f.name], hints[f.name], f.name)
        for f in fields(Settings)
        if f.name in values
    }
    settings = fill_auto(make_settings(Settings, known, "train_gan"))
    architecture = architecture_of(settings, n_channels)
    names = ("image_size", "channel_base", "channel_max", "z_dim", "w_dim", "mapping_layers")
    closed = Arithmetic(n_channels=n_channels, **{name: values[name] for name in names})
    return settings, architecture, closed


def images_of(settings, n_channels):
    """A few images of noise, whose content costs nothing."""
    size = settings.image_size
    return TrainingImages(*noise_images(n_channels, size, 4), size, 1)


NETWORKS = [
    (3, {}),
    (2, {"image_size": 64, "channel_base": 2048, "channel_max": 128, "mapping_layers": 2}),
    (1, {"image_size": 32, "channel_base": 1024, "channel_max": 64, "w_dim": 64}),
]


@pytest.mark.parametrize(("n_channels", "changes"), NETWORKS)
def test_weights_in_closed_form_are_those_of_the_networks(n_channels, changes):
    settings, architecture, closed = built(n_channels, **changes)
    trainer = Trainer(settings, architecture, images_of(settings, n_channels), META, "float32")
    assert closed.generator_weights == n_parameters(trainer.generator)
    assert closed.discriminator_weights == n_parameters(trainer.discriminator)


@pytest.mark.parametrize(("n_channels", "changes"), NETWORKS)
@pytest.mark.parametrize("without", [{}, {"path_length_weight": 0}, {"r1_gamma": 0}])
def test_arithmetic_in_closed_form_is_what_is_counted(n_channels, changes, without):
    settings, architecture, closed = built(n_channels, **changes, **without)
    counted = (
        flop_per_image(
            settings, costs(settings, architecture, images_of(settings, n_channels), "float32")
        )
        / 1e9
    )
    intervals = [
        np.inf if "path_length_weight" in without else settings.path_length_interval,
        np.inf if "r1_gamma" in without else settings.r1_interval,
    ]
    assert closed.training_gflop(*intervals) == pytest.approx(counted, rel=0.1)
    generator = Trainer(
        settings, architecture, images_of(settings, n_channels), META, "float32"
    ).average
    ws = torch.empty((1, generator.num_ws, settings.w_dim), device=META, requires_grad=True)
    noise = [torch.empty((1, *shape[1:]), device=META) for shape in generator.noise_shapes]
    with Counter() as counter:
        generator.synthesis(ws, noise).sum().backward()
    assert closed.search_gflop == pytest.approx(counter.flop / 1e9, rel=0.1)


def test_the_article_s_network_costs_what_the_published_code_was_measured_at():
    """304 GFLOP for an image shown, 45.3 for a gradient in w+."""
    networks = Sizes(PAPER).of("bbbc021").networks
    assert networks.search_gflop == pytest.approx(45.3, rel=0.05)
    assert networks.training_gflop(4, 16) == pytest.approx(304, rel=0.05)


@pytest.mark.parametrize(("side", "width"), [(16, 4), (32, 16)])
def test_the_u_net_is_counted_as_it_computes(side, width):
    with torch.device(META):
        net = UNet(2, side, width)
    with Counter() as counter:
        net(torch.empty((1, 2, side, side), device=META), None)
    assert unet_gflop(side, 2, width) == pytest.approx(counter.flop / 1e9, rel=0.25)


@pytest.mark.parametrize(("features", "hidden"), [(16, 32), (128, 256)])
def test_the_weights_of_a_flow_are_those_that_it_has(features, hidden):
    flow = StyleFlow("maf", features, hidden, 5)
    matrices = sum(p.numel() for p in flow.parameters() if p.dim() > 1)
    assert flow_weights(features, hidden, 5) == matrices


def test_units_follow_the_sizes():
    plain = units({}, "train_gan")
    grown = units({"train_gan": {"grow_from": 64, "grow_kimg": 2400}}, "train_gan")
    small = {"train_gan": {"total_kimg": 2400}, "assays": {"translocation": {"image_size": 64}}}
    first = units(small, "train_gan")  # A first stage costs what such a training would alone.
    assert grown == pytest.approx({name: plain[name] + first[name] for name in plain})
    half = {"train_gan": {"total_kimg": 2400}}
    whole, less = (units(change, "train_gan") for change in ({}, half))
    assert less == pytest.approx({name: value / 2 for name, value in whole.items()})
    # 2 treatments of 16 wells and 2 empty ones, 4 sites, 2 channels of 1024 x 1280
    plate = {"megapixels": pytest.approx(34 * 4 * 2 * 1024 * 1280 / 1e6)}
    assert units({}, "crop_cells") == plate == units({}, "list_plate")
    cellpose = units({"crop_cells": {"segmenter": "cellpose"}}, "crop_cells")
    assert cellpose["nuclear_megapixels"] == cellpose["megapixels"] / 2  # one channel of two
    search = units({}, "super_resolve", method="rls")
    n = 2000 / PAPER["run"]["shards"]  # 1,000 evaluation cells of 2 treatments, whole batches
    assert search["steps"] == 200 * np.ceil(n / PAPER["super_resolve"]["batch_size"])
    three = units({}, "super_resolve", method="robust_unsupervised")["steps"]
    assert three == search["steps"] / 200 * 3 * 150
    assert "steps" not in units({}, "super_resolve", method="bicubic")
    trace = {"trace_search": {"n_cells": 100, "checkpoints": [0, 10, 30]}}
    batches = np.ceil(100 / PAPER["super_resolve"]["batch_size"])
    assert units(trace, "trace_search", method="rls")["steps"] == 40 * batches
    assert units(trace, "measure_trace", method="rls")["images"] == 400  # and HR
    own = {"trace_search": {"n_cells": 100, "checkpoints": []}}  # a method's own number of steps
    assert units(own, "trace_search", method="rls")["steps"] == 200 * batches
    assert units(own, "measure_trace", method="rls")["images"] == 200
    assert units({}, "check_thresholds")["images"] == 2 * 1200


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_cropped_cells_are_no_more_than_the_rows_of_their_sheet(tmp_path, monkeypatch, end):
    folder = tmp_path / "bbbc021_crops"
    folder.mkdir()
    (folder / "labels.csv").write_bytes(f"index{end}{f'0{end}' * 700}".encode())
    config = read_config([ROOT / "config" / "bbbc021_crops.yaml"])
    monkeypatch.setenv("RLS_REAL_DATA", str(tmp_path))
    known = Sizes(config).of("bbbc021_crops")
    assert known.cells() == known.cells_of_plate == known.cells_of_plates == 700
    monkeypatch.delenv("RLS_REAL_DATA")
    assert Sizes(config).of("bbbc021_crops").cells_of_plates > 10_000, "no sheet: a screen's"


def test_several_solutions_are_as_many_times_the_work_on_calibration_cells_too():
    change = {"select_cells": {"cells_calibration": 500}, "super_resolve": {"batch_size": 1}}
    one, four = (units(change, "super_resolve", method=m) for m in ("rls_encoder", "rls_mean"))
    # 1,000 evaluation cells of 2 treatments, and 500 of calibration
    assert four["steps"] / one["steps"] == pytest.approx(4 * 1500 / 1000)
    assert four["gflop"] / one["gflop"] == pytest.approx(4 * 1500 / 1000)
    assert units(change, "measure_solutions", method="rls_mean", kind="searches")["images"] == 12000
    megapixels = units(change, "gather_solutions", method="rls_mean")["megapixels"]
    assert megapixels == 6 * units(change, "gather_shards", method="rls")["megapixels"]


def test_a_classifier_is_trained_on_the_two_controls_alone():
    """Of BBBC021's 104 treatments two are controls."""
    two = units({}, "train_classifier", assay="bbbc021")
    values = section_values(PAPER, "train_classifier", "bbbc021")
    assert two["steps"] == pytest.approx(values["epochs"] * 2 * 100 / values["batch_size"])


def test_a_regression_makes_and_measures_its_pairs_and_sees_them_in_every_epoch():
    few, more = (
        units({"train_amortised": {"n_pairs": n}}, "train_amortised") for n in (9000, 19000)
    )
    assert few["images"] == 10000 and more["images"] == 20000  # with 1,000 held out
    assert more["megapixels"] == 2 * few["megapixels"]
    assert more["steps"] == pytest.approx(few["steps"] * 19 / 9)
    assert 1.9 < more["gflop"] / few["gflop"] < 2.2
    seconds, basis = Machine.read().processor.processor_seconds("train_amortised", few)
    assert basis == "assumed" and seconds > 60
    # A card makes the images and trains, and the processor measures.
    host = 0.0035 * few["images"] + 0.77 * few["megapixels"]
    seconds, basis = Machine.read(device="auto").seconds("train_amortised", few, on_gpu=True)
    assert basis == "assumed (GPU)" and host < seconds < host + 60


def test_an_evaluation_fits_a_regression_to_images_and_one_to_cells_at_every_factor():
    def found(**change):
        return units({"evaluate_generator": change}, "evaluate_generator")

    few, more = found(n_images=1000, n_inverted=0), found(n_images=3000, n_inverted=0)
    assert more["images"] - few["images"] == 2000 and more["gflop"] > few["gflop"]
    once = found(n_images=1000, n_inverted=10, inversion_steps=100)
    twice = found(n_images=1000, n_inverted=10, inversion_steps=200)
    assert twice["gflop"] - few["gflop"] == pytest.approx(2 * (once["gflop"] - few["gflop"]))


def test_tables_read_every_condition_that_runs_and_no_other():
    change = {"run": {"assays": ["golgi"], "methods": ["bicubic", "rls"]}}
    compared = units(change, "table1")["images"]
    # Five degradations, each with HR, LR and two methods; three have a method of their own.
    assert compared == 2000 * (5 * (2 + 2) + 3)
    assert units(change, "figure5")["images"] == units(change, "report")["images"] == compared
    # KD: either set and both together, of the methods and the floor, on two kinds of features.
    rows = 5 * (2 + 1) + 3
    assert units(change, "table1")["gigapairs"] == pytest.approx(rows * 2 * 2 * 2000**2 / 1e9)
    assert "gigapairs" not in units(change, "table2")
    assert units(change, "figure1") == {}  # it reads the model alone
    assert Sizes(PAPER).raw_mb("table1", {}) == 0


def test_kinds_of_jobs_name_the_search_and_the_segmenter():
    wildcards = {**WILDCARDS, "method": "rls_without_prior"}
    assert kind_of("super_resolve", wildcards, PAPER) == "super_resolve rls"
    assert kind_of("gather_shards", wildcards, PAPER) == "gather_shards"
    assert kind_of("crop_cells", WILDCARDS, PAPER) == "crop_cells"
    config = copy.deepcopy(PAPER)
    config["crop_cells"]["segmenter"] = "cellpose"
    one_field = {"megapixels": 2.0, "nuclear_megapixels": 1.0}
    assert kind_of("crop_cells", WILDCARDS, config) == "crop_cells cellpose"
    seconds, basis = Machine.read().processor.processor_seconds("crop_cells cellpose", one_field)
    assert seconds == pytest.approx(5.0 + 2.0 + 30.0) and basis == "assumed"


def test_vgg16_is_work_for_measure_only_where_the_run_has_its_weights():
    """At 16 px images are enlarged to 64 px: 15.35 G multiplications at 224 px, 1.253 G at 64."""
    config = read_config([ROOT / "config" / "smoke.yaml"])
    at = {"assay": "translocation", "stack": "rls"}
    bare = Sizes(config).units("measure", at)
    config["weights"]["vgg16_sha256"] = "ab" * 32
    units = Sizes(config).units("measure", at)
    assert "vgg16_gflop" not in bare and bare.items() <= units.items()
    assert units["vgg16_gflop"] / units["images"] == pytest.approx(3 * 2 * 1.253, rel=0.01)
    high = Sizes(config).units("measure", {**at, "stack": "high_resolution"})
    assert high["vgg16_gflop"] / high["images"] == pytest.approx(2 * 1.253, rel=0.01)


def test_a_number_that_is_left_to_the_rule_auto_is_planned_as_it_is_built():
    auto = Sizes(read_config([ROOT / "config" / "auto.yaml"]))
    networks = auto.of("translocation").networks
    values = section_values(auto.config, "train_gan", "translocation")
    left = {name: values[name] for name in ("learning_rate", "r1_gamma", "channel_base")}
    assert set(left.values()) == {None}
    settings, _, _ = built(2, **{**left, "channel_base": networks.channel_base})
    assert networks.channel_base == fill_auto(replace(settings, channel_base=None)).channel_base
    assert auto.units("train_gan", WILDCARDS)["gflop"] > 0


def test_the_fields_of_a_users_plate_are_the_rows_of_the_sheet():
    config = read_config([ROOT / "config" / "my_plates.yaml"])
    assert Sizes(config).of("my_plates").n_fields == 12
    config["assays"]["my_plates"]["sheet"] = "no.csv"
    assert Sizes(config).of("my_plates").n_fields == 384, "no sheet: a screen's"
