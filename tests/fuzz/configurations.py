"""Overlays with lines and values harmed as people harm them: checked, or one sentence."""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from functools import cache
from pathlib import Path

from analysis.run.checks import check
from analysis.run.values import fill_likenesses, lay_over, read_config
from rls.runtime.yaml_file import YamlFile
from tests.conftest import ROOT
from tests.fuzz.outcomes import answer

OVERLAYS = ("smoke.yaml", "bbbc014.yaml", "acquired.yaml", "all_methods.yaml")
VALUES = (
    *(
        "",
        "0",
        "-1",
        "1.5",
        "1e3",
        "1_000",
        "00123",
        "no",
        "off",
        "null",
        "~",
        "2024-01-31",
        ".nan",
    ),
    *(
        ".inf",
        "[]",
        "{}",
        "[a, b]",
        "{a: 1}",
        "'",
        '"',
        "*x",
        "&x",
        "!!python/object:os.system",
        "<<",
    ),
    *(
        "a: b: c",
        "#",
        "@",
        "%",
        "\t",
        "\x07",
        "ü",
        "药",
        "\ufeff",
        "9" * 400,
        "- - -",
        "1" + "0" * 30,
    ),
)


@cache
def overlay_text(name: str) -> str:
    return (ROOT / "config" / name).read_text(encoding="utf-8")


def harm(draw: random.Random, text: str) -> str:
    """The text with one or two lines repeated, lost, moved, indented or given another value."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 2)):
        place = draw.randrange(len(lines))
        match draw.randrange(8):
            case 7:
                lines[place] = re.sub(r"\d+", lambda _: str(draw.randint(0, 64)), lines[place])
            case 0:
                lines.insert(draw.randrange(len(lines)), lines[place])
            case 1:
                del lines[place]
            case 2:
                lines[place] = " " * draw.randint(1, 4) + lines[place]
            case 3:
                lines[place] = lines[place][draw.randint(1, 3) :]
            case 4:
                key, colon, _ = lines[place].partition(":")
                lines[place] = f"{key}{colon} {draw.choice(VALUES)}"
            case 5:
                at = draw.randint(0, len(lines[place]))
                lines[place] = lines[place][:at] + draw.choice(VALUES) + lines[place][at:]
            case _:
                other = draw.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
        if not lines:
            return ""
    return "\n".join(lines)


def read(path: Path, base: dict) -> dict:
    """The configuration as a workflow reads and checks it."""
    written = YamlFile.read(path)
    config = copy.deepcopy(base)
    lay_over(config, written.content)
    fill_likenesses(config)
    check(config, [written])
    return config


def attempt(seed: int, count: int, folder: Path) -> Counter[str]:
    """Try ``count`` harmed overlays."""
    path, base = folder / "x.yaml", read_config([])
    found: Counter[str] = Counter()
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        text = harm(draw, overlay_text(draw.choice(OVERLAYS)))
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        where = f"configuration, seed {seed}, number {number}"
        back = answer(lambda: read(path, base), folder, where)
        found["refused" if back is None else "read"] += 1
    return found
