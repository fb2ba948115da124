"""The kinds of faults. Each is a function of a life and random numbers: one start with the fault, and its outcome."""

import errno
import random
import shutil
import time
from pathlib import Path

from life import LOST_DATA, Fault, Life, last_line
from starts import ROOT

# Operations on files of the run folder in an undisturbed start, by the letters of shim.c.
OPERATIONS = {"c": 270, "w": 1750, "s": 24, "n": 38, "u": 90, "cwsnu": 2180}
CGROUPS = Path("/sys/fs/cgroup/memory")


def _instant(life: Life, rng: random.Random) -> str:
    """An instant of a start: at an operation on its files, or after some processor time, imports included."""
    if rng.random() < 0.4:
        ops = rng.choice(list(OPERATIONS))
        return f"folder={life.run}|ops={ops}|after={rng.randint(1, _within(life, OPERATIONS[ops] * 2 // 3))}"
    extra = 7000 if life.real else 0  # milliseconds of imports
    return f"cpu={rng.randint(5, _within(life, int(life.processor)) + extra)}"


def _within(life: Life, count: int) -> int:
    """The share of ``count`` that is likely to come in the present start; its beginning is a quarter of a start."""
    return max(5, int(count * (0.2 + 0.75 * life.left)))


def _workers(rng: random.Random) -> int:
    return rng.choice([0, 0, 1, 2, 3, 4])


def _rank(life: Life, rng: random.Random) -> int:
    return rng.randrange(life.world)


def killed(life: Life, rng: random.Random) -> Fault:
    return _signal(life, rng, "killed", 9, True)


def terminated(life: Life, rng: random.Random) -> Fault:
    return _signal(life, rng, "terminated", rng.choice([15, 15, 15, 10, 12, 2]), True)


def stopped(life: Life, rng: random.Random) -> Fault:
    return _signal(life, rng, "stopped for a while", 19, False)


def _signal(life: Life, rng: random.Random, kind: str, number: int, deadly: bool) -> Fault:
    workers, rank, instant = _workers(rng), _rank(life, rng), _instant(life, rng)
    fault = Fault(kind, f"signal {number} to rank {rank}, {instant}, {workers} workers", fired=False)
    start = life.start(workers=workers, rank=rank, rule=f"{instant}|signal={number}", pause=rng.uniform(0.05, 1.5))
    return life.judged(fault, start.wait(), deadly)


def full_disk(life: Life, rng: random.Random) -> Fault:
    return _disk(life, rng, "full disk", errno.ENOSPC, ["w", "cw", "cwu"])


def failing_disk(life: Life, rng: random.Random) -> Fault:
    return _disk(life, rng, "disk with errors", errno.EIO, ["w", "s", "n", "wsn", "c", "cwsnu"])


def read_only(life: Life, rng: random.Random) -> Fault:
    return _disk(life, rng, "read-only disk", errno.EROFS, ["cwsnu"])


