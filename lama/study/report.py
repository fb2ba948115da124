"""The report of a study: scores and agreement as a page, as tables for a paper, and every number as JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lama
from lama.evaluation.metrics import METRICS, arrow
from lama.files import write_text
from lama.pages import render
from lama.pages.table import Table, text_cell, to_latex
from lama.study.agreement import of_metrics, of_people, preferences, read_evaluations, sums
from lama.study.bradley_terry import is_determined, resampled_scores, scores_of, wins_of
from lama.study.folder import VOTES, Study, stored_study
from lama.study.votes import Vote, read_votes, seconds_per_vote, standing

FILES = ("report.html", "scores.json", "scores.csv", "scores.tex", "agreement.csv", "agreement.tex")
PERSON = "one person, with the others"
FEW = 30  # images: a bootstrap over fewer gives intervals that are too narrow
TOO_FEW = f"too few images (under {FEW})"
MARK = " *"  # of intervals over too few images


def write_report(out: str | Path, evaluations: Sequence[str] | None = None) -> str:
    """Write ``FILES`` into the folder of a study, and return the scores as lines for a terminal.

    ``evaluations``: a folder of ``lama evaluate`` for each method, in the order of the study; None: no metrics. Raises
    FileNotFoundError or ValueError for a folder without votes, and as ``read_evaluations`` does.
    """
    folder = Path(out).expanduser()
    study = stored_study(folder)
    lines = read_votes(folder / VOTES, study.images, study.methods)
    votes = standing(lines)
    if not votes:
        raise ValueError(f"out={out}: no votes in {VOTES} yet; start the page and vote")
    scores, remarks = read_evaluations(study, evaluations) if evaluations is not None else ({}, [])
    result = _computed(study, votes, scores, remarks)
    seconds = seconds_per_vote(lines)
    result["raters"] = {name: one | {"seconds": seconds[name]} for name, one in result["raters"].items()}
    tables = {"scores": _scores_table(result), "agreement": _agreement_table(result)}
    write_text(folder / "scores.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for name, table in tables.items():
        write_text(folder / f"{name}.tex", to_latex(table) + _footnote(table))
    write_text(folder / "scores.csv", _csv(result["scores"], "method"))
    write_text(folder / "agreement.csv", _csv(result["agreement"], "metric"))
    page = render("study", title="a comparison by people", result=result, tables=tables, chart=_chart(result["scores"]))
    write_text(folder / "report.html", page)
    text = [f"{name}: {one['score']:+.2f} {_interval(one['score_ci95'], one['images'])}"
            for name, one in result["scores"].items()]  # fmt: skip
    return "\n".join([*text, *result["remarks"], f"written to {out}: {', '.join(FILES)}"])


def _computed(study: Study, votes: Sequence[Vote], scores: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    wins = wins_of(votes, study.methods)
    given = preferences(votes, study.methods)
    people = of_people(given)
    together = people.pop("")
    raters = {
        name: {
            "votes": len(own),
            "equal": sum(sign == 0 for sign in own.values()) / len(own),
            "left": _left([vote for vote in votes if vote.rater == name]),
        }
        | people[name]
        for name, own in given.items()
    }
    agreements = {PERSON: together} if together["n"] else {}
    total = wins.sum(axis=0)
    if not is_determined(total):
        remarks = [*remarks, "some methods won or lost every comparison with the others: their scores have no finite "
                             "value, and the numbers show the order only"]  # fmt: skip
    if len(wins) < FEW:
        remarks = [*remarks, f"votes for {len(wins)} images only: the intervals, marked with *, are too narrow below "
                             f"about {FEW} images, so they do not show that two methods differ"]  # fmt: skip
    return {
        "question": study.question, "lama": lama.__version__, "indir": study.indir,
        "evaluation_set": study.evaluation_set, "images": len(wins), "votes": len(votes), "raters": raters,
        "scores": _scores(study.methods, wins), "agreement": agreements | of_metrics(sums(given), scores),
        "wins": {a: {b: total[i, j] for j, b in enumerate(study.methods) if i != j}
                 for i, a in enumerate(study.methods)},
        "remarks": remarks,
    }  # fmt: skip


def _scores(methods: Sequence[str], wins: Any) -> dict[str, dict[str, Any]]:
    """{method: its numbers}, the best method first."""
    total, score, drawn = wins.sum(axis=0), scores_of(wins.sum(axis=0)), resampled_scores(wins)
    best = int(np.argmax(score))
    found = {}
    for i in np.argsort(-score, kind="stable"):
        played = float((total[i] + total[:, i]).sum())
        to_best = None if i == best else _percentiles(drawn[:, i] - drawn[:, best])
        found[methods[i]] = {
            "score": float(score[i]),
            "score_ci95": _percentiles(drawn[:, i]),
            "to_best": float(score[i] - score[best]),
            "to_best_ci95": to_best,
            "verdict": _verdict(to_best, len(wins)),
            "preferred": float(total[i].sum()) / played if played else None,
            "comparisons": int(played),
            "images": len(wins),
        }
    return found


def _verdict(to_best: tuple[float, float] | None, images: int) -> str | None:
    """Whether a method differs from the best; None for the best itself."""
    if to_best is None:
        return None
    if images < FEW:
        return TOO_FEW
    return "no difference shown" if to_best[0] <= 0 <= to_best[1] else "differs"


def _percentiles(values: Any) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _left(votes: Sequence[Vote]) -> float | None:
    """The share of votes for the left picture among those that are no ties; None if all are."""
    decided = [vote.vote == "left" for vote in votes if vote.vote != "equal"]
    return sum(decided) / len(decided) if decided else None


def _scores_table(result: Mapping[str, Any]) -> Table:
    headings = ["method", "score ↑", "95 %", "to the best", "95 %", "verdict", "preferred", "comparisons"]
    rows = [
        [name, f"{one['score']:+.2f}", _interval(one["score_ci95"], one["images"]),
         f"{one['to_best']:+.2f}" if one["to_best_ci95"] else "", _interval(one["to_best_ci95"], one["images"]),
         one["verdict"] or "", _percent(one["preferred"]), str(one["comparisons"])]
        for name, one in result["scores"].items()
    ]  # fmt: skip
    return Table(headings, [[text_cell(cell) for cell in row] for row in rows])


def _agreement_table(result: Mapping[str, Any]) -> Table:
    headings = ["metric", "Kendall's tau-b ↑", "95 %", "agreement", "95 %", "comparisons"]
    rows = [
        [f"{METRICS[name].label} {arrow(name)}" if name in METRICS else name,
         "n/a" if one["tau"] is None else f"{one['tau']:+.2f}", _interval(one["tau_ci95"], one["images"]),
         _percent(one["agreement"]), _interval(one["agreement_ci95"], one["images"], 100), str(one["n"])]
        for name, one in result["agreement"].items()
    ]  # fmt: skip
    return Table(headings, [[text_cell(cell) for cell in row] for row in rows])


def _interval(ends: Sequence[float] | None, images: int, scale: float = 1) -> str:
    if ends is None:
        return ""
    low, high = (end * scale for end in ends)
    mark = MARK if images < FEW else ""
    return f"[{low:.0f}, {high:.0f}]{mark}" if scale == 100 else f"[{low:+.2f}, {high:+.2f}]{mark}"


def _footnote(table: Table) -> str:
    """The meaning of ``MARK`` under a table in LaTeX that has it."""
    if not any(span.text.endswith(MARK) for row in table.rows for cell in row for span in cell):
        return ""
    return rf"{{\par\footnotesize * {TOO_FEW}: the bootstrap interval is too narrow and decides nothing\par}}" + "\n"


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.0f} %"


def _csv(rows: Mapping[str, Mapping[str, Any]], first: str) -> str:
    """One line for each row; an interval has two columns, ``_low`` and ``_high``."""
    text = io.StringIO()
    lines = [{first: name} | _flat(one) for name, one in rows.items()]
    if lines:
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()


def _flat(one: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in one.items():
        if key.endswith("_ci95"):
            low, high = value or ("", "")
            flat |= {key.replace("_ci95", "_low"): low, key.replace("_ci95", "_high"): high}
        else:
            flat[key] = value
    return flat


def _chart(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Places of the scores and of their intervals, in per cent of the width of a chart."""
    ends = [end for one in scores.values() for end in (*one["score_ci95"], one["score"])]
    low, width = min(ends), max(max(ends) - min(ends), 1e-9)

    def place(value: float) -> float:
        return round(4 + 92 * (value - low) / width, 2)

    return [
        {"name": name, "low": place(one["score_ci95"][0]), "high": place(one["score_ci95"][1]),
         "score": place(one["score"]), "zero": place(0.0)}
        for name, one in scores.items()
    ]  # fmt: skip
