"""Write what tables, figures and report must know of the run and of each assay."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rls.io import write_text_with_digest
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.locks import hold_outputs


def main(argv: Sequence[str] | None = None) -> None:
    """Check that the text is JSON and write it, indented."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--assays", required=True, help="JSON: seed, device, and one block an assay under assays"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    args = parser.parse_args(argv)
    hold_outputs(vars(args))
    try:
        content = json.loads(args.assays)
    except ValueError as error:
        raise InputError(f"--assays is not JSON ({error}).") from error
    text = json.dumps(content, indent=2) + "\n"
    write_text_with_digest(args.output, text, written_by="describe_assays")


if __name__ == "__main__":
    run(main)
