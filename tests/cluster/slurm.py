"""A real Slurm of three nodes on one Debian machine, for tests: daemons on 127.0.0.1 only.

``python -m tests.cluster.slurm up|down|status``. Needs root; apt installs what is missing. node3
has a pretended GPU. Everything lies in one folder but the links in /etc/slurm: Snakemake's executor
removes every SLURM_* variable, so that no other place would be found. There is no accounting
database: states come from squeue, and no account is named.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("/var/tmp/rls-test-cluster")
ETC = Path("/etc/slurm")
PACKAGES = ("slurm-wlm", "slurm-wlm-basic-plugins", "munge")
NODES = ("node1", "node2", "node3")
GPU_NODE = "node3"
PORT = 17610  # of slurmctld; a node each from the next on
NODE_MB = 12000
PATIENCE_S = 300.0  # a slow machine needs a minute for its daemons

SLURM_CONF = """\
ClusterName=rls
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is put back into the queue waits until the credential of its last start has expired.
AuthInfo=socket={folder}/munge/socket,cred_expire=20
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
# Memory is a resource, and a job that takes more than it asked for is killed.
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerNode=1000
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
# Jobs start at once, lost nodes are noticed soon, ended jobs stay listed.
SchedulerParameters=sched_interval=1,batch_sched_delay=1,sched_min_interval=0
SlurmdTimeout=20
KillWait=5
ReturnToService=2
MinJobAge=7200
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=ALL Default=YES State=UP
PartitionName=gpu Nodes={gpu_node} State=UP
"""


class CannotRun(Exception):
    """Why this machine cannot have the test cluster."""


def need_possible() -> None:
    """Raise CannotRun unless this is Debian, we are root, and Slurm is or can be installed."""
    if not Path("/etc/debian_version").exists():
        raise CannotRun("this is no Debian, whose Slurm the test installs")
    if os.geteuid() != 0:
        raise CannotRun("only root can start Slurm's daemons")
    own = ETC / "slurm.conf"
    if own.exists() and not own.is_symlink():
        raise CannotRun(f"{own} belongs to a real cluster")
    if not all(shutil.which(name) for name in ("slurmctld", "slurmd", "munged")):
        _install()


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    for command in (["apt-get", "update", "-qq"], install):
        try:
            result = subprocess.run(command, env=environment, capture_output=True, text=True)
        except FileNotFoundError:
            raise CannotRun("there is no apt-get to install Slurm with") from None
        if result.returncode:
            why = result.stderr.strip().splitlines() or ["it gave no reason"]
            raise CannotRun(f"{' '.join(command)} failed: {why[-1]}")


def wait_until(what: str, test: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return once ``test`` is true.

    Raises:
        TimeoutError: It is not within ``patience_s``.
    """
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if test():
            return
        time.sleep(0.2)
    raise TimeoutError(f"Waited {patience_s:.0f} s in vain for {what}.")


def slurm(*command: str) -> str:
    """Output of a command of Slurm; empty where it fails."""
    return subprocess.run(command, capture_output=True, text=True).stdout


