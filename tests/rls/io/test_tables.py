import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rls.io import read_table, write_table
from rls.io.digests import digest_path
from rls.io.tables import SECOND_FORM
from rls.runtime.errors import InputError

TABLE = pd.DataFrame(
    {"image_id": [f"c{i}" for i in range(500)], "ratio": [i / 7 for i in range(500)]}
)
COLUMNS = {
    "image_id": ["P_A01_s1", "P_A01_s2", "µ, 3"],
    "note": ["", None, "none"],
    "nothing": [None, None, None],
    "ratio": [0.1, None, -3.0],
    "count": [1, 2, 3],
    "good": [True, False, True],
}
# The digests that older versions of this program gave to COLUMNS, and the type of their text.
FIRST_FORM = {
    "pandas 2.3.3": (pa.string(), "8e37b9e8c42eb30693213c582c4aa04e"),
    "pandas 3.1.1": (pa.large_string(), "4db57a6ab7a7e2e96a0f4eec352d343a"),
}


def arrow_table(text, columns=COLUMNS):
    kinds = [text, text, pa.null(), pa.float64(), pa.int64(), pa.bool_()]
    arrays = [pa.array(values, kind) for values, kind in zip(columns.values(), kinds, strict=True)]
    return pa.table(dict(zip(columns, arrays, strict=True)))


def digest_of(path):
    return pq.read_schema(path).metadata[b"digest"].decode()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_comes_back(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    write_table(path, TABLE, written_by="measure")
    pd.testing.assert_frame_equal(read_table(path), TABLE)


def test_a_missing_column_is_named(tmp_path):
    write_table(tmp_path / "t.parquet", TABLE, written_by="measure")
    with pytest.raises(InputError, match="lacks the column plate.*rule measure"):
        read_table(tmp_path / "t.parquet", columns=["plate"])


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "t.parquet")


def test_a_flipped_bit_in_the_values_is_found(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, TABLE, written_by="measure")
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_table(path)


def test_a_truncated_table_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, TABLE, written_by="measure")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged"):
        read_table(path)


CHANGES = [
    ("image_id", ["P_A01_s1", "P_A01_s3", "µ, 3"]),
    ("note", [None, "", "none"]),
    ("nothing", [None, None, "a"]),
    ("ratio", [0.1, 0.0, -3.0]),
    ("count", [1, 2, 4]),
    ("good", [True, True, True]),
]


@pytest.mark.parametrize("version", FIRST_FORM)
def test_a_table_with_a_digest_of_dtypes_is_read_and_verified(tmp_path, version):
    """Older versions of this program wrote such tables, under either version of pandas."""
    text, digest = FIRST_FORM[version]
    metadata = {b"written_by": b"measure", b"digest": digest.encode()}
    path = tmp_path / "t.parquet"
    pq.write_table(arrow_table(text).replace_schema_metadata(metadata), path)
    table = read_table(path)
    assert list(table["image_id"]) == COLUMNS["image_id"]
    assert table.attrs["written_by"] == "measure"
    for name, values in CHANGES[:2] + CHANGES[3:]:
        changed = arrow_table(text, COLUMNS | {name: values})
        pq.write_table(changed.replace_schema_metadata(metadata), path)
        with pytest.raises(InputError, match="not those that were written"):
            read_table(path)


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": np.dtype("float64")},
        {"count": np.dtype("int16")},
        {"image_id": "category"},
        {"image_id": "string", "note": "string"},
        {"image_id": pd.StringDtype(na_value=np.nan), "note": pd.StringDtype(na_value=np.nan)},
        {"nothing": pd.StringDtype(na_value=np.nan)},
        {"count": "Int64", "good": "boolean"},
    ],
    ids=str,
)
def test_the_digest_is_the_same_for_every_dtype_of_the_same_values(tmp_path, change):
    table = pd.DataFrame(COLUMNS).astype({"image_id": object, "note": object})
    write_table(tmp_path / "plain.parquet", table, written_by="measure")
    write_table(tmp_path / "changed.parquet", table.astype(change), written_by="measure")
    assert digest_of(tmp_path / "plain.parquet") == digest_of(tmp_path / "changed.parquet")
    assert list(read_table(tmp_path / "changed.parquet")) == list(COLUMNS)


