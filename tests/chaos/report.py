"""The report of a chaos run: faults by kind, their outcomes, the seeds, and what broke; JSON, and a page."""

import html
import json
from collections import Counter
from pathlib import Path

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left;
vertical-align:top}td.n{text-align:right}.bar{background:#1d4ed8;height:.7rem;display:inline-block}.bad{color:#b91c1c}"""


def summarise(records: list[dict], seconds: float, left: list[int]) -> dict:
    """Counts of faults, outcomes and verdicts, and a list of what broke with the command that replays it."""
    faults = [(record, fault) for record in records for fault in record["faults"]]
    kinds: dict[str, dict] = {}
    for _, fault in faults:
        kind = kinds.setdefault(fault["kind"], {"faults": 0, "came": 0, "outcomes": Counter()})
        kind["faults"] += 1
        kind["came"] += fault["fired"]
        kind["outcomes"]["broken" if fault["broken"] else fault["outcome"]] += 1
    broken = []
    for record in sorted(records, key=lambda one: one["seed"]):
        reasons = [
            f"{fault['kind']} ({fault['detail']}): {fault['broken']}" for fault in record["faults"] if fault["broken"]
        ]
        if not reasons and record["verdict"].startswith("broken"):
            kinds_of_it = ", ".join(fault["kind"] for fault in record["faults"])
            reasons = [f"after {kinds_of_it}: {record['verdict']}"]
        broken += [{"seed": record["seed"], "why": why} for why in reasons]
    verdicts = Counter(record["verdict"].partition(":")[0] or "broken" for record in records)
    bad = {one["seed"] for one in broken}
    came = [record["seed"] not in bad for record, fault in faults if fault["fired"]]
    seeds = [record["seed"] for record in records]
    return {
        "faults": len(came), "passed": sum(came), "too late": len(faults) - len(came),
        "trainings": len(records), "verdicts": dict(verdicts), "seeds": [min(seeds), max(seeds)],
        "processes": dict(Counter(record["processes"] for record in records)), "minutes": round(seconds / 60, 1),
        "kinds": dict(sorted(kinds.items(), key=lambda one: -one[1]["faults"])), "broken": broken,
        "left running": left, "records": records,
    }  # fmt: skip


def text(summary: dict, out: Path) -> str:
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in summary["verdicts"].items())
    lines = [
        f"{summary['passed']} of {summary['faults']} faults passed ({summary['too late']} more were due after their "
        f"start was over); {summary['trainings']} trainings: {verdicts}; {summary['minutes']} minutes",
        *(f"broken: seed {one['seed']}: {one['why']}\n    {replay(one['seed'])}" for one in summary["broken"]),
        *([f"still running after the end: {summary['left running']}"] if summary["left running"] else []),
        f"report: {out / 'report.html'}",
    ]  # fmt: skip
    return "\n".join(lines)


def replay(seed: int) -> str:
    return f"python tests/chaos/chaos.py --seed {seed}"


def write(summary: dict, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "report.html").write_text(page(summary))


def page(summary: dict) -> str:
    most = max(kind["faults"] for kind in summary["kinds"].values())
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class=n>{kind['faults']}<td class=n>{kind['came']}<td>"
        f"<span class=bar style='width:{6 * kind['faults'] / most:.2f}rem'></span><td>"
        + "<br>".join(f"{count} {html.escape(outcome)}" for outcome, count in kind["outcomes"].most_common())
        for name, kind in summary["kinds"].items()
    )
    broken = "".join(
        f"<li class=bad>seed {one['seed']}: {html.escape(one['why'])}<br><code>{replay(one['seed'])}</code>"
        for one in summary["broken"]
    )
    verdicts = ", ".join(f"{count} {html.escape(verdict)}" for verdict, count in summary["verdicts"].items())
    processes = ", ".join(f"{count} of {number}" for number, count in sorted(summary["processes"].items()))
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>Chaos</title><style>{STYLE}</style>
<h1>{summary["passed"]} of {summary["faults"]} faults passed</h1>
<p>{summary["trainings"]} trainings (processes: {processes}), seeds {summary["seeds"][0]} to {summary["seeds"][1]}, in
{summary["minutes"]} minutes. At their ends, compared bit by bit with a training that nothing disturbed: {verdicts}.</p>
<table><tr><th>fault<th>faults<th>came<th><th>outcomes</tr>{rows}</table>
<p>“came”: the others were due after their start was over, and do not count.</p>
<h2>Broken</h2><ul>{broken or "<li>nothing"}</ul></html>
"""
