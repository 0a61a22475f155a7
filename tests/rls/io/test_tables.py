import pandas as pd
import pytest

from rls.io import read_table, write_table
from rls.runtime.errors import InputError

TABLE = pd.DataFrame(
    {"image_id": [f"c{i}" for i in range(500)], "ratio": [i / 7 for i in range(500)]}
)


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
