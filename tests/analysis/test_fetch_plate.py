"""fetch_plate: from an archive on a server or a share to the folder that list_plate reads."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis import fetch_metadata, fetch_plate
from analysis.plates.download import FACTS, PART, one_writer
from analysis.plates.fetch import Place
from rls.io import check_digest
from rls.runtime.errors import InputError
from tests.analysis.odd_server import odd_server
from tests.analysis.small_plate import left_behind, list_it, write_config
from tests.conftest import ROOT

ARCHIVE = "BBBC021_v1_images_P1.zip"
SIDE = 40
IMAGE_CSV, MOA_CSV = "BBBC021_v1_image.csv", "BBBC021_v1_moa.csv"
FLAGS = ["--attempts", "3", "--first-pause-s", "0.001", "--longest-pause-s", "0.01", "--timeout-s",
         "5", "--expected-mb-per-s", "5", "--free-disk-mb", "0"]  # fmt: skip


def image_bytes(seed):
    image = np.random.default_rng(seed).integers(100, 4000, (SIDE, SIDE)).astype(np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def metadata():
    """BBBC021's two CSVs: plates P1 and P2, each with a well of DMSO, taxol and nocodazole."""
    rows = []
    for plate in ("P1", "P2"):
        for well, compound, dose in (("B02", "DMSO", 0.0), ("B03", "taxol", 0.3),
                                     ("B04", "nocodazole", 3.0)):  # fmt: skip
            row = {"Image_Metadata_Plate_DAPI": plate, "Image_Metadata_Well_DAPI": well,
                   "Image_Metadata_Compound": compound, "Image_Metadata_Concentration": dose}  # fmt: skip  # noqa: E501
            for number, channel in ((1, "DAPI"), (2, "NFKB")):
                row[f"Image_FileName_{channel}"] = f"{well}_s1_w{number}{plate}.tif"
                row[f"Image_PathName_{channel}"] = f"Week1/{plate}"
            rows.append(row)
    moa = "compound,concentration,moa\ntaxol,0.3,Microtubule stabilizers\n"
    return {IMAGE_CSV: pd.DataFrame(rows).to_csv(index=False).encode(), MOA_CSV: moa.encode()}


@pytest.fixture(scope="module")
def images(metadata):
    table = pd.read_csv(io.BytesIO(metadata[IMAGE_CSV]))
    table = table[table["Image_Metadata_Plate_DAPI"] == "P1"]
    names = [*table["Image_FileName_DAPI"], *table["Image_FileName_NFKB"]]
    return {name: image_bytes(seed) for seed, name in enumerate(names)}


