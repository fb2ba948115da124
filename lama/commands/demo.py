"""Serve a page: open a photograph, paint over an object, and it is removed. More in docs/demo.md.

lama demo                                                # lama-small; then open http://127.0.0.1:7860
lama demo model.path=runs/demo model.others=[big-lama]   # two models side by side
lama demo host=0.0.0.0                                   # for other machines too: prints a token
"""

from omegaconf import ListConfig

from lama.config import build, read


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "demo", paths=("model.path",), short={"model": "model.path"})
    if not isinstance(config.model.others, ListConfig):
        raise ValueError(f"model.others: expected a list, [A,B], got {config.model.others}")
    from lama.demo.models import Models
    from lama.machine.allocator import bound_for_serving

    bound_for_serving()
    paths = [str(path) for path in (config.model.path, *config.model.others)]
    make = build(config.inpainter, "")
    build(config.server, "")(lambda: Models(paths, make))
