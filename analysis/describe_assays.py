"""Write results/run.json: what tables, figures and the report must know about the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.run.description import Run
from rls.io import write_text_with_digest
from rls.runtime.command import run
from rls.runtime.help import CommandParser
from rls.runtime.locks import hold_outputs
from rls.runtime.outputs import need_writable


def main(argv: Sequence[str] | None = None) -> None:
    """Check the description and write it, indented, with its digest."""
    parser = CommandParser(__doc__)
    parser.add_argument("--description", required=True, help="JSON: the run and its assays")
    parser.add_argument("--output", type=Path, required=True, help="results/run.json")
    args = parser.parse_args(argv)
    need_writable(args.output, "--output")
    hold_outputs(vars(args))
    described = Run.from_json(args.description, args.output.parent)
    write_text_with_digest(args.output, described.to_json(), written_by="describe_assays")


if __name__ == "__main__":
    run(main)
