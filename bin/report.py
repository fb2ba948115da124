"""Make a page of a training run: images, curves, a table beside classical methods, and the commands to go on.

python bin/report.py run=runs/demo       # writes runs/demo/report.html and runs/demo/metrics.json
"""

from pathlib import Path

from omegaconf import DictConfig

from lama.config import build, load_yaml, run


def main(config: DictConfig) -> None:
    trained = load_yaml(Path(config.run) / "config.yaml")
    from lama.runs.report import make_report

    make_report(config.run, build(trained.data, "data"), config.device)


if __name__ == "__main__":
    run(main, "report", "default")
