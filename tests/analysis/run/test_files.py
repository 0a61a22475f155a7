"""Which files jobs read and which flags they get, without Snakemake."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from analysis.run.arguments import Arguments, given
from analysis.run.classifiers import own_classifier
from analysis.run.exports import fetch_message
from analysis.run.files import NOTHING, Files
from analysis.run.keys import ROOT
from analysis.run.on_pairs import trained_on_pairs
from analysis.run.sources import sources
from analysis.run.targets import check_targets, figures, tables
from analysis.run.values import lay_over, read_config
from rls.io import write_weights
from rls.runtime.errors import InputError
from rls.search.forward_model import ForwardModel

MODEL = "models/translocation_32px"


def made(change=None, *overlays):
    config = read_config(ROOT / "config" / name for name in overlays)
    lay_over(config, {"run": {"assays": ["translocation", "golgi", "bbbc021"]}})
    lay_over(config, change or {})
    return Files(config, ROOT)


def acquired(monkeypatch, **changes):
    monkeypatch.setenv("RLS_REAL_DATA", "/data")
    files = made(None, "acquired.yaml")
    files.assays["acquired"].update(changes)
    lay_over(files.config, {"run": {"assays": ["acquired"]}})
    return Files(files.config, ROOT)


def job(**wildcards):
    values = {"assay": "translocation", "factor": "32", "degradation": "clean", "method": "rls"}
    return SimpleNamespace(**{**values, "plate": "P1", "stack": "rls", **wildcards})


def test_wildcards_match_the_assays_and_methods_that_a_rule_makes():
    files = made()
    assert files.assays_where("source", "bbbc021") == "bbbc021"
    assert files.assays_where("source", "sheet") == NOTHING
    assert files.assays_where("resolution", "high").split("|") == list(files.assays)
    assert files.assays_where("resolution", "low") == NOTHING
    assert "golgi" in files.assays_where("generator", "train").split("|")
    assert files.trained_by("train_pix2pix") == "pix2pix|unet_l1"


def test_a_generator_is_the_assays_own_anothers_or_a_folders():
    files = made({"assays": {"golgi": {"generator": MODEL}, "bbbc021": {"generator": "golgi"}}})
    own = "results/translocation/generator.safetensors"
    assert files.model_file("translocation", "generator.safetensors") == own
    folder = f"{ROOT}/{MODEL}"
    assert files.model_file("golgi", "generator.safetensors") == f"{folder}/generator.safetensors"
    assert files.model_file("golgi", "flow.safetensors") == f"{folder}/flow.safetensors"
    # A folder without styles: they are made.
    assert files.model_file("golgi", "styles.safetensors") == "results/golgi/styles.safetensors"
    assert files.model_file("bbbc021", "flow.safetensors") == "results/golgi/flow.safetensors"
    arguments = Arguments(files.config, files)
    named = arguments.generators(job())
    assert f"golgi={folder}/generator.safetensors" in named
    assert not any(item.startswith("translocation=") for item in named)


def test_a_search_reads_the_networks_that_it_needs():
    files = made()
    assert len(files.search_model(job())) == 3 and files.search_network(job()) == []
    assert files.search_model(job(method="bicubic")) == []
    network = "results/translocation/32x/pix2pix.network.safetensors"
    assert files.search_network(job(method="pix2pix")) == [network]
    arguments = Arguments(files.config, files)
    read = {"model": ["g", "s", "f"], "network": [], "encoder": []}
    flags = ["--generator", "g", "--styles", "s", "--flow", "f"]
    assert arguments.search_model(job(), read) == flags
    trained = {"model": [], "network": ["n"], "encoder": []}
    assert arguments.search_model(job(), trained) == ["--network", "n"]
    assert arguments.search_model(job(), {**read, "encoder": "e"}) == [*flags, "--encoder", "e"]
    encoder = "results/translocation/32x/clean/encoder.safetensors"
    assert files.search_encoder(job(method="rls_mean")) == encoder
    assert files.search_encoder(job()) == []


def test_an_encoder_of_a_folder_is_read_where_its_images_were_made_alike(tmp_path):
    for name in ("generator.safetensors", "intensity.json"):
        (tmp_path / name).touch()
    header = {"forward": ForwardModel().to_text(), "chain": [], "quantise": "8bit"}
    path = tmp_path / "encoder_16x.safetensors"
    write_weights(path, {"w": torch.zeros(3)}, {"kind": "encoder", **header})
    files = made({"assays": {"golgi": {"generator": str(tmp_path)}}})
    here = {"assay": "golgi", "factor": "16", "method": "rls_encoder"}
    assert files.search_encoder(job(**here)) == str(path)
    trained = "results/golgi/{}x/{}/encoder.safetensors"
    for factor, degradation in ((8, "clean"), (16, "gaussian_noise"), (16, "binning")):
        other = job(**{**here, "factor": str(factor), "degradation": degradation})
        assert files.search_encoder(other) == trained.format(factor, degradation)
    lay_over(files.config, {"degrade": {"quantise": "none"}})
    assert files.search_encoder(job(**here)) == trained.format(16, "clean")
    lay_over(files.config, {"degrade": {"quantise": "8bit", "operator": "binning"}})
    assert files.search_encoder(job(**here)) == trained.format(16, "clean")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match="no header that can be read"):
        files.search_encoder(job(**here))


def test_the_report_describes_each_network_that_a_method_of_the_run_reads():
    run = {"assays": ["golgi"], "factors": [16], "degraded_factors": [16]}
    run |= {"degradations": ["clean", "binning"], "degraded_methods": ["rls", "rls_encoder"]}
    rows = ["rls", "rls_encoder", "encoder", "amortised"]
    folder = "results/golgi/16x"
    found = trained_on_pairs(made({"run": {**run, "methods": rows}}))
    assert found == [
        f"{folder}/clean/encoder.safetensors", f"{folder}/clean/amortised.safetensors",
        f"{folder}/binning/encoder.safetensors",
    ]  # fmt: skip
    few = {**run, "methods": ["rls"], "degraded_methods": ["rls"]}
    assert trained_on_pairs(made({"run": few})) == []


def test_a_method_with_several_solutions_is_gathered_and_measured_with_all_of_them():
    files = made({"run": {"assays": ["translocation"], "methods": ["rls", "rls_mean"]}})
    assert files.methods_with(several=True) == "rls_mean"
    assert "rls_mean" not in files.methods_with(several=False).split("|")
    folder = "results/translocation/32x/clean/solutions"
    measured = f"{folder}/rls_mean.searches.features.parquet"
    assert files.own_solutions(job(stack="rls_mean")) == measured
    assert files.own_solutions(job()) == files.own_solutions(job(stack="high_resolution")) == []
    assert files.searched_solutions() == [measured]
    assert files.run.n_solutions == {"rls_mean": 4}
    # How many solutions sample_solutions takes is its own setting.
    arguments = Arguments(files.config, files)
    own, shared = (
        arguments.method(job(method="rls_mean")),
        arguments.objective(job(method="rls_mean")),
    )
    at = own.index("--n-solutions")
    assert own[at + 1] == "4" and shared == own[:at] + own[at + 2 :]
    assert arguments.objective(job()) == arguments.method(job())


def test_what_changes_no_result_is_no_flag_that_snakemake_would_remember():
    files = made()
    arguments = Arguments(files.config, files)
    for section in ("train_gan", "fit_flow", "train_classifier", "train_pix2pix", "super_resolve"):
        given = arguments.section(section)(job())
        assert "--seed" in given and not {"--cuda-graphs", "--compile"} & set(given), section
    assert not {"--cuda-graphs", "--compile"} & set(arguments.trust(job()))


def test_the_scale_of_acquired_cells_is_the_one_that_low_resolution_chose(monkeypatch):
    assert made().intensity_scale(job()) == "results/translocation/intensity.json"
    files = acquired(monkeypatch)
    scale = files.intensity_scale(job(assay="acquired", factor="8"))
    assert scale == "results/acquired/8x/clean/intensity.json"
    assert files.known_trust(job(assay="acquired")) == [f"{ROOT}/{MODEL}/trust.json"]
    assert files.stack(job(assay="acquired", stack="high_resolution")) == []
    assert files.borrowed_classifier(job(assay="acquired")) == []
    files = acquired(monkeypatch, generator="translocation")
    classifier = files.borrowed_classifier(job(assay="acquired"))
    assert classifier == ["results/translocation/classifier.safetensors"]
    assert files.measured_cells() == ["results/acquired/8x/clean/low_resolution.parquet"]


def test_a_plates_files_follow_its_source(monkeypatch):
    files = made()
    assert (
        files.raw_plate(job()) == "data/translocation/P1" and files.named_file("sheet")(job()) == []
    )
    assert files.segmenter_weights(job()) == []
    cellpose = {"segmenter": "cellpose", "segmenter_weights": "train"}
    files = made({"crop_cells": cellpose})
    assert files.segmenter_weights(job()) == "results/translocation/segmenter.cellpose"
    files.config["crop_cells"]["segmenter_weights"] = "$PLATES/w"
    monkeypatch.delenv("PLATES", raising=False)
    with pytest.raises(InputError, match="export PLATES="):
        files.segmenter_weights(job())
    plates = files.of_plates(".ome.tif")(job())
    assert plates == [f"results/translocation/plates/P{n}.ome.tif" for n in (1, 2, 3)]
    assert files.fetched_cells() == ["results/bbbc021/cells.ome.tif"]
    assert "is here" in fetch_message(files)
    simulated = made({"run": {"assays": ["translocation", "golgi"]}})
    assert not simulated.fetched_cells()
    assert "nothing was fetched" in fetch_message(simulated)
    assert "translocation, golgi" in fetch_message(simulated)


def test_classes_are_measured_where_all_methods_run():
    files = made({"run": {"assays": ["golgi"], "methods": ["bicubic", "rls"]}})
    measured = files.measured()
    # Beside them, on clean images, the classes of LR by a classifier that saw cells of gan, too.
    assert len(measured) == len(set(measured)) == 4 * 3 + (4 * (2 + 2) + 3) * 2 + 1
    folder = "results/golgi/16x"
    assert f"{folder}/clean/high_resolution.classification.parquet" in measured
    assert f"{folder}/gaussian_blur/rls.features.parquet" in measured
    assert not any("gaussian_blur" in p and "classification" in p for p in measured)
    clean = files.measured(clean_only=True)
    assert set(clean) == {path for path in measured if "/clean/" in path}
    assert files.measured(assay="golgi") == measured
    other = files.measured(assay="bbbc021")  # a target, although it does not run
    assert other and all(path.startswith("results/bbbc021/") for path in other)
    stacks = files.stacks()
    assert "results/golgi/high_resolution.ome.tif" in stacks
    assert {p for p in files.stacks(clean_only=True)} <= set(stacks)
    assert all(path.endswith((".ome.tif", ".parquet")) for path in stacks)


def test_a_row_without_images_has_features_and_nothing_else():
    run = {"assays": ["golgi"], "methods": ["bicubic", "amortised"], "degradations": ["clean"]}
    files = made({"run": {**run, "degraded_methods": []}})
    mine = [path for path in (*files.measured(), *files.stacks()) if "amortised" in path]
    assert mine == ["results/golgi/16x/clean/amortised.features.parquet"]


def test_the_report_shows_the_figures_that_have_something_to_show(monkeypatch):
    def numbers(files):
        return "".join(path.removeprefix("results/figures/figure")[0] for path in figures(files))

    assert numbers(made()) == "1234567"
    assert numbers(made({"run": {"assays": ["golgi"]}})) == "124567"
    assert numbers(made({"run": {"assays": ["translocation"]}})) == "123567"
    assert numbers(made({"run": {"methods": ["rls"]}})) == "123456"
    none = {"run": {"methods": ["bicubic"]}, "assays": {"translocation": {"generator": "none"}}}
    assert numbers(made(none)) == "23456"


def test_a_whole_run_makes_the_tables_and_figures_that_run_also_names():
    files = made({"run": {"also": ["figure8", "solutions", "path_lengths"]}})
    assert figures(files)[-2:] == [f"results/figures/{n}.png" for n in ("figure8", "path_lengths")]
    assert tables(files)[-1] == "results/tables/solutions.csv"
    without = made()
    assert not {*figures(files)[-2:], tables(files)[-1]} & {*figures(without), *tables(without)}


def test_a_target_that_has_nothing_to_show_is_refused_in_one_sentence():
    only = made({"run": {"assays": ["translocation"]}}).config
    check_targets(["snakemake", "--cores", "all", "figure3", "figure5", "golgi"], only)
    for word in ("figure4", "results/figures/figure4.png", "results/figures/figure4.csv"):
        with pytest.raises(InputError, match=r"\(translocation\), expected one for figure4"):
            check_targets(["--cores", "2", word], only)
    golgi = made({"run": {"assays": ["golgi"]}}).config
    check_targets(["figure4"], golgi)
    with pytest.raises(InputError, match="only assays that measure the feature 'golgi'"):
        check_targets(["figure3"], golgi)


def test_an_assay_outside_the_run_that_does_not_fit_it_is_refused_by_its_name():
    config = made({"run": {"assays": ["translocation"], "factors": [32], "degraded_factors": [32]}})
    with pytest.raises(InputError, match="No factor of run.factors is among assays.golgi.factors"):
        check_targets(["golgi"], config.config)


def test_flags_are_those_of_the_section_the_assay_and_the_method():
    files = made()
    arguments = Arguments(files.config, files)
    assert arguments.method(job())[:2] == ["--search", "rls"]
    assert arguments.of_assay("channels")(job()) == ["--channels", "dna", "nfkb"]
    assert arguments.of_method("steps")(job()) == ["--steps", "200"]
    degrade = arguments.section("degrade", "border")(job())
    assert degrade == ["--border", "renormalize"]
    clean = arguments.degradation(job())
    assert clean[:2] == ["--operator", "bicubic"] and "--chain" not in clean
    blur = arguments.degradation(job(degradation="gaussian_blur"))
    assert blur == [*clean, "--chain", "gaussian_blur:1.0"]
    binned = arguments.degradation(job(degradation="binning"))
    assert binned == ["--operator", "binning", *clean[2:]]
    # Networks and model folders are those of the first degradation.
    assert arguments.quantise(job(degradation="binning"))[:2] == ["--operator", "binning"]
    of_trust = SimpleNamespace(assay="translocation", method="rls")
    assert arguments.trust(of_trust)[-2:] == ["--quantise", "8bit"]
    settings = arguments.section("tables")(SimpleNamespace())
    assert set(settings) == {"--seed", "1", "--confidence-level", "0.95"}
    assert arguments.trust(job())[:2] == ["--factors", "32"]
    started = arguments.trust(job(method="rls_encoder"))
    assert started[started.index("--search") + 1] == "rls"
    assert started[started.index("--start") + 1] == "encoder"


def test_trust_is_measured_of_each_method_of_a_model_with_the_encoders_that_it_needs():
    files = made({"run": {"factors": [16, 8, 32]}, "assays": {"golgi": {"factors": [8, 16]}}})
    assert files.encoders_of_trust(job(assay="golgi")) == []
    assert files.encoders_of_trust(job(assay="golgi", method="rls_encoder")) == [
        "results/golgi/16x/clean/encoder.safetensors",
        "results/golgi/8x/clean/encoder.safetensors",
    ]
    files.config["gather_trust"]["methods"] = ["rls", "rls_encoder"]
    assert files.parts_of_trust(job(assay="golgi")) == [
        f"results/golgi/trust/{method}/{name}.json"
        for method in ("rls", "rls_encoder")
        for name in ("trust", "search")
    ]


def test_what_a_job_reads_is_handed_over_by_flags():
    files = made()
    arguments = Arguments(files.config, files)
    assert given("labels")(job(), {"labels": []}) == []
    assert given("labels")(job(), {"labels": "l.csv"}) == ["--labels", "l.csv"]
    assert given("trust")(job(), {"trust": ["t"]}) == ["--trust", "t"]
    assert arguments.initial_weights(job(), {"initial": []}) == []
    initial = arguments.initial_weights(job(), {"initial": ["/m/generator.safetensors"]})
    assert initial == ["--init-from", "/m"]
    assert given("table")(job(), {"table": "t.csv"}) == ["--table", "t.csv"]
    assert arguments.plate_source(job(), {"raw": "data/P1", "sheet": []}) == ["--folder", "data/P1"]
    files.assays["translocation"] |= {"source": "sheet", "image_folder": "/plates"}
    found = arguments.plate_source(job(), {"raw": [], "sheet": "s.csv"})
    assert found == ["--sheet", "s.csv", "--image-folder", "/plates"]
    assert "https://" in arguments.connection(job(assay="bbbc021"))


def test_simulated_cells_share_a_grey_scale_with_real_ones_of_the_same_camera():
    files = made()
    arguments = Arguments(files.config, files)
    found = arguments.beside_real(job(assay="bbbc021_simulated", real="bbbc021"))
    assert found[:2] == ["--pairs", "DMSO=DMSO"] and found[-2:] == ["--scale", "shared"]
    assert "taxol_0.3uM=taxol_0.3uM" in found and not any("subtle" in item for item in found)
    files.assays["bbbc021"]["bit_depth"] = 16
    found = arguments.beside_real(job(assay="bbbc021_simulated", real="bbbc021"))
    assert found[-1] == "own"


def test_a_command_depends_on_what_it_imports_in_analysis_and_on_nothing_else():
    found = [path.removeprefix(f"{ROOT}/") for path in sources("analysis.measure")]
    assert "analysis/measure.py" in found and "analysis/numbers/metrics.py" in found
    assert "analysis/features/golgi.py" in found  # features are looked up by name
    assert not [path for path in found if not path.startswith("analysis/")]
    assert not [path for path in found if path.startswith(("analysis/figures", "analysis/plates"))]
    figures = [path.removeprefix(f"{ROOT}/") for path in sources("analysis.figures.figure2")]
    assert "analysis/figures/figure2.py" in figures and "analysis/drawing/grids.py" in figures
    assert "analysis/run/description.py" in figures and "analysis/figures/figure5.py" not in figures


def test_priors_differ_in_the_flow_alone_and_share_no_state_with_other_jobs():
    files = made({"fit_flow": {"flow": "maf"}})
    arguments, realnvp = Arguments(files.config, files), job(flow="realnvp")
    own = arguments.section("fit_flow")(realnvp)
    fit = arguments.prior_fit(realnvp)
    assert fit[: len(own)] == ["realnvp" if text == "maf" else text for text in own]
    search = arguments.own_lambdas(realnvp)
    assert search[:4] == ["--n-cells", "40", "--lambdas-w", "--lambdas-c"]
    assert fit[len(own) :] == search[4:] == ["--state", "state/priors"]
    flow = "results/translocation/priors/realnvp.safetensors"
    assert files.prior_model(realnvp) == [*files.search_model(realnvp)[:2], flow]
    named = files.priors()
    assert flow in named["flows"] and len(named["flows"]) == 2
    assert all("/translocation/" in path for path in named["searches"])


def test_a_trace_is_of_the_cells_of_both_controls_and_of_every_method_named():
    files = made({"trace_search": {"methods": ["rls", "rls_encoder"], "checkpoints": [0, 9]}})
    arguments = Arguments(files.config, files)
    flags = arguments.trace(job())
    assert flags[-3:] == ["--treatments", "DMSO", "TNF-alpha"]
    assert flags[flags.index("--checkpoints") :][1:3] == ["0", "9"] and "--methods" not in flags
    figure = arguments.of_figure("starts")(job())
    assert figure[:3] == ["--methods", "rls", "rls_encoder"] and "--columns" not in figure
    files.assays["golgi"]["settings"] = {"trace_search": {"column": "golgi_spot_count"}}
    named = arguments.traced()
    assert named[3:] == ["--columns", "golgi=golgi_spot_count"]
    found = [path for path in files.traces() if "/translocation/32x/" in path]
    assert [Path(path).name.split(".")[0] for path in found] == ["rls", "rls_encoder"]
    # The encoder is the one for clean images, since a trace has no degradation of its own.
    started = SimpleNamespace(assay="translocation", factor="32", method="rls_encoder")
    clean = "results/translocation/32x/clean/encoder.safetensors"
    assert files.search_encoder(started) == clean
    assert files.search_encoder(SimpleNamespace(**{**vars(started), "method": "rls"})) == []


def test_a_file_of_d_is_an_input_so_that_new_numbers_in_it_are_seen(tmp_path):
    blurred = {"operator": "psf_binning", "psf_file": str(tmp_path / "psf.tif")}
    files = made({"degradations": {"binning": blurred}})
    assert files.of_operator(job(degradation="binning")) == [str(tmp_path / "psf.tif")]
    assert files.of_operator(job()) == []
    own = {"degrade": {"operator": "kernel", "kernel_file": "kernels/k.tif"}}
    files = made(own)
    assert files.of_operator(SimpleNamespace(assay="translocation")) == [f"{ROOT}/kernels/k.tif"]


def test_an_assay_without_cells_to_calibrate_has_no_solutions():
    """The workflow says so before any job runs, and only where solutions are asked for."""
    low = made({}).to_calibrate(job())
    assert low == "results/translocation/32x/clean/low_resolution.ome.tif"
    with pytest.raises(InputError, match="share_calibration 0 of assay translocation"):
        made({"select_cells": {"share_calibration": 0}}).to_calibrate(job())
    named = {"select_cells": {"share_calibration": 0, "plates_calibration": ["P1"]}}
    assert made(named).to_calibrate(job()) == low


# Folds -------------------------------------------------------------------------------------------


def folds(monkeypatch):
    monkeypatch.setenv("RLS_REAL_DATA", "/data")
    config = read_config(
        ROOT / "config" / name for name in ("bbbc021_crops.yaml", "mechanism.yaml")
    )
    return Files(config, ROOT)


def test_folds_select_their_cells_from_the_same_plates(monkeypatch):
    files = folds(monkeypatch)
    first, second = (
        files.of_plates(".ome.tif")(job(assay=f"bbbc021_fold_{fold}")) for fold in (1, 2)
    )
    assert first == second and first == ["results/bbbc021_crops/plates/all.ome.tif"]
    values = [files.assays[f"bbbc021_fold_{fold}"] for fold in (1, 2)]
    selects = [value.pop("settings")["select_cells"] for value in values]
    assert [select["fold"] for select in selects] == [1, 2]
    assert {**values[0], "title": ""} == {**values[1], "title": ""}


def test_an_assay_without_cells_for_a_classifier_is_measured_without_one(monkeypatch):
    files = folds(monkeypatch)
    at = job(assay="bbbc021_fold_1")
    assert own_classifier(files.config)(at) == []
    assert not [path for path in files.measured() if "classification" in path]
    assert files.of_assays("thresholds.csv", classified=True) == []
    other = made()
    assert own_classifier(other.config)(job()) == "results/translocation/classifier.safetensors"
    assert "results/translocation/32x/clean/rls.classification.parquet" in other.measured()
    assert "results/golgi/thresholds.csv" in other.of_assays("thresholds.csv", classified=True)
