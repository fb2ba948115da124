"""Disturb trainings at random instants, run the same command again, and compare the end with an undisturbed training.

python tests/chaos/chaos.py                      # 1000 faults; the report is runs/chaos/report.html
python tests/chaos/chaos.py --faults 30 --first 7
python tests/chaos/chaos.py --seed 123           # the same training with the same faults again, its files are kept

A seed is one training with its faults: the number of processes, kinds, instants and files follow from it. Instants that
count operations on files come again exactly, those that count processor time nearly. Linux and gcc are needed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHIM = "libchaos.so"


def preloaded(folder: Path) -> None:
    """Run this program again with the shim in it, if it is not there yet."""
    library = folder / SHIM
    if str(library) in os.environ.get("LD_PRELOAD", ""):
        return
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "shim.c", "-lpthread", "-lrt"], check=True)
    os.environ |= {
        "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CHAOS_FOLDER": str(folder),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{HERE}", "PYTHONHASHSEED": "0",
        "LAMA_CACHE": os.environ.get("LAMA_CACHE", str(ROOT / ".pytest_cache/lama")),
    }  # fmt: skip
    os.execv(sys.executable, [sys.executable, *sys.argv])


def pictures(folder: Path) -> None:
    """Images of noise."""
    import numpy as np
    from PIL import Image

    for name, count in (("images", 16), ("held_out", 2)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = np.random.default_rng([len(name), number]).integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(noise).save(folder / name / f"{number:02d}.png")


def prepared(folder: Path, most: int) -> dict:
    """The material, and the trainings that nothing disturbs: {processes: (their end, milliseconds)}."""
    import life

    pictures(folder / "material")
    references = {}
    for world in range(1, most + 1):
        place = folder / f"undisturbed{world}"
        shutil.copytree(folder / "material", place)
        references[world] = life.left_alone(place, world)
    return references


def one(seed: int, folder: Path, references: dict, most: int, real: float) -> None:
    """In a fork: live the life of ``seed``, and write its record."""
    import faults
    import life

    it = life.make(seed, folder / str(seed), folder / "material", references)
    try:
        it.live(faults.KINDS, faults.WEIGHTS, faults.CUT, most, real)
    except Exception as error:
        import traceback

        it.verdict = f"broken: {traceback.format_exc()}" if error else ""
    (folder / f"{seed}.json").write_text(json.dumps(it.record() | {"groups": it.groups}))


def is_broken(record: dict) -> bool:
    return record["verdict"].startswith("broken") or any(fault["broken"] for fault in record["faults"])


def lived(seeds, folder: Path, references: dict, wanted: int, jobs: int, real: float, keep: bool) -> list[dict]:
    """Lives, ``jobs`` at a time, until there were ``wanted`` faults; their records."""
    from tqdm import tqdm

    running: dict[int, int] = {}
    records: list[dict] = []
    with tqdm(total=wanted, unit="fault", smoothing=0.02) as bar:
        while running or bar.n < wanted:
            while len(running) < jobs and bar.n + len(running) < wanted and (seed := next(seeds, None)) is not None:
                pid = os.fork()
                if pid == 0:
                    one(seed, folder, references, min(12, wanted - bar.n), real)
                    os._exit(0)
                running[pid] = seed
            if not running:
                break
            pid, _ = os.waitpid(-1, 0)
            if pid not in running:
                continue
            seed = running.pop(pid)
            record = json.loads((folder / f"{seed}.json").read_text())
            records.append(record)
            bar.update(sum(fault["fired"] for fault in record["faults"]))
            if is_broken(record):
                why = next((fault["broken"] for fault in record["faults"] if fault["broken"]), record["verdict"])
                bar.write(f"seed {seed}: {why}")
            elif not keep:
                shutil.rmtree(folder / str(seed), ignore_errors=True)
    return records


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, nargs="+", help="only these, files kept")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--real", type=float, default=0.02, help="share of starts that are programs of their own")
    parser.add_argument("--processes", type=int, default=2, choices=(1, 2), help="of a training, at most")
    parser.add_argument("--out", type=Path, help="folder of the report: runs/chaos, with --seed its seeds/")
    given = parser.parse_args()
    given.out = given.out or ROOT / "runs/chaos" / ("seeds" if given.seed else "")
    memory = Path("/dev/shm")
    folder = os.environ.get("CHAOS_FOLDER") or tempfile.mkdtemp(
        prefix="chaos", dir=memory if os.access(memory, os.W_OK) else None
    )
    folder = Path(folder)
    preloaded(folder)
    began = time.monotonic()
    import life
    import report
    import starts

    starts.preload()
    references = prepared(folder, given.processes)
    single = given.seed is not None
    seeds = iter(given.seed or range(given.first, given.first + 10**6))
    wanted = 12 * len(given.seed) if single else given.faults
    records = lived(seeds, folder, references, wanted, given.jobs, given.real, single)
    groups = {group for record in records for group in record.pop("groups")}
    left = life.still_running(groups, 15)
    summary = report.summarise(records, time.monotonic() - began, left)
    report.write(summary, given.out)
    print(report.text(summary, given.out))
    if summary["broken"] or single:
        print(f"files: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if summary["broken"] or left else 0


if __name__ == "__main__":
    sys.exit(main())
