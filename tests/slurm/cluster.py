"""A private Slurm on the loopback: munge, a controller, several nodes with declared GPUs, and
accounting if asked for.

Runs as root, without systemd, from Debian's packages, and touches nothing under /etc, /var or /run.
`Cluster` starts this file as a process of its own, the supervisor, whose children all daemons are.
As a subreaper it inherits what leaves slurmd's process tree (steps, jobs), so that it can end all
of it: when it is told to, and also when the test process is killed, as its standard input closes
then.
"""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLIENTS = ("sbatch", "squeue", "srun", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare")
NODES = ("c1", "c2", "g1", "g2")

# Several nodes on one host with more CPUs, memory and GPUs than it has. Partition gpu-high preempts
# what runs in gpu (which is requeued) and in gpu-spot (which is cancelled).
SLURM_CONF = """\
ClusterName=drift
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
AuthType=auth/munge
# A requeued job waits until its old credential has expired; by default two minutes.
AuthInfo=socket={folder}/munge.socket,cred_expire=15
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
MinJobAge={min_job_age}
SlurmdTimeout=10
MessageTimeout=5
KillWait=30
GresTypes=gpu
{accounting}
NodeName=DEFAULT CPUs=64 RealMemory=512000
NodeName=c1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[c1]}
NodeName=c2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[c2]}
NodeName=g1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[g1]} Gres=gpu:h100:2
NodeName=g2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[g2]} Gres=gpu:h100:2
PartitionName=cpu Nodes=c1,c2 Default=YES
PartitionName=gpu Nodes=g1,g2 PriorityTier=1 LLN=YES
PartitionName=gpu-spot Nodes=g1,g2 PriorityTier=1 PreemptMode=CANCEL
PartitionName=gpu-high Nodes=g1,g2 PriorityTier=2
"""
GRES_CONF = "NodeName=g[1-2] Name=gpu Type=h100 File={folder}/dev/nvidia[0-1]\n"
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[slurmdbd]}
AccountingStoragePass={folder}/munge.socket"""
SLURMDBD_CONF = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[slurmdbd]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[mariadbd]}
StorageUser=root
StorageLoc=slurm_acct
"""


def missing_packages(*, accounting: bool) -> list[str]:
    """Debian packages without which the cluster cannot start here; none where all daemons are
    installed."""
    programs = {"munge": "munged", "slurmctld": "slurmctld", "slurmd": "slurmd", "slurm-client": "squeue"}
    if accounting:
        programs |= {"slurmdbd": "slurmdbd", "mariadb-server": "mariadbd"}
    path = f"{os.environ['PATH']}:/usr/sbin"
    return [package for package, program in programs.items() if not shutil.which(program, path=path)]


class Cluster:
    """A running cluster, as a context manager. `env` is the environment in which Slurm's commands
    reach it. Every job waits `wait` seconds before it starts, as on a busy cluster."""

    def __init__(self, *, accounting: bool = False, min_job_age: int = 300, wait: int = 0):
        self.options = {"accounting": accounting, "min_job_age": min_job_age, "wait": wait}

    def __enter__(self) -> "Cluster":
        # A Unix socket's path has 107 bytes at most: pytest's tmp_path is too long.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self._supervisor = subprocess.Popen(
            [sys.executable, __file__, str(self.folder), json.dumps(self.options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C on pytest reaches pytest alone, which then closes standard input
        )
        self.env = os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "SLURM_CONF": f"{self.folder}/slurm.conf"}
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._supervisor.stdin.close()
        self._supervisor.wait(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, daemon: str) -> None:
        """SIGKILL a daemon (slurmctld, slurmdbd, c1, ...), as a crash does."""
        self._tell(f"stop {daemon}")

    def start(self, daemon: str) -> None:
        """Start a stopped daemon again."""
        self._tell(f"start {daemon}")

    def run(self, *command: str) -> str:
        """Output of a Slurm command. Raises CalledProcessError where it fails."""
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True, timeout=60).stdout

    def _tell(self, line: str) -> None:
        self._supervisor.stdin.write(line + "\n")
        self._supervisor.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        if self._supervisor.stdout.readline() != "ok\n":
            raise RuntimeError("the test cluster failed; its daemons' logs are on standard error")


