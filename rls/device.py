"""Print the versions and the hardware that a bug report needs."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """Print versions and hardware."""
    CommandParser(__doc__).parse_args(argv)
    # Imported here, so that --help does not wait for torch.
    import torch

    from rls.runtime.device import describe, has_fast_bfloat16

    print(f"python {platform.python_version()}, torch {torch.__version__}")
    auto = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"auto would use {describe(auto)}")
    print(f"fast bfloat16 on the CPU: {has_fast_bfloat16(torch.device('cpu'))}")


if __name__ == "__main__":
    run(main)
