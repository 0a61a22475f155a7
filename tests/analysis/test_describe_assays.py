import json

import pytest

from analysis import describe_assays
from analysis.run.description import Run
from rls.runtime.errors import InputError
from tests.analysis import made_up


def written(root):
    run = made_up.run_of(root, ("bicubic", "rls"), "translocation", "golgi")
    path = root / "run.json"
    describe_assays.main(["--description", run.to_json(), "--output", str(path)])
    return path, run


def test_the_description_is_read_as_it_was_given(tmp_path):
    path, run = written(tmp_path)
    assert Run.read(path) == run


def test_a_text_that_describes_no_run_is_refused(tmp_path):
    block = json.loads(made_up.run_of(tmp_path, ("rls",)).to_json())
    del block["assays"][0]["title"]
    for text, fault in (("{", "damaged"), ("{}", "assays"), (json.dumps(block), "title")):
        with pytest.raises(InputError, match=fault):
            describe_assays.main(["--description", text, "--output", str(tmp_path / "a.json")])
    assert not list(tmp_path.iterdir())


def test_a_damaged_description_is_named_with_its_rule(tmp_path):
    path, _ = written(tmp_path)
    path.write_text(path.read_text().replace("title", "tjtle", 1))
    with pytest.raises(InputError, match="run.json is not the one .*rule describe_assays"):
        Run.read(path)


def test_what_does_not_run_is_named(tmp_path):
    run = made_up.run_of(tmp_path, ("rls",))
    assert run.assay("translocation") is run.assays[0]
    with pytest.raises(InputError, match="'golgi' does not run. Name one of translocation"):
        run.assay("golgi")
    with pytest.raises(InputError, match="rule describe_assays writes"):
        Run.read(tmp_path / "run.json")


def test_only_the_methods_of_a_condition_are_compared_there(tmp_path):
    run = made_up.run_of(
        tmp_path, ("a", "b", "c"), degradations=("clean", "noise"), degraded=("a", "c")
    )
    found = {at.degradation: (at.methods, at.clean) for at in run.comparisons()}
    assert found == {"clean": (("a", "b", "c"), True), "noise": (("a", "c"), False)}
    assert [at.degradation for at in run.comparisons(clean_only=True)] == ["clean"]
    assert run.degradations == ("clean", "noise") and run.factors == (made_up.FACTOR,)
