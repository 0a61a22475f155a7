"""List the generators that come with the program: which cells each draws, and what it can do.

Every command that takes --model takes one of these names, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.shipped.listing import FILE, read_list
from rls.pretrained.files import SEARCH, default_method, read_json
from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """List the generators."""
    CommandParser(__doc__).parse_args(argv)
    for generator in read_list():
        if not generator.folder.is_dir():
            continue
        content = read_json(generator.folder / SEARCH)
        factors = {factor: default_method(content, factor) for factor in content.get("factors", {})}
        does = ", ".join(f"{factor}x ({method})" for factor, method in factors.items())
        print(f"{generator.name}: {generator.title}")
        print(f"  super-resolves: {does or 'nothing, it has no settings for a search'}")
        print(f"  folder: {generator.folder}")
    print(f"\nThe card of each, README.md in its folder, says more; {FILE} is the list.")


if __name__ == "__main__":
    run(main)
