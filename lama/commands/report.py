"""Make a page about a training run: images, curves, a table with classical methods, and the next commands.

lama report run=runs/demo       # writes runs/demo/report.html and runs/demo/metrics.json
"""

from pathlib import Path

from lama.config import build, load_yaml, read


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "report")
    trained = load_yaml(Path(config.run) / "config.yaml")
    from lama.runs.report import make_report

    make_report(config.run, build(trained.data, "data"), config.device)
