"""Faults, one a round: a stage of the smoke run is disturbed, and must end as if it had not been.

``python -m tests.cluster.faults --rounds 3`` does three drawn by --seed, ``--all`` every one. A
round starts from a copy of a finished run, removes what one stage made, disturbs that stage while
it is made again, and goes on as a person would: by the same command. Then every array and table
must equal the undisturbed run's, and before that nothing half-written lies under a final name.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from tests.cluster import runs
from tests.cluster.compare import same_content
from tests.cluster.rounds import Lost, Missed, Round, last_error
from tests.cluster.slurm import CannotRun, Cluster, descendants, need_possible, slurm, wait_until
from tests.cluster.stages import FLIPPED, STAGES

BEGIN, END = "<!-- rounds: begin -->\n", "<!-- rounds: end -->"
# Trainings of over a minute, the shortest limit that Slurm knows.
LONG = {
    "train_gan": "train_gan: {total_kimg: 20, checkpoint_kimg: 2}\n",
    "train_pix2pix": "train_pix2pix: {epochs: 450, decay_epochs: 450}\n",
}


# ---- the faults ---------------------------------------------------------------------------------


def kill_job(r: Round) -> None:
    """SIGKILL of the stage's process; on Slurm the profile submits it again by itself."""
    run = r.start()
    os.kill(r.wait_for_job(run), signal.SIGKILL)
    if r.where == "slurm":
        r.finish(run)
        return
    r.finish(run, good=False)
    r.check_nothing_half_written()
    r.go_on()


def lose_node(r: Round) -> None:
    """The node that searches loses power; the job runs again on another."""
    assert r.cluster is not None
    run = r.start("--set-resources", f"{r.stage}:gpu=0")  # there is but one node with a GPU
    r.wait_for_job(run)
    node = slurm("squeue", "-h", "-t", "R", "-o", "%N").split()[0]
    r.cluster.lose_node(node)
    try:
        r.finish(run)
    finally:
        r.cluster.return_node(node)


def lack_memory(r: Round) -> None:
    """Killed for memory at the first attempt, it succeeds with more at the next."""
    asked = f"{r.stage}:mem_mb=220*6**(attempt-1)"
    r.finish(r.start("--set-resources", asked))
    if "Trying to restart" not in runs.output(r.folder):
        raise Lost("the first attempt was not killed")


def lack_time(r: Round) -> None:
    """Stopped by the wall-time limit of a minute; resubmitted, it goes on from its checkpoint."""
    r.finish(r.start("--set-resources", f"{r.stage}:runtime=1", "--retries", "2"))
    jobs = slurm("scontrol", "show", "job", "--oneliner").splitlines()
    own = [line for line in jobs if str(r.folder) in line]
    requeued = any(re.search(r"\bRestarts=[1-9]", line) for line in own)
    if not requeued:
        raise Lost("the training ended within a minute, or Slurm did not put it back")
    if "Trying to restart" in runs.output(r.folder):
        raise Lost("a retry was spent on a stop in time")


@contextlib.contextmanager
def full_disk(folder: Path, *names: str) -> Iterator[Callable[[], None]]:
    """Put small file systems under folders of a run and fill them; yields what makes room."""
    mounted, fillers = [], []
    try:
        for name in names:
            place, beside = folder / name, folder / f".{name}"
            place.mkdir(exist_ok=True)
            place.rename(beside)
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], check=True)
            mounted.append(place)
            shutil.copytree(beside, place, dirs_exist_ok=True, symlinks=True)
            filler = place / ".filler"
            with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            fillers.append(filler)

        yield lambda: [filler.unlink() for filler in fillers] and None
        for place in mounted:  # what was made there stays
            beside = place.with_name(f".{place.name}")
            shutil.rmtree(beside)
            shutil.copytree(place, beside, symlinks=True)
    finally:
        for place in mounted:
            subprocess.run(["umount", place], check=True)
            place.rmdir()
            place.with_name(f".{place.name}").rename(place)


def fill_disk(r: Round) -> None:
    """No byte can be written to results, data and state; then there is room again."""
    with full_disk(r.folder, "results", "data", "state") as make_room:
        r.finish(r.start(), good=False)
        text = runs.output(r.folder)
        if not re.search(r"disk is full|No space left on device", text):
            raise Lost(f"the message does not speak of the disk: {last_error(text)}")
        for path in r.outputs:
            if (r.folder / path).exists():
                raise Lost(f"{path} was left behind by a full disk")
        make_room()
        r.check_nothing_half_written()
        r.go_on()