def pack(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def weeks(images):
    """An archive as BBBC021's: all in a folder of the week and plate."""
    return pack({f"Week1/P1/{name}": content for name, content in images.items()})


@pytest.fixture
def run(tmp_path, metadata):
    folder = tmp_path / "run"
    (folder / "data" / "metadata").mkdir(parents=True)
    for name, content in metadata.items():
        (folder / "data" / "metadata" / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def fresh_server():
    with odd_server() as fresh:
        yield fresh


@pytest.fixture
def server(fresh_server):
    return fresh_server()


def arguments(run, archives, *more):
    return [
        "--plate", "P1", "--plates", "P1", "P2", "--archives", str(archives), "--metadata",
        str(run / "data" / "metadata"), "--channels", "dna", "nfkb", "--state",
        str(run / "state"), "--output", str(run / "data" / "P1"), *FLAGS, *more,
    ]  # fmt: skip


def fetch(run, archives, *more):
    fetch_plate.main(arguments(run, archives, *more))
    return run / "data" / "P1"


def tifs(folder):
    return sorted(path.name for path in folder.glob("*.tif"))


def assert_nothing_written(run):
    assert not (run / "data" / "P1").exists() and left_behind(run) == []


def kept(run):
    """Bytes of unfinished downloads."""
    return sum(path.stat().st_size for path in run.glob(f"state/*/{PART}"))


def test_the_plate_is_what_list_plate_reads_and_the_archive_is_gone(run, server, images):
    server.serve(ARCHIVE, weeks(images))
    folder = fetch(run, server.address)
    assert tifs(folder) == sorted(images)
    assert all((folder / name).read_bytes() == content for name, content in images.items())
    assert kept(run) == 0 and not list(run.glob(f"state/*/{FACTS}")) and left_behind(run) == []
    write_config(run)
    sheet = pd.read_csv(
        list_it(run, "P1", "--source", "bbbc021", "--treatment-by", "compound_dose")
    )  # noqa: E501
    assert list(sheet["treatment"]) == ["DMSO", "taxol_0.3uM", "nocodazole_3uM"]
    assert list(sheet["moa"].fillna("")) == ["DMSO", "Microtubule stabilizers", ""]


def test_only_the_treatments_and_channels_asked_are_unpacked(run, server, images):
    server.serve(ARCHIVE, weeks(images))
    folder = fetch(run, server.address, "--treatments", "DMSO", "taxol_0.3uM", "--channels", "dna")
    assert tifs(folder) == ["B02_s1_w1P1.tif", "B03_s1_w1P1.tif"]
    assert list(pd.read_csv(folder / "image.csv")["Image_Metadata_Compound"]) == ["DMSO", "taxol"]


def test_extra_files_and_another_layout_do_not_matter(run, server, images):
    flat = {f"odd\\place\\{name}": content for name, content in images.items()}
    server.serve(ARCHIVE, pack({"readme.txt": b"x", "__MACOSX/._a.tif": b"y", **flat, "d/": b""}))
    assert tifs(fetch(run, server.address)) == sorted(images)


@pytest.mark.parametrize("nested", [False, True])
def test_archives_of_our_own_are_read_where_they_lie(run, tmp_path, images, nested):
    place = tmp_path / "share" / ("Week1" if nested else "")
    place.mkdir(parents=True)
    (place / ARCHIVE).write_bytes(weeks(images))
    assert tifs(fetch(run, tmp_path / "share")) == sorted(images)
    assert (place / ARCHIVE).is_file()
    with pytest.raises(InputError, match="no BBBC021_v1_images_P1.zip in .*/empty"):
        fetch(run, tmp_path / "empty")


def without(images, name):
    return {key: content for key, content in images.items() if key != name}


def truncated(images):
    return weeks(images)[:-3000]


def flipped(images):
    content = bytearray(weeks(images))
    content[2000] ^= 1
    return bytes(content)


def lacking(images):
    return weeks(without(images, "B03_s1_w2P1.tif"))


def one_channel(images):
    return weeks({name: content for name, content in images.items() if "_w1" in name})


def twice(images):
    return pack({**images, **{f"copy/{name}": content[::-1] for name, content in images.items()}})


def nothing(images):
    return pack({})


def page(images):
    return b"<html>Please log in</html>" * 50


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "cut off or damaged: .*Fetch it again"),
        (flipped, "cut off or damaged: (Bad CRC-32|Error -3|File name|Bad magic)"),
        (lacking, "1 of 6 images missing .*first B03_s1_w2P1.tif; it holds 5 files"),
        (one_channel, "3 of 6 images missing .*first B02_s1_w2P1.tif"),
        (twice, "B02_s1_w1P1.tif more than once .*different content"),
        (nothing, "6 of 6 images missing .*it holds 0 files such as none"),
        (page, "begins like a web page"),
    ],
)
def test_a_wrong_archive_ends_in_one_sentence_and_leaves_nothing(
    run, server, images, make, message
):
    server.serve(ARCHIVE, make(images))
    with pytest.raises(InputError, match=message):
        fetch(run, server.address)
    assert_nothing_written(run)
    assert kept(run) == 0
    server.serve(ARCHIVE, weeks(images), etag='"mended"')
    assert tifs(fetch(run, server.address)) == sorted(images)


def test_damage_in_a_member_that_is_not_needed_is_found_too(run, server, images):
    content = bytearray(pack({**images, "other.bin": np.random.default_rng(0).bytes(5000)}))
    content[bytes(content).index(b"other.bin") + 2000] ^= 1
    server.serve(ARCHIVE, bytes(content))
    with pytest.raises(InputError, match="cut off or damaged: .*other.bin"):
        fetch(run, server.address)
    assert_nothing_written(run)


def test_a_checksum_that_is_known_is_tested(run, server, images, tmp_path, capsys):
    content = weeks(images)
    server.serve(ARCHIVE, content)
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  {ARCHIVE}\n")
    with pytest.raises(InputError, match=f"expected {'0' * 64} as .*SHA256SUMS says"):
        fetch(run, server.address, "--checksums", str(sums))
    assert_nothing_written(run)
    assert kept(run) == 0
    sums.write_text(f"{hashlib.sha256(content).hexdigest()}  {ARCHIVE}\n")
    fetch(run, server.address, "--checksums", str(sums))
    assert "as " + str(sums) in capsys.readouterr().out


