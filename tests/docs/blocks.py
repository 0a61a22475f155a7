"""Read the code blocks of a page, and what the comment above each says of its test.

    <!-- test: run -->            the block is run: shell lines, or Python
    <!-- test: dry run -->        make and snakemake print what they would do
    <!-- test: file PATH -->      the block is written to PATH of the program, for later blocks
    <!-- not run: REASON -->      it is not run, and the page's source says why

A block without such a comment fails the tests of the documentation. On GitHub and on the site the
comments are not seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

BLOCK = re.compile(
    r"(?:^<!-- (?P<comment>(?:test|not run): [^\n]*?) -->\n+)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: As the fence says; empty for shell lines.
        text: The lines between the fences.
        comment: What the comment above says, such as ``test: run``; empty without one.
        line: Number of the fence's line.
    """

    language: str
    text: str
    comment: str
    line: int

    def commands(self) -> list[str]:
        """Return the shell lines, continued lines joined, without comments."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = (re.sub(r"\s+#.*$", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"],
            found["text"],
            found["comment"] or "",
            text.count("\n", 0, found.start("language")) + 1,
        )
        for found in BLOCK.finditer(text)
    ]


def pages() -> list[Path]:
    """Return every page of the documentation that a person wrote, in the site or beside it."""
    outside = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "workflow/README.md")]
    outside += sorted((ROOT / "models").rglob("README.md"))
    return [*outside, ROOT / "config" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
