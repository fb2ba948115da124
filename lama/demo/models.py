"""The models of the page, each loaded once, by their names in requests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from lama import pretrained
from lama.checkpoints import load_generator
from lama.inference import Inpainter
from lama.inference.refine import Refiner


class Models:
    """Networks by name, with one ``Inpainter`` per precision. Raises as ``load_generator``."""

    def __init__(self, paths: Sequence[str], make: Callable[..., Inpainter] = Inpainter) -> None:
        networks = {name: load_generator(path) for name, path in names_of(paths).items()}
        self.names = list(networks)  # in the order of the command line, then those that were fetched
        self._make, self._fetching = make, Lock()
        self._built = {(name, "fp32"): make(network) for name, network in networks.items()}  # by precision

    def known(self, name: str | None) -> str:
        """``name``, or the name of the first model for None. Raises ValueError for an unknown name."""
        if name is None:
            return self.names[0]
        if name not in self.names:
            raise ValueError(f"model: expected {' or '.join(self.names)}, got {name!r}")
        return name

    def offered(self) -> list[dict[str, Any]]:
        """The released networks that are not loaded: name, size in MB or None, here (on this machine), licence."""
        rows = []
        for name, network in pretrained.NETWORKS.items():
            if name not in self.names:
                found, size = pretrained.here(name), network.files[0].size
                rows.append({"name": name, "megabytes": size and round(size / 1e6), "here": found is not None,
                             "licence": network.licence})  # fmt: skip
        return rows

    def fetch(self, name: str) -> None:
        """Load a released network, fetched if it is not here. Raises ValueError for an unknown name, or as released."""
        if name not in pretrained.NETWORKS:
            raise ValueError(f"model: no released network {name!r}; known: {', '.join(pretrained.NETWORKS)}")
        with self._fetching:
            if name not in self.names:
                self._built[name, "fp32"] = self._make(load_generator(pretrained.released(name)))
                self.names.append(name)

    def inpainter(self, name: str, precision: str, refine: bool, **options: Any) -> Inpainter:
        """The ``Inpainter`` of a known model with these options; raises ValueError as ``Inpainter`` does."""
        built = self._built.get((name, precision))
        if built is None:
            built = self._built[name, precision] = self._built[name, "fp32"].variant(precision=precision)
        refined: dict[str, Any] = {"refiner": Refiner(), "max_memory": None} if refine else {}
        return built.variant(**options, **refined)


def names_of(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each model: the last parts of its path that distinguish it from the others."""
    parts = [[p for p in Path(path).expanduser().with_suffix("").parts if p not in ("/", "models", "best")] or [path]
             for path in paths]  # fmt: skip
    length = 1
    while len({tuple(p[-length:]) for p in parts}) < len(paths) and length < max(map(len, parts)):
        length += 1
    names = ["/".join(p[-length:]) for p in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"model: {max(names, key=names.count)} is given twice; expected different models")
    return dict(zip(names, paths, strict=True))
