"""export_zarr: what another reader of zarr, and a judge of the specification, find."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import export_zarr
from analysis.features.nuclei import find_nuclei
from analysis.features.settings import settings_class
from analysis.run.description import Run
from analysis.run.exports import zarr_cells
from analysis.run.files import Files
from analysis.run.values import read_config, section_values
from rls.io import read_stack, write_stack
from rls.io.names import OK
from rls.runtime.command import Parser
from rls.runtime.errors import InputError
from tests.analysis import made_up
from tests.analysis.small_plate import left_behind
from tests.conftest import ROOT

for package in ("tensorstore", "yaozarrs", "zarr"):
    pytest.importorskip(package)
import tensorstore  # noqa: E402  after it is known to be there
import yaozarrs  # noqa: E402  as above

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])
VALUES = section_values(read_config([ROOT / "config" / "smoke.yaml"]), "measure", "translocation")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of HR (uint16), LR and rls (float32), with the settings of measure."""
    root = tmp_path_factory.mktemp("run")
    made_up.write_results(root, ("rls",), wells=4, cells=5)
    (root / "config.yaml").write_text(yaml.safe_dump({"measure": VALUES}))
    return root


def stack_of(root, name="high_resolution"):
    folder = root / "translocation"
    if name != "high_resolution":
        folder = folder / f"{made_up.FACTOR}x" / made_up.DEGRADATION
    return folder / f"{name}.ome.tif"


def export(root, output, *more, name="high_resolution", version="0.5"):
    export_zarr.main(
        ["--config", str(root / "config.yaml"), "--stack", str(stack_of(root, name)),
         "--intensity", str(root / "translocation" / "intensity.json"), "--nucleus-channel", "dna",
         "--ngff-version", version, "--output", str(output), *more]
    )  # fmt: skip
    return output


def pixels(folder, version):
    kvstore = {"driver": "file", "path": str(folder / "0")}
    spec = {"driver": "zarr" if version == "0.4" else "zarr3", "kvstore": kvstore}
    return np.asarray(tensorstore.open(spec).result().read().result())


def said(folder, version):
    """The metadata of a group: those of OME, and our own."""
    if version == "0.4":
        found = json.loads((folder / ".zattrs").read_text())
        return found, found.get("rls")
    found = json.loads((folder / "zarr.json").read_text())["attributes"]
    return found["ome"], found.get("rls")


@VERSIONS
@pytest.mark.parametrize("name", ["high_resolution", "rls"])
def test_another_reader_finds_the_same_pixels_channels_size_and_cells(run, tmp_path, version, name):
    folder = export(run, tmp_path / "cells.ome.zarr", version=version, name=name)
    yaozarrs.validate_zarr_store(str(folder))
    stack = read_stack(stack_of(run, name))
    found = pixels(folder, version)
    assert found.dtype == stack.images.dtype
    np.testing.assert_array_equal(found, stack.images)
    ome, own = said(folder, version)
    assert [channel["label"] for channel in ome["omero"]["channels"]] == list(stack.channels)
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == list("tcyx")
    assert {axis["unit"] for axis in image["axes"][2:]} == {"micrometer"}
    (transformation,) = image["datasets"][0]["coordinateTransformations"]
    assert transformation["scale"] == [1, 1, stack.pixel_size_um, stack.pixel_size_um]
    assert own["image_ids"] == list(stack.table["image_id"])


@VERSIONS
def test_labels_are_the_nuclei_that_measure_finds_and_name_their_cells(run, tmp_path, version):
    folder = export(run, tmp_path / "cells.ome.zarr", version=version)
    stack = read_stack(stack_of(run))
    masks = pixels(folder / "labels" / "nuclei", version)
    parser = Parser("", settings_class(), "measure")
    _, settings = parser.parse(["--config", str(run / "config.yaml")])
    images = stack.images[:, 0].astype(np.float32) - made_up.INTENSITY.black[0]
    nuclei = find_nuclei(images, stack.pixel_size_um, settings)
    assert sum(nucleus.mask.any() for nucleus in nuclei) > len(stack) / 2
    for i, nucleus in enumerate(nuclei):
        np.testing.assert_array_equal(masks[i, 0], nucleus.mask * np.uint32(i + 1))
    about = said(folder / "labels" / "nuclei", version)[0]["image-label"]
    rows = pd.DataFrame(about["properties"])
    assert list(rows["label-value"]) == list(range(1, len(stack) + 1))
    for name in ("image_id", "treatment", "well"):
        assert list(rows[name]) == list(stack.table[name])
    assert list(rows["status"]) == [nucleus.status for nucleus in nuclei]


