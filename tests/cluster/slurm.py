"""A SLURM in a folder of its own: munged, slurmctld, slurmd; of one machine, on 127.0.0.1, or of hosts (hosts.py)."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from hosts import Hosts

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
CONFIG = """
ClusterName=lama
SlurmctldHost={first}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=20
SlurmdTimeout=15
OverTimeLimit=0
SchedulerParameters=sched_interval=2,requeue_delay=1,bf_interval=2
SlurmdParameters=config_overrides
MinJobAge=600
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Programs of SLURM that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]


class Slurm:
    """Started on entering, stopped with everything in it on leaving; ``environment`` is what its commands need.

    With ``hosts`` each of them is a node. The controller is on the first, where ``ask`` asks too. ``settings`` are more
    lines of slurm.conf; each node has so many ``cpus``, whether the machine has them or not.
    """

    def __init__(self, folder: Path, hosts: Hosts | None = None, settings: str = "", cpus: int = 4) -> None:
        self.folder = folder
        self.hosts = hosts
        self.settings, self.cpus = settings, cpus
        self.nodes = {socket.gethostname().partition(".")[0]: "127.0.0.1"}
        if hosts is not None:
            self.nodes = {f"host{i}": hosts.address(i) for i in range(hosts.number)}
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.user = getpass.getuser()
        self.daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Slurm":
        folder = self.folder
        for name in ("state", *(f"spool/{node}" for node in self.nodes)):
            (folder / name).mkdir(parents=True)
        ports = []
        for _ in range(2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        nodes = [f"NodeName={name} NodeAddr={address} CPUs={self.cpus} RealMemory=2000 State=UNKNOWN"
                 for name, address in self.nodes.items()]  # fmt: skip
        first = "{}({})".format(*next(iter(self.nodes.items())))
        (folder / "slurm.conf").write_text(
            CONFIG.format(folder=folder, user=self.user, ports=ports, first=first, nodes="\n".join(nodes))
            + self.settings
        )
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        try:
            files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
            self._daemon("munged", "--foreground", "--force", *(f"--{k}={folder}/munge.{v}" for k, v in files.items()))
            self._until(lambda: (folder / "munge.socket").exists(), "munged")
            self.start_controller()
            self.node_daemons = [self.start_node(i) for i in range(len(self.nodes))]
            self.until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if len(self.daemons) > 1:
            self.ask("scancel", f"--user={self.user}", "--signal=KILL", "--full")
            self.ask("scancel", f"--user={self.user}")
            time.sleep(1)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def start_controller(self) -> None:
        self.controller = self._daemon("slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")

    def start_node(self, number: int) -> subprocess.Popen[bytes]:
        return self._daemon(
            "slurmd", "-D", "-f", f"{self.folder}/slurm.conf", "-N", list(self.nodes)[number], host=number
        )

    def until_idle(self) -> None:
        """Wait until all nodes are ready for a job."""
        wanted = ["idle"] * len(self.nodes)
        self._until(
            lambda: self.ask("sinfo", "-h", "-N", "-p", "debug", "-o", "%T").split() == wanted, "sinfo reports idle"
        )

    def inside(self, number: int) -> list[str]:
        return [] if self.hosts is None else self.hosts.inside(number)

    def ask(self, *command: str) -> str:
        command = (*self.inside(0), *command)
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else f"{done.stdout}{done.stderr}"

    def _daemon(self, name: str, *arguments: str, host: int = 0) -> subprocess.Popen[bytes]:
        words = [*self.inside(host), shutil.which(name) or f"/usr/sbin/{name}", *arguments]
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons.append(
                subprocess.Popen(words, env=self.environment, stdout=out, stderr=out, start_new_session=True)
            )
        return self.daemons[-1]

    def _until(self, condition, what: str, seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or any(daemon.poll() not in (None, -9) for daemon in self.daemons):
                logs = "\n".join(f"{p.name}: {p.read_text()[-800:]}" for p in sorted(self.folder.glob("*.[lo][ou]*")))
                raise RuntimeError(f"SLURM did not come up ({what}):\n{logs}")
            time.sleep(0.3)
