import json

import pytest

from analysis import describe_assays
from analysis.comparison.layout import read_config
from rls.runtime.errors import InputError


def test_the_description_is_written_as_it_was_given(tmp_path):
    content = {"seed": 1, "assays": {"translocation": {"title": "T", "simulated": True}}}
    path = tmp_path / "assays.json"
    describe_assays.main(["--assays", json.dumps(content), "--output", str(path)])
    assert json.loads(path.read_text()) == content


def test_a_text_that_is_not_json_is_refused(tmp_path):
    with pytest.raises(InputError, match="not JSON"):
        describe_assays.main(["--assays", "{", "--output", str(tmp_path / "a.json")])
    assert not list(tmp_path.iterdir())


def test_a_damaged_description_is_named_with_its_rule(tmp_path):
    path = tmp_path / "assays.json"
    describe_assays.main(["--assays", '{"assays": {"a": {"title": "T"}}}', "--output", str(path)])
    path.write_text(path.read_text().replace("title", "tjtle"))
    with pytest.raises(InputError, match="assays.json is not the one .*rule describe_assays"):
        read_config(path)
