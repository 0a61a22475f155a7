"""Super-resolve your own low-resolution cells with a model folder.

    python -m rls.super_resolve_files low.tif --model FOLDER --factor 8 --out high.ome.tif

The tool and its help are in ``rls/pretrained/command_line.py``, because rls.super_resolve runs it
too when it is given files.
"""

from __future__ import annotations

from collections.abc import Sequence

from rls.pretrained.command_line import super_resolve_files
from rls.runtime.command import run


def main(argv: Sequence[str] | None = None) -> None:
    """Super-resolve the cells of files."""
    super_resolve_files(argv)


if __name__ == "__main__":
    run(main)