def test_the_digest_is_the_same_under_every_version_of_pandas(tmp_path):
    write_table(tmp_path / "t.parquet", pd.DataFrame(COLUMNS), written_by="measure")
    assert digest_of(tmp_path / "t.parquet") == SECOND_FORM + "689d31b41b0e7cd7e0c21b37530f640b"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *CHANGES,
        ("count", [1.0, 2.0, 3.0]),
        ("count", ["1", "2", "3"]),
        ("good", [1, 0, 1]),
        ("note", [b"", None, b"none"]),
    ],
)
def test_another_name_kind_value_or_rule_is_found(tmp_path, name, values):
    path = tmp_path / "t.parquet"
    write_table(path, pd.DataFrame(COLUMNS), written_by="measure")
    metadata = pq.read_schema(path).metadata
    others = [
        (pd.DataFrame(COLUMNS | {name: values}), metadata),
        (pd.DataFrame(COLUMNS).rename(columns={name: "another"}), metadata),
        (pd.DataFrame(COLUMNS), metadata | {b"written_by": b"classify"}),
    ]
    for other, facts in others:
        content = pa.Table.from_pandas(other, preserve_index=False)
        kept = {key: facts[key] for key in (b"written_by", b"digest")}
        pq.write_table(content.replace_schema_metadata(kept), path)
        with pytest.raises(InputError, match="not those that were written"):
            read_table(path)


TEXTS = {
    "plate": ["00123", "1E5", "-1"],
    "treatment": ["None", "NA", "nan"],
    "note": ["", None, "2024-01-02"],
    "yes": ["TRUE", "False", "inf"],
}


def test_a_csv_keeps_text_as_text_and_numbers_as_numbers(tmp_path):
    numbers = {"ratio": [0.1, None, -3.0], "count": [1, 2, 3], "good": [True, False, True]}
    table = pd.DataFrame(TEXTS | numbers).astype({"plate": "category"})
    write_table(tmp_path / "t.csv", table, written_by="crop_cells")
    back = read_table(tmp_path / "t.csv")
    for name, values in TEXTS.items():
        assert back[name].fillna("").tolist() == [value or "" for value in values]
    pd.testing.assert_frame_equal(back[list(numbers)], table[list(numbers)])
    assert back.attrs["written_by"] == "crop_cells"
    assert (tmp_path / "t.csv").read_text().startswith("plate,treatment,note,yes,ratio")


def test_a_csv_is_the_same_text_whether_its_plates_look_like_numbers_or_not(tmp_path):
    for plates in (["00123", "00456"], ["P1", "P2"], [None, "1"]):
        write_table(tmp_path / "t.csv", pd.DataFrame({"plate": plates}), written_by="crop_cells")
        assert pd.api.types.infer_dtype(read_table(tmp_path / "t.csv")["plate"]) == "string"


def test_csvs_of_older_versions_and_edited_ones_are_still_read(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, pd.DataFrame(TEXTS), written_by="crop_cells")
    beside = digest_path(path)
    beside.write_text(beside.read_text().splitlines()[0] + "\n")
    assert read_table(path)["plate"].tolist() == [123.0, 1e5, -1.0]
    assert read_table(path).attrs["written_by"] == "crop_cells"
    beside.unlink()
    assert read_table(path)["plate"].tolist() == [123.0, 1e5, -1.0]


@pytest.mark.parametrize("harm", ['{"text": ["plat"]}', '{"tex": []}', '{"text": ["plate"'])
def test_a_damaged_record_of_the_texts_is_found(tmp_path, harm):
    path = tmp_path / "t.csv"
    write_table(path, pd.DataFrame(TEXTS), written_by="crop_cells")
    beside = digest_path(path)
    beside.write_text(beside.read_text().splitlines()[0] + "\n" + harm + "\n")
    with pytest.raises(InputError, match="digest beside .* is damaged.*rule crop_cells"):
        read_table(path)
