"""A logger plugin of Snakemake that prints how the whole run stands; ``rls run`` switches it on.

Snakemake finds it by its name on PYTHONPATH. What is said is made in analysis/watching/progress.py.
"""

import os
import sys
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from analysis.watching.progress import PLAN, Progress, read_plan


class LogHandler(LogHandlerBase):
    """Turn Snakemake's events into lines on stderr."""

    def __post_init__(self) -> None:
        self.progress = Progress(read_plan(os.environ.get(PLAN, "")))

    def emit(self, record: LogRecord) -> None:
        """Take one event; what the line says must never stop a run."""
        try:
            line = self._take(record)
        except (AttributeError, KeyError, ValueError, TypeError):
            return
        if line:
            print(line, file=sys.stderr, flush=True)

    def _take(self, record: LogRecord) -> str:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.progress.total = int(record.stats["total"])
        elif event == LogEvent.JOB_INFO:
            wildcards = {name: str(value) for name, value in dict(record.wildcards or {}).items()}
            self.progress.starts(record.jobid, record.rule_name, wildcards)
        elif event == LogEvent.JOB_FINISHED:
            return self.progress.ends(record.job_id)
        return ""

    @property
    def writes_to_stream(self) -> bool:
        """Whether it replaces Snakemake's own output: no."""
        return False

    @property
    def writes_to_file(self) -> bool:
        """Whether it writes a file."""
        return False

    @property
    def has_filter(self) -> bool:
        """Whether it filters events itself, so that --quiet hides none."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Whether it makes its own text."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Whether it needs the graph of rules."""
        return False
