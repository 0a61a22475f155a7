"""Which weights a run uses is decided once: from the configuration, or from the user's cache."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from analysis.run.arguments import Arguments
from analysis.run.description import Run
from analysis.run.files import Files
from analysis.run.keys import needs_weights
from analysis.run.values import lay_over, read_config
from analysis.run.weights import DECIDED, settle
from rls.io.files import file_sha256
from rls.runtime.errors import InputError
from tests.conftest import ROOT


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache into which VGG16 was fetched."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "vgg16.safetensors").write_bytes(b"vgg16")
    monkeypatch.setenv("RLS_WEIGHTS", str(folder))
    return folder


def config(**weights):
    found = read_config([ROOT / "config" / "smoke.yaml"])
    lay_over(found, {"weights": weights})
    return found


def arguments(settled):
    return Arguments(settled, Files(settled, ROOT))


def measure_flags(settled):
    at = SimpleNamespace(assay="translocation")
    return arguments(settled).section("measure")(at)


def method_flags(settled, method):
    return arguments(settled).method(SimpleNamespace(assay="translocation", method=method))


def test_what_is_in_the_cache_is_used_named_and_written_into_the_run(cache):
    found, environ = config(), {}
    said = settle(found, ROOT, environ)
    path, sha256 = cache / "vgg16.safetensors", file_sha256(cache / "vgg16.safetensors")
    assert len(said) == 3 and f"by vgg16 from {path}, SHA-256 {sha256}" in " ".join(said)
    assert sum("no file of" in one for one in said) == 2
    assert environ["RLS_VGG16_PATH"] == str(path) and environ["RLS_ALEXNET_PATH"] == "none"
    run = Run.of(found)
    assert run.weights == {"vgg16": sha256}
    assert json.loads(run.to_json())["weights"] == {"vgg16": sha256}
    assert Run.from_json(run.to_json(), run.results) == run


def test_parameters_of_jobs_hold_the_digest_and_never_the_path(cache):
    with_weights, without = config(), config(vgg16_path=None)
    for one in (with_weights, without):
        settle(one, ROOT, {})
    sha256 = file_sha256(cache / "vgg16.safetensors")
    found, bare = measure_flags(with_weights), measure_flags(without)
    assert found[found.index("--vgg16-sha256") + 1] == sha256
    assert bare[bare.index("--vgg16-sha256") + 1] == "none"
    assert not any("path" in flag or str(cache) in flag for flag in found)
    brgm = method_flags(with_weights, "brgm")
    assert brgm[brgm.index("--vgg16-sha256") + 1] == sha256 and "--vgg16-path" not in brgm
    for method in ("brgm_no_perceptual", "rls"):
        assert method_flags(with_weights, method) == method_flags(without, method)


def test_a_job_keeps_what_was_decided_whatever_is_fetched_meanwhile(cache):
    first, environ = config(), {}
    settle(first, ROOT, environ)
    (cache / "alexnet.safetensors").write_bytes(b"alexnet")
    (cache / "vgg16.safetensors").unlink()
    job = config()
    assert settle(job, ROOT, {**environ, "RLS_RUN": "one"}) == []
    assert job["weights"] == first["weights"]
    anew = config()  # a new run, even from a shell whose environment has an old decision
    settle(anew, ROOT, {DECIDED: environ[DECIDED]})
    assert set(Run.of(anew).weights) == {"alexnet"}


def test_none_uses_nothing_and_a_file_needs_its_sha256(cache, tmp_path):
    nothing = config(vgg16_path=None, alexnet_path=None)
    settle(nothing, ROOT, {})
    assert Run.of(nothing).weights == {}
    path = tmp_path / "inception.pt"
    with pytest.raises(InputError, match="inception_path names .*inception.pt, which does not"):
        settle(config(inception_path=str(path)), ROOT, {})
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="without inception_sha256"):
        settle(config(inception_path=str(path)), ROOT, {})
    settled = config(inception_path=str(path), inception_sha256="AB" * 32)
    settle(settled, ROOT, {})
    assert Run.of(settled).weights["inception"] == "ab" * 32


def test_published_brgm_is_refused_at_the_start_without_weights(cache):
    methods = {"run": {"methods": ["bicubic", "brgm", "brgm_no_perceptual"]}}
    found = config()
    lay_over(found, methods)
    assert [needs_weights(found["methods"][name]) for name in methods["run"]["methods"]] == [
        False,
        True,
        False,
    ]
    settle(found, ROOT, {})
    bare = config(vgg16_path=None)
    lay_over(bare, methods)
    with pytest.raises(InputError, match=r"methods.brgm compares features.*make weights"):
        settle(bare, ROOT, {})
    lay_over(bare, {"run": {"methods": ["bicubic"]}})
    settle(bare, ROOT, {})
    bare["degradations"]["gaussian_noise"] = {"methods": ["brgm"]}
    with pytest.raises(InputError, match=r"methods.brgm compares features.*make weights"):
        settle(bare, ROOT, {})


def test_jobs_that_load_no_such_network_do_not_depend_on_its_weights(cache):
    """Else all plates' thresholds, sweeps and solutions would be measured again after a fetch."""
    with_weights, without = config(), config(vgg16_path=None)
    for one in (with_weights, without):
        settle(one, ROOT, {})
    at = SimpleNamespace(assay="translocation")
    found, bare = (arguments(one).features(at) for one in (with_weights, without))
    assert found == bare and "--nucleus-diameter-um" in found
    assert measure_flags(with_weights) != measure_flags(without)
