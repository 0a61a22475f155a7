"""Join the trust of several methods into a model folder.

measure_trust has measured the methods one by one. Writes trust.json and search.json. The latter
names the method that rls.super_resolve_files uses where its user names none; choose it on split
tune, never on evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rls.runtime.command import Parser, option, run
from rls.runtime.errors import InputError

NAME = "gather_trust"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The methods of a model folder."""

    methods: tuple[str, ...] = option("Methods with which a model super-resolves users' cells.")
    default: str = option("Method that users get if they name none; chosen on tune.")

    def __post_init__(self) -> None:
        if self.default not in self.methods:
            raise InputError(
                f"Found gather_trust.default {self.default}, expected one of the methods "
                f"{', '.join(self.methods)}. Correct one of the two."
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Join the parts."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument(
        "--parts", type=Path, required=True, help="folder with a subfolder for each method"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the model")
    parser.writes("output", folder=True)
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for numpy.
    from rls.pretrained.gathering import gather

    gather([args.parts / name for name in settings.methods], settings.default, args.output)
    print(f"{NAME}: {args.output}, {settings.default} where no method is named", flush=True)


if __name__ == "__main__":
    run(main)
