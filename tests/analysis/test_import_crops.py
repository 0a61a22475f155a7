"""Cells that were cropped before: every count comes back, and later stages read them as theirs."""

from __future__ import annotations

import lzma
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis import import_crops
from analysis.cells.imported_crops import count_fields
from analysis.plates import crop_array
from analysis.plates.crop_array import read_labels
from rls.io import read_intensity, read_stack, read_table
from rls.runtime.errors import InputError
from tests.analysis import small_plate
from tests.analysis.crops_of import crops_of
from tests.analysis.small_plate import CHANNELS, left_behind

SETTINGS = [
    *("--treatment-by", "compound_dose", "--crop-size", "30", "--pixel-size-um", "1.5"),
    *("--bit-depth", "12", "--nucleus-diameter-um", "15", "--saturation-counts", "3900"),
    *("--saturated-share-max", "0.1", "--contrast-min", "0.4", "--blur-max-nd", "0.15"),
    *("--noise-share-max", "0.4", "--outside-share-max", "0", "--touching-share-max", "0.2"),
    *("--debris-height-max", "0.5"),
]
OUTPUTS = ("P1.ome.tif", "P1.parquet", "P1.fields.csv")
FIELDS, PER_FIELD = 4, 6


def made_up_crops(rng):
    """Bright discs with noise, (n, 2, 30, 30) uint16: two plates, four fields of each treatment."""
    n = 2 * 2 * FIELDS * PER_FIELD
    y, x = np.mgrid[:30, :30] - 15
    disc = 300.0 * (np.hypot(y, x) < 5)
    smooth = 40 + disc + 100 * np.exp(-(y**2 + x**2) / 80)
    return rng.poisson(np.stack([smooth, smooth / 2 + 30])[None], (n, 2, 30, 30)).astype(np.uint16)


def made_up_labels():
    rows = [
        (plate, f"{row}02", site, cell, compound, dose, mechanism)
        for plate in ("P2", "P1")
        for row, compound, dose, mechanism in (("B", "DMSO", 0.0, "DMSO"), ("C", "taxol", 0.3, ""))
        for site in range(1, FIELDS + 1)
        for cell in range(PER_FIELD)
    ]
    columns = ["plate", "well", "site", "cell_number", "compound", "concentration", "moa"]
    return pd.DataFrame(rows, columns=columns)


def differences(crops):
    return np.diff(crops.astype(np.int16), axis=-1, prepend=np.int16(0))


@pytest.fixture
def crops(tmp_path):
    """The counts; ``tmp_path`` holds them as counts and as differences, and their table."""
    counts = made_up_crops(np.random.default_rng(3))
    made_up_labels().to_csv(tmp_path / "labels.csv", index=False)
    np.save(tmp_path / "counts.npy", counts)
    tifffile.imwrite(tmp_path / "counts.ome.tif", counts, metadata={"axes": "TCYX"})
    with lzma.open(tmp_path / "differences.npy.xz", "wb") as file:
        np.save(file, differences(counts))
    return counts


def load(folder, plate="P1", file="differences.npy.xz", *more):
    """Import one plate, or ``all``."""
    stored = "horizontal_differences" if file.startswith("differences") else "counts"
    import_crops.main(
        [*("--crops", str(folder / file), "--labels", str(folder / "labels.csv")),
         *(() if plate == "all" else ("--plate", plate)),
         *("--plates", "P1", "P2", "--channels", *CHANNELS),
         *("--nucleus-channel", "dna", "--output", str(folder / f"{plate}.ome.tif")),
         *("--fields", str(folder / f"{plate}.fields.csv"), "--stored-as", stored),
         *SETTINGS, *more]
    )  # fmt: skip
    return folder / f"{plate}.ome.tif"


@pytest.mark.parametrize("file", ["counts.npy", "counts.ome.tif", "differences.npy.xz"])
def test_every_count_of_the_plate_comes_back_in_the_order_of_the_table(crops, tmp_path, file):
    stack = read_stack(load(tmp_path, "P1", file))
    np.testing.assert_array_equal(stack.images, crops[len(crops) // 2 :])
    assert stack.images.dtype == np.uint16
    assert list(stack.table["image_id"][:2]) == ["P1_B02_s1_c0", "P1_B02_s1_c1"]


def test_all_plates_are_read_at_once_and_have_the_cells_that_each_has_alone(
    crops, tmp_path, monkeypatch
):
    mixed = made_up_labels().assign(plate=["P2", "P1", "P1"] * 32, cell_number=range(96))
    mixed.to_csv(tmp_path / "labels.csv", index=False)
    monkeypatch.setattr(crop_array, "BLOCK_ROWS", 7)
    opened, blocks = [], crop_array._blocks
    monkeypatch.setattr(crop_array, "_blocks", lambda *a: opened.append(a) or blocks(*a))
    stack = read_stack(load(tmp_path, "all"))
    assert len(opened) == 1
    np.testing.assert_array_equal(stack.images, crops)
    for plate in ("P1", "P2"):
        alone = read_stack(load(tmp_path, plate))
        part = stack.select((stack.table["plate"] == plate).to_numpy())
        np.testing.assert_array_equal(part.images, alone.images)
        pd.testing.assert_frame_equal(part.table, alone.table)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32])
