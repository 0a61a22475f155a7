"""The small article on three nodes of Slurm, held against a run on this machine.

    make article-small
    python -m tests.cluster.article --local runs/article-small

Takes longer than the local run, since the three nodes are this machine, and goes on where it was
stopped. Ends with 1 where an array or a table differs, or a node had no job.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster import runs
from tests.cluster.compare import differences
from tests.cluster.slurm import NODES, CannotRun, Cluster
from tests.cluster.smoke import Tally, describe_cost, submitted_jobs

CONFIGS = (runs.ROOT / "config/article.yaml", runs.ROOT / "config/article_small.yaml")


def main() -> None:
    """Make the run on Slurm, or finish it, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--local", type=Path, required=True, help="a finished local run")
    parser.add_argument(
        "--directory", type=Path, default=Path("runs/article-small-slurm"), help="run folder"
    )
    parser.add_argument(
        "--configfile", type=Path, nargs="*", default=[], help="more overlays, of both runs"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every finally
    try:
        sys.exit(bool(compare(args.local, args.directory, tuple(args.configfile)).failed))
    except CannotRun as reason:
        sys.exit(f"article: not run, because {reason}.")


def compare(local: Path, folder: Path, configs: tuple[Path, ...]) -> Tally:
    """Run on Slurm and hold the folders against each other."""
    tally, start = Tally(), time.monotonic()
    with Cluster():
        if (folder / ".snakemake" / "locks").is_dir():
            words = runs.command(folder, "local", "--unlock", configs=configs, base=CONFIGS)
            subprocess.run(words, env=runs.environment(), cwd=runs.ROOT, check=True)
        process = runs.start(folder, "slurm", configs=configs, base=CONFIGS)
        try:
            status = process.wait()
        finally:
            process.terminate()
        jobs = submitted_jobs()
    tally.check("the run ended well", not status, runs.output(folder)[-3000:])
    used = set(jobs["node"])
    tally.check("all three nodes worked", used == set(NODES), str(used))
    n, said = differences(folder / "results", local / "results")
    tally.check(f"{n} arrays and tables are equal", n > 500 and not said, "; ".join(said[:10]))
    print(f"wall time: {time.monotonic() - start:.0f} s; submissions by state:")
    print(jobs["state"].value_counts().to_string())
    print(describe_cost(jobs, folder))
    print(f"{tally.passed} passed, {tally.failed} failed")
    return tally


if __name__ == "__main__":
    main()
