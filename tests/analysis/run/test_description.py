"""What runs: read from a configuration, written as run.json, read again."""

import json
from pathlib import Path

import pytest

from analysis.run.description import Condition, Run
from analysis.run.keys import ROOT
from analysis.run.values import lay_over, read_config
from rls.io import write_text_with_digest
from rls.runtime.errors import InputError

ACQUIRED = ROOT / "config" / "acquired.yaml"


def described(change=None, *overlays):
    config = read_config(overlays)
    lay_over(config, change or {})
    return Run.of(config)


def conditions(run):
    return [(at.assay.name, at.factor, at.degradation, len(at.methods)) for at in run.comparisons()]


def test_all_methods_run_on_the_first_degradation_and_few_on_the_others():
    few = {"degraded_methods": ["bicubic", "rls"], "degradations": ["clean", "gaussian_blur"]}
    # A third method stands in the degradation itself and runs on no other.
    run = described({"run": {"assays": ["bbbc021", "golgi"], "degraded_factors": [16], **few}})
    assert conditions(run) == [
        ("bbbc021", 16, "clean", 15),
        ("bbbc021", 16, "gaussian_blur", 3),
        ("bbbc021", 32, "clean", 15),
        ("golgi", 16, "clean", 15),
        ("golgi", 16, "gaussian_blur", 3),
    ]
    assert run.factors == (16, 32) and run.degradations == ("clean", "gaussian_blur")
    clean = [(at.assay.name, at.factor) for at in run.comparisons(clean_only=True)]
    assert clean == [("bbbc021", 16), ("bbbc021", 32), ("golgi", 16)]
    blurred = next(at for at in run.comparisons() if not at.clean)
    assert blurred.methods == ("bicubic", "rls", "rls_true_forward")  # in the order of run.methods
    assert blurred.title == "BBBC021, 16x, gaussian_blur"


def test_a_regression_is_a_row_without_images():
    run = described({"run": {"methods": ["bicubic", "amortised", "rls"]}})
    at = next(run.comparisons())
    assert at.methods == run.methods == ("bicubic", "amortised", "rls")
    assert at.methods_with_images == run.methods_with_images == ("bicubic", "rls")


def test_cells_acquired_in_low_resolution_face_no_degradation():
    run = described({"run": {"degradations": ["clean", "gaussian_noise"]}}, ACQUIRED)
    assert [at.degradation for at in run.comparisons()] == ["clean"]
    (assay,) = run.assays
    assert not assay.has_high_resolution
    assert assay.label == "My cells (acquired in LR, no HR)"


def test_the_files_of_a_condition_lie_where_the_rules_write_them():
    at = next(described().comparisons())
    folder = Path("results/translocation/32x/clean")
    assert at.folder == folder and at.measured("rls", "features") == folder / "rls.features.parquet"
    assert at.measured("rls", "metrics") == folder / "rls.metrics.parquet"
    assert at.measured("rls", "classification") == folder / "rls.classification.parquet"
    assert at.stack("low_resolution") == folder / "low_resolution.ome.tif"
    assert at.stack("high_resolution") == Path("results/translocation/high_resolution.ome.tif")


def test_a_description_is_written_and_read_again_and_its_folder_is_where_it_lies(tmp_path):
    run = described({"run": {"assays": ["bbbc021", "translocation"]}})
    path = tmp_path / "results" / "run.json"
    path.parent.mkdir()
    write_text_with_digest(path, run.to_json(), written_by="describe_assays")
    found = Run.read(path)
    assert found.results == path.parent
    assert found.assays == run.assays and found.methods == run.methods
    assert found.assays[0].conditions[0] == Condition(16, "clean", run.methods, True)
    assert found.to_json() == run.to_json() and str(tmp_path) not in run.to_json()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "damaged"),
        ("{}", "damaged .*assays"),
        ('{"seed": 1, "device": "cpu", "methods": [], "assays": [{"name": "a"}]}', "damaged"),
    ],
)
def test_a_damaged_description_names_the_rule_to_run_again(tmp_path, text, said):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"{said}.*describe_assays"):
        Run.read(path)


def test_an_edited_description_is_refused(tmp_path):
    path = tmp_path / "run.json"
    write_text_with_digest(path, described().to_json(), written_by="describe_assays")
    content = json.loads(path.read_text())
    content["seed"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="not the one that was written.*rule describe_assays"):
        Run.read(path)
    with pytest.raises(InputError, match="does not exist.*describe_assays"):
        Run.read(tmp_path / "other.json")
