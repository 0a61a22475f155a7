"""The smoke run through the profile for Slurm, on three nodes, held against a run on this machine.

``make test-cluster``. Every array and table must be equal. Says what the scheduler cost.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pandas as pd

from tests.cluster import runs
from tests.cluster.compare import differences
from tests.cluster.faults import Field, draw
from tests.cluster.slurm import NODES, CannotRun, Cluster, need_possible, slurm

# A group of jobs removes what is temporary between them, --notemp or not.
REMOVED_BY_GROUP = re.compile(r".*/shards/bicubic\.\S+ is absent")
# One rule asks by --gres, as some sites want it; the others by --gpus.
BY_GRES = ("--set-resources", "train_classifier:gpu=0", "train_classifier:gres='gpu:1'")
TIMES = {"submitted": "SubmitTime", "began": "StartTime", "ended": "EndTime"}


def timed_run(folder: Path, where: str, *options: str) -> float:
    """Run to the end and return its seconds.

    Raises:
        SystemExit: It fails; its last lines are printed.
    """
    start = time.monotonic()
    if runs.start(folder, where, "--notemp", *options).wait():
        print(runs.output(folder)[-6000:])
        sys.exit(f"test-cluster: the {where} run failed; all it said is in {folder}.log")
    return time.monotonic() - start


def submitted_jobs() -> pd.DataFrame:
    """Every job that Slurm remembers: its node, what it asked for, when it waited and ran."""
    rows = []
    for text in slurm("scontrol", "show", "job", "--oneliner").splitlines():
        facts = dict(re.findall(r"(\w+)=(\S+)", text))
        if "JobId" not in facts or "EndTime" not in facts:
            continue
        row = {"node": facts.get("NodeList"), "partition": facts["Partition"]}
        asked = {key: "gres" in facts.get(key, "") for key in ("TresPerJob", "TresPerNode")}
        row |= {"state": facts["JobState"], "gpu": any(asked.values())}
        row["by_gres"] = asked["TresPerNode"]
        for name, key in TIMES.items():
            row[name] = datetime.fromisoformat(facts[key])
        rows.append(row)
    return pd.DataFrame(rows)


def measured_seconds(folder: Path) -> float:
    """Seconds that the commands themselves took, from the benchmark files of submitted rules."""
    total = 0.0
    for path in (folder / "benchmarks").rglob("*.tsv"):
        row = pd.read_csv(path, sep="\t", na_values=["-"]).iloc[0]
        total += 0.0 if row["rule_name"] == "describe_assays" else float(row["s"])
    return total


class Tally:
    """Checks, counted and printed."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, what: str, good: bool, why: str = "") -> None:
        """Count one."""
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f"ok      {what}" if good else f"FAILED  {what}: {why}", flush=True)


def check_jobs(tally: Tally, jobs: pd.DataFrame) -> None:
    """Hold the jobs that Slurm saw against what the profile promises."""
    states, used = set(jobs["state"]), set(jobs["node"])
    tally.check("every job that was submitted completed", states == {"COMPLETED"}, str(states))
    tally.check("all three nodes worked", used == set(NODES), str(used))
    on = jobs.groupby("partition")["gpu"].agg(["all", "any"])
    good = set(on.index) == {"cpu", "gpu"} and on.loc["gpu", "all"] and not on.loc["cpu", "any"]
    what = "jobs that asked for a GPU, and they alone, went to its partition"
    tally.check(what, bool(good), on.to_string())
    n = int(jobs["by_gres"].sum())
    tally.check("of them the one that asked by --gres", n == 1, f"{n} did")


def describe_cost(jobs: pd.DataFrame, folder: Path) -> str:
    """What the scheduler and Snakemake within the jobs cost beside the commands themselves."""
    waited = (jobs["began"] - jobs["submitted"]).dt.total_seconds().mean()
    held = (jobs["ended"] - jobs["began"]).dt.total_seconds().mean()
    computed = measured_seconds(folder) / len(jobs)
    return (
        f"what the scheduler cost: {len(jobs)} submissions; on average one waited {waited:.1f} s "
        f"and held its node {held:.1f} s, of which its commands took {computed:.1f} s"
    )


def main() -> None:
    """Compare the two runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--if-possible", action="store_true", help="end well where it cannot run")
    parser.add_argument("--local", type=Path, help="a finished local run; without, one is made")
    parser.add_argument("--faults", type=int, default=0, help="rounds of faults afterwards")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument(
        "--keep", type=Path, help="folder for the runs; without, they go if all is well"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every finally
    folder = args.keep or Path(tempfile.mkdtemp(prefix="rls-test-cluster-", dir="/var/tmp"))
    try:
        need_possible()
        failed = compare(args, folder).failed
    except CannotRun as reason:
        print(f"test-cluster: not run, because {reason}.")
        failed = not args.if_possible
    if not (args.keep or failed):
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(bool(failed))


def compare(args: argparse.Namespace, folder: Path) -> Tally:
    """Make both runs and the rounds of faults; hold one run against the other."""
    tally = Tally()
    with Cluster() as cluster:  # first: if it does not come up, nothing is done in vain
        print("test-cluster: the smoke run on this machine", flush=True)
        local = args.local or folder / "local"
        local_s = float("nan") if args.local else timed_run(local, "local")
        print("test-cluster: the smoke run on three nodes of Slurm", flush=True)
        cluster_s = timed_run(folder / "slurm", "slurm", *BY_GRES)
        jobs = submitted_jobs()
        if args.faults:
            place = Field(folder / "faults", args.seed, template=local)
            place.cluster = cluster
            for number, plan in enumerate(draw(args.faults, args.seed)):
                lost = place.do(plan, number)
                what = f"{plan.kind} in {plan.stage} ({plan.where}) is survived"
                tally.check(what, not lost, lost)
    check_jobs(tally, jobs)
    n, said = differences(folder / "slurm" / "results", local / "results")
    said = [text for text in said if not REMOVED_BY_GROUP.fullmatch(text)]
    tally.check(f"{n} arrays and tables are equal", n > 60 and not said, "; ".join(said[:5]))
    print(f"wall time: {local_s:.0f} s here, {cluster_s:.0f} s on the cluster")
    print(describe_cost(jobs, folder / "slurm"))
    print(f"{tally.passed} passed, {tally.failed} failed")
    return tally


if __name__ == "__main__":
    main()
