"""Files of settings: a key given twice, names that YAML reads as something else, and lines."""

import datetime

import pytest

from rls.runtime.errors import InputError
from rls.runtime.yaml_file import YamlFile, misread


def read(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return YamlFile.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {b: 1}\nc: 2\na: {d: 3}\n", "mine.yaml gives the key 'a' twice, in lines 1 and 3"),
        ("a:\n  b:\n    c: 1\n    c: 1\n", "the key 'c' in a.b twice, in lines 3 and 4"),
        ("a:\n- {b: 1}\n- {b: 1, 'b': 2}\n", "the key 'b' in a.1 twice, in lines 3 and 3"),
        ('{"a": 1,\n\t"a": 2}', "the key 'a' twice, in lines 1 and 2"),
        ("a: &x {b: 1}\nc: {<<: *x, d: 1,\n d: 2}", "the key 'd' in c twice, in lines 2 and 3"),
        ("a: 1\n00123: 2\n", r"top level is no text. YAML reads 00123 \(.*mine.yaml, line 2\) as "
         'the number 83: write "00123", in quotes.'),
        ("a: {no: 2}\n", "A key in a is no text. YAML reads no .* as false"),
        ("a: {? [1, 2] : 2}\n", "A key in a is no text: write a name"),
        ("a: {b: ]\n", "mine.yaml is no YAML"),
        ("a: 2024-02-31\n", "mine.yaml is no YAML: day is out of range"),
        ("- a\n", "holds no keys"),
    ],
)  # fmt: skip
def test_what_yaml_would_drop_or_misread_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_blocks_that_are_merged_in_or_used_twice_stay_legal(tmp_path):
    file = read(
        tmp_path, "x: &x {b: 00123, c: 2}\ny: {<<: *x, c: 3}\nz: {<<: [*x, {d: no}]}\nw: *x"
    )
    assert file.content["y"] == {"b": 83, "c": 3} and file.content["w"] == {"b": 83, "c": 2}
    assert "00123" in file.misread(["y", "b"], 83) and "line 1" in file.misread(["z", "b"], 83)
    assert "line 3" in file.misread(["z", "d"], False)


def test_a_block_within_itself_ends(tmp_path):
    assert read(tmp_path, "a: &a {b: *a}").content["a"]["b"]


def test_the_file_that_is_read_may_have_a_mark_of_its_bytes_or_be_empty_or_json(tmp_path):
    assert read(tmp_path, "\ufeffa: 1").content == {"a": 1}
    assert read(tmp_path, "").content == {}
    assert read(tmp_path, '{\n\t"a": [1,\t2]}').content == {"a": [1, 2]}
    with pytest.raises(InputError, match="none.yaml does not exist"):
        YamlFile.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("written", "value", "kind"),
    [
        ("00123", 83, "the number 83"),
        ("1_000", 1000, "the number 1000"),
        ("12:30", 750, "the number 750"),
        ("1.0e+5", 1e5, "the number 100000.0"),
        ("2024-01-31", datetime.date(2024, 1, 31), "the date 2024-01-31"),
        ("NO", False, "false"),
        ("on", True, "true"),
        ("null", None, "nothing"),
    ],
)
def test_a_name_that_is_no_text_is_shown_as_it_was_written(tmp_path, written, value, kind):
    file = read(tmp_path, f"a:\n  plates: [P1, {written}]\n")
    where = f"{file.path}, line 2"
    expected = f' YAML reads {written} ({where}) as {kind}: write "{written}", in quotes.'
    assert file.misread(["a", "plates", 1], value) == expected
    assert file.misread(["a", "plates"], ["P1", value]) == expected
    assert file.misread(["a", "plates", 0], value) == ""  # another file's value
    assert file.misread(["a", "plates", 7], value) == file.misread(["b"], value) == ""


def test_a_number_that_is_text_gets_its_remedy(tmp_path):
    file = read(tmp_path, 'a: 5e-5\nb: "8"\nc: most\n')
    assert file.misread(["a"], "5e-5").endswith("as text: write 5.0e-5, not 5e-5.")
    assert "line 1" in file.misread(["a"], "5e-5")
    assert file.misread(["b"], "8").endswith("is text: write it without.")
    assert file.misread(["c"], "most") == misread("most") == misread(None) == ""
