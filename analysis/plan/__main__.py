"""Estimate what a run costs before it starts: jobs, hours, memory and disk, by stage.

    make plan CONFIG=config/demo.yaml
    make plan CONFIG=config/config.yaml MACHINE=H200

Nothing is run. The jobs are those of Snakemake's dry run. A job's time is sum_k rate_k units_k,
with units from the configuration and the rates of a machine in workflow/rates.json. Without
--machine the plan is for a GPU if this machine has one, and otherwise for processors. The table
says which times rest on measured rates and which on assumed ones. Below it is the elapsed time,
which takes into account which jobs wait for which.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis.plan.costs import (
    clock_of,
    clock_sentence,
    costs_by_rule,
    describe,
    local_capacity,
)
from analysis.plan.jobs import planned_jobs
from analysis.run.checks import check
from analysis.run.keys import ROOT
from analysis.run.overlays import OVERLAYS, config_file
from analysis.run.rates import FILE, Machine
from analysis.run.values import merged, read_files
from analysis.run.weights import settle
from rls.runtime.command import run
from rls.runtime.help import CommandParser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the plan."""
    parser = CommandParser(__doc__)
    parser.add_argument(
        "--configfile", type=config_file, nargs="+", default=[], metavar="FILE", help=OVERLAYS
    )
    parser.add_argument(
        "--target", nargs="+", default=[], help="targets, as for Snakemake: golgi, table1 ..."
    )
    parser.add_argument("--directory", type=Path, help="run folder: what is done there is left out")
    parser.add_argument("--rates", type=Path, default=FILE, help="JSON by analysis.plan.measure")
    parser.add_argument(
        "--machine", default="", help="a machine of --rates, or a part of its name: H200"
    )
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="cores for the elapsed time"
    )
    args = parser.parse_args(argv)
    files = read_files(args.configfile)
    config = merged(files)
    check(config, files)
    settle(config, ROOT, {})
    machine = Machine.here(config["device"], args.machine, path=args.rates)
    with tempfile.TemporaryDirectory() as empty:
        folder, everything = args.directory or Path(empty), args.directory is None
        jobs = planned_jobs(
            args.configfile,
            folder,
            args.target,
            everything=everything,
            device=machine.device if everything else "",  # Another device would repeat every job.
        )
    print(describe(costs_by_rule(jobs, config, machine), config, machine))
    capacity = local_capacity(args.cores, machine)
    print(clock_sentence(clock_of(jobs, config, machine, capacity), capacity))
    if machine.gpu is None and config["device"] == "auto" and not args.machine:
        print("Found no GPU here, so the plan is for processors. --machine H200 plans for a GPU.")
    print("This is a plan: nothing was run.")


if __name__ == "__main__":
    run(main)
