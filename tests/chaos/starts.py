"""One start of the command, as a fork of this process or as a program of its own, with a fault prepared in it.

A fork has torch and the package imported and the configuration composed; all else is what ``lama train`` does. So a
start costs a fraction of a second. ``preload`` is called once, before the first start.
"""

import atexit
import copy
import ctypes
import faulthandler
import importlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
HANGS = 240.0  # seconds after which a start is taken to hang; three times as many for a program of its own
LAUNCHER = 8.0  # seconds after which a launcher such as torchrun ends the other ranks of one that has failed
STEPS = 18  # iterations of the training

ARGUMENTS = [
    "-cn", "demo", "data=folder", "data.val_size=32", "data.val_per_image=1", "augment.size=32", "data.batch_size=2",
    "data.epoch_size=null", "data.epoch_batches=6", "data.cache_gb=0", "data.max_broken=0.3", "generator.ngf=4",
    "generator.n_blocks=1", "discriminator.ndf=4", "trainer.max_epochs=3", "trainer.log_every_n_steps=2",
    "checkpoint.every_batches=2", "evaluator.metrics=[psnr_hole,ssim]", "masks@val_masks=train_wide_128",
    *(f"{masks}.samplers.boxes.{key}" for masks in ("masks", "val_masks") for key in
      ("min_size=5", "max_size=12", "margin=2")),
]  # fmt: skip


@dataclass
class Ended:
    """A start that is over."""

    codes: list[int]  # of each rank; negative for a signal
    text: str  # all output
    stopped: bool  # it was stopped by SIGSTOP, and continued
    fired: bool  # the prepared fault has come
    hung: bool
    seconds: float
    processor: float  # seconds of processor time of all ranks
    launched: set[int] = field(default_factory=set)  # ranks that were ended because another one had failed


