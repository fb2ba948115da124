"""One training that is disturbed until it ends, and its comparison with the same training left alone."""

import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparing import assert_equal, everything
from starts import STEPS, Ended, Start

# Lines that name what was lost. The first group is of disks that failed, the second of changed data.
LOST_FILES = (r"one of the best so far: not written|metrics\.csv: shorter|"
              r"(models|the states of the best iterations|metrics\.csv)( \(\S+\))?: not written")  # fmt: skip
LOST_DATA = (
    r"RESUMED WITH|cannot be used and were replaced|whose files have other names|images of other|files have changed"
)
SAID = r"stopped by SIG\w+ after iteration|error: .*the same command continues|error: [^\n]*"
TORCH = r"(?m)^[WE]\d{4} .*$"  # its own log: it swallows the error about a dead worker that interrupts its imports
FAILED = r"Traceback \(most recent|--- Logging error|Exception ignored|Fatal Python error|Segmentation"


@dataclass
class Fault:
    """One fault and its end."""

    kind: str
    detail: str
    outcome: str = ""
    broken: str = ""  # why it is a failure of the project; "" for none
    fired: bool = True  # False: the start was over before its instant


@dataclass
class Life:
    """A training in ``folder`` of ``world`` processes; all choices come from ``seed``."""

    seed: int
    folder: Path
    world: int
    reference: object  # ``everything`` of the training left alone
    processor: float  # milliseconds of processor time that a whole start takes
    faults: list[Fault] = field(default_factory=list)
    verdict: str = ""
    groups: list[int] = field(default_factory=list)  # process groups of the starts
    real: bool = False  # whether the present fault takes a program of its own
    late: tuple[int, int] = (0, 0)  # milliseconds and signal of a second fault in the present start
    left: float = 1.0  # share of the training that is left for the present start
    over: bool = False

    def chance(self, what: object = "life") -> random.Random:
        """Random numbers that depend on the seed and ``what`` only."""
        return random.Random(f"{self.seed} {what}")

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def start(self, **settings: object) -> Start:
        late = "late={}|lateby={}".format(*self.late) if self.late[0] else ""
        start = Start(self.folder, self.world, real=self.real, late=late, **settings).begin()  # type: ignore[arg-type]
        self.groups += start.pids
        return start

    def live(self, kinds: dict[str, Callable[["Life", random.Random], Fault]], weights: dict[str, float],
             cut: set[str], most: int, real: float) -> None:  # fmt: skip
        """Up to ``most`` faults, each in one start; then starts without one until the training is over; the verdict."""
        while len(self.faults) < most and not self.over and not self._is_broken():
            rng = self.chance(len(self.faults))
            self.real = self.world == 1 and rng.random() < real
            kind = rng.choices(list(weights), list(weights.values()))[0]
            before = self.reached()
            self.left = 1 - max(0, before) / STEPS
            self.late = self._second(rng) if kind in cut else (0, 0)
            fault = kinds[kind](self, rng)
            fault.detail += ", as a program of its own" if self.real else ""
            if not fault.broken and kind != "damaged checkpoint" and self.reached() < before:
                fault.broken = f"the checkpoints went from iteration {before} back to {self.reached()}"
            self.faults.append(fault)
            if self.late[0]:
                detail = f"the same start, signal {self.late[1]} after {self.late[0]} ms of processor time"
                came = fault.outcome in ("killed", "stopped, try again")
                second = "killed" if self.late[1] == signal.SIGKILL else "terminated"
                self.faults.append(Fault(second, detail, fault.outcome, fired=came))
        self.real, self.late = False, (0, 0)
        if not self._is_broken():
            self._finish()

    def _second(self, rng: random.Random) -> tuple[int, int]:
        """Most starts with a fault that lets them go on get a second one that does not."""
        if rng.random() < 0.25:
            return 0, 0
        shortest = 7000 if self.real else 0.25 * self.processor
        return int(shortest + rng.random() * self.left * 0.7 * self.processor), rng.choice(
            [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]
        )

    def _is_broken(self) -> bool:
        return any(fault.broken for fault in self.faults)

    def _finish(self) -> None:
        if not self.over:
            ended = self.start(workers=self.chance().randrange(3)).wait()
            if ended.codes != [0] * self.world:
                self.verdict = f"broken: an undisturbed start ended with {ended.codes}: {last_line(ended)}"
                return
        self.verdict = self.compare(LOST_FILES)

    def compare(self, reasons: str) -> str:
        """ "equal", "named: LINE" if it differs and the log names a reason, or "broken: DIFFERENCE"."""
        try:
            found = everything(self.run)
            assert_equal(found, self.reference)
        except (AssertionError, ValueError, OSError, KeyError) as error:
            log = self.run / "train.log"
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            line = next((line for line in lines if re.search(reasons, line)), None)
            return f"named: {line}" if line else f"broken: differs from the undisturbed training ({error!r})"
        partial = [str(path) for path in self.run.rglob(".partial-*")]
        return f"broken: left behind {partial}" if partial else "equal"

    def reached(self) -> int:
        """The iteration of the newest checkpoint; -1 without one."""
        from lama.runs.checkpointing import newest_checkpoint

        try:
            newest = newest_checkpoint(self.run / "checkpoints")
        except ValueError:
            return -1
        return -1 if newest is None else int(newest[1]["progress"]["iteration"])

    def judged(self, fault: Fault, ended: Ended, deadly: bool = False) -> Fault:
        """``fault`` with its outcome; ``deadly``: it may kill a process without a word."""
        deadly = deadly or bool(self.late[0])
        fault.fired = ended.fired or ended.stopped or any(ended.codes) or fault.fired
        self.over = ended.codes == [0] * self.world and (self.run / "summary.json").is_file()
        failed = re.search(FAILED, re.sub(TORCH, "", ended.text))
        said = re.findall(SAID, ended.text)
        codes = [code for rank, code in enumerate(ended.codes) if code and rank not in ended.launched]
        if ended.hung:
            fault.broken = "hangs"
        elif failed:
            fault.broken = f"{failed[0]} (exit {ended.codes}): {last_line(ended)}"
        elif any(code not in (2, 75, 130) and not (code < 0 and deadly) for code in codes):
            fault.broken = f"exit {ended.codes}: {last_line(ended)}"
        elif codes and not said and not any(code < 0 for code in codes):
            fault.broken = f"exit {ended.codes} without a reason: {last_line(ended)}"
        fault.outcome = fault.broken or _outcome(ended, codes, said)
        return fault

    def record(self) -> dict[str, object]:
        return {
            "seed": self.seed,
            "processes": self.world,
            "verdict": self.verdict,
            "faults": [*map(asdict, self.faults)],
        }

    def snapshot(self) -> Path:
        """A copy of the run and its images."""
        kept = self.folder / "snapshot"
        for name in ("run", "images"):
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, kept / name)
        return kept

    def restore(self, kept: Path) -> None:
        for name in ("run", "images"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            if (kept / name).exists():
                shutil.copytree(kept / name, self.folder / name)
        shutil.rmtree(kept)
        self.over = False


def _outcome(ended: Ended, codes: list[int], said: list[str]) -> str:
    if any(code < 0 for code in codes):
        return "killed"
    if 75 in codes or 130 in codes:
        return "stopped, try again"
    if codes:
        return "ended with one line"
    return "trained to the end, files named" if re.search("not written", ended.text) else "trained to the end"


def last_line(ended: Ended) -> str:
    lines = [line for line in ended.text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "no output"


def make(seed: int, folder: Path, material: Path, references: dict[int, tuple[object, float]]) -> Life:
    """The life of ``seed``, in ``folder``, with its own copy of the images."""
    world = max(references) if random.Random(f"{seed} world").random() < 0.15 else min(references)
    shutil.copytree(material, folder)
    return Life(seed, folder, world, *references[world])


def left_alone(folder: Path, world: int) -> tuple[object, float]:
    """The training that nothing disturbs, and its milliseconds of processor time."""
    ended = Start(folder, world).begin().wait()
    if ended.codes != [0] * world:
        raise RuntimeError(f"the undisturbed training ended with {ended.codes}:\n{ended.text}")
    return everything(folder / "run"), 1000 * ended.processor / world


def still_running(groups: set[int], seconds: float) -> list[int]:
    """Processes of these groups that still run after so many seconds."""
    ends = time.monotonic() + seconds
    while left := [pid for pid, group in _processes() if group in groups]:
        if time.monotonic() > ends:
            break
        time.sleep(0.5)
    return left


def _processes() -> list[tuple[int, int]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if state != "Z":
            found.append((int(path.parent.name), int(group)))
    return found
