"""The table of the official ``evaluate_predicts``: tabs, two lines of headings, a line for each range of hole area."""

import csv
import io
from pathlib import Path

from lama.evaluation.evaluator import Evaluator
from lama.files import atomic_write, check_writable

# our metric: its official name and statistics, in the official order
METRICS = {
    "fid": ("fid", ("mean",)),
    "lpips_vgg": ("lpips", ("mean", "std")),
    "ssim": ("ssim", ("mean", "std")),
    "lpips_fid100_f1": ("lpips_fid100_f1", ("mean",)),
}


def check_out(path: Path) -> None:
    """Raise NotADirectoryError or PermissionError if the table cannot be written to ``path``, before hours of work."""
    check_writable(path.parent, "outpath", path)


def write_official_table(path: Path, evaluator: Evaluator) -> str:
    """Write the table to ``path`` and return it; as there, a column without any number is left out."""
    rows = evaluator.compute_groups() | {"total": evaluator.compute()}
    columns = [(metric, name, statistic) for metric, (name, both) in METRICS.items() for statistic in both]
    columns = [c for c in columns if any(row[c[0]].get(c[2]) is not None for row in rows.values())]
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["", *(name for _, name, _ in columns)])
    writer.writerow(["", *(statistic for *_, statistic in columns)])
    for group, row in rows.items():
        values = [row[metric].get(statistic) for metric, _, statistic in columns]
        writer.writerow([group, *("" if value is None else f"{value:.4f}" for value in values)])
    with atomic_write(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
    return text.getvalue()
