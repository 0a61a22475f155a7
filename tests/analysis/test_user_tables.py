"""Tables that people write: every dialect is read as it is meant, and what cannot be is refused."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from analysis.plates.names import refuse_misspelt, row_and_column, spelling, with_well_names
from analysis.plates.sheet import read_sheet
from analysis.plates.user_table import parse_user_table, read_user_table
from rls.runtime.errors import InputError
from tests.analysis import fuzzed_tables
from tests.analysis.small_plate import CHANNELS

TEXT = "well,treatment,dose\nB02,DMSO,0\nB03,TNF-α,2.5\n"
PLAIN = {"well": ["B02", "B03"], "treatment": ["DMSO", "TNF-α"], "dose": [0.0, 2.5]}


def parse(text, encoding="utf-8", name="t.csv"):
    content = text if isinstance(text, bytes) else text.encode(encoding)
    return parse_user_table(content, ("well", "treatment", "moa"), ("dose",), name)


def test_a_plain_table_is_read_without_a_word(capsys):
    table = parse(TEXT)
    assert table.to_dict("list") == PLAIN and list(table.index) == [0, 1]
    assert table["dose"].dtype == float and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        (TEXT, "utf-8-sig", ""),
        (TEXT.replace("\n", "\r\n"), "utf-8", ""),
        (TEXT.replace("\n", "\r"), "utf-8", ""),
        (TEXT, "utf-16", "text in utf-16"),
        (TEXT, "utf-16-le", "text in utf-16-le"),
        (TEXT, "utf-16-be", "text in utf-16-be"),
        (TEXT, "utf-32", "text in utf-32"),
        (TEXT.replace(",", ";"), "utf-8", "semicolon-separated"),
        (TEXT.replace(",", ";").replace(".", ","), "utf-8", "decimal commas in dose"),
        (TEXT.replace(",", "\t"), "utf-16", "text in utf-16; tab-separated"),
        (TEXT.replace(",", "|"), "utf-8", "bar-separated"),
        ("sep=,\r\n" + TEXT, "utf-8", ""),
        ('"sep=;"\n' + TEXT.replace(",", ";"), "utf-8", "semicolon-separated"),
        ("sep=:\n" + TEXT.replace(",", ":"), "utf-8", "':'-separated"),
        (TEXT.replace("\n", ",,\n"), "utf-8", ""),
        (TEXT.replace("0\n", "0,\n").replace("5\n", "5,\n"), "utf-8", ""),
        (TEXT.replace(",0", ", 0 ").replace("DMSO", " DMSO\u00a0"), "utf-8", ""),
        (TEXT.replace("DMSO", '"DMSO"').replace(",", ', '), "utf-8", ""),
        (TEXT + "\n\n", "utf-8", ""),
        (TEXT + ",,\n , ,\n", "utf-8", "without 2 empty rows"),
        (TEXT + "well,treatment,dose\n", "utf-8", "without row 4, which is the header again"),
        (TEXT.replace("well,treatment", "WELL, Treatment "), "utf-8", "columns 'WELL' for"),
        (TEXT.replace("DMSO", "\ufeffDMSO\u200b"), "utf-8", ""),
        ('# a "note, in quotes\n' + TEXT, "utf-8", "without 1 lines that begin with #"),
        (TEXT + "#B04,x,1\n", "utf-8", "without 1 lines that begin with #"),
    ],
)  # fmt: skip
def test_every_dialect_of_spreadsheets_is_the_same_table(text, encoding, said, capsys):
    table = parse(text, encoding)
    assert table.reset_index(drop=True).to_dict("list") == PLAIN
    printed = capsys.readouterr().out
    assert printed == "" if not said else printed.startswith("t.csv is read as: ")
    assert said in printed


def test_western_bytes_are_read_as_cp1252_and_an_old_macs_as_its_own(capsys):
    text = "well,treatment\nB02,5 µM Ä\n"
    assert parse(text, "cp1252")["treatment"][0] == "5 µM Ä"
    assert "text in cp1252" in capsys.readouterr().out
    assert parse(text.replace("\n", "\r"), "mac_roman")["treatment"][0] == "5 µM Ä"
    assert "text in mac_roman" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("well,treatment\nB02,Контроль\n".encode("cp1251"), "encoding cannot be told.*CSV UTF-8"),
        ("well,treatment\nB02,药物\n".encode("gb18030"), "encoding cannot be told"),
        (b"well,treatment\nB02,a\x81b\n", "neither in UTF-8 nor in cp1252"),
        (b"\xff\xfew\0e\0l\0l", r"is not in utf-16 \(byte 8\), and its encoding cannot be told"),
        (b"PK\x03\x04rest", "a spreadsheet's own file"),
        (b"", "no header in t.csv"),
        (b"\n\n,,,\n", "no header in t.csv"),
        (b'well,treatment\nB02,"DMSO\nB03,TNF\n', "no CSV .*quotation mark without its partner"),
        (b"well,treatment,Well\nB02,a,B02\n", "column well twice"),
        (b"well,treatment,dose\nB02,a,2,5\nB03,b,1\n", "Found 4 cells in row 2 .*expected the 3"),
        (b"well,treatment,dose\nB02,a,2,\nB03,b,1\n", "Found 4 cells in row 2 "),
        (b"well,treatment\nB02,a\tb\n", r"control character U\+0009 in column treatment in row 2"),
        (b'well,treatment\nB02,"a\nb"\n', r"control character U\+000A in column treatment"),
        (b"well,dose\nB02,1\nB03,2.5 uM\n", "the dose '2.5 uM' in row 3 .*unit as dose_unit"),
        (b'well,dose\nB02,1\nB03,"2,5"\n', "the dose '2,5' in row 3 .*a number such as 2.5"),
        (b"well,dose\nB02,1_000\n", "the dose '1_000' in row 2"),
        (b"well,dose\nB02,inf\n", "the dose 'inf' in row 2"),
        (b"well,dose\nB02,1e999\n", "the dose '1e999' in row 2"),
        (b"well;dose\nB02;1,000\n", "'1,000' in row 2 .*not 1000 to one and 1 to another"),
        (b"well;dose\nB02;1.000,5\n", "the dose '1.000,5' in row 2"),
        (b"well;dose\nB02;2,5\nB03;2.5\n", "the dose '2,5' in row 2"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(content, message):
    with pytest.raises(InputError, match=message) as error:
        parse(content)
    assert "\n" not in str(error.value)


def test_text_stays_text_and_only_numbers_are_numbers():
    names = ["00123", "1E5", "None", "NA", "null", "nan", "2024-01-02", "TRUE", "1,5", "#1", "=1+1"]
    rows = "".join(f'B{i + 1:02d};"{name}";{i};{name}\n' for i, name in enumerate(names))
    table = parse("well;treatment;dose;notes\n" + rows)
    assert list(table["treatment"]) == names and list(table["notes"]) == names
    missing = parse("well,dose,moa\nB02,NA,\nB03,nan,NA\nB04,,x\nB05,1,y\n")
    assert list(missing["dose"].isna()) == [True, True, True, False]
    assert missing["moa"].isna().tolist() == [True, False, False, False]


def test_a_row_is_named_as_the_spreadsheet_numbers_it():
    text = "sep=;\n# made today\n\nwell;dose\nB02;1\n\n#B03;2\nB04;x\n"
    with pytest.raises(InputError, match="'x' in row 8 "):
        parse(text)


def test_a_hash_is_a_name_where_the_first_column_may_hold_one():
    text = "treatment,well\n#1,B02\n#2,B03\n"
    assert list(parse(text)["treatment"]) == ["#1", "#2"]
    quoted = 'well,treatment\nB02,"a\n#b"\n'
    with pytest.raises(InputError, match="control character"):
        parse(quoted)  # the second line of a cell is no comment


def test_a_column_without_a_name_is_passed_over():
    table = parse(",well,treatment\n0,B02,DMSO\n1,B03,TNF\n")
    assert list(table) == ["well", "treatment"] and list(table["well"]) == ["B02", "B03"]


def test_thousands_are_no_doubt_beside_a_decimal_comma():
    table = parse("well;dose\nB02;2,125\nB03;0,5\n")
    assert list(table["dose"]) == [2.125, 0.5]


def test_a_table_that_is_missing_or_cannot_be_read_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="plate map .*no.csv does not exist"):
        read_user_table(tmp_path / "no.csv", (), (), "plate map")
    (tmp_path / "t.csv").write_text(TEXT)

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    with pytest.raises(InputError, match=r"t.csv cannot be read \(Permission denied\)"):
        read_user_table(tmp_path / "t.csv", (), (), "sheet")


def test_columns_of_channels_are_found_in_any_case_and_two_channels_keep_theirs(tmp_path):
    (tmp_path / "s.csv").write_text("Plate,Path DNA,path-nfkb\nP1,a,b\n")
    assert list(read_sheet(tmp_path / "s.csv", CHANNELS)) == ["plate", "path_dna", "path_nfkb"]
    (tmp_path / "s.csv").write_text("path_dna,path_DNA\na,b\n")
    table = read_sheet(tmp_path / "s.csv", ("DNA", "dna"))
    assert table["path_DNA"][0] == "b" and table["path_dna"][0] == "a"


def test_accents_of_a_mac_are_composed():
    apart = unicodedata.normalize("NFD", "naïve café")
    assert parse(f"well,treatment\nB02,{apart}\n")["treatment"][0] == "naïve café"


# ---- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["B2", "B02", "b02", "B 02", "B - 02", "B-2", "B002", " b_2 ", "B–2", "Ｂ０２", "B:2"]
)
def test_a_well_has_one_name(text):
    assert row_and_column(text) == "B02"


@pytest.mark.parametrize(
    ("text", "name"),
    [("aa1", "AA01"), ("AF48", "AF48"), ("P24", "P24"), ("Z9", "Z09"), ("AG01", None),
     ("B0", None), ("B49", None), ("B100", None), ("2B", None), ("B", None), ("slide 1", None),
     ("B02-03", None), ("É1", None), ("unknown", None)],
)  # fmt: skip
def test_rows_and_columns_of_the_largest_plates_are_wells_and_other_names_are_none(text, name):
    assert row_and_column(text) == name


def test_other_names_stay_and_their_spellings_are_refused(capsys):
    table = pd.DataFrame({"plate": ["P", "P", "P"], "well": ["slide 1", "b2", "B02"]})
    assert list(with_well_names(table, "s.csv")["well"]) == ["slide 1", "B02", "B02"]
    assert "wells are read by row and column, 'b2' as B02" in capsys.readouterr().out
    assert with_well_names(table.iloc[2:], "s.csv")["well"].tolist() == ["B02"]
    assert capsys.readouterr().out == ""
    for other in ("Slide 1", "slide_01", "slide1"):
        two = table.assign(well=["slide 1", other, "B02"])
        with pytest.raises(InputError, match=f"'slide 1' and '{other}' of plate P .*one spelling"):
            with_well_names(two, "s.csv")
        assert len(with_well_names(two.assign(plate=["P", "Q", "P"]), "s.csv")) == 3


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("IFN-α", "IFN-β"), ("对照", "药物甲"), ("药物甲", "药物乙"), ("Контроль", "Контроля"),
        ("-DOX", "+DOX"), ("-DOX", "DOX"), ("DOX+", "DOX-"), ("DOX+", "DOX"), ("5 µM", "5 nM"),
        ("(-)-nicotine", "(+)-nicotine"), ("MCF7 -DOX", "MCF7 DOX"), ("siRELA #1", "siRELA #2"),
        ("x_0.3uM", "x_3uM"),
        ("1,2-diol", "12-diol"), ("mouse ♂", "mouse ♀"), ("!!", "??"),
    ],
)  # fmt: skip
def test_names_that_differ_in_a_letter_a_digit_or_a_sign_are_two(one, two):
    assert spelling(one) != spelling(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("TNF-alpha", "tnf alpha"), ("TNF-alpha", "TNFalpha"), ("TNF - alpha", "TNF-Alpha"),
        ("IFN-Α", "ifn α"), ("ΣΑΣ", "σας"), ("Straße", "STRASSE"), ("5 µM", "5 μM"),
        ("ＤＭＳＯ", "dmso"), ("x_0,3uM", "x_0.3uM"), ("siRELA #1", "siRELA 1"),
        ("−DOX", "-dox"), ("TNF-\u00a0alpha", "TNF–alpha"),
    ],
)  # fmt: skip
def test_names_that_differ_in_case_blanks_or_punctuation_are_one_misspelt(one, two):
    assert spelling(one) == spelling(two)


def test_names_that_look_the_same_are_told_apart_by_their_characters():
    table = pd.DataFrame({"well": ["B02"], "treatment": ["5 \u00b5M"]})
    with pytest.raises(InputError, match=r"\(they differ in U\+00B5, U\+03BC\)"):
        refuse_misspelt(table, ["5 \u03bcM"], "s.csv")


# ---- at random ---------------------------------------------------------------------------------


AT_RANDOM = settings(
    max_examples=150, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
DRAWS = strategies.randoms(use_true_random=False)


@AT_RANDOM
@given(DRAWS)
def test_a_sheet_in_any_dialect_is_read_as_it_is_meant(draw):
    with tempfile.TemporaryDirectory() as folder:
        fuzzed_tables.try_right(draw, Path(folder))


@AT_RANDOM
@given(DRAWS)
def test_a_faulty_sheet_in_any_dialect_ends_in_its_sentence(draw):
    fuzzed_tables.try_fault(draw)


@AT_RANDOM
@given(DRAWS)
def test_a_damaged_sheet_is_read_or_ends_in_a_sentence(draw):
    fuzzed_tables.try_damage(draw)
