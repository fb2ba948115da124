"""The report of a disturbed sweep: faults by kind, their outcomes, the starts of each job, and what broke."""

import argparse
import hashlib
import html
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from report import STYLE


def summarise(faults: list, starts: Counter, verdicts: dict[str, str], tables: dict[str, bytes], broken: list[str],
              left: list[str], minutes: float, given: argparse.Namespace) -> dict:  # fmt: skip
    kinds: dict[str, dict] = {}
    for fault in faults:
        kind = kinds.setdefault(fault.kind, {"faults": 0, "came": 0, "outcomes": Counter()})
        kind["faults"] += 1
        kind["came"] += fault.fired
        kind["outcomes"]["broken" if fault.broken else fault.outcome if fault.fired else "too late"] += 1
    return {
        "seed": given.seed, "trainings": len(verdicts), "jobs": len(starts), "starts": sum(starts.values()),
        "starts by job": dict(Counter(starts.values())), "came": sum(fault.fired for fault in faults),
        "verdicts": dict(Counter(verdict.partition(":")[0] for verdict in verdicts.values())),
        "tables": {name: hashlib.sha256(content).hexdigest() for name, content in tables.items()},
        "kinds": dict(sorted(kinds.items(), key=lambda one: -one[1]["came"])), "broken": broken, "left": left,
        "minutes": round(minutes, 1), "faults": [asdict(fault) for fault in faults],
        "command": f"python tests/chaos/sweeps.py --jobs {given.jobs} --seed {given.seed}",
    }  # fmt: skip


def heading(summary: dict) -> str:
    good = not summary["broken"] and not summary["left"]
    end = "ended complete, tables equal to the last byte" if good else "broke"
    return (f"{summary['came']} faults to {summary['jobs']} jobs ({summary['starts']} starts) in "
            f"{summary['minutes']} minutes: the sweep {end}")  # fmt: skip


def text(summary: dict, out: Path) -> str:
    kinds = "\n".join(f"  {kind['came']:3} {name}" for name, kind in summary["kinds"].items())
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in summary["verdicts"].items())
    wrong = [f"{key}: {one}" for key in ("broken", "left") for one in summary[key]]
    end = f"report: {out / 'report.html'}"
    return "\n".join([heading(summary), kinds, f"trainings, bit for bit: {verdicts}", *wrong, end])


def write(summary: dict, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "report.html").write_text(page(summary))


def page(summary: dict) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class=n>{kind['faults']}<td class=n>{kind['came']}<td>"
        + "<br>".join(f"{count} {html.escape(outcome)}" for outcome, count in kind["outcomes"].most_common())
        for name, kind in summary["kinds"].items()
    )
    starts = ", ".join(f"{count} jobs {number}" for number, count in sorted(summary["starts by job"].items()))
    wrong = "".join(f"<li class=bad>{html.escape(one)}" for one in (*summary["broken"], *summary["left"]))
    verdicts = ", ".join(f"{count} {html.escape(verdict)}" for verdict, count in summary["verdicts"].items())
    files = "".join(f"<li>{name}: <code>{digest}</code>" for name, digest in summary["tables"].items())
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>Chaos of a sweep</title><style>{STYLE}</style>
<h1>{heading(summary)}</h1><p><code>{summary["command"]}</code></p>
<p>{summary["trainings"]} trainings, compared bit by bit with an undisturbed sweep: {verdicts}. Starts: {starts}.</p>
<table><tr><th>fault<th>faults<th>came<th>outcomes</tr>{rows}</table>
<p>“came”: the others were due after their start was over, and do not count.</p>
<h2>Tables of the undisturbed sweep, sha256</h2><ul>{files}</ul><h2>Broken</h2><ul>{wrong or "<li>nothing"}</ul></html>
"""