class Supervisor:
    """The other side: starts the daemons, restarts them on request, and leaves nothing behind."""

    def __init__(self, folder: Path, options: dict):
        self.folder, self.accounting = folder, options["accounting"]
        self.daemons: dict[str, subprocess.Popen] = {}
        self.ports = dict(zip(("slurmctld", "slurmdbd", "mariadbd", *NODES), free_ports(7), strict=True))
        self.conf = folder / "slurm.conf"
        values = {"folder": folder, "ports": self.ports, "host": socket.gethostname(), "min_job_age": options["min_job_age"]}
        accounting = ACCOUNTING if self.accounting else "AccountingStorageType=accounting_storage/none"
        self.conf.write_text(SLURM_CONF.format(**values, accounting=accounting.format(**values)))
        (folder / "gres.conf").write_text(GRES_CONF.format(**values))
        if self.accounting:
            (folder / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**values))
            (folder / "slurmdbd.conf").chmod(0o600)
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge.key").chmod(0o400)
        folder.chmod(0o755)  # munged refuses a socket in a folder that others cannot enter
        (folder / "state").mkdir()
        # A GPU that is no device file is counted, but CUDA_VISIBLE_DEVICES is not set for it; a
        # link to a device is enough.
        (folder / "dev").mkdir()
        for number in (0, 1):
            (folder / f"dev/nvidia{number}").symlink_to("/dev/null")
        # Snakemake's jobs drop SLURM_CONF before they call srun, so every client carries it itself.
        (folder / "bin").mkdir()
        for client in CLIENTS:
            wrapper = folder / "bin" / client
            waits = f" --begin=now+{options['wait']}" if client == "sbatch" and options["wait"] else ""
            wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.conf} exec /usr/bin/{client}{waits} "$@"\n')
            wrapper.chmod(0o755)

    def command(self, daemon: str) -> list[str]:
        """How a daemon is started, in the foreground."""
        folder = self.folder
        match daemon:
            case "munged":
                files = {
                    name: f"{folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
                }
                options = [f"--{name}={path}" for name, path in (files | {"key-file": f"{folder}/munge.key"}).items()]
                return ["munged", "--foreground", "--force", "--num-threads=4", "--origin=127.0.0.1", *options]
            case "mariadbd":
                data = [f"--datadir={folder}/db", f"--socket={folder}/db.socket", f"--pid-file={folder}/db.pid"]
                network = ["--bind-address=127.0.0.1", f"--port={self.ports['mariadbd']}"]
                return ["mariadbd", "--no-defaults", "--user=root", "--innodb-fast-shutdown=2", *data, *network]
            case "slurmdbd":
                return ["slurmdbd", "-D"]
            case "slurmctld":
                return ["slurmctld", "-D", "-f", str(self.conf)]
            case node:
                return ["slurmd", "-D", "-N", node, "-f", str(self.conf)]

    def start(self, daemon: str) -> None:
        """Start a daemon and wait until it does its work."""
        environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "SLURM_CONF": str(self.conf)}
        with open(self.folder / f"{daemon}.out.log", "ab") as log:
            self.daemons[daemon] = subprocess.Popen(
                self.command(daemon),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ready = {
            "munged": lambda: (self.folder / "munge.socket").exists(),
            "mariadbd": lambda: listens(self.ports["mariadbd"]),
            "slurmdbd": lambda: listens(self.ports["slurmdbd"]),
            "slurmctld": lambda: self.client("scontrol", "ping").returncode == 0,
        }.get(daemon, lambda: self.client("sinfo", "-h", "-n", daemon, "-o", "%t").stdout.strip() in ("idle", "mix", "alloc"))
        deadline = time.monotonic() + 60
        while not ready():
            if self.daemons[daemon].poll() is not None or time.monotonic() > deadline:
                logs = [f"== {path}\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob(f"{daemon}*.log"))]
                raise RuntimeError(f"{daemon} did not start\n" + "\n".join(logs))
            time.sleep(0.1)

    def stop(self, daemon: str) -> None:
        """SIGKILL a daemon."""
        process = self.daemons.pop(daemon)
        process.kill()
        process.wait()

    def client(self, *command: str) -> subprocess.CompletedProcess:
        """Run one of Slurm's commands."""
        return subprocess.run(
            [f"{self.folder}/bin/{command[0]}", *command[1:]], capture_output=True, text=True, check=False, timeout=60
        )

    def start_all(self) -> None:
        """Bring the whole cluster up."""
        self.start("munged")
        if self.accounting:
            install = ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/db", "--user=root"]
            subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, stdout=subprocess.DEVNULL)
            self.start("mariadbd")
            # slurmdbd would create it after a connection without it has failed, and with MariaDB's
            # client library 3.4.10 that connection then refuses the result of every query.
            database = ["mariadb", "--no-defaults", f"--socket={self.folder}/db.socket", "--user=root"]
            subprocess.run([*database, "--execute=CREATE DATABASE slurm_acct"], check=True, stdin=subprocess.DEVNULL)
            self.start("slurmdbd")
            # The cluster must be known before its controller comes up.
            self.client("sacctmgr", "-i", "add", "cluster", "drift")
            self.client("sacctmgr", "-i", "add", "account", "lab", "cluster=drift")
            self.client("sacctmgr", "-i", "add", "user", "root", "account=lab")
        for daemon in ("slurmctld", *NODES):
            self.start(daemon)

    def serve(self) -> None:
        """Obey `start DAEMON` and `stop DAEMON` from standard input until it closes."""
        print("ok", flush=True)
        for line in sys.stdin:
            action, daemon = line.split()
            {"start": self.start, "stop": self.stop}[action](daemon)
            print("ok", flush=True)

    def end_all(self) -> None:
        """Kill every descendant: children first, then what this process inherits from them."""
        for _ in range(200):
            for pid in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.05)


def children() -> list[int]:
    """This process's children. None of their ids can be reused before it has waited for them."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Supervise the cluster in the folder of the first argument."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    supervisor = Supervisor(Path(sys.argv[1]), json.loads(sys.argv[2]))
    try:
        supervisor.start_all()
        supervisor.serve()
    finally:
        supervisor.end_all()
        # Where the test process was killed, nobody else clears up.
        shutil.rmtree(supervisor.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
