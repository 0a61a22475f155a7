"""Downloads from a server that misbehaves: every byte arrives once, or a sentence says why not."""

from __future__ import annotations

import fcntl
import time
from dataclasses import replace

import numpy as np
import pytest

from analysis.plates import download as module
from analysis.plates.download import (
    PART,
    clear,
    download,
    one_writer,
    read_checksums,
)
from analysis.plates.fetch_settings import Settings
from rls.io.files import file_sha256
from rls.runtime.errors import InputError
from tests.analysis.odd_server import SILENCE_S, odd_server

SIZE = 300_000
CONTENT = np.random.default_rng(0).bytes(SIZE)
OTHER = np.random.default_rng(1).bytes(SIZE)
SETTINGS = Settings(attempts=3, first_pause_s=0.001, longest_pause_s=0.01, timeout_s=5.0,
                    expected_mb_per_s=5.0, free_disk_mb=0.0)  # fmt: skip


@pytest.fixture(scope="module")
def fresh_server():
    with odd_server() as fresh:
        yield fresh


@pytest.fixture
def server(fresh_server):
    return fresh_server()


def get(url, folder, settings=SETTINGS, announce=lambda total, have: None):
    return download(url, folder, settings, announce).read_bytes()


def test_a_file_arrives_as_it_is(server, tmp_path):
    told = []
    content = get(server.serve("a.zip", CONTENT), tmp_path, announce=lambda *n: told.append(n))
    assert content == CONTENT and told == [(SIZE, 0)]


def test_what_has_arrived_in_full_is_not_asked_for_again(server, tmp_path):
    url = server.serve("a.zip", CONTENT)
    get(url, tmp_path)
    assert get(url, tmp_path) == CONTENT and len(server.requests) == 1
    clear(tmp_path)
    get(url, tmp_path)
    assert len(server.requests) == 2