def test_cells_without_a_measurable_nucleus_have_no_mask_and_say_why(run, tmp_path):
    folder = export(run, tmp_path / "low.ome.zarr", name="low_resolution")
    assert not pixels(folder / "labels" / "nuclei", "0.5").any()
    # Zeros are written all the same, so that a lost chunk is not taken for them.
    assert (folder / "labels" / "nuclei" / "0" / "c" / "0" / "0" / "0" / "0").is_file()
    about = said(folder / "labels" / "nuclei", "0.5")[0]["image-label"]
    assert OK not in {row["status"] for row in about["properties"]}


def test_cells_are_chosen_by_split_and_treatment(run, tmp_path):
    folder = export(run, tmp_path / "a.zarr", "--treatments", "DMSO", "--splits", "evaluation")
    stack = read_stack(stack_of(run))
    rows = (stack.table["treatment"] == "DMSO").to_numpy()
    np.testing.assert_array_equal(pixels(folder, "0.5"), stack.images[rows])
    with pytest.raises(InputError, match="no cell of tune in"):
        export(run, tmp_path / "b.zarr", "--splits", "tune")
    assert not (tmp_path / "b.zarr").exists()


def test_a_missing_value_of_the_table_is_null(run, tmp_path):
    stack = read_stack(stack_of(run))
    table = stack.table.assign(dose=np.nan, moa=None).drop(columns="image_digest")
    root = tmp_path / "translocation"
    write_stack(root / "high_resolution.ome.tif", stack.images, table, channels=stack.channels,
                pixel_size_um=1.25, written_by="test")  # fmt: skip
    for name in ("config.yaml", "translocation/intensity.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    folder = export(tmp_path, tmp_path / "a.zarr")
    text = (folder / "labels" / "nuclei" / "zarr.json").read_text()
    assert "NaN" not in text
    yaozarrs.validate_zarr_store(str(folder))


def test_a_whole_folder_takes_the_place_of_another_or_nothing_changes(run, tmp_path, monkeypatch):
    folder = export(run, tmp_path / "a.zarr")
    export(run, folder, "--treatments", "DMSO")
    assert len(pixels(folder, "0.5")) == 10

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.cells.zarr_cells._write", full)
    with pytest.raises(OSError, match="No space left"):
        export(run, folder)
    assert len(pixels(folder, "0.5")) == 10 and left_behind(tmp_path) == []


def test_a_folder_of_something_else_and_a_file_are_left_alone(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "mine" / "zarr.json").write_text('{"zarr_format": 3}')  # somebody's plate
    with pytest.raises(InputError, match="mine is not empty and was not written by this"):
        export(run, tmp_path / "mine")
    with pytest.raises(InputError, match="notes.txt is no folder"):
        export(run, tmp_path / "mine" / "notes.txt")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_an_unknown_nucleus_channel_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="no channel actin among dna, nfkb"):
        export(run, tmp_path / "a.zarr", "--nucleus-channel", "actin")
    assert not (tmp_path / "a.zarr").exists()


def test_without_zarr_a_sentence_names_it(run, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="no package zarr"):
        export(run, tmp_path / "a.zarr")


def test_the_target_zarr_has_every_stack_of_the_clean_degradation():
    config = read_config([ROOT / "config" / "smoke.yaml"])
    found = zarr_cells(Files(config, ROOT))
    folder = "results/translocation/4x/clean"
    methods = next(Run.of(config).comparisons()).methods_with_images
    wanted = [f"{folder}/{n}.ome.zarr" for n in ("high_resolution", "low_resolution", *methods)]
    assert found == wanted
