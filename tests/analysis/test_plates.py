"""Sheets and image files: what is right is read, what would mislead is refused."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis.plates import bbbc021
from analysis.plates.field_files import expand
from analysis.plates.image_files import BrokenField, read_field
from analysis.plates.names import refuse_misspelt
from analysis.plates.sheet import check_sheet, read_sheet
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CHANNELS


def row(**changes):
    return {"path_dna": "d.tif", "path_nfkb": "n.tif", "bit_depth": 16} | changes


def write(folder, dna=None, nfkb=None):
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    tifffile.imwrite(folder / "d.tif", image if dna is None else dna)
    tifffile.imwrite(folder / "n.tif", image + 1 if nfkb is None else nfkb)
    return image


def test_channels_are_read_in_their_order(tmp_path):
    image = write(tmp_path)
    field = read_field(row(), CHANNELS, tmp_path)
    assert field.dtype == np.uint16 and field.shape == (2, 20, 30)
    np.testing.assert_array_equal(field, [image, image + 1])
    turned = read_field(row(), CHANNELS[::-1], tmp_path)
    np.testing.assert_array_equal(turned, [image + 1, image])


@pytest.mark.parametrize("planar", [True, False])
def test_a_file_with_several_channels_is_read(tmp_path, planar):
    image = np.arange(1200, dtype=np.uint16).reshape(2, 20, 30)
    pixels = image if planar else image[:, None]
    tifffile.imwrite(tmp_path / "both.tif", pixels, photometric="minisblack")
    field = read_field({"path": "both.tif", "bit_depth": 16}, CHANNELS, tmp_path)
    np.testing.assert_array_equal(field, image)
    with pytest.raises(BrokenField, match="3 channels"):
        read_field({"path": "both.tif", "bit_depth": 16}, ("a", "b", "c"), tmp_path)


def test_eight_bits_are_widened_when_the_sheet_says_eight(tmp_path):
    image = np.arange(240, dtype=np.uint8).reshape(12, 20)
    write(tmp_path, image, image)
    field = read_field(row(bit_depth=8), CHANNELS, tmp_path)
    assert field.dtype == np.uint16
    np.testing.assert_array_equal(field[0], image)


@pytest.mark.parametrize("depth", [12, 16])
def test_an_eight_bit_file_is_refused_where_more_was_said(tmp_path, depth):
    write(tmp_path, nfkb=np.zeros((20, 30), np.uint8))
    with pytest.raises(BrokenField, match=f"8-bit file.*bit_depth is {depth}") as error:
        read_field(row(bit_depth=depth), CHANNELS, tmp_path)
    assert error.value.reason == "8-bit file"


def test_values_above_the_bit_depth_are_refused(tmp_path):
    write(tmp_path, np.full((20, 30), 5000, np.uint16))
    with pytest.raises(BrokenField, match="0 to 4095"):
        read_field(row(bit_depth=12), CHANNELS, tmp_path)


def test_a_channel_of_another_size_is_refused(tmp_path):
    write(tmp_path, nfkb=np.arange(620, dtype=np.uint16).reshape(20, 31))
    with pytest.raises(BrokenField, match=r"\(20, 31\) px, but channel dna .*\(20, 30\) px"):
        read_field(row(), CHANNELS, tmp_path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path, compression, share):
    noise = np.random.default_rng(0).integers(0, 60000, (64, 64)).astype(np.uint16)
    write(tmp_path, noise, noise)
    tifffile.imwrite(tmp_path / "d.tif", noise, compression=compression)
    content = (tmp_path / "d.tif").read_bytes()
    (tmp_path / "d.tif").write_bytes(content[: int(share * len(content))])
    with pytest.raises(BrokenField, match="d.tif is cut off") as error:
        read_field(row(), CHANNELS, tmp_path)
    assert error.value.reason == "truncated or damaged file"


def test_images_that_are_not_finite_or_not_counts_are_refused(tmp_path):
    image = np.arange(600, dtype=np.float32).reshape(20, 30)
    write(tmp_path, image, image)
    np.testing.assert_array_equal(read_field(row(), CHANNELS, tmp_path)[0], image)
    image[3, 4] = np.nan
    write(tmp_path, image, image)
    with pytest.raises(BrokenField, match="1 pixels that are not finite"):
        read_field(row(), CHANNELS, tmp_path)
    write(tmp_path, np.full((20, 30), 0.25, np.float32))
    with pytest.raises(BrokenField, match="no whole counts"):
        read_field(row(), CHANNELS, tmp_path)


def test_missing_files_and_files_that_are_no_images_are_refused(tmp_path):
    with pytest.raises(BrokenField, match="does not exist"):
        read_field(row(), CHANNELS, tmp_path)
    write(tmp_path)
    (tmp_path / "n.tif").write_text("page not found")
    with pytest.raises(BrokenField, match="damaged"):
        read_field(row(), CHANNELS, tmp_path)


def sheet(**columns):
    table = {
        "plate": ["P1", "P1"], "well": ["A01", "A02"], "site": [1, 1], "path_dna": ["a", "b"],
        "path_nfkb": ["c", "d"], "treatment": ["x", "y"], "pixel_size_um": [0.5, 0.5],
        "bit_depth": [16, 16],
    }  # fmt: skip
    return pd.DataFrame({k: v for k, v in (table | columns).items() if v is not None})


def test_optional_columns_are_filled():
    table = check_sheet(sheet(), CHANNELS, "s.csv")
    assert list(table["compound"]) == ["x", "y"]
    assert table["dose"].isna().all() and (table["moa"] == "").all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"well": None}, "no column well"),
        ({"path_nfkb": None}, "no column path_nfkb"),
        ({"well": ["A01", "A01"]}, r"A01, site 1 more than once in s.csv \(rows 2, 3\)"),
        ({"well": ["A01", "A01"], "site": [1, 2]}, "well A01 of plate P1 twice in s.csv, as x and"),
        ({"well": ["A01", None]}, "1 empty cells in column well"),
        ({"bit_depth": [16, 13]}, "bit_depth 13"),
        ({"bit_depth": [16, 12]}, "the bit depths 12, 16 in s.csv, expected one"),
        ({"pixel_size_um": [0.5, 0]}, "pixel_size_um '0.0' in row 3"),
        ({"pixel_size_um": [0.5, 0.6]}, "2 pixel sizes"),
        ({"plate": ["P/1", "P1"]}, "plate name 'P/1'"),
        ({"site": ["one", 1]}, "site 'one' in row 2"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused(columns, message):
    with pytest.raises(InputError, match=message):
        check_sheet(sheet(**columns), CHANNELS, "s.csv")


def test_variables_in_paths_are_expanded_and_unset_ones_named(monkeypatch):
    monkeypatch.setenv("SCREEN", "/disk")
    assert expand("$SCREEN/a") == expand("${SCREEN}/a") == "/disk/a"
    with pytest.raises(InputError, match=r"\$NOT_SET_AT_ALL .* is not set"):
        expand("$NOT_SET_AT_ALL/a")


def images_csv(**columns):
    table = {
        "Image_FileName_DAPI": ["B02_s3_w1A.tif", "B03_s1_w1B.tif"], "Image_PathName_DAPI": "W/P1",
        "Image_FileName_NFKB": ["B02_s3_w2A.tif", "B03_s1_w2B.tif"], "Image_PathName_NFKB": "W/P1",
        bbbc021.PLATE: "P1", bbbc021.WELL: ["B02", "B03"], bbbc021.COMPOUND: ["DMSO", "taxol"],
        bbbc021.DOSE: [0.0, 0.3],
    }  # fmt: skip
    return pd.DataFrame(table | columns)


def to_sheet(images, moa=None, treatment_by="compound", folder=Path("raw")):
    return bbbc021.to_sheet(images, moa, CHANNELS, folder, treatment_by=treatment_by).assign(
        pixel_size_um=0.5, bit_depth=12
    )


def test_image_csv_becomes_a_sheet():
    moa = pd.DataFrame({"compound": ["taxol"], "concentration": [0.3], "moa": ["Stabilizers"]})
    table = check_sheet(to_sheet(images_csv(), moa), CHANNELS, "image.csv")
    assert list(table["site"]) == [3, 1]
    assert list(table["treatment"]) == ["DMSO", "taxol"]
    assert list(table["moa"]) == ["DMSO", "Stabilizers"]
    assert list(table["path_nfkb"]) == ["raw/B02_s3_w2A.tif", "raw/B03_s1_w2B.tif"]
    by_dose = to_sheet(images_csv(), treatment_by="compound_dose")
    assert list(by_dose["treatment"]) == ["DMSO", "taxol_0.3uM"]


def test_image_csv_is_read_in_any_dialect_and_its_wells_by_their_one_name(tmp_path):
    table = images_csv(**{bbbc021.WELL: ["b2", "B - 03"], bbbc021.PLATE: "00123"})
    table = table.drop(columns=["Image_PathName_DAPI", "Image_PathName_NFKB"])
    text = table.to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "image.csv").write_bytes(text.encode("utf-16"))
    (tmp_path / "moa.csv").write_text("Compound;Concentration;MOA\ntaxol;0,3;Stabilizers\nx;1;\n")
    images, moa = bbbc021.read_metadata(tmp_path)
    sheet = check_sheet(to_sheet(images, moa, folder=tmp_path), CHANNELS, "image.csv")
    assert list(sheet["well"]) == ["B02", "B03"] and list(sheet["moa"]) == ["DMSO", "Stabilizers"]
    assert list(sheet["dose"]) == [0.0, 0.3] and set(sheet["plate"]) == {"00123"}
    assert sheet["path_dna"][0] == str(tmp_path / "B02_s3_w1A.tif")


@pytest.mark.parametrize(
    ("column", "message"),
    [(bbbc021.COMPOUND, "no Image_Metadata_Compound in row 3"),
     (bbbc021.WELL, "no Image_Metadata_Well_DAPI in row 3")],
)  # fmt: skip
def test_a_row_of_image_csv_without_a_name_is_refused(tmp_path, column, message):
    images_csv(**{column: ["x", None]}).to_csv(tmp_path / "image.csv", index=False)
    with pytest.raises(InputError, match=message):
        bbbc021.read_metadata(tmp_path)
    images_csv().to_csv(tmp_path / "image.csv", index=False)
    (tmp_path / "moa.csv").write_text("compound,moa\ntaxol,x\n")
    with pytest.raises(InputError, match="no column concentration in .*moa.csv"):
        bbbc021.read_metadata(tmp_path)


def test_images_are_found_in_the_folder_and_below_it(tmp_path):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "B02_s3_w1A.tif").touch()
    (tmp_path / "B03_s1_w1B.tif").touch()
    table = to_sheet(images_csv(), folder=tmp_path)
    assert all(Path(path).is_file() for path in table["path_dna"])


def test_a_channel_that_image_csv_has_not_is_named():
    with pytest.raises(InputError, match="dapi, nfkb.*expected golgi"):
        bbbc021.to_sheet(images_csv(), None, ("dna", "golgi"), Path(), treatment_by="compound")


def test_the_real_metadata_of_bbbc021_give_240_fields_a_plate(real_data):
    images, moa = bbbc021.read_metadata(real_data / "bbbc021_metadata")
    assert len(images) == 13200
    rows = images[images[bbbc021.PLATE] == "Week1_22123"]
    channels = ("dna", "tubulin", "actin")
    table = bbbc021.to_sheet(rows, moa, channels, Path(), treatment_by="compound_dose").assign(
        pixel_size_um=0.335, bit_depth=12
    )
    table = check_sheet(table, channels, "image.csv")
    assert len(table) == 240 and table["well"].nunique() == 60
    assert set(table["site"]) == {1, 2, 3, 4}
    assert table["path_tubulin"].str.contains("_w2").all()
    everything = bbbc021.to_sheet(
        images, moa, channels, Path(), treatment_by="compound_dose"
    ).assign(pixel_size_um=0.335, bit_depth=12)
    annotated = everything[everything["moa"] != ""]
    assert annotated["treatment"].nunique() == 104
    assert annotated["moa"].nunique() == 13


NOISE = np.random.default_rng(0).integers(0, 4000, (2, 64, 80)).astype(np.uint16)
BOTH = {"path": "both.tif", "bit_depth": 16}


@pytest.mark.parametrize(
    ("compression", "more"),
    [
        ("deflate", {}), ("lzw", {}), ("zstd", {}), ("zstd", {"predictor": True}),
        (None, {"tile": (32, 32)}), ("deflate", {"tile": (16, 32)}), (None, {"bigtiff": True}),
        ("lzw", {"tile": (32, 32), "bigtiff": True, "ome": True}),
    ],
)  # fmt: skip
def test_compressed_tiled_and_big_tiffs_hold_the_same_counts(tmp_path, compression, more):
    if compression in ("lzw", "zstd"):
        pytest.importorskip("imagecodecs")
    tifffile.imwrite(
        tmp_path / "both.tif", NOISE, compression=compression, photometric="minisblack",
        metadata={"axes": "CYX"}, **more,
    )  # fmt: skip
    np.testing.assert_array_equal(read_field(BOTH, CHANNELS, tmp_path), NOISE)


def test_a_pyramid_is_read_at_its_full_size(tmp_path):
    """OME-TIFF as Bio-Formats and slide scanners write it: tiled, reduced levels as sub-images."""
    with tifffile.TiffWriter(tmp_path / "both.tif", bigtiff=True, ome=True) as tiff:
        how = {"photometric": "minisblack", "tile": (32, 32), "compression": "deflate"}
        names = {"axes": "CYX", "Channel": {"Name": ["NFKB", "DNA"]}}
        tiff.write(NOISE, subifds=2, metadata=names, **how)
        for step in (2, 4):
            tiff.write(NOISE[:, ::step, ::step], subfiletype=1, metadata=None, **how)
    np.testing.assert_array_equal(read_field(BOTH, CHANNELS, tmp_path), NOISE[::-1])


@pytest.mark.parametrize("more", [{"compression": "lzw"}, {"tile": (32, 32)}, {"bigtiff": True}])
@pytest.mark.parametrize("share", [0.02, 0.6, 0.97])
def test_any_kind_of_tiff_that_is_cut_off_is_refused(tmp_path, more, share):
    tifffile.imwrite(tmp_path / "both.tif", NOISE, photometric="minisblack", **more)
    content = (tmp_path / "both.tif").read_bytes()
    (tmp_path / "both.tif").write_bytes(content[: int(share * len(content))])
    with pytest.raises(BrokenField, match="both.tif is cut off"):
        read_field(BOTH, CHANNELS, tmp_path)


def test_a_compression_that_this_installation_lacks_is_named(tmp_path, monkeypatch):
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "both.tif", NOISE, compression="zstd", photometric="minisblack")
    poor = importlib.import_module("tifffile._imagecodecs")  # what tifffile takes in its place
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", poor)
    monkeypatch.delattr(poor, "zstd_decode", raising=False)
    monkeypatch.setattr(tifffile.TIFF.DECOMPRESSORS, "_codecs", {})
    with pytest.raises(BrokenField, match="needs the package imagecodecs .*ZSTD.*Install it"):
        read_field(BOTH, CHANNELS, tmp_path)


def write_named(folder, kind, names=("NFKB", "DNA")):
    path, pixels = folder / "both.tif", NOISE[: len(names)]
    if kind == "ome":
        metadata = {"axes": "CYX", "Channel": {"Name": list(names)}}
        tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)
    elif kind == "imagej":
        metadata = {"axes": "CYX", "Labels": list(names)}
        tifffile.imwrite(path, pixels, imagej=True, metadata=metadata)
    else:
        with tifffile.TiffWriter(path) as tiff:
            for name, image in zip(names, pixels, strict=True):
                tag = (285, "s", 0, name, True)  # PageName
                tiff.write(image, photometric="minisblack", metadata=None, extratags=[tag])


@pytest.mark.parametrize("kind", ["ome", "imagej", "pages"])
def test_channels_are_found_by_the_names_that_the_file_gives_them(tmp_path, kind):
    write_named(tmp_path, kind)
    np.testing.assert_array_equal(read_field(BOTH, CHANNELS, tmp_path), NOISE[::-1])
    one = {"path_dna": "both.tif", "path_nfkb": "both.tif", "bit_depth": 16}
    np.testing.assert_array_equal(read_field(one, CHANNELS, tmp_path), NOISE[::-1])


@pytest.mark.parametrize("kind", ["ome", "imagej", "pages"])
def test_the_sheet_may_say_what_a_file_calls_a_channel(tmp_path, kind):
    write_named(tmp_path, kind, ("FITC", "DAPI"))
    said = {"channel_dna": "dapi", "channel_nfkb": "FITC"}
    np.testing.assert_array_equal(read_field(BOTH | said, CHANNELS, tmp_path), NOISE[::-1])
    said = {"channel_dna": "1", "channel_nfkb": "0"}
    np.testing.assert_array_equal(read_field(BOTH | said, CHANNELS, tmp_path), NOISE[::-1])
    one = {"path_dna": "both.tif", "path_nfkb": "n.tif", "channel_dna": "DAPI", "channel_nfkb": ""}
    tifffile.imwrite(tmp_path / "n.tif", NOISE[0])
    field = read_field(one | {"bit_depth": 16}, CHANNELS, tmp_path)
    np.testing.assert_array_equal(field, NOISE[::-1])
    with pytest.raises(BrokenField, match="called FITC, DAPI: found no 'Cy5' for channel dna") as e:
        read_field(BOTH | {"channel_dna": "Cy5"}, CHANNELS, tmp_path)
    assert e.value.reason == "channel missing"


def test_an_ome_tiff_with_other_names_is_not_guessed_at(tmp_path):
    write_named(tmp_path, "ome", ("FITC", "DAPI"))
    with pytest.raises(BrokenField, match="called FITC, DAPI: found no channel dna.*channel_"):
        read_field(BOTH, CHANNELS, tmp_path)
    write_named(tmp_path, "ome", ("Channel:0:0", "Channel:0:1"))
    np.testing.assert_array_equal(read_field(BOTH, CHANNELS, tmp_path), NOISE)


def test_a_channel_that_a_file_lacks_is_named(tmp_path):
    write_named(tmp_path, "ome", ("NFKB",))
    with pytest.raises(BrokenField, match="has 1 channels .*called NFKB: found no channel dna"):
        read_field(BOTH, CHANNELS, tmp_path)
    swapped = {"path_dna": "both.tif", "path_nfkb": "both.tif", "bit_depth": 16}
    with pytest.raises(BrokenField, match="found no channel dna"):
        read_field(swapped, CHANNELS, tmp_path)


@pytest.mark.parametrize(
    ("pixels", "how", "message"),
    [
        (NOISE, {"imagej": True, "metadata": {"axes": "ZYX"}}, "the axes ZYX of 2 x 64 x 80"),
        (NOISE, {"ome": True, "metadata": {"axes": "TYX"}}, "the axes TYX"),
        (np.stack([NOISE] * 3), {"ome": True, "metadata": {"axes": "ZCYX"}}, "the axes ZCYX"),
        (np.moveaxis(NOISE[[0, 1, 0]], 0, -1), {"photometric": "rgb"}, "colours of 64 x 80 x 3"),
    ],
)
def test_stacks_series_and_colours_are_not_taken_for_channels(tmp_path, pixels, how, message):
    tifffile.imwrite(tmp_path / "both.tif", pixels, **how)
    with pytest.raises(BrokenField, match=f"{message}.*expected the channels of one field"):
        read_field(BOTH, CHANNELS, tmp_path)


def test_several_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "both.tif", ome=True) as tiff:
        for _ in range(3):
            tiff.write(NOISE, photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(BrokenField, match="has 3 images of 2 x 64 x 80"):
        read_field(BOTH, CHANNELS, tmp_path)


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [(0, "black", "the value 0 in every"), (4095, "one value", "the value 4095 in every")],
)
def test_black_and_saturated_channels_are_refused(tmp_path, value, reason, message):
    image = write(tmp_path, nfkb=np.full((20, 30), value, np.uint16))
    with pytest.raises(BrokenField, match=message + ".* channel nfkb") as error:
        read_field(row(bit_depth=12), CHANNELS, tmp_path)
    assert error.value.reason == reason
    saturated = image.copy()
    saturated[:11] = 4095
    write(tmp_path, nfkb=saturated)
    with pytest.raises(BrokenField, match="saturated in 55% of the pixels of channel nfkb"):
        read_field(row(bit_depth=12), CHANNELS, tmp_path)
    saturated[5:] = image[5:]
    write(tmp_path, nfkb=saturated)
    assert (read_field(row(bit_depth=12), CHANNELS, tmp_path)[1] == 4095).mean() == 0.25


def test_channel_columns_stay_in_the_sheet_as_text(tmp_path):
    columns = {"path_dna": None, "path_nfkb": None, "path": ["a", "b"], "channel_dna": [1, None],
               "channel_nfkb": ["FITC", None]}  # fmt: skip
    sheet(**columns).to_csv(tmp_path / "s.csv", index=False)
    table = check_sheet(read_sheet(tmp_path / "s.csv", CHANNELS), CHANNELS, "s.csv")
    assert list(table["channel_dna"]) == ["1", ""] and list(table["channel_nfkb"]) == ["FITC", ""]


def test_a_misspelt_treatment_is_refused_and_other_ones_are_returned():
    listed = ("TNF-alpha", "taxol_0.3uM")
    table = sheet(treatment=["TNF-alpha", "taxol_3uM"])
    assert refuse_misspelt(table, listed, "s.csv") == ["taxol_3uM"]
    for wrong in ("tnf alpha", "TNFalpha", "TNF-alpha "):
        with pytest.raises(InputError, match=f"treatment '{wrong}' in well A02 .*'TNF-alpha'"):
            refuse_misspelt(sheet(treatment=["TNF-alpha", wrong]), listed, "s.csv")
