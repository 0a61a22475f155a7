"""The check of plates: each fault of a user's plates has its sentence, and all are said at once."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import tifffile
import yaml

from analysis import check as check_command
from analysis.checking.check import check
from analysis.checking.findings import ASSUMED, DOUBT, FACT, FAULT, Findings, described
from analysis.run.keys import ROOT
from analysis.run.values import lay_over
from analysis.simulation.example import example_settings, write_plates
from rls.runtime.errors import InputError

SIZES = {"wells_per_treatment": 5, "field_height_px": 150, "field_width_px": 150}
NAMES = {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC"]}}


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """The folder of small example plates, and their sheet."""
    folder = tmp_path_factory.mktemp("plates")
    return folder, write_plates(folder, example_settings(**SIZES), lambda n: None)


class Case:
    """A configuration, a sheet and images, each of which a test may change."""

    def __init__(self, folder, plates):
        self.folder, self.images, self.table = folder, plates[0], plates[1].copy()
        self.config = yaml.safe_load((ROOT / "config" / "my_plates.yaml").read_text())
        self.file, self.sheet = folder / "mine.yaml", folder / "sheet.csv"
        self.content = b""
        self.assay(sheet=str(self.sheet))

    def assay(self, **block):
        lay_over(self.config["assays"]["my_plates"], block)
        return self

    def change(self, **sections):
        lay_over(self.config, sections)
        return self

    def with_own_images(self):
        own = self.folder / "images"
        shutil.copytree(self.images, own)
        self.images = own
        return self

    def rewrite(self, index, change, **facts):
        """Write one field anew; ``change`` takes and returns (c, y, x) counts."""
        path = self.images / self.table["path"][index]
        metadata = {**NAMES, "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0, **facts}
        tifffile.imwrite(path, change(tifffile.imread(path)), metadata=metadata)

    def write(self):
        self.sheet.write_bytes(self.content or self.table.to_csv(index=False).encode())
        self.config["assays"]["my_plates"].setdefault("image_folder", "")
        if self.config["assays"]["my_plates"]["image_folder"] == "runs/example_plates":
            self.assay(image_folder=str(self.images))
        self.file.write_text(yaml.safe_dump(self.config))
        return self.file

    def found(self, kind=FAULT):
        return [one.text for one in check([self.write()]) if one.kind == kind]


@pytest.fixture
def case(tmp_path, plates):
    return Case(tmp_path, plates)


def assert_said(texts, *messages):
    """Each message is in a sentence of its own, and there is no other sentence."""
    for message in messages:
        assert sum(bool(re.search(message, text)) for text in texts) == 1, (message, texts)
    assert len(texts) == len(messages), texts


def test_the_example_passes_and_says_what_comes_next(case, capsys):
    check_command.main(["--configfile", str(case.write())])
    said = capsys.readouterr().out
    assert "Wrong" not in said and "To look at" not in said
    assert "lists 20 fields in 20 wells; every file exists" in said
    assert "Of 20, 20 fields of 150 x 150 px hold the channels dna, nfkb" in said
    assert re.search(r"nuclei in 6 fields have a diameter of 1[345]", said)
    assert re.search(r"DMSO: 10 wells, 10 fields, about \d+ usable cells a field. Split by well: "
                     r"2 in gan .about \d+ cells., 1 in tune .*3 in evaluation", said)  # fmt: skip
    assert f"rls plan --configfile {case.file}" in said
    assert f"--configfile {case.file} --directory runs/mine" in said


def test_a_fault_ends_the_command_with_1(case, capsys):
    case.assay(generator="models/nfkb")
    with pytest.raises(SystemExit) as ended:
        check_command.main(["--configfile", str(case.write())])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "Wrong (1):" in said and "Correct what is wrong (1), and run this command" in said
    assert "no generator.safetensors and no intensity.json. Name a folder of models/ (" in said


def test_a_table_as_excel_writes_it_is_read_and_its_contradictions_are_all_named(case):
    table = case.table.rename(columns={"plate": "Plate", "well": "Well", "path": "Path"})
    table["Well"] = [well[0].lower() + well[1:].lstrip("0") for well in table["Well"]]
    table["Path"] = table["Path"].str.replace("/", "\\")
    table = table.assign(**{"Pixel size um": "0,5", "Bit depth": 14, "Compound": "Größe µ"})
    case.content = table.to_csv(index=False, sep=";").encode("cp1252")
    texts = case.found()
    assert_said(
        texts,
        "pixel_size_um 0.5 in row 2 of .*, but 1 in .*; bit_depth 14 .* but 12 in",
        "20 of 20 fields: pixel size. The first: .* 1 x 1 um a pixel, but the sheet .* 0.5 um",
    )
    assumed = case.found(ASSUMED)
    assert any("text in cp1252; semicolon-separated; decimal commas in" in a for a in assumed)
    assert any("wells are read by row and column, 'b2' as B02" in text for text in assumed)
    assert any("back-slashes in 20 paths are read as slashes" in text for text in assumed)


def test_channels_that_the_files_call_otherwise(case):
    case.config["assays"]["my_plates"]["settings"] = {}
    assert_said(case.found(), "20 of 20 fields: channel missing. The first: .*called DAPI, FITC: "
                "found no channel dna, .*list_plate.channel_labels")  # fmt: skip
    case.assay(channels=["DAPI", "FITC"])
    assert_said(case.found(), r"draws the channels dna, nfkb.* channels: \[dna, nfkb\], and what "
                r".*channel_labels: \[DAPI, FITC\]")  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["DAPI"], "1 list_plate.channel_labels, expected one for each of the channels dna, nfkb"),
     (["DAPI", "GFP"], "called DAPI, FITC: found no 'GFP' for channel nfkb")],
)  # fmt: skip
def test_labels_that_do_not_fit(case, labels, message):
    assert_said(case.assay(settings={"list_plate": {"channel_labels": labels}}).found(), message)


@pytest.mark.parametrize(("ours", "kind"), [("TNF-alfa", "misspelt"), ("tnf alpha", "otherwise")])
def test_a_control_that_is_spelt_otherwise_is_one_fault(case, ours, kind):
    texts = case.assay(treatments=["DMSO", ours]).found()
    assert_said(texts, f"the treatment '{ours}', of which .*'TNF-alpha' in 10 rows .first: well")


def test_faults_of_every_kind_are_said_at_once(case):
    """Of the configuration, the table, the files, the generator and the sizes."""
    case.assay(pixel_size_um=0.5, image_size=48, treatments=["DMSO", "TNF-alfa"])
    case.assay(plates=["MyPlate1", "MyPlate2", "MyPlate3"])
    case.table["path"] = ["lost.tif", *case.table["path"][1:]]
    assert_said(
        case.found(),
        "image_size is 48, expected a power of two",
        "no row of plate MyPlate3 in .*, which has MyPlate1, MyPlate2",
        "'TNF-alfa', of which",
        "1 of 10 files of column path .* missing, first .*lost.tif. Correct .*image_folder",
        "ome.tif says 1 x 1 um a pixel, but the sheet or the configuration 0.5 um",
        "models/translocation_32px draws images of 32 px, and the assay's image_size is 48",
        "draws cells at 1 um a pixel, and the assay has 0.5 um: .* look 2 times as large",
    )


def test_a_configuration_that_is_not_valid_does_not_hide_the_table(case):
    case.assay(bit_depth=13, treatments=["DMSO"]).change(crop_cell={})
    texts = case.found()
    assert_said(
        texts,
        "Unknown key 'crop_cell' in the top level; .* Is crop_cells meant?",
        "bit_depth is 13, expected one of: 8, 10, 12, 14, 16.$",
        "Missing key 'positive_control'",
        "treatments names 1 treatment, and classifiers need two classes",
        "10 fields of the unknown treatment TNF-alpha",
    )


def test_a_camera_of_more_bits(case):
    case.with_own_images()
    for index in range(len(case.table)):
        case.rewrite(index, lambda counts: np.minimum(4 * counts, 2**14 - 1))
    case.assay(intensity_scale="model")
    message = "fields that were read: above bit depth. .* expected 0 to 4095 at bit_depth 12. Corr"
    assert any(re.search(message, text) for text in case.found())
    texts = case.assay(bit_depth=14).found()
    assert len(texts) == 2
    assert re.search("counts in channel dna, and those of the generator 54 to 617", texts[0])
    assert "Set intensity_scale: own" in texts[1]
    assert case.assay(intensity_scale="own").found() == []


def test_what_is_only_to_be_looked_at(case):
    case.assay(bit_depth=16).change(
        crop_cells={"nucleus_diameter_um": 25.0, "camera_offset_counts": 99.0},
        run={"factors": [8, 16]},
    )
    assert case.found() == []
    assert_said(
        case.found(DOUBT),
        "brightest pixel of 6 fields has .* and a camera of 16 bits reaches 65535",
        "darkest pixel of 6 fields has .* less than camera_offset_counts 99",
        "a diameter of .* um in the median, and nucleus_diameter_um is 25",
        "25 um is 25 px wide, 78% of an image of 32 px; .* Set image_size to 64",
        "nucleus_diameter_um is 25 and measure.nucleus_diameter_um is 15.*set both alike",
        "factor 16 an image of 32 px has 2 px of low resolution a side",
        "no encoder for factor 16 and degradation clean",
    )


def test_sizes_that_cannot_be(case):
    case.assay(image_size=128, generator="train").change(
        crop_cells={"nucleus_diameter_um": 5.0}, measure={"nucleus_diameter_um": 5.0}
    )
    texts = case.found()
    fits = "A crop of 182 px (crop_size) does not fit into a field of 150 x 150 px"
    assert any(fits in text for text in texts)
    assert any("5 um is 5 px wide, and below 6 px none is measured" in text for text in texts)


def test_broken_fields_are_left_out_or_stop_the_run(case):
    case.with_own_images()
    case.rewrite(0, lambda counts: counts[:1], Channel={"Name": ["DAPI"]})
    case.rewrite(2, lambda counts: counts[:, :100])
    path = case.images / case.table["path"][1]
    path.write_bytes(path.read_bytes()[:500])
    messages = ("1 of 20 fields: channel missing", "1 of 20 fields: truncated", "differ in size: ")
    texts = case.found(DOUBT)
    for message in messages:
        assert any(message in text for text in texts), texts
    assert case.found() == []
    assert_said(case.change(crop_cells={"on_broken_field": "stop"}).found(), *messages)


def test_a_split_without_a_well_and_one_with_few(case):
    case.table = case.table[case.table["plate"] == "MyPlate1"]
    few = "few wells of the controls: 1 of DMSO and 1 of TNF-alpha. .* below 3 Z' and SSMD stay"
    assert_said(case.assay(plates=["MyPlate1"]).found(DOUBT), few)
    case.table = case.table[:4]
    assert_said(case.found(), "Found 2 wells of DMSO, expected at least one for each of the splits")
    case.change(select_cells={"plates_evaluation": ["MyPlate1"]})
    texts = case.found()
    assert any("The control DMSO would have no cell in split classifier" in text for text in texts)


def test_few_cells_stop_a_run_that_does_not_take_all(case):
    assert not [t for t in case.found(DOUBT) if "fewer cells than" in t]
    texts = case.change(select_cells={"on_few_cells": "stop"}).found(DOUBT)
    assert any("DMSO has fewer cells than select_cells asks for" in text for text in texts)


def test_a_training_is_announced_and_its_cells_are_counted(case):
    case.assay(generator="train", channels=["DAPI", "FITC"])
    case.config["assays"]["my_plates"]["settings"] = {}
    assert case.found() == []
    assert any("690 thousand images of 32 px" in text for text in case.found(FACT))
    assert any("trained on about" in text and "init_from" in text for text in case.found(DOUBT))


@pytest.mark.parametrize(
    ("block", "message"),
    [({"image_folder": "/no/folder"}, "The image_folder /no/folder does not exist. Correct it; a"),
     ({"sheet": "no.csv"}, "The sheet .*no.csv does not exist"),
     ({"sheet": "$NOT_SET_HERE/s.csv"}, "an environment variable that is not set"),
     ({"generator": "models/golgi_64px"}, "draws the channels dna, golgi")],
)  # fmt: skip
def test_what_is_not_there(case, block, message):
    texts = case.assay(**block).found()
    assert any(re.search(message, text) for text in texts), texts


def test_a_file_that_is_no_configuration_is_said(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("run: [\n")
    assert [one.kind for one in check([path])] == [FAULT]
    assert "does not exist" in check([tmp_path / "none.yaml"])[0].text


def test_what_a_call_prints_is_an_assumption_even_where_it_fails():
    def call():
        print("list_plate: the sheet is read as: tab-separated")
        raise InputError("No.")

    findings = Findings()
    assert findings.attempt(call) is None and findings.attempt(call) is None
    assert findings.of_kind(ASSUMED) == ["the sheet is read as: tab-separated."]
    assert findings.of_kind(FAULT) == ["No."]
    lines = list(described(findings.all))
    assert lines[0] == "Wrong (1):" and lines[1] == "  - No."