def test_differences_of_any_integer_wrap_around_to_the_counts(tmp_path, dtype):
    counts = np.random.default_rng(0).integers(0, 2**16, (3, 2, 8, 8)).astype(np.uint16)
    with np.errstate(over="ignore"):
        stored = np.diff(counts.astype(dtype), axis=-1, prepend=dtype(0))
    np.save(tmp_path / "d.npy", stored)
    back = crops_of(
        tmp_path / "d.npy", [0, 2], n_labels=3, n_channels=2,
        stored_as="horizontal_differences", bit_depth=16,
    )  # fmt: skip
    np.testing.assert_array_equal(back, counts[[0, 2]])


def test_the_table_has_the_columns_that_crop_cells_writes(crops, tmp_path):
    known = small_plate.crop(tmp_path, small_plate.simulate(tmp_path, "S1", wells_per_treatment=1))
    ours, theirs = read_stack(load(tmp_path)).table, read_stack(known).table
    assert set(ours.columns) == set(theirs.columns)
    fields = [list(pd.read_csv(tmp_path / f"{name}.fields.csv")) for name in ("P1", "S1")]
    assert [*fields[0], "images"] == fields[1]  # Crops have no images of whole fields.
    assert set(ours["treatment"]) == {"DMSO", "taxol_0.3uM"}
    assert ours["nucleus_area_um2"].isna().all() and ours["y_px"].isna().all()


def test_fields_are_counted(crops, tmp_path):
    load(tmp_path)
    fields = pd.read_csv(tmp_path / "P1.fields.csv")
    assert len(fields) == 2 * FIELDS and (fields["n_cells"] == PER_FIELD).all()
    assert (fields["status"] == "ok").all()
    assert count_fields(read_table(tmp_path / "P1.parquet"))["n_cells"].sum() == len(crops) // 2


def test_select_cells_takes_imported_crops_as_it_takes_its_own(crops, tmp_path):
    small_plate.write_config(tmp_path)
    for plate in ("P1", "P2"):
        load(tmp_path, plate)
    cells = read_stack(
        small_plate.select(
            tmp_path, ["P1", "P2"], "--treatments", "DMSO", "taxol_0.3uM", "--split-by", "field",
            "--on-few-cells", "take_all",
        )
    )  # fmt: skip
    field = cells.table["plate"] + cells.table["well"] + cells.table["site"].astype(str)
    assert (cells.table.groupby(field)["split"].nunique() == 1).all()
    assert set(cells.table["split"]) == {"gan", "tune", "classifier", "evaluation"}
    assert read_intensity(tmp_path / "intensity.json").channels == CHANNELS


def test_only_the_treatments_asked_are_imported(crops, tmp_path):
    table = read_stack(load(tmp_path, "P1", "counts.npy", "--treatments", "taxol_0.3uM")).table
    assert set(table["treatment"]) == {"taxol_0.3uM"}
    plain = read_labels(tmp_path / "labels.csv", "compound")
    assert set(plain["treatment"]) == {"DMSO", "taxol"}


def test_camera_noise_blank_and_saturated_crops_are_flagged_and_no_other(crops, tmp_path):
    spoilt = crops.copy()
    first = len(crops) // 2
    rng = np.random.default_rng(1)
    spoilt[first] = rng.poisson(30, (2, 30, 30))
    spoilt[first + 1, 1] = 200
    spoilt[first + 2, 1, :10] = 3911
    np.save(tmp_path / "counts.npy", spoilt)
    table = read_stack(load(tmp_path, "P1", "counts.npy")).table
    for row, name in enumerate(("noise", "blank", "saturated")):
        assert table[name].to_numpy().nonzero()[0][0] == row, name
    assert not table[["saturated", "blank", "out_of_focus", "noise"]].iloc[3:].to_numpy().any()


