"""Tables 1 to 4 of the paper, rebuilt from a folder of evaluations, with the published numbers beside ours."""

import json
from collections.abc import Sequence
from pathlib import Path

from lama.evaluation.evaluator import METRICS
from lama.files import atomic_write
from lama.paper.cells import FilledTable, fill
from lama.paper.formats import as_data, html, latex, markdown
from lama.paper.plot import dots
from lama.paper.published import read_paper
from lama.paper.runs import read_runs


def make_tables(
    runs: str | Path, out: str | Path, metrics: Sequence[str] | None = None, size: int | None = None
) -> tuple[list[FilledTable], list[str]]:
    """Write tables.md, .tex, .html, .json into ``out``; returns the tables and what fits no cell.

    Where two rows of one column have a number, tables.png as well.

    ``metrics`` stand in the columns in place of FID and LPIPS; ``size`` looks for evaluation sets of that size in place
    of the paper's. Raises FileNotFoundError or ValueError for a folder without evaluations, a malformed metrics.json,
    two evaluations of one cell, an unknown metric.
    """
    paper = read_paper()
    if isinstance(metrics, str) or (metrics is not None and not metrics):
        raise ValueError(f"metrics={metrics}: expected a list of names, such as [psnr_hole,lpips_squeeze]")
    names = list(dict.fromkeys(metrics or paper.metrics))
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"metrics: unknown {unknown[0]!r}; known are {', '.join(METRICS)}")
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size={size}: expected a number of pixels, such as 256")
    evaluations, strays = read_runs(runs)
    tables, lost = fill(paper, evaluations, names, size)
    if len(lost) == len(evaluations):
        sets = ", ".join(sorted({evaluation.set_name for evaluation in evaluations}))
        raise ValueError(
            f"runs={runs}: none of {len(evaluations)} evaluations fits a cell; their sets are {sets}, and the tables "
            f"look for those of {f'{size} pixels' if size else '512 pixels (CelebA-HQ: 256)'}; say size=256 for 256"
        )
    unplaced = [f"{evaluation.relative}: no cell of tables 1 to 4 is of this run and set" for evaluation in lost]
    unplaced += [
        f"{file.relative_to(Path(runs).expanduser())}: not where an evaluation is looked for" for file in strays
    ]
    image = dots(tables)
    for name, text in (
        ("tables.json", json.dumps(as_data(tables, unplaced, paper.reference), indent=2, ensure_ascii=False) + "\n"),
        ("tables.tex", latex(tables)),
        ("tables.html", html(tables, unplaced, str(runs), image)),
        ("tables.md", markdown(tables, unplaced)),
    ):
        with atomic_write(Path(out) / name) as partial:
            partial.write_text(text, encoding="utf-8")
    if image is None:
        (Path(out) / "tables.png").unlink(missing_ok=True)  # of tables that were here before
    else:
        with atomic_write(Path(out) / "tables.png") as partial:
            partial.write_bytes(image)
    return tables, unplaced