@dataclass
class Start:
    """How to start: ``rule`` is for the shim, in rank ``rank``."""

    folder: Path  # with images/, held_out/ and run/
    world: int = 1
    workers: int = 0
    rule: str = ""
    rank: int = 0
    late: str = ""  # a second rule, for rank 0
    real: bool = False  # a program of its own
    pause: float = 0.3  # seconds until a stopped process continues
    code: Path = ROOT  # of the package, for a real start
    version: str = ""  # that the package pretends to have
    memory: str = ""  # "address space:BYTES", or a cgroup's file of processes
    arguments: tuple[str, ...] = ()
    pids: list[int] = field(default_factory=list)

    def begin(self) -> "Start":
        self.began = time.monotonic()
        number = len(list(self.folder.glob("output*")))
        self.output = self.folder / f"output{number}.txt"
        self.fired = self.folder / f"fired{number}"
        self.output.touch()
        port = _free_port() if self.world > 1 else 0
        for rank in range(self.world):
            self.pids.append(self._program() if self.real else self._fork(rank, port))
        return self

    def _own(self) -> list[str]:
        """The arguments with which this start differs from others."""
        places = [f"data.path={self.folder}/images", f"data.val_path={self.folder}/held_out"]
        return [*places, f"run_dir={self.folder}/run", f"data.num_workers={self.workers}",
                f"trainer.devices={self.world}", *self.arguments]  # fmt: skip

    def _rule(self, rank: int) -> str:
        rules = [f"{self.rule}|fired={self.fired}"] if self.rule and rank == self.rank else []
        return "|".join([*rules, *([self.late] if self.late and rank == 0 else [])])

    def _program(self) -> int:
        environment = (
            os.environ
            | {"PYTHONPATH": str(self.code), "PYTHONFAULTHANDLER": "1"}
            | ({"CHAOS": rule} if (rule := self._rule(0)) else {})
        )
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "lama", "train", *ARGUMENTS, *self._own()], env=environment, stdout=output,
                stderr=output, cwd=self.code, start_new_session=True,
            ).pid  # fmt: skip

    def _fork(self, rank: int, port: int) -> int:
        from lama.machine.orphans import end_with

        life = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            end_with(life)
            os.setsid()
            output = os.open(self.output, os.O_WRONLY | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = self._run(rank, port)
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            leave(code)

    def _run(self, rank: int, port: int) -> int:
        """In the fork: run the command; returns its exit code."""
        from tqdm import tqdm

        import lama
        from lama.commands import run_verb, train
        from lama.runs import callbacks

        if self.world > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(self.world),
                           "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                           "TORCHELASTIC_RUN_ID": "chaos"}  # fmt: skip
        faulthandler.enable()
        tqdm._instances.clear()  # the bar of the program that forked
        config = _with(_COMPOSED[0], self._own())
        train.read = lambda *_: copy.deepcopy(config)
        callbacks.draw_curves = lambda *_: None  # takes seconds, for a file that is not compared
        sys.argv = ["lama", "train", *ARGUMENTS, *self._own()]
        lama.__version__ = self.version or lama.__version__
        _limit(self.memory)
        if rule := self._rule(rank):
            assert ctypes.CDLL(None).chaos_arm(rule.encode()) == 0, rule
        try:
            run_verb("train", sys.argv[2:])
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return 0

    def wait(self) -> Ended:
        """Wait for all ranks, as a launcher does: if one fails, the others are ended a little later."""
        codes: dict[int, int] = {}
        launched: set[int] = set()
        stopped = hung = False
        failed, processor, patience = None, 0.0, 3 * HANGS if self.real else HANGS
        while len(codes) < self.world:
            for pid in set(self.pids) - codes.keys():
                done, status, usage = os.wait4(pid, os.WNOHANG | os.WUNTRACED)
                if done and os.WIFSTOPPED(status):
                    stopped = True
                    time.sleep(self.pause)
                    os.kill(pid, signal.SIGCONT)
                elif done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
                    processor += usage.ru_utime + usage.ru_stime
                    if codes[pid]:
                        failed = failed or time.monotonic()
            now = time.monotonic()
            hung = hung or now - self.began > patience
            if hung or (failed and now - failed > LAUNCHER):
                for pid in set(self.pids) - codes.keys():
                    launched.add(self.pids.index(pid))
                    os.kill(pid, signal.SIGABRT if hung else signal.SIGTERM)  # Python says where it hangs
                    if now - (failed or self.began) > 2 * (patience if hung else LAUNCHER):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.2)
            time.sleep(0.005)
        text = self.output.read_text(errors="replace")
        return Ended([codes[pid] for pid in self.pids], text, stopped, self.fired.exists(), hung,
                     time.monotonic() - self.began, processor, launched)  # fmt: skip


_COMPOSED: list = []


def leave(code: int) -> NoReturn:
    """End a fork as an interpreter ends, but without the code that the parent runs after it."""
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def preload() -> None:
    """Import all that a start needs, and compose its configuration."""
    import torch

    torch.set_num_threads(1)
    rooms = ("torchvision_ops", "config", "commands.train", "runs", "data", "losses", "masks", "models", "training")
    for module in (*(f"lama.{room}" for room in rooms), "torch.utils.tensorboard"):
        importlib.import_module(module)
    from lama.config import read

    paths = ["data.path=/images", "data.val_path=/held_out", "run_dir=/run", "data.num_workers=0", "trainer.devices=1"]
    _COMPOSED[:] = [read([*ARGUMENTS, *paths], "", "training", None)]


def _with(config, own: list[str]):
    """The composed configuration with other values, as if they had been composed."""
    from omegaconf import OmegaConf

    config = copy.deepcopy(config)
    for word in own:
        key, _, value = word.partition("=")
        OmegaConf.update(config, key, {"true": True, "null": None}.get(value, int(value) if value.isdigit() else value))
    return config


def _limit(memory: str) -> None:
    if memory.startswith("address space:"):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = used + int(memory.partition(":")[2])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    elif memory:
        Path(memory).write_text(str(os.getpid()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