def flip_bit(r: Round, path: str) -> None:
    """One bit of a file that the stage reads: found, named with the rule, mended as it says.

    ``path`` may be a pattern, of which one file is drawn. The bit is one that changes what the file
    says: formats have a few that do not.
    """
    writer = FLIPPED[path][0]
    target = r.random.choice(sorted(r.folder.glob(path)))
    original, stat = target.with_name(f".original{target.suffix}"), target.stat()
    target.rename(original)
    while not target.exists() or same_content(target, original):
        content = bytearray(original.read_bytes())
        place = r.random.randrange(len(content))
        content[place] ^= 1 << r.random.randrange(8)
        target.write_bytes(content)
    original.unlink()
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if r.finish(r.start(), None) == 0:
        raise Lost(f"the flipped bit in byte {place} of {target.name} was not found")
    errors = [line for line in runs.output(r.folder).splitlines() if re.search(r"\berror: ", line)]
    if not any(target.name in line and writer in line for line in errors):
        raise Lost(f"the error does not name {target.name} and {writer}: {errors[:1]}")
    r.remove(next((out for out in STAGES[writer] if Path(path).is_relative_to(out)), path))
    r.go_on()


def orphan(r: Round) -> None:
    """Snakemake is killed, not its job; it is started again while the orphan still writes."""
    run = r.start()
    job = r.wait_for_job(run, 0.5)
    with paused(job) as let_go:  # so that it is not over too soon
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        r.finish(r.start("--unlock"))
        again = r.start()
        wait_until(
            "another job, or the end", lambda: len(r.running()) > 1 or again.poll() is not None
        )
        let_go()
        r.finish(again, None)  # it may wait, refuse or win; all that counts is what comes out
    wait_until("the orphan to end", lambda: not r.running(), 120)
    r.check_nothing_half_written()
    r.go_on()


@contextlib.contextmanager
def paused(pid: int) -> Iterator[Callable[[], None]]:
    """Hold a process where it is; yields what lets it go on.

    Raises:
        Missed: It has ended.
    """
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        raise Missed("the job was over before the fault") from None
    go_on = partial(os.kill, pid, signal.SIGCONT)
    try:
        yield go_on
    finally:
        with contextlib.suppress(ProcessLookupError):
            go_on()


def two_runs(r: Round) -> None:
    """A second Snakemake in the same folder says that there is a first, and touches nothing."""
    first = r.start()
    with paused(r.wait_for_job(first, 0.5)):
        before = len(runs.output(r.folder))
        if r.finish(r.start(), None) == 0:
            raise Lost("the second run did not refuse")
        if "cannot be locked" not in runs.output(r.folder)[before:]:
            raise Lost("the second run does not say that the folder is in use")
    r.finish(first)


