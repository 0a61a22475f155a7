"""What a system leaves in a folder of images is passed over, and said."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from rls.io.debris import is_debris, without_debris
from rls.pretrained.user_cells import list_files, read_cells
from rls.runtime.errors import InputError

DEBRIS = ("._a_dna.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.tif")


@pytest.mark.parametrize("name", [*DEBRIS, "__MACOSX/._a.png", "a/.b/c.png", "x/THUMBS.DB"])
def test_hidden_and_system_files_are_debris(name):
    assert is_debris(PurePosixPath(name))


@pytest.mark.parametrize("name", ["a.png", "a/b.c.png", "macosx/a.png", "thumbs.png", "./a.png"])
def test_images_are_not(name):
    assert not is_debris(PurePosixPath(name))


def test_a_folder_is_read_without_them_and_their_number_is_said(tmp_path, capsys):
    folder = tmp_path / ".cells"  # the folder itself may be hidden
    folder.mkdir()
    for cell in ("a", "b"):
        for channel in ("dna", "nfkb"):
            pixels = np.full((4, 4), 7, np.uint8)
            Image.fromarray(pixels).save(folder / f"{cell}_{channel}.png")
    for name in DEBRIS:
        (folder / name).write_bytes(b"\0\5\x16\7 no image")
    cells = read_cells([folder], ("dna", "nfkb"))
    assert cells.image_ids == ("a", "b")
    assert "passed over 5 hidden or system files" in capsys.readouterr().out


def test_a_folder_of_them_alone_holds_no_image(tmp_path):
    (tmp_path / "._a.png").touch()
    with pytest.raises(InputError, match="holds no image"):
        list_files([tmp_path])


def test_a_name_that_is_no_utf_8_is_refused_in_a_sentence(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).touch()
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"file caf\\xe9.png in .* is no UTF-8 text"):
        list_files([tmp_path])
    (tmp_path / name).rename(tmp_path / os.fsdecode(b"caf\xe9.txt"))
    assert list_files([tmp_path]) == [tmp_path / "a.png"]  # no image, and so no matter
    assert without_debris([Path("a/b")], Path("a")) == [Path("a/b")]
