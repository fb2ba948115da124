"""Disturb a sweep on SLURM at random instants, continue it, and compare its end with an undisturbed sweep.

python tests/chaos/sweeps.py                    # 50 trainings and their evaluations; the report is runs/chaos-sweeps
python tests/chaos/sweeps.py --jobs 10 --seed 3

Kinds and instants of faults follow from the seed; instants are seconds since the start of a job, or numbers of started
jobs, so that they come again at nearly the same place. Debian's packages slurm-wlm and munge are needed.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "cluster")]

import sweep_report  # noqa: E402
from chaos import pictures  # noqa: E402
from comparing import assert_equal, everything  # noqa: E402
from life import FAILED, Fault  # noqa: E402
from quick import Quick  # noqa: E402
from slurm import Slurm, missing  # noqa: E402
from starts import ARGUMENTS  # noqa: E402
from sweep_faults import OF_CLUSTER, OF_JOBS, WEIGHTS  # noqa: E402

SETTINGS = """PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL PriorityTier=10 MaxTime=INFINITE State=UP
"""
LAUNCHER = ["launcher=slurm", "launcher.gpus=false", "launcher.cpus_per_task=1", "launcher.timeout_min=10",
            "launcher.signal_delay_s=1"]  # fmt: skip
SECONDS = rb'"seconds": [0-9.]+|\b[0-9.]+ (min|h)\b'  # of trainings, in the tables
SEEDS = 5  # of each row
TRIES = 3  # starts of one job that may get a fault
ROUNDS = 25  # commands that may continue the sweep


class Disturbed:
    """A sweep in ``folder``, and a thread that disturbs its jobs and its cluster."""

    def __init__(self, slurm: Slurm, quick: Quick, folder: Path, seed: int, share: float, seconds: float) -> None:
        self.slurm, self.quick, self.folder, self.seed = slurm, quick, folder, seed
        self.share, self.seconds = share, seconds  # of the starts that get a fault; that a job takes
        self.faults: list[Fault] = []
        self.starts: list[dict] = []
        self.tasks: Counter[str] = Counter()  # starts of each job
        self.read = 0  # bytes of starts.jsonl
        self.at_end = False
        self.commands = threading.RLock()  # held while a command of the sweep runs, or its folder moves
        self.trained = False
        self.waiting: dict[str, float] = {}  # since when jobs that were queued again wait
        self.due: list[tuple[float, str, dict]] = []
        self.cluster: list[tuple[int, str]] = []

    def plan(self, jobs: int) -> None:
        """Faults of the cluster, each after a number of starts."""
        rng = random.Random(f"{self.seed} cluster")
        kinds = [kind for kind in OF_CLUSTER for _ in range(max(1, jobs // 30))]
        rng.shuffle(kinds)
        kinds.sort(key=lambda kind: kind != "folder moved")  # moved while there are trainings
        moves = kinds.count("folder moved")
        after = sorted(rng.sample(range(3, jobs), moves)) + sorted(
            rng.sample(range(2, int(2.2 * jobs)), len(kinds) - moves)
        )
        self.cluster = sorted(zip(after, kinds, strict=True))

    def skip_starts(self) -> None:
        """Only later starts are of this sweep."""
        self.read = (self.quick.folder / "starts.jsonl").stat().st_size

    def seconds_of_a_job(self) -> float:
        """The median of the jobs so far, from their starts to their records."""
        works, lines = self.works(), (self.quick.folder / "starts.jsonl").read_text().splitlines()
        begun = {works[start["job"]]: start["time"] for start in map(json.loads, lines) if start["job"] in works}
        ended = {work: (self.folder / "jobs" / f"{work}.json").stat().st_mtime for work in begun}
        return statistics.median(ended[work] - begun[work] for work in begun)

    def watch(self) -> None:
        """The thread: give starts their faults, until ``at_end``."""
        read, unknown, works, hurried = self.read, [], {}, 0.0
        with ThreadPoolExecutor(12) as pool, ThreadPoolExecutor(1) as one_by_one:
            while not self.at_end:
                with (self.quick.folder / "starts.jsonl").open() as file:
                    file.seek(read)
                    lines = file.readlines()
                    read = file.tell()
                new = [json.loads(line) for line in lines]
                self.starts += new
                unknown += [start for start in new if start["task"]]
                if any(start["job"] not in works for start in unknown):
                    works |= self.works()
                for start in [start for start in unknown if start["job"] in works]:
                    unknown.remove(start)
                    self.draw(start, works[start["job"]])
                    while self.cluster and sum(self.tasks.values()) >= self.cluster[0][0]:
                        after, kind = self.cluster.pop(0)
                        rng = random.Random(f"{self.seed} {kind} {after}")
                        one_by_one.submit(self.act, kind, f"after {after} starts", None, rng)
                now = time.time()
                if now > hurried + 3:
                    hurried = now
                    pool.submit(self.hurry)
                for item in [item for item in self.due if item[0] <= now]:
                    self.due.remove(item)
                    at, kind, start = item
                    detail = f"start {start['number']} of {start['work']}, {at - start['time']:.1f} s after it"
                    detail += ", as a program of its own" if start["real"] else ""
                    rng = random.Random(f"{self.seed} {detail}")
                    pool.submit(self.act, kind, detail, start, rng)
                time.sleep(0.1)

    def hurry(self) -> None:
        """Do as an administrator does: resume a node that SLURM has drained, and release a job that it holds.

        SLURM does both where it starts a job again before its first start is over. Jobs that were queued again start
        after 20 seconds, not after SLURM's two minutes.
        """
        with suppress(subprocess.TimeoutExpired):
            for line in self.slurm.ask("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i %r").splitlines():
                job, _, reason = line.partition(" ")
                if reason == "BeginTime" and self.waiting.setdefault(job, time.time()) < time.time() - 20:
                    del self.waiting[job]
                    self.slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
                elif "held" in reason:
                    self.slurm.ask("scontrol", "release", job)
            if "Duplicate" in self.slurm.ask("sinfo", "-h", "-R"):
                self.slurm.ask("scontrol", "update", f"NodeName={next(iter(self.slurm.nodes))}", "State=RESUME")

    def works(self) -> dict[str, str]:
        """The name of each submitted job by its number in the cluster."""
        found = {}
        for file in (self.folder / "jobs").glob("*.job"):
            with suppress(FileNotFoundError):
                found[file.read_text().strip()] = file.stem
        return found

    def draw(self, start: dict, work: str) -> None:
        """Perhaps give a start of a job a fault; it follows from the seed, the job and the number of the start."""
        self.tasks[work] += 1
        start |= {"work": work, "number": self.tasks[work]}
        rng = random.Random(f"{self.seed} {work} {self.tasks[work]}")
        if self.tasks[work] <= TRIES and rng.random() < self.share:
            kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            self.due.append((start["time"] + rng.uniform(0.05, 0.9) * self.seconds, kind, start))

    def act(self, kind: str, detail: str, start: dict | None, rng: random.Random) -> None:
        fault = Fault(kind, detail, fired=False)
        try:
            fault.outcome = (OF_CLUSTER if start is None else OF_JOBS)[kind](self, start, rng)
        except (subprocess.TimeoutExpired, OSError) as error:
            fault.detail += f" ({error})"
        except Exception as error:
            fault.broken = repr(error)
        fault.fired = bool(fault.outcome)
        self.faults.append(fault)
        print(f"{len(self.faults):4} {kind}, {detail}: {fault.outcome or fault.broken or 'too late'}", flush=True)

    def state(self, start: dict) -> str:
        """Of a job in SLURM; empty if the start is over."""
        said = self.slurm.ask("squeue", "-h", "-r", "-j", start["job"], "-o", "%T").strip()
        again = any(one["task"] and one["job"] == start["job"] and one["restart"] > start["restart"]
                    for one in self.starts)  # fmt: skip
        return said if said in ("RUNNING", "COMPLETING") and not again else ""

    def child(self, start: dict) -> int | None:
        """The process of the training or evaluation of a job."""
        if start["real"]:
            with suppress(FileNotFoundError, ProcessLookupError):
                children = Path(f"/proc/{start['pid']}/task/{start['pid']}/children").read_text().split()
                return int(children[-1]) if children else None
            return None
        same = [one["pid"] for one in self.starts
                if not one["task"] and (one["job"], one["restart"]) == (start["job"], start["restart"])]  # fmt: skip
        return same[-1] if same else None

    def move(self) -> str:
        """Rename the folder, with jobs at work in it."""
        with self.commands:
            if self.trained:
                return ""
            new = self.folder.with_name(f"moved{len(list(self.folder.parent.glob('*')))}")
            self.folder.rename(new)
            self.folder = new
            return f"to {new.name}"

    def call(self, *words: str) -> tuple[int, str]:
        """A command of the sweep; it must end with 0, or with 2 and one line."""
        done = subprocess.run([str(self.quick.python), *words], cwd=ROOT, env=self.quick.environment, text=True,
                              capture_output=True, timeout=3600)  # fmt: skip
        text = done.stdout + done.stderr
        last = (text.strip().splitlines() or ["nothing said"])[-1]
        print(f"     {' '.join(words[:3])}: exit {done.returncode}, {last[:160]}", flush=True)
        if done.returncode not in (0, 2) or re.search(FAILED, text) or (done.returncode and "error: " not in last):
            raise RuntimeError(f"{' '.join(words[:4])} ended with {done.returncode}:\n{text}")
        return done.returncode, last

    def at_work(self, kind: str) -> tuple[int, int]:
        """Wait until no job of the sweep runs or is queued; the number of jobs that are done, and of all."""
        from lama.sweeps.plan import Work, load
        from lama.sweeps.state import DONE, QUEUED, RUNNING, states

        ends = time.monotonic() + 1200
        while time.monotonic() < ends:
            time.sleep(2)
            with self.commands:
                sweep = load(self.folder)
                works = sweep.trainings()
                if kind == "evaluate":
                    works = [Work("evaluate", one.row, one.seed, name) for one in works for name in sweep.sets()]
                with suppress(ValueError):  # SLURM does not answer
                    found = [one.state for one in states(sweep, works)]
                    if not {RUNNING, QUEUED} & set(found):
                        return found.count(DONE), len(found)
        raise RuntimeError(f"hangs: {self.slurm.ask('squeue', '-a')}{self.slurm.ask('sinfo')}")

    def train(self, words: list[str]) -> None:
        """Start the sweep, and continue it until all is trained."""
        rng = random.Random(f"{self.seed} commands")
        for number in range(ROUNDS):
            with self.commands:
                again = ["bin/sweep.py", "resubmit", str(self.folder)]
                self.call(*([*words, f"dir={self.folder}"] if number == 0 or rng.random() < 0.5 else again))
            done, jobs = self.at_work("train")
            if done == jobs:
                with self.commands:
                    self.trained = True
                return
        raise RuntimeError(f"not trained after {ROUNDS} commands")

    def collect(self, sets: Path) -> None:
        for _ in range(ROUNDS):
            with self.commands:
                code, _ = self.call("bin/sweep.py", "collect", str(self.folder), str(sets))
            if code == 0:
                return
            self.at_work("evaluate")
        raise RuntimeError(f"not collected after {ROUNDS} commands")


def evaluation_set(folder: Path) -> None:
    """Two pairs of noise and a mask."""
    import numpy as np
    from PIL import Image

    from lama.data.manifest import write_manifest
    from lama.files import sha256_of

    folder.mkdir(parents=True)
    for number in range(2):
        noise = np.random.default_rng([9, number]).integers(0, 256, (40, 40, 3), np.uint8)
        mask = np.zeros((40, 40), np.uint8)
        mask[8 : 20 + number, 10:24] = 255
        Image.fromarray(noise).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"{number}_mask000.png")
    write_manifest(folder, {}, {path.name: sha256_of(path) for path in folder.iterdir()}, {})


def command(folder: Path, jobs: int) -> list[str]:
    """The command of the sweep, without its folder and its launcher."""
    rates = ",".join(f"{1 + row / 100:.2f}e-3" for row in range(-(-jobs // SEEDS)))
    return ["bin/train.py", "-m", "sweep=seeds", "row=demo", f"seeds={list(range(min(jobs, SEEDS)))}".replace(" ", ""),
            f"optimizers.generator.lr={rates}", *ARGUMENTS[2:], f"data.path={folder}/material/images",
            f"data.val_path={folder}/material/held_out", "data.num_workers=0",
            "evaluation.metrics=[psnr_hole,ssim]", "evaluation.size=40"]  # fmt: skip


def tables(folder: Path) -> dict[str, bytes]:
    """The files of the tables, without the name of the sweep's folder and the seconds that its trainings took."""
    found = {
        path.name: path.read_bytes().replace(str(folder).encode(), b"DIR") for path in (folder / "tables").iterdir()
    }
    return {name: re.sub(SECONDS, b"", content) for name, content in sorted(found.items())}


