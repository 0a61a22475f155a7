from dataclasses import dataclass
from typing import Literal

import pytest
import torch

from rls.runtime.command import Parser, advice, convert, option
from rls.runtime.errors import InputError
from tests.flags import as_flags


@dataclass(frozen=True)
class Settings:
    """Every type that a setting may have."""

    steps: int = option("Steps.")
    learning_rate: float = option("Rate.")
    flow: str = option("Flow.", choices=["maf", "realnvp"])
    shuffle: bool = option("Shuffle.")
    treatments: tuple[str, ...] = option("Treatments.")
    limit: int | None = option("Limit.", default=None)


FLAGS = ["--steps", "3", "--learning-rate", "5e-5", "--flow", "maf"]
FLAGS += ["--shuffle", "true", "--treatments", "DMSO", "TNF-alpha"]


def parse(*argv):
    return Parser("Test.", Settings, "fit").parse(list(argv))[1]


def test_flags_become_typed_settings():
    assert parse(*FLAGS) == Settings(3, 5e-5, "maf", True, ("DMSO", "TNF-alpha"), None)


def test_a_full_gpu_is_a_sentence_and_a_fault_of_the_program_is_none():
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee more")
    said = advice(full)
    assert "is full (CUDA out of memory. Tried to allocate 2.00 GiB.). Set batch_size lower" in said
    assert advice(RuntimeError("shapes differ")) == advice(OSError("no such device")) == ""


def test_a_number_may_have_a_word_in_its_place():
    kind = int | Literal["auto"]
    assert [convert(value, kind, "size") for value in ("auto", "8", 8)] == ["auto", 8, 8]
    for wrong in ("all", "none", None):
        with pytest.raises(InputError, match="size is .*expected an integer or auto"):
            convert(wrong, kind, "size")


def test_settings_become_flags_and_back():
    settings = parse(*FLAGS, "--limit", "7")
    assert parse(*as_flags(settings)) == settings


def test_flags_override_the_configuration(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "fit: {steps: 1, learning_rate: 5.0e-5, flow: maf, shuffle: false, treatments: [a]}"
    )
    settings = parse("--config", str(tmp_path / "c.yaml"), "--steps", "9")
    assert settings == Settings(9, 5e-5, "maf", False, ("a",), None)


def test_what_changes_no_result_may_stand_in_the_environment(monkeypatch, tmp_path):
    @dataclass(frozen=True)
    class OnGpu:
        compile: str = option("How.", choices=("auto", "off"), default="auto")

    def chosen(*argv):
        return Parser("Test.", OnGpu, "fit").parse(list(argv))[1].compile

    (tmp_path / "c.yaml").write_text("fit: {compile: auto}")
    assert chosen() == "auto"
    monkeypatch.setenv("RLS_COMPILE", "off")
    assert chosen() == "off"
    assert chosen("--config", str(tmp_path / "c.yaml")) == chosen("--compile", "auto") == "auto"
    monkeypatch.setenv("RLS_COMPILE", "always")
    with pytest.raises(InputError, match="fit.compile is 'always', expected one of: auto, off"):
        chosen()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fit: {stepps: 1}", "Unknown key 'stepps' in section 'fit'"),
        ("fit: {steps: 1.5}", "fit.steps is 1.5, expected an integer"),
        ("fit: {steps: true}", "fit.steps is True, expected an integer"),
        ("fit: {flow: glow}", "missing"),
        ("fit: {treatments: a}", "expected a list"),
        ("fit: {shuffle: 1}", "expected true or false"),
        ("fit: {treatments: [A, 00123]}", "expected text. YAML reads 00123 .* the number 83"),
        ("fit: {steps: 1, steps: 2}", "gives the key 'steps' in fit twice"),
        ("gan: {}", "no section 'fit'"),
    ],
)
def test_a_wrong_configuration_is_refused_in_a_sentence(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        parse("--config", str(tmp_path / "c.yaml"))


def test_missing_settings_are_named_with_their_flags():
    with pytest.raises(InputError, match="learning_rate.*--learning-rate"):
        parse("--steps", "3")


def test_a_number_out_of_its_bounds_is_refused_by_name():
    @dataclass(frozen=True)
    class Bounded:
        size: int = option("Size.", least=2)
        shares: tuple[float, ...] = option("Shares.", above=0, most=1)
        depth: int | None = option("Bits.", choices=(8, 10), default=None)
        batch: int | Literal["auto"] = option("Batch.", least=1, below=9, default="auto")

    def parsed(*argv):
        return Parser("Test.", Bounded, "cut").parse(list(argv))[1]

    assert parsed("--size", "2", "--shares", "0.5", "1") == Bounded(2, (0.5, 1.0))
    assert parsed("--size", "2", "--shares", "--depth", "10", "--batch", "8").depth == 10
    for flags, message in (
        (
            ("--size", "1", "--shares"),
            "Found size 1, expected 2 or more. Correct cut.size, or --size.",
        ),
        (
            ("--size", "3", "--shares", "0.5", "0"),
            "Found shares 0.0, expected more than 0 and 1 or less.",
        ),
        (("--size", "3", "--shares", "nan"), "Found shares nan, expected more than 0"),
        (("--size", "3", "--shares", "--depth", "9"), "'9', expected one of: 8, 10"),
        (
            ("--size", "3", "--shares", "--batch", "9"),
            "Found batch 9, expected 1 or more and less than 9",
        ),
    ):
        with pytest.raises(InputError, match=message):
            parsed(*flags)


def test_a_choice_outside_the_list_is_refused():
    with pytest.raises(InputError, match="'glow', expected one of: maf, realnvp"):
        parse(*FLAGS[:4], "--flow", "glow", *FLAGS[6:])


def test_an_unknown_flag_is_refused_and_none_abbreviated():
    with pytest.raises(InputError, match="[Uu]nrecognized arguments: --step"):
        parse(*FLAGS, "--step", "3")