def _disk(life: Life, rng: random.Random, kind: str, error: int, which: list[str]) -> Fault:
    ops = rng.choice(which)
    counts = _within(life, sum(OPERATIONS[letter] for letter in ops))
    after, times = rng.randint(1, counts), rng.choice([1, 2, 5, 20, counts // 4, 0])
    workers = _workers(rng)
    many = "all" if not times else str(times)
    fault = Fault(kind, f"operations {ops} from {after} on, {many} of them, {workers} workers", fired=False)
    rule = f"folder={life.run}|ops={ops}|after={after}|times={times}|error={error}"
    return life.judged(fault, life.start(workers=workers, rule=rule).wait())


def clock(life: Life, rng: random.Random) -> Fault:
    workers, after = _workers(rng), rng.randint(1, _within(life, OPERATIONS["cwsnu"]))
    seconds = rng.choice([-1, 1]) * int(10 ** rng.uniform(0, 8.5))
    fault = Fault("clock jumps", f"by {seconds} seconds at operation {after}, {workers} workers", fired=False)
    rule = f"folder={life.run}|ops=cwsnu|after={after}|times=1|clock={seconds}"
    return life.judged(fault, life.start(workers=workers, rule=rule, rank=_rank(life, rng)).wait())


def worker_killed(life: Life, rng: random.Random) -> Fault:
    workers = rng.randint(1, 4)
    which, rank = rng.randint(1, workers), _rank(life, rng)
    at = f"folder={life.folder}/images|ops=r|after={rng.randint(1, max(1, int(30 * life.left / workers)))}"
    if rng.random() < 0.4:
        at = f"cpu={rng.randint(1, 40)}"
    fault = Fault("worker killed", f"worker {which} of {workers} of rank {rank}, {at}", fired=False)
    return life.judged(fault, life.start(workers=workers, rank=rank, rule=f"{at}|worker={which}|signal=9").wait())


def memory_limit(life: Life, rng: random.Random) -> Fault:
    """A cgroup with too little memory: the system kills a process. Without the right to make one: address space."""
    life.real = False  # its imports alone need more
    group, size, workers = CGROUPS / f"chaos-{life.seed}-{len(life.faults)}", rng.randint(4, 120), _workers(rng)
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(size << 20))
    except OSError:
        return _address_space(life, rng)
    fault = Fault("memory limit", f"{size} MiB, {workers} workers")
    try:
        return life.judged(fault, life.start(workers=workers, memory=str(group / "cgroup.procs")).wait(), True)
    finally:
        for _ in range(100):  # workers of a killed process end a little later
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def _address_space(life: Life, rng: random.Random) -> Fault:
    """Too little address space. Allocations fail anywhere, in C++ too: the process may abort."""
    size, workers = int(2 ** rng.uniform(10, 28)), _workers(rng)
    fault = Fault("memory limit", f"{size} bytes of address space more, {workers} workers")
    ended = life.start(workers=workers, memory=f"address space:{size}").wait()
    if "memory" in ended.text or "alloc" in ended.text:
        fault.outcome = "ended, memory named"
        return fault
    return life.judged(fault, ended, True)


def damaged(life: Life, rng: random.Random) -> Fault:
    """Truncated, flipped, zeroed or emptied checkpoints; if all are damaged, the advice of the message is followed."""
    names = rng.choice([["last"], ["last"], ["previous"], ["last", "previous"]])
    how = rng.choice(["truncated", "flipped", "flipped", "zeroed", "emptied"])
    touched = []
    for path in (life.run / f"checkpoints/{name}.ckpt" for name in names):
        if path.exists():
            _damage(path, how, rng)
            touched.append(path.name)
    fault = Fault("damaged checkpoint", f"{how}: {', '.join(touched) or 'none there yet'}", fired=bool(touched))
    ended = life.start(workers=_workers(rng)).wait()
    life.judged(fault, ended)
    if not fault.broken and ended.codes == [2] * life.world:
        if "overwrite=true" not in ended.text:
            fault.broken = f"refused without advice: {last_line(ended)}"
            return fault
        life.judged(fault, life.start(arguments=("overwrite=true",)).wait())
        fault.outcome = "refused with advice, which was followed"
    return fault


def _damage(path: Path, how: str, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    path.unlink()  # iteration_N.ckpt may be the same file
    if how == "truncated":
        del content[rng.randrange(max(1, len(content))) :]
    elif how == "flipped" and content:
        for _ in range(rng.choice([1, 1, 2, 30])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif how == "zeroed":
        at, size = rng.randrange(max(1, len(content))), rng.choice([512, 4096, 1 << 16])
        content[at : at + size] = bytes(len(content[at : at + size]))
    elif how == "emptied":
        content.clear()
    path.write_bytes(content)


def vanished(life: Life, rng: random.Random) -> Fault:
    return _picture(life, rng, "vanished picture")


def changed(life: Life, rng: random.Random) -> Fault:
    return _picture(life, rng, "changed picture")


def _picture(life: Life, rng: random.Random, kind: str) -> Fault:
    """Train to the end with other data, then go back to the state before: the difference, if any, must have a name."""
    kept = life.snapshot()
    pictures = sorted((life.folder / "images").iterdir())
    picture, workers, during = rng.choice(pictures), _workers(rng), rng.random() < 0.5
    during = during or life.reached() < 0  # a run that has not begun begins with what is there
    away = life.folder / f"away{len(life.faults)}"
    if kind == "changed picture":
        (life.folder / "new").write_bytes(pictures[pictures.index(picture) - 1].read_bytes() + b" ")
    moves = f"|from={picture}|to={away}" if kind == "vanished picture" else f"|from={life.folder}/new|to={picture}"
    after = rng.randint(1, _within(life, 60))
    fault = Fault(kind, f"{picture.name}, {f'at read {after}' if during else 'between two starts'}, {workers} workers",
                  fired=not during)  # fmt: skip
    if during:
        rule = f"folder={life.folder}/images|ops=r|after={after}|times=1{moves}"
    else:
        source, target = (Path(part.partition("=")[2]) for part in moves.strip("|").split("|"))
        source.rename(target)
        rule = ""
    ended = life.start(workers=workers, rule=rule).wait()
    life.judged(fault, ended)
    if not fault.broken and life.over:
        fault.outcome = life.compare(LOST_DATA).split(":")[0]
        fault.broken = "differs, and no line names the picture" if fault.outcome == "broken" else ""
    life.restore(kept)
    return fault


def two_starts(life: Life, rng: random.Random) -> Fault:
    """The same command twice, at nearly the same time; one of the two may be killed."""
    delay, rule = rng.choice([0, 0, rng.uniform(0, 2)]), rng.choice(["", f"{_instant(life, rng)}|signal=9"])
    fault = Fault("two starts at once", f"{delay:.2f} seconds between them{', the first ' + rule if rule else ''}")
    first = life.start(workers=_workers(rng), rule=rule)
    time.sleep(delay)
    second = life.start(workers=_workers(rng))
    for start in (first, second):
        life.judged(fault, start.wait(), bool(rule) and start is first)
        if fault.broken:
            return fault
        over = life.over
    life.over = over or (life.run / "summary.json").is_file()
    return fault


def updated(life: Life, rng: random.Random) -> Fault:
    """Another version of the code: a comment in every file, another number, and an option that the run did not have."""
    config, workers = life.run / "config.yaml", _workers(rng)
    fault = Fault("code updated", f"{workers} workers")
    if config.exists():
        lines = [
            line for line in config.read_text().splitlines(keepends=True) if line.strip() != "recompute_blocks: false"
        ]
        config.write_text("".join(lines))
    code = ROOT
    if life.real:
        code = life.folder / f"code{len(life.faults)}"
        for name in ("lama", "configs"):
            shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in code.rglob("*.py"):
            path.write_text(path.read_text() + "# another version\n")
    return life.judged(fault, life.start(workers=workers, version="99.0", code=code).wait())


KINDS = {
    "killed": killed, "terminated": terminated, "stopped for a while": stopped, "full disk": full_disk,
    "disk with errors": failing_disk, "read-only disk": read_only, "damaged checkpoint": damaged,
    "vanished picture": vanished, "changed picture": changed, "worker killed": worker_killed,
    "memory limit": memory_limit, "clock jumps": clock,
    "two starts at once": two_starts, "code updated": updated,
}  # fmt: skip
WEIGHTS = {
    "killed": 16, "terminated": 12, "stopped for a while": 8, "full disk": 11, "disk with errors": 11,
    "read-only disk": 6, "damaged checkpoint": 9, "vanished picture": 3, "changed picture": 3, "worker killed": 8,
    "memory limit": 4, "clock jumps": 4, "two starts at once": 5,
    "code updated": 3,
}  # fmt: skip
# After these a start goes on, so that most of them get a second fault.
CUT = {"stopped for a while", "full disk", "disk with errors", "read-only disk", "damaged checkpoint", "worker killed",
       "clock jumps", "code updated"}  # fmt: skip
