"""Outputs that cannot be written are refused before the work."""

import os
from dataclasses import dataclass

import pytest

from rls.io.files import atomic_path, name_end, write_text
from rls.runtime.command import Parser, option
from rls.runtime.errors import InputError
from rls.runtime.outputs import ADDED_BYTES, need_writable
from tests.conftest import ROOT

FOLDERS = (
    *("analysis/simulate_plate.py", "analysis/fetch_plate.py", "analysis/fetch_metadata.py"),
    *("rls/gather_trust.py", "rls/measure_trust.py"),
)
PLAIN = (
    *("rls/gather_shards.py", "rls/export_model.py", "rls/pack_training.py"),
    *("analysis/describe_assays.py", "analysis/report/__main__.py"),
)


@dataclass(frozen=True)
class Settings:
    """Nothing that matters here."""

    seed: int = option("Seed.", default=1)


def test_a_place_that_can_be_written_passes_and_nothing_is_made_there(tmp_path):
    (tmp_path / "old.csv").touch()
    for path, folder in (("a/b/c.csv", False), ("old.csv", False), ("new", True), (".", True)):
        need_writable(tmp_path / path, "--output", folder=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]


@pytest.mark.parametrize(
    ("path", "folder", "message"),
    [
        ("file/a.csv", False, "lies below .*/file, which is no folder"),
        ("file/a/b", True, "lies below .*/file, which is no folder"),
        ("file", True, "--output .*/file is no folder"),
        ("dead/a.csv", False, "lies below .*/dead, which is no folder"),
        ("here", False, "is a folder, expected the name of a file"),
        ("a" * 236, False, "--output has the name aaa.* of 236 bytes, expected at most 235"),
        ("\u03b1" * 118, False, "of 236 bytes"),
        ("a" * 256 + "/b.csv", False, "of 256 bytes, expected at most 255"),
        ("/".join(["a" * 200] * 21), False, "has a path of 4[0-9]+ bytes, expected at most 4075"),
    ],
)
def test_a_place_that_cannot_is_refused(tmp_path, path, folder, message):
    (tmp_path / "file").touch()
    (tmp_path / "here").mkdir()
    (tmp_path / "dead").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match=message):
        need_writable(tmp_path / path, "--output", folder=folder)


def test_a_folder_without_the_right_to_write_is_refused(tmp_path, monkeypatch):
    """As root every folder may be written to, so the system's answer is played."""
    asked = []

    def access(path, mode):
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(InputError, match=f"the folder {tmp_path} is read-only, or you have no"):
        need_writable(tmp_path / "a" / "b.csv", "--out")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


def test_every_command_looks_at_its_outputs_first(tmp_path):
    (tmp_path / "file").touch()
    below = str(tmp_path / "file" / "a.csv")
    parser = Parser("Test.", Settings, "fit")
    for name in ("--output-csv", "--scores", "--model", "--state"):
        parser.add_argument(name, type=type(tmp_path))
    parser.writes("scores")
    for name in ("--output-csv", "--scores", "--state"):
        with pytest.raises(InputError, match=f"{name} .* lies below"):
            parser.parse([name, below])
    parser.parse(["--model", below])  # an input


def test_a_file_of_the_longest_name_is_written_and_leaves_nothing_beside_it(tmp_path):
    name = "\u03b1" * 113 + ".ome.tif"
    assert len(os.fsencode(name)) == 255 - ADDED_BYTES - 1
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with atomic_path(tmp_path / ("b" * 247 + ".ome.tif")) as temporary:
        assert len(temporary.name) == 255 and temporary.name.endswith("b.ome.tif")
        temporary.write_text("x")


def test_the_end_of_a_name_is_cut_between_letters():
    assert name_end("\u03b1\u03b2.tif", 6) == "\u03b2.tif" and name_end("a.tif", 9) == "a.tif"


@pytest.mark.parametrize(
    ("path", "declared"),
    [
        ("analysis/crop_cells.py", 'writes("fields")'),
        ("analysis/import_crops.py", 'writes("fields")'),
        ("analysis/select_cells.py", 'writes("intensity", "selection", "flags", "flagged")'),
        ("analysis/low_resolution.py", 'writes("intensity")'),
        ("analysis/train_segmenter.py", 'writes("scores")'),
        ("analysis/simulate_plate.py", 'writes("truth")'),
        ("rls/pretrained/command_line.py", 'writes("out")'),
        *((path, 'writes("output", folder=True)') for path in FOLDERS),
        *((path, 'need_writable(args.output, "--output"') for path in PLAIN),
    ],
)
def test_outputs_of_other_names_and_folders_are_declared(path, declared):
    assert declared in (ROOT / path).read_text()
