"""Check configuration files, or rewrite the schema and tables derived from the commands' settings.

``--write`` writes ``workflow/schemas/sections.schema.yaml``, the tables of ``config/README.md`` and
the list of commands in ``docs/commands.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.run import checks, command_list, reference, schema
from analysis.run.overlays import OVERLAYS, config_file
from analysis.run.values import merged, read_files
from rls.io.files import write_text
from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """Check a configuration, or write schema and tables anew."""
    parser = CommandParser(__doc__)
    parser.add_argument(
        "--configfile", type=config_file, nargs="+", default=[], metavar="FILE", help=OVERLAYS
    )
    parser.add_argument("--write", action="store_true", help="write schema and tables anew")
    args = parser.parse_args(argv)
    if args.write:
        write_text(schema.DERIVED, schema.sections_text())
        text = reference.README.read_text(encoding="utf-8")
        write_text(reference.README, reference.with_tables(text))
        page = command_list.PAGE.read_text(encoding="utf-8")
        write_text(command_list.PAGE, command_list.with_commands(page))
        return
    files = read_files(args.configfile)
    checks.check(merged(files), files)
    print("The configuration is valid.")


if __name__ == "__main__":
    run(main)
