"""Thousands of requests to `lama demo`, 16 at a time, with clients that leave, trickle, stop half-way and flood.

python tests/soak/soak.py [--count 5000] [--seed 0] [--out runs/soak]     # `make soak`

Writes soak.json and soak.png. Exits with 1 if an answer was wrong, memory grew, or the server wrote to the disk.
"""

import argparse
import itertools
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import wire
from cases import MOST_PIXELS, cases, tiny_model
from kinds import Soak, plan
from picture import draw, percentiles
from tqdm import tqdm
from watch import Watch, open_files, resident, written
from watched import ROOT, WATCHED, start

AT_A_TIME, FLOOD, STALLED = 16, 48, 7  # clients of the mixture, of a flood, and those that stall beside both
QUEUE, QUEUE_MB, MAX_MB = 16, 8, 3  # of the server


def soak(folder, count=5000, seed=0, rounds=10, stalled=20, photos=45):
    """Start a server below ``folder``, send ``count`` requests in ``rounds``, stop it; returns the report.

    Each round ends with a flood of 48 requests at once; they and the ``stalled`` ones are part of ``count``. The
    requests hold ``photos`` different images.
    """
    folder = Path(folder)
    for name in ("work", "temporary"):
        (folder / name).mkdir(parents=True)
    every = cases(model := tiny_model(folder), photos)
    process = start(
        str(folder / "log"), str(ROOT / "bin" / "demo.py"), f"model.path={model}", "port=0", f"token={wire.TOKEN}",
        f"queue={QUEUE}", f"queue_mb={QUEUE_MB}", f"max_mb={MAX_MB}", f"max_megapixels={MOST_PIXELS / 1e6}",
        cwd=folder / "work", tmpdir=folder / "temporary", code=WATCHED,
    )  # fmt: skip
    errors = []
    reader = threading.Thread(target=errors.extend, args=(process.stderr,))  # a full pipe would stop the server
    try:
        port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
        reader.start()
        report = _requests(process.pid, port, every, folder, count, seed, rounds, stalled)
        report |= _stopped(process, port, every[0])
    finally:
        process.kill()
        process.wait()
    reader.join()
    events = (folder / "log").read_text().splitlines()
    wrote = [event for event in events if not re.search(r"write .*(/dev/|cache)", event)]
    report["written_or_connected"] = sorted({*report["written_or_connected"], *wrote})
    text = "".join(errors)
    report["traceback"] = text[-2000:] if "Traceback" in text else ""
    report["wrong"] = report["wrong"][:20]
    return report


def _requests(pid, port, every, folder, count, seed, rounds, stalled):
    sent = Soak(port, every)
    alone = _warmed_up(sent, pid, every)
    before, files, disk = resident(pid), sorted(map(_kind, open_files(pid))), written(pid)
    kinds, outcomes = plan(count - rounds * FLOOD - stalled, seed), []
    bar, lock = tqdm(total=count, unit="request", mininterval=1 if sys.stderr.isatty() else 30), threading.Lock()

    def one(numbered):
        outcome = sent.one(*numbered)
        with lock:
            bar.update()
            outcomes.append(outcome)

    seeds = itertools.count(seed * 10**6)
    with Watch(pid, [folder / "work", folder / "temporary"]) as watch:
        with ThreadPoolExecutor(STALLED) as waiting:
            ends = [waiting.submit(one, ("stalled", next(seeds))) for _ in range(stalled)]
            with ThreadPoolExecutor(AT_A_TIME) as clients, ThreadPoolExecutor(FLOOD) as flood:
                for number in range(rounds):
                    list(clients.map(one, [(kind, next(seeds)) for kind in kinds[number::rounds]]))
                    list(flood.map(one, [("flood", next(seeds)) for _ in range(FLOOD)]))
            for end in ends:
                end.result()
        _settle(port)
    bar.close()
    after = resident(pid)
    health = wire.ask(port, "GET", "/health").content
    return {
        "count": len(outcomes), "seed": seed, "seconds": round(watch.seconds[-1], 1), "cores": os.cpu_count(),
        "load": os.getloadavg()[1], "kinds": percentiles(outcomes),
        "refusals": dict(Counter(outcome.reason for outcome in outcomes if outcome.reason).most_common()),
        "wrong": [f"{outcome.kind}: {outcome.wrong}" for outcome in outcomes if outcome.wrong],
        "memory": {"alone": alone, "before": before, "after": after, "most": resident(pid, "VmHWM"),
                   "queue": int(QUEUE_MB * 1e6)},
        "files": {"before": len(files), "after": len(open_files(pid)), "most": max(watch.files)},
        "new_files": sorted(set(map(_kind, open_files(pid))) - set(files)), "bytes_to_disk": written(pid) - disk,
        "written_or_connected": sorted(watch.left_behind), "jobs_after": health["jobs"],
        "curve": {"seconds": watch.seconds, "memory": watch.memory, "files": watch.files},
        "server_cpu_seconds": _cpu(pid),
    }  # fmt: skip


