"""The table of a published protocol: its rows as printed, and ours below them with every known difference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lama.evaluation.benchmark import Benchmark
from lama.evaluation.metrics import METRICS, higher_is_better
from lama.evaluation.tables import compared_with
from lama.files import check_writable
from lama.paper.cells import Cell, FilledRow, FilledTable, Ours, measured, set_ranks
from lama.paper.formats import Document, markdown, shared_notes
from lama.paper.layout import Column, Layout, Published
from lama.paper.rows import Row, methods, read_rows
from lama.paper.tables import write

LEGEND = (
    "Rows with the source “here” were evaluated with this program; the others are as printed. Both are ranked among"
    " themselves. The footnotes say where an evaluation is not that of the protocol."
)


def make_benchmark_table(
    benchmark: Benchmark,
    out: str | Path,
    rows: Sequence[str] | Mapping[str, Any] | None,  # as ``read_rows``
    runs: str | Path | None = None,
    names: Sequence[str] | None = None,
) -> str:
    """Write tables.md, .tex, .html, .json and .csv into ``out``, and tables.png if two of our rows have a number.

    Returns the text of tables.md. Without ``rows`` and ``runs`` the table has the published rows alone. Raises
    ValueError or FileNotFoundError for a protocol without a published set, a row without an evaluation and a row with
    several sets.
    """
    if benchmark.dataset is None:
        raise ValueError(f"protocol={benchmark.name}: holds for any set, so it has no table; see layout=own")
    check_writable(Path(out), "out")
    found = [] if rows is None and runs is None else read_rows(rows, runs, names)
    letters = {source: chr(ord("a") + i) for i, source in enumerate(dict.fromkeys(_sources(benchmark)))}
    filled = [_published(benchmark, i, letters) for i in range(len(benchmark.rows))]
    own = [_ours(benchmark, row) for row in found]
    for i, metric in enumerate(benchmark.metrics):
        set_ranks([row.cells[i] for row in (*filled, *own)], _higher(benchmark, metric))
    column = Column(benchmark.name, benchmark.dataset)
    labels = {metric: label for metric in benchmark.metrics if (label := benchmark.label(metric))}
    title = f"Protocol {benchmark.name}"
    layout = Layout(None, title, ("Method", "Source"), (column,), "", labels=labels)
    fields = [(column, metric) for metric in benchmark.metrics]
    table = FilledTable(layout, fields, None, tuple(filled), tuple(own))
    legend = [LEGEND, *(f"{letter}: {source}." for source, letter in letters.items())]
    legend += [f"Methods here: {methods(found)}."] if found else []
    legend += [f"All numbers from here: {note}." for note in shared_notes(table)]
    source = ", ".join(row.name for row in found) or "none"
    document = Document(title, legend, [table], source, ("The protocol", _about(benchmark)))
    write(document, Path(out))
    return markdown(document)


def _sources(benchmark: Benchmark) -> list[str]:
    words = {"source": "read there", "quoted": "quoted, not read in the paper itself"}
    return [f"{row.source} ({words[row.read]})" for row in benchmark.rows]


def _published(benchmark: Benchmark, index: int, letters: Mapping[str, str]) -> FilledRow:
    row, source = benchmark.rows[index], _sources(benchmark)[index]
    numbers = {metric: Published(text, source) for metric, text in row.numbers.items()}
    cells = tuple(Cell(None, numbers.get(metric), reported=False) for metric in benchmark.metrics)
    return FilledRow((row.method, letters[source]), row.method, cells)


def _ours(benchmark: Benchmark, row: Row) -> FilledRow:
    if len(row.sets) != 1:
        raise ValueError(f"row {row.name}: evaluations on {', '.join(row.sets)}; name the folder of one in rows=")
    [evaluations] = row.sets.values()
    notes = list(dict.fromkeys(line for one in evaluations for line in benchmark.unlike(one.about)))
    cells = []
    for metric in benchmark.metrics:
        if metric in METRICS:
            ours = measured(evaluations, metric)
        else:
            ours = Ours(None, notes=[f"{metric}: not available in this version"])
        if ours.mean is not None:
            known = benchmark.differences.get(metric)
            ours.notes += [*notes, *([f"{METRICS[metric].label}: {known}"] if known else [])]
            if {name for one in evaluations for name in one.unpublished} & set(METRICS[metric].weight_files):
                ours.notes.append(f"weights of {metric} are not the published file")
        cells.append(Cell(ours, reported=False))
    return FilledRow((row.name, "here"), row.name, tuple(cells))


def _higher(benchmark: Benchmark, metric: str) -> bool:
    return higher_is_better(metric) if metric in METRICS else "↑" in str(benchmark.label(metric))


def _about(benchmark: Benchmark) -> list[str]:
    """The protocol, a line for each fact."""
    size = f"{benchmark.size[1]} x {benchmark.size[0]} pixels" if benchmark.size else "not stated"
    facts = {
        "Set": benchmark.dataset, "From": benchmark.origin, "Images": benchmark.images or "not stated", "Size": size,
        "Resizing": benchmark.resize, "Masks": benchmark.masks,
        "Compared with": compared_with({"truth": benchmark.truth}), "Aggregation": benchmark.aggregation,
    }  # fmt: skip
    lines = [f"{name}: {fact}" for name, fact in facts.items() if fact]
    lines += [f"{metric}, as published: {version}" for metric, version in benchmark.versions.items()]
    return lines + [f"Not stated in the sources: {point}" for point in benchmark.unstated]