class Cluster:
    """The daemons; ``with Cluster():`` takes them down again, whatever happens."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def __enter__(self) -> Cluster:
        need_possible()
        self.down()
        try:
            self.up()
        except TimeoutError as error:
            said = self._last_words()
            self.down()
            raise CannotRun(f"Slurm's daemons do not come up here ({error}{said})") from error
        except BaseException:
            self.down()
            raise
        return self

    def _last_words(self) -> str:
        """What each daemon printed last, for an error."""
        logs = sorted((self.folder / "log").glob("*.out"))
        lines = {path.stem: path.read_text(errors="replace").strip()[-200:] for path in logs}
        return "".join(f" {name}: {line}" for name, line in lines.items() if line)

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Write the configuration and start every daemon."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("log", "state", "pids"):
            (self.folder / name).mkdir(parents=True)
        self._configure()
        self._start_munge()
        self._start("slurmctld", ["slurmctld", "-D", "-c"])
        wait_until("slurmctld", lambda: "is UP" in slurm("scontrol", "ping"))
        for node in NODES:
            self.start_node(node)
        wait_until("three idle nodes", lambda: set(self.nodes("idle")) == set(NODES))

    def down(self) -> None:
        """End what ``up`` started, jobs included, and remove the links."""
        if (self.folder / "pids" / "slurmctld").exists():
            slurm("scancel", "--user=root")
            time.sleep(1)
        for path in sorted((self.folder / "pids").glob("*"), key=lambda p: -p.stat().st_mtime_ns):
            self._end(path)
        self._end_steps()
        for path in ETC.glob("*.conf"):
            if path.is_symlink() and path.readlink().is_relative_to(self.folder):
                path.unlink()

    def nodes(self, state: str) -> list[str]:
        """Names of the nodes in a state, such as idle or down."""
        return slurm("sinfo", "-h", "-N", "-p", "cpu", "-t", state, "-o", "%N").split()

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start(node, ["slurmd", "-D", "-N", node])

    def lose_node(self, node: str) -> None:
        """A power cut: its daemon and everything that runs on it are gone at once."""
        self._end(self.folder / "pids" / node, signal.SIGKILL)
        for pid in _steps(self.folder / f"spool.{node}", node):
            _kill_tree(pid)
        slurm("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")

    def return_node(self, node: str) -> None:
        """The node is repaired."""
        self.start_node(node)
        slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
        wait_until(f"{node} to be idle", lambda: node in self.nodes("idle"))

    def _configure(self) -> None:
        lines = [
            f"NodeName={node} NodeHostName={node} NodeAddr=127.0.0.1 Port={PORT + number} CPUs=2 "
            f"RealMemory={NODE_MB}" + (" Gres=gpu:1" if node == GPU_NODE else "")
            for number, node in enumerate(NODES, 1)
        ]
        host = socket.gethostname().split(".")[0]
        text = SLURM_CONF.format(
            host=host, port=PORT, folder=self.folder, nodes="\n".join(lines), gpu_node=GPU_NODE
        )
        gres = f"NodeName={GPU_NODE} Name=gpu Count=1 File=/dev/null\n"
        ETC.mkdir(exist_ok=True)
        for name, content in {"slurm.conf": text, "gres.conf": gres, "cgroup.conf": ""}.items():
            (self.folder / name).write_text(content)
            link = ETC / name
            if link.is_symlink():
                link.unlink()
            link.symlink_to(self.folder / name)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        folder.mkdir()
        key = folder / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        user = pwd.getpwnam("munge")
        for path in (folder, key):
            os.chown(path, user.pw_uid, user.pw_gid)
        places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        flags = [f"--{flag}={folder / name}" for flag, name in places.items()]
        flags += [f"--seed-file={folder / 'seed'}", "--foreground"]
        self._start("munged", ["munged", *flags], user="munge", group=user.pw_gid)
        wait_until("munged", (folder / "socket").exists)

    def _start(self, name: str, command: list[str], **options: object) -> None:
        # Not with the caller's SLURM_ variables, and in a session of its own: no Ctrl-C reaches it.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        with open(self.folder / "log" / f"{name}.out", "w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, env=environment, **options,
            )  # fmt: skip
        (self.folder / "pids" / name).write_text(f"{process.pid} {_started(process.pid)}")

    def _end(self, path: Path, sign: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon whose pid the file holds, if it still is that process."""
        if not path.exists():
            return
        pid, started = path.read_text().split()
        path.unlink()
        for number in (sign, signal.SIGKILL):
            if _started(int(pid)) != started:
                return
            os.kill(int(pid), number)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(pid), os.WNOHANG)
            try:
                wait_until("", lambda: _started(int(pid)) != started, 10)
                return
            except TimeoutError:
                continue

    def _end_steps(self) -> None:
        for node in NODES:
            for pid in _steps(self.folder / f"spool.{node}", node):
                _kill_tree(pid)


def _started(pid: int) -> str:
    """Start time of a living process, in ticks; '' of one that has ended."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    if state == "Z":
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return ""
    return rest[18]


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found[int(path.name)] = (parent, line)
        except (OSError, ValueError):
            continue
    return found


def _steps(spool: Path, node: str) -> list[int]:
    """The slurmstepd processes of a node: those whose sockets lie in its spool folder."""
    jobs = {p.name.removeprefix(f"{node}_").split(".")[0] for p in spool.glob(f"{node}_*")}
    return [
        pid
        for pid, (_, line) in _processes().items()
        if (match := re.match(r"slurmstepd: \[(\d+)\.", line)) and match.group(1) in jobs
    ]


def descendants(pid: int) -> list[int]:
    """All processes below one, parents first."""
    below, found = _processes(), [pid]
    for one in found:
        found += [child for child, (parent, _) in below.items() if parent == one]
    return found[1:]


def _kill_tree(pid: int) -> None:
    for one in [pid, *descendants(pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def main() -> int:
    """Bring the cluster up, take it down, or show it."""
    command = sys.argv[1] if len(sys.argv) == 2 else ""
    cluster = Cluster()
    if command == "up":
        try:
            cluster.__enter__()
        except CannotRun as reason:
            sys.exit(f"slurm: not brought up, because {reason}.")
    elif command == "down":
        cluster.down()
    elif command != "status":
        print("usage: python -m tests.cluster.slurm up|down|status", file=sys.stderr)
        return 2
    print(slurm("sinfo", "-N", "-l"), slurm("squeue"), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