def test_a_checksum_is_recorded_and_tested_the_next_time(run, server, images):
    server.serve(ARCHIVE, weeks(images))
    shutil.rmtree(fetch(run, server.address))
    fetch(run, server.address)
    server.serve(ARCHIVE, pack({**images, "new.txt": b"another archive"}), etag='"two"')
    shutil.rmtree(run / "data" / "P1")
    with pytest.raises(InputError, match="expected .* as .*state/fetch_plate-.*/SHA256SUMS says"):
        fetch(run, server.address)
    assert_nothing_written(run)


@pytest.mark.parametrize("free", [10, 12_000])
def test_too_small_a_disk_is_refused_before_anything_is_fetched(
    run, server, images, monkeypatch, free
):
    server.serve(ARCHIVE, weeks(images))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 0, free))
    with pytest.raises(InputError, match="0 MB free in .*expected 0 MB for BBBC021_v1_images_P1"):
        fetch(run, server.address)
    assert kept(run) == 0
    assert_nothing_written(run)


def test_time_and_disk_are_said_beforehand(run, server, images, capsys):
    server.serve(ARCHIVE, weeks(images))
    fetch(run, server.address, "--expected-mb-per-s", "0.001")
    out = capsys.readouterr().out
    seconds = round(len(weeks(images)) / 1000)
    assert f"about {seconds} s at 0.001 MB/s" in out and "MB of disk" in out
    assert "all 2 plates of this assay, if alike: 0.0 GB, about" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--treatments", "DMSO", "zinc"], "no row of treatment zinc"),
        (["--plate", "P9"], "no plate P9 in the metadata"),
        (["--channels", "dna", "golgi"], "expected golgi"),
        (["--archives", "ftp://host/x"], "expected http://, https:// or a folder"),
    ],
)
def test_what_does_not_fit_the_metadata_is_refused_before_a_byte(run, server, more, message):
    with pytest.raises(InputError, match=message):
        fetch(run, server.address, *more)
    assert server.requests == []
    assert_nothing_written(run)


def test_a_foreign_folder_is_not_overwritten(run, server, images):
    server.serve(ARCHIVE, weeks(images))
    (run / "data" / "P1").mkdir()
    (run / "data" / "P1" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds no plate"):
        fetch(run, server.address)
    assert (run / "data" / "P1" / "thesis.txt").is_file()


def test_a_second_writer_is_refused(run, server, images):
    url = server.serve(ARCHIVE, weeks(images))
    with (
        one_writer(Place("", url, None).state_folder(run / "state")),
        pytest.raises(InputError, match="already working"),
    ):
        fetch(run, server.address)


def test_a_killed_fetch_goes_on_where_it_stopped(run, server, images):
    padding = np.random.default_rng(3).bytes(400_000)
    content = pack({**images, "padding.bin": padding})
    server.serve(ARCHIVE, content)
    server.block_s = 0.02
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis.fetch_plate", *arguments(run, server.address)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while kept(run) < len(content) // 3:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    while server.busy:  # it may still send to the dead process
        time.sleep(0.005)
    have = kept(run)
    assert len(content) // 3 <= have < len(content)
    assert_nothing_written(run)
    server.block_s, server.sent = 0.0, 0
    assert tifs(fetch(run, server.address)) == sorted(images)
    assert server.sent == len(content) - have
    assert [asked for _, asked, _ in server.requests] == [None, f"bytes={have}-"]


def test_leftovers_of_a_killed_unpacking_are_removed(run, server, images):
    server.serve(ARCHIVE, weeks(images))
    dead = run / "data" / ".tmp-plate-P1"
    dead.mkdir()
    (dead / "half.tif").touch()
    fetch(run, server.address)
    assert left_behind(run) == []


def fetch_csvs(run, archives):
    fetch_metadata.main(["--archives", str(archives), "--state", str(run / "state"), "--output",
                         str(run / "csv"), *FLAGS])  # fmt: skip
    return run / "csv"


def test_metadata_come_from_a_server_or_a_folder(run, server, metadata, tmp_path):
    for name, content in metadata.items():
        server.serve(name, content)
    server.plan.extend([503, None, ("cut", 10)])
    folder = fetch_csvs(run, server.address)
    assert {path.name: path.read_bytes() for path in folder.glob("[!.]*")} == metadata
    assert {check_digest(path) for path in folder.glob("[!.]*")} == {"fetch_metadata"}
    shutil.rmtree(folder)
    fetch_csvs(run, run / "data" / "metadata")
    assert {path.name: path.read_bytes() for path in folder.glob("[!.]*")} == metadata


def test_a_web_page_is_no_metadata(run, server, images):
    server.serve(IMAGE_CSV, page(images))
    with pytest.raises(InputError, match="no table of BBBC021 in http"):
        fetch_csvs(run, server.address)
    assert not list((run / "csv").glob("*")) and kept(run) == 0