@pytest.mark.parametrize("etag", ['"one"', None])
def test_cut_connections_go_on_where_they_stopped(server, tmp_path, etag):
    url = server.serve("a.zip", CONTENT, etag=etag)
    server.headers = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    server.heeds_if_range = etag is not None
    server.plan.extend([("cut", SIZE // 2), ("cut", 50_000), ("cut", 20_000)])
    assert get(url, tmp_path) == CONTENT
    assert server.sent == SIZE
    offsets = [asked for _, asked, _ in server.requests]
    assert offsets == [None, "bytes=150000-", "bytes=200000-", "bytes=220000-"]


def test_without_tag_or_date_nothing_is_resumed(server, tmp_path):
    url = server.serve("a.zip", CONTENT, etag=None)
    server.plan.append(("cut", 100_000))
    assert get(url, tmp_path) == CONTENT
    assert server.sent == SIZE + 100_000


def test_a_weak_tag_is_not_trusted_for_resuming(server, tmp_path):
    url = server.serve("a.zip", CONTENT, etag='W/"one"')
    server.plan.append(("cut", 100_000))
    assert get(url, tmp_path) == CONTENT
    assert [asked for _, asked, _ in server.requests] == [None, None]


def test_404_is_refused_at_once(server, tmp_path):
    with pytest.raises(InputError, match="404 .*/gone.zip.*Correct the plate's name"):
        get(f"{server.address}/gone.zip", tmp_path)
    assert len(server.requests) == 1 and not (tmp_path / PART).exists()


def test_503_three_times_and_then_the_file(server, tmp_path, capsys):
    server.plan.extend([503, 503, 503])
    assert get(server.serve("a.zip", CONTENT), tmp_path, replace(SETTINGS, attempts=4)) == CONTENT
    assert [status for *_, status in server.requests] == [503, 503, 503, 200]
    assert capsys.readouterr().out.count("the server answered 503") == 3


def test_it_gives_up_and_keeps_what_has_arrived(server, tmp_path):
    url = server.serve("a.zip", CONTENT)
    server.plan.extend([("cut", 100_000), 503, 503, 503])
    with pytest.raises(InputError, match="no new byte .* in 3 attempts .*503.*0.1 MB.* is kept"):
        get(url, tmp_path)
    assert get(url, tmp_path) == CONTENT and server.sent == SIZE + 3 * len(b"no")


def test_pauses_grow_to_their_limit_and_heed_the_server(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.plan.extend([500, 502, 504, 429])
    settings = replace(SETTINGS, attempts=5, first_pause_s=1.0, longest_pause_s=5.0)
    get(server.serve("a.zip", CONTENT), tmp_path, settings)
    assert pauses == [1.0, 2.0, 4.0, 5.0]
    clear(tmp_path)
    server.headers, pauses[:] = {"Retry-After": "3"}, []
    server.plan.append(503)
    get(server.serve("a.zip", CONTENT), tmp_path, settings)
    assert pauses == [3.0]


def test_a_server_that_cannot_resume_sends_it_all_again(server, tmp_path, capsys):
    url = server.serve("a.zip", CONTENT)
    server.ranges = False
    server.plan.append(("cut", 100_000))
    assert get(url, tmp_path) == CONTENT
    assert "the server cannot resume, starting afresh" in capsys.readouterr().out


def test_a_server_that_never_resumes_and_always_cuts_is_given_up(server, tmp_path):
    url = server.serve("a.zip", CONTENT)
    server.ranges = False
    server.plan.extend([("cut", 100_000)] * 20)
    with pytest.raises(InputError, match="in 3 attempts"):
        get(url, tmp_path)
    assert len(server.requests) == 4


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_between_two_attempts_starts_afresh(server, tmp_path, heeds, capsys):
    url = server.serve("a.zip", CONTENT)
    server.heeds_if_range = heeds
    server.plan.extend([("cut", 100_000), 503, 503, 503])
    with pytest.raises(InputError, match="is kept"):
        get(url, tmp_path)
    server.serve("a.zip", OTHER, etag='"two"')
    assert get(url, tmp_path) == OTHER
    assert "the file on the server has changed" in capsys.readouterr().out


def test_a_file_that_became_shorter_starts_afresh(server, tmp_path):
    url = server.serve("a.zip", CONTENT)
    server.plan.extend([("cut", 100_000), 503, 503, 503])
    with pytest.raises(InputError):
        get(url, tmp_path)
    server.heeds_if_range = False
    server.serve("a.zip", OTHER[:50_000])
    assert get(url, tmp_path) == OTHER[:50_000]


def test_a_part_of_another_address_is_not_continued(server, tmp_path):
    server.plan.extend([("cut", 100_000), 503, 503, 503])
    with pytest.raises(InputError):
        get(server.serve("a.zip", CONTENT), tmp_path)
    assert get(server.serve("b.zip", OTHER), tmp_path) == OTHER


def test_a_file_of_unknown_length_arrives(server, tmp_path):
    server.says_length = False
    told = []
    content = get(server.serve("a.zip", CONTENT), tmp_path, announce=lambda *n: told.append(n))
    assert content == CONTENT and told == [(None, 0)]


def test_a_silent_connection_is_cut_and_resumed_and_a_slow_one_is_not(server, tmp_path):
    url = server.serve("a.zip", CONTENT)
    server.block_s = 0.02
    assert get(url, tmp_path, replace(SETTINGS, timeout_s=2.0)) == CONTENT
    assert len(server.requests) == 1
    clear(tmp_path)
    server.block_s, server.sent = 0.0, 0
    server.plan.append(("stall", 100_000))
    assert get(url, tmp_path, replace(SETTINGS, timeout_s=SILENCE_S / 3)) == CONTENT
    assert server.requests[-1] == ("/a.zip", "bytes=100000-", 206) and server.sent == SIZE


def test_nobody_at_the_address_is_said_after_the_attempts(tmp_path):
    with pytest.raises(InputError, match="in 3 attempts .*refused"):
        get("http://127.0.0.1:9/a.zip", tmp_path)


def test_a_full_disk_is_said_and_what_has_arrived_is_kept(server, tmp_path, monkeypatch):
    url = server.serve("a.zip", CONTENT)
    real = module._append

    def full(file, block, folder):
        if file.tell() > 100_000:
            raise InputError("The disk is full")
        real(file, block[:40_000], folder)
        if len(block) > 40_000:
            raise InputError("The disk is full")

    monkeypatch.setattr(module, "_append", full)
    with pytest.raises(InputError, match="disk is full"):
        get(url, tmp_path)
    monkeypatch.setattr(module, "_append", real)
    assert get(url, tmp_path) == CONTENT and server.requests[-1][2] == 206


def test_one_writer_at_a_time(tmp_path):
    with one_writer(tmp_path), pytest.raises(InputError, match="already working"):  # noqa: SIM117
        with one_writer(tmp_path):
            pass
    with one_writer(tmp_path), open(tmp_path / "lock") as handle, pytest.raises(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with one_writer(tmp_path):
        pass


def test_checksums_are_read_as_sha256sum_prints_them(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, B.1
    assert file_sha256(tmp_path / "a.zip") == digest
    sums = tmp_path / "SUMS"
    sums.write_text(f"# archives\n{digest}  a.zip\n{digest.upper()} *Week1/b.zip\n\n")
    assert read_checksums(sums) == {"a.zip": digest, "b.zip": digest}
    sums.write_text(f"{digest[:-1]}  a.zip\n")
    with pytest.raises(InputError, match="in line 1 of .*SUMS, expected a SHA-256"):
        read_checksums(sums)
    with pytest.raises(InputError, match="does not exist"):
        read_checksums(tmp_path / "none")
