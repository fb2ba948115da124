"""Tables 1 to 4 of the paper from a folder of evaluations: our numbers and the published ones."""

import json
from collections.abc import Sequence
from pathlib import Path

from lama.evaluation.metrics import metric_names
from lama.files import atomic_write, write_text
from lama.paper.cells import FilledTable, fill
from lama.paper.formats import as_data, html, latex, markdown
from lama.paper.plot import dots
from lama.paper.published import read_paper
from lama.paper.runs import read_runs


def make_tables(
    runs: str | Path, out: str | Path, metrics: Sequence[str] | None = None, size: int | None = None
) -> tuple[list[FilledTable], list[str]]:
    """Write tables.md, .tex, .html and .json into ``out``; returns the tables and the evaluations that fit no cell.

    Also writes tables.png if two rows of one column have a number. ``metrics`` replace FID and LPIPS; ``size`` (pixels)
    replaces the size of the paper's evaluation sets. Raises FileNotFoundError or ValueError for a folder without
    evaluations, a malformed metrics.json, two evaluations of one cell, an unknown metric.
    """
    paper = read_paper()
    if isinstance(metrics, str) or (metrics is not None and not metrics):
        raise ValueError(f"metrics={metrics}: expected a list of names, such as [psnr_hole,lpips_squeeze]")
    names = metric_names(metrics or paper.metrics)
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size={size}: expected a number of pixels, such as 256")
    evaluations, strays = read_runs(runs)
    tables, lost = fill(paper, evaluations, names, size)
    if len(lost) == len(evaluations):
        sets = ", ".join(sorted({evaluation.set_name for evaluation in evaluations}))
        raise ValueError(
            f"runs={runs}: none of {len(evaluations)} evaluations fits a cell; their sets are {sets}, the tables "
            f"need sets of {f'{size} pixels' if size else '512 pixels (CelebA-HQ: 256)'}; pass size=256 for 256"
        )
    unplaced = [f"{evaluation.relative}: tables 1 to 4 have no cell for this run and set" for evaluation in lost]
    unplaced += [f"{file.relative_to(Path(runs).expanduser())}: not at RUN/SET or RUN/seedN/SET" for file in strays]
    image = dots(tables)
    for name, text in (
        ("tables.json", json.dumps(as_data(tables, unplaced, paper.reference), indent=2, ensure_ascii=False) + "\n"),
        ("tables.tex", latex(tables)),
        ("tables.html", html(tables, unplaced, str(runs), image)),
        ("tables.md", markdown(tables, unplaced)),
    ):
        write_text(Path(out) / name, text)
    if image is None:
        (Path(out) / "tables.png").unlink(missing_ok=True)  # may exist from earlier tables
    else:
        with atomic_write(Path(out) / "tables.png") as partial:
            partial.write_bytes(image)
    return tables, unplaced