def compared(folder: Path, undisturbed: Path) -> tuple[dict[str, str], list[str]]:
    """The verdict of each training, and the names of tables that differ."""
    verdicts = {}
    for run in sorted(undisturbed.glob("runs/*/seed*")):
        name = str(run.relative_to(undisturbed / "runs"))
        try:
            assert_equal(everything(folder / "runs" / name), everything(run))
            verdicts[name] = "equal"
        except (AssertionError, ValueError, OSError, KeyError) as error:
            verdicts[name] = f"broken: differs from the undisturbed training ({error!r})"
    ours, theirs = tables(folder), tables(undisturbed)
    return verdicts, [name for name in theirs if ours.get(name) != theirs[name]]


def emptied(slurm: Slurm, seconds: float = 200) -> None:
    """Wait until the queue is empty. SLURM starts a job that it has queued again after two minutes, finished or not."""
    end = time.monotonic() + seconds
    while slurm.ask("squeue", "-h", "-r") and time.monotonic() < end:
        time.sleep(2)


def left_over(parent: Path, folder: Path, slurm: Slurm) -> list[str]:
    """Jobs, temporary files, and jobs' files at former places of the sweep.

    A training that is importing torch while the folder is moved makes its run at the former place; this is allowed.
    """
    jobs = slurm.ask("squeue", "-h", "-r").splitlines()
    partial = [str(path) for path in folder.rglob(".partial-*")]
    former = [str(path) for path in parent.glob("*/jobs") if path.parent != folder]
    said = [f"{path.name}: {found[0]}" for path in (folder / "jobs").glob("*.log")
            if (found := re.search(FAILED, path.read_text(errors="replace")))]  # fmt: skip
    return jobs + partial + former + said


