import os
import stat

import pytest

from rls.io import atomic_path, file_digest, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_files_can_be_read_by_those_whom_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    os.umask(before)
    with atomic_path(tmp_path / "a") as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~before


def test_the_digest_is_that_of_the_bytes(tmp_path):
    write_text(tmp_path / "a", "x" * 3_000_000)
    write_text(tmp_path / "b", "x" * 3_000_000)
    write_text(tmp_path / "c", "x" * 2_999_999 + "y")
    digests = [file_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
