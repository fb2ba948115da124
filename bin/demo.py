"""A page to paint on: open a photograph, paint over what should go, see it gone. docs/demo.md has the rest.

python bin/demo.py                                                # lama-small; then open http://127.0.0.1:7860
python bin/demo.py model.path=runs/demo model.others=[big-lama]   # two models side by side
python bin/demo.py host=0.0.0.0                                   # for other machines: prints a token
"""

from omegaconf import DictConfig, ListConfig

from lama.config import build, run


def main(config: DictConfig) -> None:
    from lama.demo.models import Models
    from lama.machine.allocator import bound_for_serving

    bound_for_serving()
    if not isinstance(config.model.others, ListConfig):
        raise ValueError(f"model.others: expected a list, [A,B], got {config.model.others}")
    paths = [str(path) for path in (config.model.path, *config.model.others)]
    make = build(config.inpainter, "")
    build(config.server, "")(lambda: Models(paths, make))


if __name__ == "__main__":
    run(main, "demo", "default", paths=("model.path",), short={"model": "model.path"})
