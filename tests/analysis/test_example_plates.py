"""The example plates, and the sheet and configuration that are shipped for them."""

import re
import subprocess
import sys

import pandas as pd
import pytest
import tifffile
import yaml

from analysis import example_plates
from analysis.plates.sheet import read_sheet
from analysis.run.checks import check
from analysis.run.keys import ROOT
from analysis.run.values import read_config, read_files
from analysis.simulation.example import PLATES, example_settings, write_plates
from analysis.simulation.plate import lay_out
from rls.io.foreign_tiff import open_tiff
from rls.runtime.errors import InputError

CONFIG, SHEET = ROOT / "config" / "my_plates.yaml", ROOT / "config" / "my_plates.csv"
COLUMNS = ["plate", "well", "site", "treatment", "path"]


def test_the_shipped_sheet_names_the_files_that_the_command_writes():
    sheet = read_sheet(SHEET, ["dna", "nfkb"])
    wells = lay_out(example_settings())
    said = {(p, w.name, w.treatment, f"{p}/{w.name}_s1.ome.tif") for p in PLATES for w in wells}
    found = sheet[["plate", "well", "treatment", "path"]].itertuples(index=False, name=None)
    assert set(found) == said and len(sheet) == len(said)
    assert list(sheet) == COLUMNS and set(sheet["site"]) == {1.0}


def test_the_files_are_as_a_laboratory_has_them(tmp_path):
    settings = example_settings(wells_per_treatment=1, field_height_px=40, field_width_px=48)
    table = write_plates(tmp_path, settings, lambda n: None)
    assert list(table) == COLUMNS and len(table) == 4
    for path in table["path"]:
        with open_tiff(tmp_path / path) as tiff:
            assert tiff.ome.names == ("DAPI", "FITC") and tiff.pixel_size_um == (1.0, 1.0)
            assert tiff.pictures[0].shape == (2, 40, 48)
    first, second = (tifffile.imread(tmp_path / path) for path in table["path"][:2])
    assert (first != second).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == list(PLATES)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "mine.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already and is not empty; nothing was written"):
        example_plates.main(["--output", str(tmp_path)])
    assert (tmp_path / "mine.tif").read_bytes() == b"mine"


def test_the_configuration_names_the_folder_and_inherits_what_it_can():
    written = yaml.safe_load(CONFIG.read_text())
    block = written["assays"]["my_plates"]
    assert ROOT / block["image_folder"] == ROOT / example_plates.FOLDER
    assert ROOT / block["sheet"] == SHEET
    for key in ("title", "nucleus_channel", "negative_control", "positive_control", "crop_size"):
        assert key not in block
    labels = read_config([CONFIG])["assays"]["my_plates"]["settings"]["list_plate"]
    assert labels["channel_labels"] == ["DAPI", "FITC"]


def test_every_key_that_a_user_edits_or_may_has_a_comment():
    """The five marked places have theirs above, the others behind the value."""
    above = CONFIG.read_text().split("# ---- Only for generator: train")[0]
    marked = ("sheet", "image_folder", "plates", "channels", "list_plate", "bit_depth")
    for line in above.splitlines():
        if re.match(r"\s+\w+: \S", line) and "#" not in line:
            key = line.split(":")[0].strip()
            assert key in (*marked, "pixel_size_um", "treatments", "nucleus_diameter_um"), line


def test_a_training_needs_one_word(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("assays: {my_plates: {generator: train}}")
    config = read_config([CONFIG, path])
    check(config, read_files([CONFIG, path]))
    names = ("demo.yaml", "demo_from_scratch.yaml", "translocation_32px.yaml")
    shipped = read_config([ROOT / "config" / name for name in names])
    for section in ("train_gan", "sample_styles", "fit_flow", "train_encoder"):
        differ = {k for k, v in config[section].items() if v != shipped[section][k]}
        assert differ <= {"total_kimg", "checkpoint_kimg", "tick_kimg"}, differ


def test_the_table_of_the_example_is_read_by_pandas_too():
    assert list(pd.read_csv(SHEET, comment="#")) == COLUMNS


@pytest.mark.workflow
def test_the_shipped_configuration_plans_a_run(tmp_path):
    """With the sheet alone: a dry run opens no image."""
    command = [
        *(sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--cores", "1"),
        *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)),
        *("--configfile", str(CONFIG)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    assert re.search(r"^super_resolve +6$", said, re.M), "three searches at two factors"
    assert not re.search(r"^(train_gan|fit_flow|train_encoder) ", said, re.M)
    assert "--channel-labels DAPI FITC" in said
    assert "/models/translocation_32px/generator.safetensors" in said
    scale = re.findall(r"rls.degrade .*--intensity (\S+)", said)
    assert set(scale) == {"results/my_plates/intensity.json"}


def test_the_lines_for_low_resolution_in_the_tutorial_are_a_valid_configuration(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "own_plates.md").read_text(), re.S)
    assert len(blocks) == 1
    path = tmp_path / "low.yaml"
    path.write_text(blocks[0])
    config = read_config([CONFIG, path])
    check(config, read_files([CONFIG, path]))
    assert config["assays"]["my_plates"]["crop_size"] == 4
