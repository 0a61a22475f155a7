"""Train the generators that come with the program again, and write them with cards to models/.

    make generators
    make generators ONLY=golgi_64px LIMIT=60

The list is models/models.yaml. On a GPU the generators train side by side, on CPUs one after the
other. What will run and for how long is printed first. RLS_STOP_AFTER_MINUTES (make's LIMIT) is a
limit for all together; all work is kept, and the same command goes on. A generator that fails does
not stop the others.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from analysis.run.keys import ROOT
from analysis.run.rates import Machine
from analysis.shipped.listing import FILE, choose, read_list
from rls.runtime.command import run
from rls.runtime.errors import InputError
from rls.runtime.help import CommandParser
from rls.runtime.places import INSTALLED


def main(argv: Sequence[str] | None = None) -> None:
    """Plan, train and export."""
    parser = CommandParser(__doc__)
    parser.add_argument("--list", type=Path, default=FILE, help="the generators; YAML")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="only these of the list"
    )
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "generators", help="folder of the run folders"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--cores",
        type=int,
        default=os.cpu_count() or 1,
        help="CPU cores for all trainings together",
    )
    parser.add_argument(
        "--at-once", type=int, help="trainings at a time; default: all on a GPU, else one"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the plan")
    args = parser.parse_args(argv)
    if (least := min(args.cores, 1 if args.at_once is None else args.at_once)) < 1:
        raise InputError(f"Found --cores or --at-once {least}, expected 1 or more. Set it higher.")
    if INSTALLED.is_dir() and args.list == FILE:
        raise InputError(
            f"The generators of an installed program lie in {FILE.parent}, which is not written "
            "to. Take a checkout of the program."
        )
    generators, left_out = choose(read_list(args.list), args.only)
    print("\n".join([*left_out, ""] if left_out else []), end="", flush=True)
    # Imported here, so that --help does not wait for torch.
    from analysis.shipped.training import Plan, planned, train
    from rls.runtime.device import choose_device

    device = choose_device(args.device, args.cores).type
    at_once = args.at_once or (len(generators) if device == "cuda" else 1)
    plan = Plan(generators, args.runs, device, args.cores, at_once)
    plan, failed = planned(plan, Machine.read(device=device))
    if not args.dry_run:
        signal.signal(signal.SIGHUP, signal.default_int_handler)  # a closed terminal, like Ctrl-C
        failed += train(plan)
    if failed:
        raise InputError(" ".join(failed))


if __name__ == "__main__":
    run(main)
