"""A zip of PNG as StyleGAN2-ADA's tool makes it: every count comes back, every fault is named."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import import_crops
from rls.io import read_stack
from rls.runtime.errors import InputError
from tests.analysis import small_plate
from tests.analysis.small_plate import left_behind
from tests.analysis.test_import_crops import SETTINGS

N, SIZE = 24, 30
NAMES = [f"{i // 10:05d}/img{i:08d}.png" for i in range(N)]
CLASSES = [i % 2 for i in range(N)]
CHANNELS = ("dna", "actin", "tubulin")
TREATMENTS = ("DMSO", "taxol_0.3uM")


def pictures(channels=3):
    """(n, y, x, c) uint8: a bright disc on noise, every channel its own."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    disc = 160.0 * np.exp(-(y**2 + x**2) / 40)[..., None] / np.arange(1, channels + 1)
    noise = np.random.default_rng(0).integers(0, 8, (N, SIZE, SIZE, channels))
    return (20 + disc + noise).astype(np.uint8)


def png(pixels, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(np.squeeze(pixels)).convert(mode).save(buffer, "png")
    return buffer.getvalue()


def plan(wells=4):
    """The CSV that says where the images come from; each treatment has ``wells`` wells."""
    well = [f"{'BC'[c]}{2 + i // 2 % wells:02d}" for i, c in enumerate(CLASSES)]
    return pd.DataFrame({"filename": NAMES, "plate": "P1", "well": well, "site": 1})


def contents(pixels=None, labels=CLASSES, csv=None, mode=None):
    """Members of the archive by name, images in another order than their names."""
    pixels = pictures() if pixels is None else pixels
    members = {name: png(image, mode) for name, image in zip(NAMES, pixels, strict=True)}
    pairs = None if labels is None else list(zip(NAMES, labels, strict=True))[::-1]
    members["dataset.json"] = json.dumps({"labels": pairs}).encode()
    if csv is not None:
        members["wells.csv"] = csv.to_csv(index=False).encode()
    return dict(sorted(members.items(), reverse=True))


def pack(folder, members):
    with zipfile.ZipFile(folder / "cells.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return folder / "cells.zip"


def load(folder, *more, channels=CHANNELS, classes=TREATMENTS):
    import_crops.main(
        [*("--crops", str(folder / "cells.zip"), "--plate", "P1", "--plates", "P1"),
         *("--channels", *channels, "--nucleus-channel", channels[0]),
         *("--output", str(folder / "P1.ome.tif"), "--fields", str(folder / "P1.fields.csv")),
         *("--stored-as", "counts", *SETTINGS, "--bit-depth", "8"),
         *("--saturation-counts", "none", "--class-treatments", *classes, *more)]
    )  # fmt: skip
    return read_stack(folder / "P1.ome.tif")


def test_counts_classes_and_wells_come_back_by_name(tmp_path, capsys):
    pack(tmp_path, contents(csv=plan().iloc[::-1]))
    stack = load(tmp_path)
    np.testing.assert_array_equal(stack.images, np.moveaxis(pictures(), -1, 1))
    assert stack.images.dtype == np.uint16 and stack.channels == CHANNELS
    table = stack.table
    assert list(table["treatment"]) == [TREATMENTS[c] for c in CLASSES]
    assert list(table["well"]) == list(plan()["well"])
    assert not {"image_id", "well"} & set(table.columns[table.isna().any()])
    assert table["image_id"].iloc[0] == "P1_B02_s1_c0"
    out = capsys.readouterr().out
    assert "nothing says y_px, x_px of the images" in out and "generator" not in out


@pytest.mark.parametrize("around", ["", "cells/", "cells\\"])
def test_a_zip_of_windows_or_a_mac_holds_the_same_cells(tmp_path, around):
    """Back-slashes, a folder around everything, and what a Mac adds."""
    members = contents(csv=plan())
    members = {around + name.replace("/", "\\"): content for name, content in members.items()}
    members |= {f"__MACOSX/._{n}": b"no image" for n in range(3)}
    pack(tmp_path, members | {around + "Thumbs.db": b"", around + "00000\\._a.png": b"no"})
    stack = load(tmp_path)
    np.testing.assert_array_equal(stack.images, np.moveaxis(pictures(), -1, 1))
    assert list(stack.table["well"]) == list(plan()["well"])


@pytest.mark.parametrize("name", ["../a.png", "a/../../b.png", "/a.png", "C:\\a.png", "..\\a.png"])
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path, name):
    pack(tmp_path, contents(csv=plan()) | {name: b""})
    with pytest.raises(InputError, match="which leads out of the archive"):
        load(tmp_path)


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    pack(tmp_path, contents(csv=plan()) | {NAMES[0].replace("/", "\\"): b"another"})
    with pytest.raises(InputError, match="Found 00000/img00000000.png twice in .*cells.zip"):
        load(tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.plates.zip_members.LARGEST_MB", 1)
    with zipfile.ZipFile(tmp_path / "cells.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents(csv=plan()).items():
            archive.writestr(name, content)
        archive.writestr("bomb.png", bytes(2**21))
    assert (tmp_path / "cells.zip").stat().st_size < 2**18
    with pytest.raises(InputError, match="Found bomb.png of 2 MB .* expected at most 1 MB a file"):
        load(tmp_path)


def test_the_table_beside_goes_before_the_one_inside(tmp_path):
    pack(tmp_path, contents(csv=plan().assign(well="X99")))
    plan().to_csv(tmp_path / "mine.csv", index=False)
    table = load(tmp_path, "--labels", str(tmp_path / "mine.csv")).table
    assert list(table["well"]) == list(plan()["well"])


def test_compounds_and_doses_of_the_table_do_without_classes(tmp_path):
    dose = {"DMSO": 0.0, "taxol": 0.3}
    compound = [("DMSO", "taxol")[c] for c in CLASSES]
    csv = plan().assign(compound=compound, concentration=[dose[c] for c in compound], moa="")
    pack(tmp_path, contents(labels=None, csv=csv))
    table = load(tmp_path, classes=()).table
    assert list(table["treatment"]) == [TREATMENTS[c] for c in CLASSES]
    assert list(table["dose"]) == list(csv["concentration"])


def test_names_with_accents_are_found_however_the_archive_writes_them(tmp_path):
    apart, composed = (unicodedata.normalize(form, "00000/é.png") for form in ("NFD", "NFC"))
    members = contents(csv=plan().replace({"filename": {NAMES[3]: composed}}))
    members[apart] = members.pop(NAMES[3])
    members["dataset.json"] = json.dumps({"labels": [[apart, 1]] + [
        [name, label] for name, label in zip(NAMES, CLASSES, strict=True) if name != NAMES[3]
    ]}).encode()  # fmt: skip
    pack(tmp_path, members)
    table = load(tmp_path).table
    assert sorted(table["well"]) == sorted(plan()["well"])


def test_wells_of_the_archives_table_have_one_name(tmp_path):
    table = plan()
    table["well"] = [
        well.replace("0", "") if i % 3 else well for i, well in enumerate(table["well"])
    ]
    pack(tmp_path, contents(csv=table))
    assert list(load(tmp_path).table["well"]) == list(plan()["well"])


def test_grey_images_are_one_channel(tmp_path):
    pack(tmp_path, contents(pictures(1), csv=plan()))
    stack = load(tmp_path, channels=("dna",))
    np.testing.assert_array_equal(stack.images[:, 0], pictures(1)[..., 0])


def test_colours_hold_the_channels_that_the_config_names(tmp_path):
    pixels = pictures()
    pixels[..., 0] = 0
    pack(tmp_path, contents(pixels, csv=plan()))
    colours = ("--rgb-channels", "none", "nfkb", "dna")
    stack = load(tmp_path, *colours, channels=("dna", "nfkb"))
    np.testing.assert_array_equal(stack.images[:, 0], pixels[..., 2])
    np.testing.assert_array_equal(stack.images[:, 1], pixels[..., 1])
    with pytest.raises(InputError, match="signal in 00000/img00000000.png .* says 'none'"):
        load(tmp_path, "--rgb-channels", "dna", "none", "nfkb", channels=("dna", "nfkb"))
    with pytest.raises(InputError, match="Found 3 channels in .*expected 2 .dna, nfkb."):
        load(tmp_path, channels=("dna", "nfkb"))
    with pytest.raises(InputError, match="rgb_channels r, g, b, expected dna once"):
        load(tmp_path, "--rgb-channels", "r", "g", "b")


def select(folder, *more):
    small_plate.write_config(folder)
    return small_plate.select(
        folder, ["P1"], "--treatments", *TREATMENTS, "--on-few-cells", "take_all", *more
    )


def test_cells_of_known_wells_are_split_by_them_and_others_only_train_a_generator(tmp_path, capsys):
    pack(tmp_path, contents(csv=plan()))
    load(tmp_path)
    cells = read_stack(select(tmp_path)).table
    assert (cells.groupby("well")["split"].nunique() == 1).all() and cells["split"].nunique() == 4
    pack(tmp_path, contents())
    table = load(tmp_path).table
    assert "they can train a generator, but not be split into wells" in capsys.readouterr().out
    assert set(table["well"]) == {"unknown"} and table["image_id"].is_unique
    for level in ("well", "field"):
        with pytest.raises(InputError, match=f"1 {level}s of DMSO.*No level has enough units"):
            select(tmp_path, "--split-by", level)
    other = ("tune", "classifier", "evaluation")
    none = [word for name in other for word in (f"--share-{name}", "0")]
    cells = read_stack(select(tmp_path, "--share-gan", "1", *none)).table
    assert set(cells["split"]) == {"gan"} and len(cells) == N


def harmed(**changes):
    return lambda: contents(csv=plan()) | {k.replace("__", "."): v for k, v in changes.items()}


def image(content):
    return lambda: contents(csv=plan()) | {NAMES[3]: content}


def csv(table):
    return lambda: contents(csv=table)


def labelled(labels):
    return lambda: contents(csv=plan(), labels=labels)


def without(name):
    return lambda: {k: v for k, v in contents(csv=plan()).items() if k != name}


WIDE = np.zeros((SIZE, SIZE + 1, 3), np.uint8)
DEEP = np.full((SIZE, SIZE), 40_000, np.uint16)


def deep_png():
    """RGB of 16 bits, which Pillow reads as 8."""
    return imagecodecs.png_encode(np.stack([DEEP] * 3, axis=-1))


FAULTS = {
    "no json": (without("dataset.json"), "no dataset.json in .*expected StyleGAN2-ADA"),
    "bad json": (harmed(dataset__json=b'{"labels": [['), "is no .*labels.* .JSONDecodeError"),
    "no labels key": (harmed(dataset__json=b"{}"), "is no .*labels.* .KeyError"),
    "vectors": (labelled([[0.5, 0.5]] * N), r"label \[0.5, 0.5\] of .*number of a class"),
    "unnamed class": (labelled([*CLASSES[:-1], 2]), "Found class 2 .* 2 names .DMSO, taxol"),
    "image lost": (without(NAMES[3]), f"a row without an image, {NAMES[3]}"),
    "no image": (lambda: {"dataset.json": b'{"labels": null}'}, "no PNG in .*cells.zip"),
    "not labelled": (harmed(**{NAMES[3].replace(".", "__") + "x__png": png(WIDE)}),
                     "an image without a row, .*x.png"),
    "row twice": (csv(pd.concat([plan(), plan().iloc[:1]])), f"two rows, {NAMES[0]}"),
    "no filename": (csv(plan().drop(columns="filename")), "no column filename in wells.csv"),
    "empty well": (csv(plan().replace({"well": {"B02": None}})), "well 'nan' of 00000/img"),
    "bad plate": (csv(plan().assign(plate="../P1")), "plate '../P1' of .*expected a name"),
    "bad site": (csv(plan().assign(site="one")), "site 'one' in row 2 of wells.csv"),
    "two tables": (harmed(more__csv=b"a,b\n"), "2 CSV in .*Name the right one"),
    "two treatments": (csv(plan().assign(well="B02")), "well B02 of plate P1 twice in wells.csv"),
    "contradiction": (csv(plan().assign(compound="taxol_0.3uM")),
                      "as taxol_0.3uM in .* and as DMSO by its class"),
    "cut png": (image(png(WIDE[:, :SIZE])[:60]), f"The image {NAMES[3]} in .* is damaged"),
    "text": (image(b"not an image"), f"The image {NAMES[3]} in .* is damaged"),
    "size": (image(png(WIDE)), "Found 30 x 31 px in .*expected crop_size 30"),
    "16 bit": (image(png(DEEP)), "PNG of 16 bits in .*expected 8-bit"),
    "palette": (image(png(WIDE[:, :SIZE], "P")), "has indexed colours .mode P., expected grey"),
    "16 bit of colours": (image(deep_png()), "PNG of 16 bits in .*expected 8-bit"),
    "alpha": (image(png(np.zeros((SIZE, SIZE, 4), np.uint8))), "is transparent in 900 pixels"),
    "one grey": (image(png(WIDE[:, :SIZE, 0])), "Found 1 channels in .*expected 3"),
}  # fmt: skip


def assert_nothing_written(folder):
    assert not list(folder.glob("P1*")) and left_behind(folder) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_one_sentence_and_writes_nothing(tmp_path, fault):
    make, message = FAULTS[fault]
    pack(tmp_path, make())
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
    assert_nothing_written(tmp_path)


def cut(content):
    return content[:-200]


def flip(content):
    place = content.index(b"IDAT") + 20
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def page(content):
    return b"<html>log in</html>" * 99


@pytest.mark.parametrize("harm", [cut, flip, page])
def test_a_damaged_archive_is_refused(tmp_path, harm):
    path = pack(tmp_path, contents(csv=plan()))
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match="is cut off, damaged or encrypted .*fetch it again"):
        load(tmp_path)
    assert_nothing_written(tmp_path)


def test_what_nothing_says_is_asked_for(tmp_path):
    pack(tmp_path, contents(labels=None, csv=plan()))
    with pytest.raises(InputError, match="nothing that says the treatment .*Give one"):
        load(tmp_path)
    pack(tmp_path, contents(csv=plan().drop(columns="plate")))
    with pytest.raises(InputError, match="no plate of the images .* 2 plates"):
        load(tmp_path, "--plates", "P1", "P2")
    with pytest.raises(InputError, match="mine.csv does not exist"):
        load(tmp_path, "--labels", str(tmp_path / "mine.csv"))
    with pytest.raises(InputError, match="no row of treatment zinc"):
        load(tmp_path, "--treatments", "DMSO", "zinc")
    assert_nothing_written(tmp_path)
