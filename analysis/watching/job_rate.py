"""A limit of Snakemake's that costs more than it spares where jobs run on this machine."""

from __future__ import annotations

from typing import Protocol

DEFAULT = (100, 1.0)  # jobs, seconds: what --max-jobs-per-timespan is when nobody gives it


class Limit(Protocol):
    """Snakemake's JobRateLimiter."""

    max_jobs: int
    timespan: float


class Scheduler(Protocol):
    """Snakemake's JobScheduler."""

    job_rate_limiter: Limit | None


def lift_job_rate(scheduler: Scheduler) -> bool:
    """Take away Snakemake's default limit on how many jobs start in a second.

    With a limit, the scheduler looks for jobs again a second after each time that it has looked,
    and once more for each job that ends. So after n jobs it looks n times a second: in a run of
    hundreds of jobs it takes a core from the jobs (seen with Snakemake 9.27). Without one it looks
    when a job ends. A limit that a user gave stays.

    Returns:
        Whether there was such a limit.
    """
    limit = scheduler.job_rate_limiter
    if limit is None or (limit.max_jobs, limit.timespan) != DEFAULT:
        return False
    scheduler.job_rate_limiter = None
    return True