def disturb(given: argparse.Namespace, folder: Path) -> dict:
    """The undisturbed sweep, then the disturbed one; returns the summary."""
    pictures(folder / "material")
    evaluation_set(folder / "material/sets/noise")
    trainings = given.jobs // 2
    words, sets = command(folder, trainings), folder / "material/sets"
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{HERE}", "OMP_NUM_THREADS": "1", "QUICK_SEED": str(given.seed),
             "QUICK_REAL": str(given.real), "SLURM_CONF": str(folder / "slurm/slurm.conf")}  # fmt: skip
    os.environ |= paths
    launcher = [*LAUNCHER, f"launcher.array_parallelism={given.parallel}"]
    with (
        Quick(folder / "quick", dict(os.environ)) as quick,
        Slurm(folder / "slurm", settings=SETTINGS, cpus=given.parallel) as slurm,
    ):
        began = time.monotonic()
        alone = Disturbed(slurm, quick, folder / "undisturbed", given.seed, 0, 0)
        alone.train([*words, *launcher])
        each = alone.seconds_of_a_job()
        alone.collect(sets)
        print(f"undisturbed: {(time.monotonic() - began) / 60:.1f} minutes, {each:.1f} s for each training", flush=True)
        began = time.monotonic()
        it = Disturbed(slurm, quick, folder / "sweeps/sweep", given.seed, given.share, each)
        it.skip_starts()
        it.plan(trainings)
        watching = threading.Thread(target=it.watch)
        watching.start()
        broken = []
        try:
            it.train([*words, *launcher])
            it.collect(sets)
        except Exception as error:
            broken.append(str(error))
        finally:
            it.at_end = True
            watching.join()
        emptied(slurm)  # before the comparison: a late job must change nothing
        left = left_over(folder / "sweeps", it.folder, slurm)
    verdicts, differ = ({}, []) if broken else compared(it.folder, alone.folder)
    broken += [f"{fault.kind} ({fault.detail}): {fault.broken}" for fault in it.faults if fault.broken]
    broken += [f"{name}: {verdict}" for name, verdict in verdicts.items() if verdict != "equal"]
    broken += [f"tables/{name} differs" for name in differ]
    minutes = (time.monotonic() - began) / 60
    return sweep_report.summarise(it.faults, it.tasks, verdicts, tables(alone.folder), broken, left, minutes, given)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--jobs", type=int, default=100, help=f"half are trainings, a multiple of {SEEDS}, half evaluations"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.4, help="of the starts of jobs that get a fault")
    parser.add_argument("--real", type=float, default=0.04, help="share of the jobs that are programs of their own")
    parser.add_argument("--parallel", type=int, default=4, help="jobs at a time")
    parser.add_argument("--keep", action="store_true", help="keep all files")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/chaos-sweeps", help="folder of the report")
    given = parser.parse_args()
    if missing():
        print(f"error: not on this machine: {', '.join(missing())} (Debian: slurm-wlm, munge)", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="chaos-sweeps"))
    folder.chmod(0o755)
    (folder / "sweeps").mkdir()
    summary = disturb(given, folder)
    sweep_report.write(summary, given.out)
    print(sweep_report.text(summary, given.out))
    if summary["broken"] or summary["left"] or given.keep:
        print(f"files: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if summary["broken"] or summary["left"] else 0


if __name__ == "__main__":
    sys.exit(main())
