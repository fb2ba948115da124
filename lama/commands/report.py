"""Make a page about a training run: images, curves, a table with classical methods, and the next commands.

lama report run=runs/demo                  # writes runs/demo/report.html and runs/demo/metrics.json
lama report run=runs/a others=[runs/b]     # two trainings on the same pairs
lama report removals=FOLDER                # lama-small removes three objects from built-in photographs
"""

from pathlib import Path

from lama.config import build, load_yaml, read


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "report")
    if config.run is None and config.removals is None:
        raise ValueError("run=null: nothing to report on; expected run=RUN, removals=FOLDER, or both")
    trained = config.run and load_yaml(Path(config.run) / "config.yaml")
    from lama.runs.report import make_report, remove_all

    removals = remove_all(config.removals, config.device) if config.removals else []
    if trained:
        make_report(config.run, build(trained.data, "data"), config.device, list(config.others), removals)
