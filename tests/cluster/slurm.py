"""A SLURM of one machine, on 127.0.0.1, in a folder of its own: munged, slurmctld, slurmd."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
CONFIG = """
ClusterName=lama
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=20
OverTimeLimit=0
SchedulerParameters=sched_interval=2,requeue_delay=1,bf_interval=2
SlurmdParameters=config_overrides
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Programs of SLURM that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]


class Slurm:
    """Started on entering, stopped with everything in it on leaving; ``environment`` is what its commands need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.user = getpass.getuser()
        self.daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Slurm":
        folder = self.folder
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        ports = []
        for _ in range(2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        host = socket.gethostname().partition(".")[0]
        (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, user=self.user, ports=ports, host=host))
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        try:
            files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
            self._daemon("munged", "--foreground", "--force", *(f"--{k}={folder}/munge.{v}" for k, v in files.items()))
            self._until(lambda: (folder / "munge.socket").exists(), "munged")
            self._daemon("slurmctld", "-D", "-f", f"{folder}/slurm.conf")
            self._daemon("slurmd", "-D", "-f", f"{folder}/slurm.conf", "-N", host)
            self._until(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), "sinfo reports idle")
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

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else f"{done.stdout}{done.stderr}"

    def _daemon(self, name: str, *arguments: str) -> None:
        path = shutil.which(name) or f"/usr/sbin/{name}"
        with (self.folder / f"{name}.out").open("wb") as out:
            self.daemons.append(
                subprocess.Popen(
                    [path, *arguments], env=self.environment, stdout=out, stderr=out, start_new_session=True
                )
            )

    def _until(self, condition, what: str, seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or any(daemon.poll() is not None for daemon in self.daemons):
                logs = "\n".join(f"{p.name}: {p.read_text()[-800:]}" for p in sorted(self.folder.glob("*.[lo][ou]*")))
                raise RuntimeError(f"SLURM did not come up ({what}):\n{logs}")
            time.sleep(0.3)