def lose_a_column(folder, crops):
    made_up_labels().drop(columns="concentration").to_csv(folder / "labels.csv", index=False)


def lose_a_row(folder, crops):
    made_up_labels().iloc[1:].to_csv(folder / "labels.csv", index=False)


def repeat_a_cell(folder, crops):
    made_up_labels().assign(cell_number=0).to_csv(folder / "labels.csv", index=False)


def empty_a_number(folder, crops):
    made_up_labels().replace({"concentration": {0.3: np.nan}}).to_csv(
        folder / "labels.csv", index=False
    )


def leave_a_path_in_a_plate(folder, crops):
    made_up_labels().replace({"plate": {"P2": "../P2"}}).to_csv(folder / "labels.csv", index=False)


def rename_a_plate(folder, crops):
    made_up_labels().replace({"plate": {"P2": "P3"}}).to_csv(folder / "labels.csv", index=False)


def put_two_treatments_into_a_well(folder, crops):
    made_up_labels().assign(well="B02").to_csv(folder / "labels.csv", index=False)


def change_labels(**values):
    def harm(folder, crops):
        table = made_up_labels().astype(object)
        table.loc[[0, 30], list(values)] = list(values.values())
        table.to_csv(folder / "labels.csv", index=False)

    return harm


def spell_a_well_otherwise(folder, crops):
    """The first cell of B02 is in 'b2', and the first one of C02 in 'B - 2'."""
    table = made_up_labels()
    table.loc[[0, 24], "well"] = ["b2", "B - 2"]
    table.to_csv(folder / "labels.csv", index=False)


def misspell_a_treatment(folder, crops):
    table = made_up_labels()
    table.loc[table["well"] == "C02", "compound"] = "Taxol"
    table.to_csv(folder / "labels.csv", index=False)


def store_as(dtype):
    def harm(folder, crops):
        with lzma.open(folder / "differences.npy.xz", "wb") as file:
            np.save(file, crops.astype(dtype))

    return harm


def store_counts(folder, crops):
    with lzma.open(folder / "differences.npy.xz", "wb") as file:
        np.save(file, crops)


def transpose(folder, crops):
    with lzma.open(folder / "differences.npy.xz", "wb") as file:
        np.save(file, np.ascontiguousarray(differences(crops).transpose(0, 2, 3, 1)))


def cut_off(folder, crops):
    path = folder / "differences.npy.xz"
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_bit(folder, crops):
    path = folder / "differences.npy.xz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def write_text(folder, crops):
    (folder / "differences.npy.xz").write_text("not xz")


def remove(folder, crops):
    (folder / "differences.npy.xz").unlink()


def test_plates_that_the_assay_does_not_list_are_left_out_where_that_is_said(
    crops, tmp_path, capsys
):
    table = made_up_labels()
    other = table["plate"].eq("P2") & table["well"].eq("C02")
    table.assign(plate=table["plate"].mask(other, "P3")).to_csv(
        tmp_path / "labels.csv", index=False
    )
    with pytest.raises(InputError, match="unlisted_plates: leave_out"):
        load(tmp_path)
    stack = read_stack(load(tmp_path, "P2", "counts.npy", "--unlisted-plates", "leave_out"))
    assert "24 crops of 1 plates" in capsys.readouterr().out
    np.testing.assert_array_equal(stack.images, crops[:24])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_a_column, "no column concentration"),
        (lose_a_row, "96 crops in .* and 95 rows"),
        (repeat_a_cell, "P2_B02_s1_c0 more than once"),
        (empty_a_number, "concentration 'nan' in row 26"),
        (leave_a_path_in_a_plate, "plate '../P2' in row 2"),
        (rename_a_plate, "1 plates in .* does not list: P3"),
        (put_two_treatments_into_a_well, "well B02 of plate P2 twice in .*as DMSO and as taxol"),
        (change_labels(site=1.5), "the site '1.5' in row 2 of .*a whole number"),
        (change_labels(cell_number=0.5), "the cell_number '0.5' in row 2 of .*a whole number"),
        (change_labels(concentration="0.3 uM"), "the concentration '0.3 uM' in row 2 of"),
        (change_labels(compound=""), "the compound '' in row 2 of .*expected a name"),
        (spell_a_well_otherwise, "B02 of plate P2 twice .*as DMSO and as taxol_0.3uM .written b2"),
        (store_as(np.float32), "Found float32"),
        (store_as(np.int64), "Found int64"),
        (store_counts, "expected counts from 0 to 4095 at bit_depth 12"),
        (transpose, r"shape \(96, 30, 30, 2\)"),
        (cut_off, "cut off or damaged"),
        (flip_a_bit, "cut off or damaged"),
        (write_text, "cut off or damaged"),
        (remove, "do not exist"),
    ],
)
def test_faulty_crops_and_tables_end_in_one_sentence_and_write_nothing(
    crops, tmp_path, harm, message
):
    harm(tmp_path, crops)
    with pytest.raises(InputError, match=message):
        load(tmp_path)
    assert not [name for name in OUTPUTS if (tmp_path / name).exists()]
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("plate", "more", "message"),
    [
        ("P3", (), "no crop of plate P3"),
        ("all", ("--plates", "P1", "P2", "P4"), "no crop of plate P4"),
        ("P1", ("--treatments", "taxol"), "no row of treatment taxol"),
        ("P1", ("--crop-size", "28"), "crops of 30 px"),
        ("P1", ("--bit-depth", "8"), "Correct import_crops.stored_as"),
        ("P1", ("--nucleus-channel", "dapi"), "expected one of the channels dna, nfkb"),
    ],
)
def test_what_does_not_fit_the_assay_is_refused(crops, tmp_path, plate, more, message):
    with pytest.raises(InputError, match=message):
        load(tmp_path, plate, "differences.npy.xz", *more)


