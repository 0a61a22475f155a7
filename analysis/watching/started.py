"""What a run folder was started with, so that others can ask how it stands and go on with it."""

from __future__ import annotations

import json
import os
import shlex
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rls.io.files import write_text
from rls.runtime.errors import InputError

FILE = Path("logs") / "started.json"
LOCKS = Path(".snakemake") / "locks"


@dataclass(frozen=True)
class Started:
    """One start of Snakemake in a run folder.

    Attributes:
        configfiles: The overlays, as absolute paths.
        config: What ``--config`` gave.
        targets: Rules or files that were asked for; empty for the whole run.
        host, pid: The machine and the process of Snakemake.
    """

    configfiles: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None
    targets: tuple[str, ...] = ()
    host: str = ""
    pid: int = 0

    @staticmethod
    def read(folder: Path) -> Started | None:
        """Return what stands in a run folder; None where it was never started.

        Raises:
            InputError: The file is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            lists = {name: tuple(content[name]) for name in ("configfiles", "targets")}
            return Started(**{**content, **lists})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} is damaged ({error}). Remove it, and give the run's --configfile."
            ) from error

    @property
    def paths(self) -> list[Path]:
        """The overlays."""
        return [Path(name) for name in self.configfiles]

    def command(self, folder: Path) -> str:
        """Return the command that goes on with the run."""
        words = ["rls", "run", *self.targets]
        words += ["--configfile", *self.configfiles] if self.configfiles else []
        words += ["--directory", str(folder)]
        given = [f"{key}={json.dumps(value)}" for key, value in (self.config or {}).items()]
        return shlex.join([*words, *(["--config", *given] if given else [])])


def note_start(
    configfiles: Iterable[Path | str], config: Mapping[str, Any], targets: Sequence[str]
) -> None:
    """Write what Snakemake was started with into the current folder, its run folder."""
    found = Started(
        tuple(map(str, configfiles)),
        dict(config),
        tuple(sorted(targets)),
        socket.gethostname(),
        os.getpid(),
    )
    FILE.parent.mkdir(exist_ok=True)
    write_text(FILE, json.dumps(asdict(found), indent=1) + "\n")


def is_locked(folder: Path) -> bool:
    """Return whether Snakemake holds a run folder, or was killed while it did."""
    return any((folder / LOCKS).glob("*.lock"))


def is_running(folder: Path, started: Started | None) -> bool:
    """Return whether the Snakemake of a run folder works; of another host its locks say so."""
    if started is None or not is_locked(folder):
        return False
    if started.host != socket.gethostname():
        return True
    try:
        return b"snakemake" in Path(f"/proc/{started.pid}/cmdline").read_bytes()
    except OSError:
        return _answers(started.pid) and not Path("/proc").is_dir()


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