def _warmed_up(sent, pid, every):
    """Every image once, then a flood; the most memory that one request at a time needed, in bytes."""
    for case in every:
        assert case.is_right(wire.ask(sent.port, "POST", "/api/inpaint", case.body).content)
    wire.ask(sent.port, "POST", "/api/inpaint", sent.heavy)
    alone = resident(pid, "VmHWM")
    with ThreadPoolExecutor(FLOOD) as flood:
        list(flood.map(sent.one, ["flood"] * FLOOD, range(FLOOD)))
    _settle(sent.port)
    return alone


def _settle(port):
    """Wait until the queue is empty and memory has been given back."""
    end = time.monotonic() + 200
    while wire.ask(port, "GET", "/health").content["jobs"]:
        assert time.monotonic() < end, "a request is still in the queue"
        time.sleep(0.1)
    time.sleep(1)


def _stopped(process, port, case):
    """SIGTERM while one client has stopped half-way: the server has answered correctly before, and ends."""
    right = case.is_right(wire.ask(port, "POST", "/api/inpaint", case.body).content)
    with wire.connect(port) as connection:
        connection.sendall(wire.head("POST", "/api/inpaint", case.body) + case.body[:100])
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    return {"right_at_the_end": right, "exit_code": code, "seconds_to_end": round(time.monotonic() - begun, 2)}


def _kind(target):
    return re.sub(r"\d+", "N", target)


def _cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 1)


def faults(report):
    """Sentences about everything that must not be; none if the server has passed."""
    memory = report["memory"]
    found = [*report["wrong"], *(f"on the disk or the network: {each}" for each in report["written_or_connected"])]
    checks = {
        "a traceback: " + report["traceback"]: report["traceback"],
        f"{report['bytes_to_disk']} bytes went to a disk": report["bytes_to_disk"],
        f"{report['jobs_after']} jobs are left": report["jobs_after"],
        f"open files are left: {report['new_files']}, {report['files']}": (
            report["new_files"] or report["files"]["after"] > report["files"]["before"]
        ),
        f"memory rose further above one request's than five times queue_mb: {memory}": memory["most"]
        > memory["alone"] + 5 * memory["queue"],
        f"memory grew: {memory}": memory["after"] > 1.05 * memory["before"],
        "the last answer was wrong": not report["right_at_the_end"],
        f"it ended with {report['exit_code']} after {report['seconds_to_end']} s": (
            report["exit_code"] != -signal.SIGTERM or report["seconds_to_end"] > 20
        ),
    }
    return found + [sentence for sentence, failed in checks.items() if failed]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="requests, at least 1000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    given = parser.parse_args()
    if given.count < 1000:
        parser.error(f"--count {given.count}: expected at least 1000")
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = soak(folder, given.count, given.seed)
    report["faults"] = faults(report)
    (given.out / "soak.json").write_text(json.dumps(report, indent=1))
    draw(report, given.out / "soak.png")
    for fault in report["faults"]:
        print(f"fault: {fault}")
    memory = report["memory"]
    print(f"{report['count']} requests in {report['seconds']:.0f} s, {len(report['faults'])} faults; "
          f"memory {memory['before'] / 1e6:.0f} -> {memory['after'] / 1e6:.0f} MB, at most {memory['most'] / 1e6:.0f}; "
          f"{given.out / 'soak.png'}")  # fmt: skip
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