def test_labels_of_any_dialect_and_spelling_are_the_same_cells(crops, tmp_path):
    expected = load(tmp_path, "P1", "counts.npy").with_suffix("").with_suffix(".parquet")
    before = read_table(expected)
    table = made_up_labels()
    table["well"] = table["well"].str.lower().str.replace("0", "")
    table.columns = table.columns.str.upper()
    text = table.to_csv(index=False, sep=";", decimal=",").replace("\n", "\r\n")
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-16"))
    load(tmp_path, "P1", "counts.npy")
    pd.testing.assert_frame_equal(read_table(expected), before)


def test_a_treatment_that_the_labels_misspell_is_named(crops, tmp_path):
    misspell_a_treatment(tmp_path, crops)
    with pytest.raises(InputError, match="'Taxol_0.3uM' in well C02 .*'taxol_0.3uM' as the assay"):
        load(tmp_path, "P1", "counts.npy", "--treatments", "DMSO", "taxol_0.3uM")


def test_a_stack_of_one_cell_and_one_channel_keeps_its_axes(tmp_path):
    image = np.arange(64, dtype=np.uint16).reshape(1, 1, 8, 8)
    tifffile.imwrite(tmp_path / "one.ome.tif", image, metadata={"axes": "TCYX"})
    back = crops_of(tmp_path / "one.ome.tif", [0], n_labels=1, n_channels=1, stored_as="counts",
                bit_depth=12)  # fmt: skip
    np.testing.assert_array_equal(back, image)


def test_the_real_crops_are_read_and_their_camera_noise_is_found(real_data, tmp_path):
    folder = real_data / "bbbc021_crops"
    shutil.copy(folder / "labels.csv", tmp_path / "labels.csv")
    labels = read_labels(tmp_path / "labels.csv", "compound_dose")
    assert len(labels) == 6838 and {"DMSO", "cyclohexamide_50uM"} < set(labels["treatment"])
    channels = ("dna", "actin", "tubulin")
    import_crops.main(
        [*("--crops", str(folder / "crops_68px_delta.npy.xz"), "--labels"),
         *(str(tmp_path / "labels.csv"), "--plate", "Week7_34381", "--plates"),
         *(*sorted(set(labels["plate"])), "--channels", *channels, "--nucleus-channel", "dna"),
         *("--output", str(tmp_path / "P.ome.tif"), "--fields", str(tmp_path / "P.fields.csv")),
         *("--stored-as", "horizontal_differences", *SETTINGS, "--crop-size", "68"),
         *("--pixel-size-um", "0.335", "--nucleus-diameter-um", "11")]
    )  # fmt: skip
    stack = read_stack(tmp_path / "P.ome.tif")
    assert stack.images.shape == (24, 3, 68, 68) and stack.images.max() < 4096
    noise = stack.table["noise"].to_numpy()
    # Counted by eye: seventeen crops without a nucleus, seven cells.
    assert noise.sum() == 17
    background = np.percentile(stack.images[:, 0], 1, axis=(1, 2))
    assert 15 < np.median(background) < 60
    nuclei = stack.images[:, 0, 30:38, 30:38].mean(axis=(1, 2)) - background
    assert nuclei[~noise].min() > 5 * np.abs(nuclei[noise]).max()
