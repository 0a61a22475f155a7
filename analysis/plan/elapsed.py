"""The time on the clock of a run: planned for its jobs side by side, and measured afterwards."""

from __future__ import annotations

import csv
import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.plan.jobs import Job

Capacity = Mapping[str, float]  # resource -> how much of it is there: cores, gpu, downloads, jobs


def planned_s(jobs: Sequence[Job], seconds: Sequence[float], capacity: Capacity) -> float:
    """Return the seconds after which the last job ends.

    Jobs start as soon as what they read is made and what they ask for is free; of several the
    longest is first, which is near what Snakemake does.

    Arguments:
        seconds: The time of each job.
        capacity: A resource that is not in it is without limit. A job that asks for more cores than
            there are gets all of them.
    """
    maker = {path: i for i, job in enumerate(jobs) for path in job.outputs}
    waits = [
        {maker[path] for path in job.inputs if path in maker} - {i} for i, job in enumerate(jobs)
    ]
    readers = defaultdict(list)
    for i, others in enumerate(waits):
        for other in others:
            readers[other].append(i)
    asked = [_asked(job, capacity) for job in jobs]
    free = dict(capacity)
    ready = [i for i, others in enumerate(waits) if not others]
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        for i in sorted(ready, key=lambda i: -seconds[i]):
            if all(free[name] >= amount for name, amount in asked[i].items()):
                ready.remove(i)
                heapq.heappush(running, (now + seconds[i], i))
                for name, amount in asked[i].items():
                    free[name] -= amount
        now, ended = heapq.heappop(running)
        for name, amount in asked[ended].items():
            free[name] += amount
        for i in readers[ended]:
            waits[i].discard(ended)
            if not waits[i]:
                ready.append(i)
    return now


def _asked(job: Job, capacity: Capacity) -> dict[str, float]:
    wanted = {"cores": float(job.threads), "gpu": float(job.on_gpu), "jobs": 1.0}
    wanted["downloads"] = float(job.resources.get("downloads", 0) or 0)
    return {name: min(wanted[name], most) for name, most in capacity.items() if name in wanted}


def measured_s(benchmarks: Path) -> float:
    """Return the seconds in which at least one job of a run was running.

    A benchmark file is written at the end of its job and has its seconds in column ``s``, so that
    the time between a stop and the next start does not count. A job made again counts once.
    """
    spans = []
    for path in benchmarks.rglob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        if rows and rows[-1].get("s"):
            end = path.stat().st_mtime
            spans.append((end - float(rows[-1]["s"]), end))
    total, last = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return total
