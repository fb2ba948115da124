"""The models of the page, each loaded once, by the names that requests use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lama.checkpoints import load_generator
from lama.demo.refused import RefusedError
from lama.inference import Inpainter
from lama.inference.refine import Refiner


@dataclass(frozen=True)
class Options:
    """How a request wants its hole computed; ``Inpainter`` says what they mean and checks them."""

    precision: str = "fp32"
    strategy: str = "auto"
    feather: int = 0
    refine: bool = False


class Models:
    """Networks by name; what is built for one precision is shared by all requests of it.

    Raises FileNotFoundError or ValueError, in one line, where one cannot be loaded.
    """

    def __init__(
        self,
        paths: Sequence[str],
        make: Callable[..., Inpainter] = Inpainter,  # from a generator
        refiner: Callable[[], Refiner] = Refiner,
    ) -> None:
        networks = {name: load_generator(path) for name, path in names_of(paths).items()}
        self._make, self._refiner = make, refiner
        self._plain = {name: make(network) for name, network in networks.items()}
        self._built: dict[tuple[str, str], Inpainter] = {}

    @property
    def names(self) -> list[str]:
        """In the order of the command line; the first is what a request gets that names none."""
        return list(self._plain)

    def inpainter(self, name: str | None, options: Options) -> Inpainter:
        """Raises RefusedError for an unknown model, ValueError for an option that means nothing."""
        name = self.names[0] if name is None else name
        if name not in self._plain:
            raise RefusedError(422, f"model: expected {' or '.join(self.names)}, got {name!r}")
        key = (name, options.precision)
        if key not in self._built:
            self._built[key] = self._plain[name].variant(precision=options.precision)
        changes: dict[str, Any] = {"feather": options.feather, "strategy": options.strategy}
        if options.refine:
            changes |= {"refiner": self._refiner(), "max_memory": None}
        return self._built[key].variant(**changes)


def names_of(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each model: the last part of its path that tells it from the others."""
    parts = [[p for p in Path(path).expanduser().with_suffix("").parts if p not in ("/", "models", "best")] or [path]
             for path in paths]  # fmt: skip
    length = 1
    while len({tuple(p[-length:]) for p in parts}) < len(paths) and length < max(map(len, parts)):
        length += 1
    names = ["/".join(p[-length:]) for p in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"model: {max(names, key=names.count)} is given twice")
    return dict(zip(names, paths, strict=True))
