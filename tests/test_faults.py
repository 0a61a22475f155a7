"""The faults that are injected (tests/cluster): what they cover, without injecting one."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

from tests.cluster import runs
from tests.cluster.faults import draw, plans
from tests.cluster.stages import FLIPPED, STAGES, module


def test_every_rule_of_the_smoke_run_is_disturbed_twice(tmp_path):
    command = runs.command(tmp_path, "local", "--dry-run", "--quiet", "rules")
    result = subprocess.run(command, capture_output=True, text=True, env=runs.environment())
    assert result.returncode == 0, result.stderr[-2000:]
    rules = set(re.findall(r"^(\w+) +\d+$", result.stdout + result.stderr, re.MULTILINE)) - {
        "all",
        "total",
    }
    assert rules == set(STAGES)
    rounds = Counter(plan.stage for plan in plans())
    assert {stage for stage in STAGES if rounds[stage] < 2} == set()


def test_every_stage_has_a_command_and_every_flipped_file_a_writer():
    for stage in STAGES:
        path = runs.ROOT / module(stage).replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), stage
    for path, (writer, reader) in FLIPPED.items():
        assert {writer, reader} <= set(STAGES), path


def test_a_draw_is_of_different_kinds_and_repeats_by_its_seed():
    for seed in range(20):
        drawn = draw(3, seed)
        assert len({plan.kind for plan in drawn}) == 3
        assert [(p.kind, p.stage) for p in drawn] == [(p.kind, p.stage) for p in draw(3, seed)]
