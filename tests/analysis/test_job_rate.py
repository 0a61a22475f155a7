"""The limit of Snakemake's that is lifted on one machine."""

from types import SimpleNamespace

from snakemake.cli import get_argument_parser
from snakemake.scheduling.job_scheduler import JobRateLimiter
from snakemake.settings.types import MaxJobsPerTimespan

from analysis.watching.job_rate import lift_job_rate


def scheduler(text):
    """One with a limit, as Snakemake makes it."""
    return SimpleNamespace(job_rate_limiter=JobRateLimiter(MaxJobsPerTimespan.parse_choice(text)))


def test_the_default_limit_is_lifted():
    one = scheduler(get_argument_parser().get_default("max_jobs_per_timespan"))
    assert lift_job_rate(one) and one.job_rate_limiter is None
    assert not lift_job_rate(one)


def test_a_limit_that_a_user_gave_stays():
    one = scheduler("5/10s")
    assert not lift_job_rate(one) and one.job_rate_limiter.max_jobs == 5
