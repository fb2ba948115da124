"""Hosts on one machine: network namespaces on a switch, each with its own name, address, disk and clock.

A host is a namespace of the network with one interface, ``eth0``, in 10.77.0.0/24; a program in it sees its own host
name (UTS namespace), its own /etc/hosts and, where asked for, its own folder in place of a common one.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

_NUMBERS = count()  # of the sets of hosts that live at once
ROOT = Path(__file__).resolve().parents[2]
# Shifts the calendar clock by SHIFT seconds. Deadlines of waits in the calendar clock are shifted back: the kernel,
# which ends these waits, knows nothing of the shift.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) { const char *s = getenv("SHIFT"); return s ? atol(s) : 0; }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t clock, struct timespec *t) {
    int code = REAL(clock_gettime)(clock, t);
    if (!code && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) t->tv_sec += shift();
    return code;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    int code = REAL(gettimeofday)(t, zone);
    if (!code && t) t->tv_sec += shift();
    return code;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
static struct timespec back(const struct timespec *t) {
    struct timespec true_time = *t;
    if (t->tv_sec > 1000000000) true_time.tv_sec -= shift();
    return true_time;
}
int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t) {
    struct timespec true_time = back(t);
    return ((int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))
            dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"))(c, m, &true_time);
}
int sem_timedwait(sem_t *s, const struct timespec *t) {
    struct timespec true_time = back(t);
    return REAL(sem_timedwait)(s, &true_time);
}
"""


def forbidden() -> str:
    """Why this machine cannot have hosts; "" if it can."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "not on this machine: ip, unshare (Debian: iproute2, util-linux)"
    name = f"lama{os.getpid()}-probe"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode == 0:
        subprocess.run(["ip", "netns", "delete", name], check=True)
        return ""
    return f"ip netns add is not allowed here: {(tried.stderr or tried.stdout).strip()}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Hosts:
    """``number`` hosts, from entering to leaving: host0 has the address 10.77.0.1, and so on.

    ``folder`` gets /etc/hosts, and a folder for each host that ``start(..., own_disk=True)`` shows at ``disk``.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.disk = folder / "disk"
        self.prefix = f"lama{os.getpid()}-{next(_NUMBERS)}-"
        self.running: list[subprocess.Popen[str]] = []

    def address(self, host: int) -> str:
        return f"10.77.0.{host + 1}"

    def __enter__(self) -> "Hosts":
        self.disk.mkdir(parents=True, exist_ok=True)
        for i in range(self.number):  # as Debian does: the own name is an address that others cannot reach
            addresses = [self.address(other) if other != i else "127.0.1.1" for other in range(self.number)]
            names = "".join(f"{address} host{other}\n" for other, address in enumerate(addresses))
            (self.folder / f"hosts{i}").write_text(f"127.0.0.1 localhost\n{names}")
        (self.folder / "shim.c").write_text(SHIM)
        switch = f"{self.prefix}switch"
        try:
            _ip("netns", "add", switch)
            _ip("-n", switch, "link", "add", "switch", "type", "bridge")
            _ip("-n", switch, "link", "set", "switch", "up")
            for i in range(self.number):
                (self.folder / f"disk{i}").mkdir(exist_ok=True)
                name = f"{self.prefix}{i}"
                _ip("netns", "add", name)
                _ip("-n", switch, "link", "add", f"port{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
                _ip("-n", switch, "link", "set", f"port{i}", "master", "switch", "up")
                _ip("-n", name, "address", "add", f"{self.address(i)}/24", "dev", "eth0")
                _ip("-n", name, "link", "set", "eth0", "up")
                _ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(*range(self.number))
        for process in self.running:
            process.wait(20)
        for name in (*(f"{self.prefix}{i}" for i in range(self.number)), f"{self.prefix}switch"):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)  # and its interfaces

    def inside(self, host: int, own_disk: bool = False) -> list[str]:
        """The words before a command that runs it on ``host``."""
        setup = f"hostname host{host} && mount --bind {self.folder}/hosts{host} /etc/hosts && "
        setup += f"mount --bind {self.folder}/disk{host} {self.disk} && " * own_disk
        network = f"--net=/run/netns/{self.prefix}{host}"
        return ["nsenter", network, "unshare", "--uts", "--mount", "sh", "-c", f'{setup} exec "$@"', "sh"]

    def start(
        self, host: int, command: list[str], out: Path, own_disk: bool = False, shift: int = 0, **environment: str
    ) -> "subprocess.Popen[str]":
        """Start ``command`` on ``host``; its output goes to ``out``. Its calendar clock is ``shift`` seconds ahead."""
        if shift:
            shim = self.folder / "shim.so"
            if not shim.exists():
                subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(self.folder / "shim.c"), "-ldl"],
                               check=True)  # fmt: skip
            environment |= {"LD_PRELOAD": str(shim), "SHIFT": str(shift)}
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment
        with out.open("w") as file:
            process = subprocess.Popen(
                [*self.inside(host, own_disk), *command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        self.running.append(process)
        return process

    @contextmanager
    def cut(self, host: int) -> Iterator[None]:
        """Pull the cable of ``host`` for the block: nothing passes, and nobody is told."""
        link = ("-n", f"{self.prefix}switch", "link", "set", f"port{host}")
        _ip(*link, "down")
        try:
            yield
        finally:
            _ip(*link, "up")

    def kill(self, *hosts: int) -> None:
        """SIGKILL to every process of ``hosts``."""
        for _ in range(3):  # what a process has started meanwhile
            for host in hosts:
                namespace = f"{self.prefix}{host}"
                listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True)
                for pid in listed.stdout.split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)

    def limit(self, rate: str) -> None:
        """Every host sends at most at this rate, "1gbit" for example."""
        for i in range(self.number):
            root = ["tc", "-n", f"{self.prefix}{i}", "qdisc", "replace", "dev", "eth0", "root"]
            subprocess.run([*root, "tbf", "rate", rate, "burst", "256kb", "latency", "100ms"], check=True)


def torchrun(hosts: Hosts, host: int, processes: int = 1) -> list[str]:
    """The command that starts ``processes`` of a training on each host."""
    return [sys.executable, "-m", "torch.distributed.run", f"--nnodes={hosts.number}", f"--node-rank={host}",
            f"--nproc-per-node={processes}", "--master-addr=host0", "--master-port=29500"]  # fmt: skip
