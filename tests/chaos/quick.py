"""A fast stand-in for the Python interpreter: it starts a program in a tenth of a second.

``Quick(FOLDER)`` starts one server process, which imports torch. FOLDER/python then runs ``-m MODULE`` or a script: it
asks the server for a fork, and the fork runs the program. FOLDER/python passes signals to its fork and exits with the
fork's code. SLURM kills all processes of a job; so if FOLDER/python is killed, the server kills every fork of its job.
Each start adds a line to FOLDER/starts.jsonl: pid, job, restart, command. QUICK_REAL is a share of the jobs: these run
the real interpreter, and so do their children.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

FORWARDED = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]
CLIENT = (
    "#!{python} -IS\nimport sys\nsys.path.insert(0, {here!r})\nimport quick\nquick.client({python!r}, {folder!r})\n"
)


def start_line(pid: int, words: list[str], environment: dict[str, str], real: bool) -> str:
    """The line of starts.jsonl for a start; its job is numbered as squeue does."""
    job = environment.get("SLURM_JOB_ID", "")
    if "SLURM_ARRAY_JOB_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    task = "submitit.core._submit" in words
    about = {"pid": pid, "job": job, "restart": int(environment.get("SLURM_RESTART_COUNT", 0)), "real": real}
    return json.dumps(about | {"task": task, "words": words[-3:] if task else words[:3], "time": time.time()}) + "\n"


def note(folder: str, line: str) -> None:
    with open(f"{folder}/starts.jsonl", "a") as file:
        file.write(line)


def client(python: str, folder: str) -> None:
    """Called as FOLDER/python: have the program forked, wait for its end, and end in the same way."""
    words = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    held = words[0] == "-c" and "SIG_BLOCK" in words[1]  # ``lama.sweeps.launch.PYTHON``
    words = words[2:] if held else words
    words = words[1:] if words[0] == "-u" else words
    chance = random.Random(f"{os.environ.get('QUICK_SEED')} {os.environ.get('SLURM_ARRAY_TASK_ID')}").random()
    real = "submitit.core._submit" in words and chance < float(os.environ.get("QUICK_REAL", 0))
    if real or words[0] == "-c":
        note(folder, start_line(os.getpid(), words, dict(os.environ), True))
        signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2] if held else [])
        os.execv(python, [python, *words])
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{folder}/socket")
    body = json.dumps({"words": words, "environment": dict(os.environ), "folder": os.getcwd(), "held": held}).encode()
    socket.send_fds(server, [len(body).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(body)
    answers = server.makefile()
    pid = int(answers.readline())

    def forward(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    code = int(answers.readline() or 70)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


class Quick:
    """The process from which programs are forked, on entering; ended with its forks on leaving."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.python = folder, folder / "python"
        self.environment = environment

    def __enter__(self) -> "Quick":
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "starts.jsonl").touch()
        here = str(Path(__file__).resolve().parent)
        self.python.write_text(CLIENT.format(python=sys.executable, here=here, folder=str(self.folder)))
        self.python.chmod(0o755)
        self.server = subprocess.Popen([sys.executable, __file__, str(self.folder)], env=self.environment)
        while not (self.folder / "socket").exists():
            time.sleep(0.1)
            if self.server.poll() is not None:
                raise RuntimeError(f"quick.py ended with {self.server.returncode}")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.terminate()
        self.server.wait(20)


class Server:
    """Forks programs for clients, tells them how they end, and kills the forks of a killed client's job."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.clients: dict[socket.socket, tuple[int, str]] = {}  # to pid and job of their forks
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{folder}/binding")
        self.listener.listen(200)
        os.rename(f"{folder}/binding", f"{folder}/socket")

    def serve(self) -> None:
        import selectors

        woken, waking = socket.socketpair()
        for end in (woken, waking):
            end.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self.listener:
                        if (one := self.accept()) is not None:
                            selector.register(one, selectors.EVENT_READ)
                    elif key.fileobj is woken:
                        woken.recv(4096)
                    elif key.fileobj in self.clients:
                        selector.unregister(key.fileobj)
                        self.lost(key.fileobj)
                for one in self.reap():
                    if one.fileno() in selector.get_map():
                        selector.unregister(one)
                    one.close()

    def accept(self) -> socket.socket | None:
        one, _ = self.listener.accept()
        try:
            head, streams, _, _ = socket.recv_fds(one, 8, 3)
            body = b""
            while len(body) < int.from_bytes(head, "big"):
                body += one.recv(1 << 16)
        except OSError:
            one.close()
            return None
        asked = json.loads(body)
        pid = os.fork()
        if pid == 0:
            self.listener.close()
            for other in (one, *self.clients):
                other.close()
            program(asked, streams, f"{self.folder}/python")
        for stream in streams:
            os.close(stream)
        line = start_line(pid, asked["words"], asked["environment"], False)
        note(self.folder, line)
        self.clients[one] = (pid, f"{json.loads(line)['job']} {json.loads(line)['restart']}")
        with suppress(OSError):  # it was killed
            one.sendall(f"{pid}\n".encode())
        return one

    def reap(self) -> list[socket.socket]:
        """Tell the clients of the forks that have ended; returns them."""
        ended = []
        while self.clients or not ended:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            for one, (its, _) in list(self.clients.items()):
                if its == pid:
                    del self.clients[one]
                    ended.append(one)
                    with suppress(OSError):
                        one.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        return ended

    def lost(self, one: socket.socket) -> None:
        """A client was killed: so are all forks of its job."""
        pid, job = self.clients.pop(one)
        one.close()
        same = [its for its, other in self.clients.values() if other == job and job.strip() != "0"]
        for number in (pid, *same):
            os.kill(number, signal.SIGKILL)

    def end(self) -> None:
        for pid, _ in self.clients.values():
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def program(asked: dict, streams: list[int], python: str) -> None:
    """In the fork: become the program that was asked for; does not return."""
    import logging
    import runpy
    import traceback

    from starts import leave

    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    logging.root.handlers.clear()
    sys.executable = python
    random.seed()
    words, code = asked["words"], 1
    signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2] if asked["held"] else [])
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        code = ended.code & 0xFF if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    leave(code)


def main() -> None:
    import gc
    import importlib

    import matplotlib.pyplot  # noqa: F401
    import starts
    import submitit.slurm.slurm  # noqa: F401
    import tqdm

    starts.preload()
    # Not lama.sweeps.launch: it stores sys.executable.
    for module in ("commands.evaluate", "commands.sweep", "evaluation.report", "paper.tables", "sweeps.evaluation",
                   "inference"):  # fmt: skip
        importlib.import_module(f"lama.{module}")
    from lama.runs import callbacks

    callbacks.draw_curves = lambda *_: None  # takes seconds, for a file that is not compared
    assert "lama.sweeps.launch" not in sys.modules
    tqdm.tqdm._instances.clear()
    gc.collect()
    gc.freeze()
    Server(sys.argv[1]).serve()


if __name__ == "__main__":
    main()