def terminate(r: Round) -> None:
    """SIGTERM to Snakemake and all below it, as a shutdown sends it."""
    run = r.start()
    r.wait_for_job(run)
    for pid in [run.pid, *descendants(run.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    r.finish(run, None)
    wait_until("all to end", lambda: not r.running(), 60)
    r.check_nothing_half_written()
    r.go_on()


LOCAL = {
    "kill": (kill_job, tuple(STAGES)),
    "disk full": (fill_disk, tuple(STAGES)),
    "orphan": (orphan, ("train_gan", "fit_flow", "measure")),
    "two runs": (two_runs, ("train_gan", "select_cells")),
    "SIGTERM": (terminate, ("train_gan", "fit_flow", "high_resolution", "gather_shards")),
}
SLURM = {
    "node down": (lose_node, ("super_resolve", "super_resolve")),
    "memory": (lack_memory, ("measure", "fit_flow")),
    "wall time": (lack_time, ("train_gan", "train_pix2pix")),
    "kill": (kill_job, ("degrade", "super_resolve", "train_gan")),
}


@dataclass(frozen=True)
class Plan:
    """A round to do."""

    kind: str
    stage: str
    where: str
    act: Callable[[Round], None]
    file: str = ""


def plans() -> list[Plan]:
    """Every round, in the order in which they are done."""
    found = [
        Plan(kind, stage, where, act)
        for where, kinds in (("local", LOCAL), ("slurm", SLURM))
        for kind, (act, stages) in kinds.items()
        for stage in stages
    ]
    for path, (_, reader) in FLIPPED.items():
        found.append(Plan("bit flip", reader, "local", lambda r, p=path: flip_bit(r, p), path))
    return found


def draw(n: int, seed: int) -> list[Plan]:
    """Rounds of different kinds, drawn at random; the shorter kinds, of under a minute."""
    chance = random.Random(seed)
    found = {plan.kind: plan for plan in chance.sample(plans(), len(plans()))}
    short = sorted(set(found) - {"wall time", "memory"})
    return [found[kind] for kind in chance.sample(short, min(n, len(short)))]


def chosen(args: argparse.Namespace) -> list[Plan]:
    """The rounds that the command line asks for."""
    if not args.all:
        return draw(args.rounds or 3, args.seed)
    found = [plan for plan in plans() if args.only in f"{plan.where} {plan.kind} {plan.stage}"]
    return found[args.first : args.first + (args.rounds or len(found))]


class Field:
    """Where rounds are done: the finished run that they copy, and the cluster."""

    def __init__(self, base: Path, seed: int, template: Path | None = None) -> None:
        base.mkdir(parents=True, exist_ok=True)
        self.base, self.seed = base, seed
        self.template = template or base / "template"
        self.cluster: Cluster | None = None
        self.keep = False

    def make_template(self) -> None:
        """The undisturbed run, with every intermediate file kept."""
        if self.template.exists():
            return
        print("faults: an undisturbed run first", flush=True)
        making = self.base / "making"
        if runs.start(making, "local", "--notemp").wait():
            sys.exit(f"faults: it failed; see {making}.log")
        making.rename(self.template)

    def reference(self, plan: Plan) -> tuple[Path, tuple[Path, ...]]:
        """The undisturbed results, and the overlay of a longer training where that is disturbed."""
        if plan.kind != "wall time":
            return self.template / "results", ()
        folder = self.base / f"long_{plan.stage}"
        overlay = folder.with_suffix(".yaml")
        overlay.write_text(LONG[plan.stage])
        if not folder.exists():
            making = self.base / f"making_long_{plan.stage}"
            shutil.rmtree(making, ignore_errors=True)
            shutil.copytree(self.template, making, symlinks=True)
            shutil.rmtree(making / "state")
            for path in STAGES[plan.stage]:
                (making / path).unlink()
            options = ("--notemp", "--", *STAGES[plan.stage])
            if runs.start(making, "local", *options, configs=(overlay,)).wait():
                sys.exit(f"faults: the long training failed; see {making}.log")
            making.rename(folder)
        return folder / "results", (overlay,)

    def do(self, plan: Plan, number: int) -> str:
        """Do one round; return '' or what was lost."""
        reference, configs = self.reference(plan)
        reason = ""
        for attempt in range(4):
            chance = random.Random(f"{self.seed} {number} {attempt}")
            folder = self.base / f"round{number}"
            r = Round(plan.stage, plan.where, folder, reference, chance, self.cluster, configs)
            r.prepare(self.template)
            try:
                plan.act(r)
                r.check_equal()
            except Missed as missed:
                reason = f"missed four times: {missed}"
                continue
            except (Lost, TimeoutError) as lost:
                return str(lost)
            finally:
                r.end()
            if not self.keep:
                shutil.rmtree(r.folder)
            return ""
        return reason


def write_table() -> None:
    """Write the rounds of rounds.csv into README.md: by fault, with stages and survivals."""
    rounds = pd.read_csv(runs.HERE / "rounds.csv")
    lines = ["| fault | where | stages | rounds | survived |", "| --- | --- | --- | --- | --- |"]
    for (kind, where), group in rounds.groupby(["fault", "where"], sort=True):
        found = set(group["stage"])
        stages = f"all {len(found)}" if found == set(STAGES) else ", ".join(sorted(found))
        survived = (group["end"] == "survived").sum()
        lines.append(f"| {kind} | {where} | {stages} | {len(group)} | {survived} |")
    survived = (rounds["end"] == "survived").sum()
    lines.append(f"| **all** | | {rounds['stage'].nunique()} stages | {len(rounds)} | {survived} |")
    path = runs.HERE / "README.md"
    before, rest = path.read_text().split(BEGIN)
    path.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1])


def command_line() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=0, help="how many")
    parser.add_argument("--all", action="store_true", help="in their order, not drawn at random")
    parser.add_argument("--first", type=int, default=0, help="with --all: how many to pass over")
    parser.add_argument("--only", default="", help="those whose place, kind and stage hold this")
    parser.add_argument("--seed", type=int, default=1, help="of the draw and of the moments")
    parser.add_argument("--base", type=Path, default=Path("/var/tmp/rls-faults"), help="folder")
    parser.add_argument("--table", type=Path, help="CSV to which each round is added")
    parser.add_argument("--keep", action="store_true", help="keep the folders of rounds")
    parser.add_argument("--write", action="store_true", help="write the table of README.md only")
    parser.add_argument("--make-template", action="store_true", help="make the finished run only")
    return parser.parse_args()


def main() -> None:
    """Do rounds; print a line each."""
    args = command_line()
    if args.write:
        write_table()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every finally
    try:
        need_possible()
        done, survived = do_rounds(args)
    except CannotRun as reason:
        sys.exit(f"faults: not run, because {reason}.")
    print(f"{survived} passed, {done - survived} failed")
    sys.exit(survived != done)


def do_rounds(args: argparse.Namespace) -> tuple[int, int]:
    """Return how many rounds were done and how many survived."""
    place = Field(args.base, args.seed)
    place.keep = args.keep
    place.make_template()
    todo, survived = [] if args.make_template else chosen(args), 0
    needs_cluster = any(plan.where == "slurm" for plan in todo)
    with Cluster() if needs_cluster else contextlib.nullcontext() as place.cluster:
        for number, plan in enumerate(todo, args.first):
            start = time.monotonic()
            lost = place.do(plan, number)
            survived += not lost
            end = "lost" if lost else "survived"
            seconds = f"{time.monotonic() - start:.0f}"
            row = ",".join((plan.kind, plan.stage, plan.where, plan.file, end, seconds))
            print(f"{row}  {lost}", flush=True)
            if args.table:
                with open(args.table, "a") as file:
                    file.write(row + "\n")
    return len(todo), survived


if __name__ == "__main__":
    main()
