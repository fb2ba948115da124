"""A quick start for a program that computes one thing and ends: most of its time goes into imports."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# The kernels of torch's meta device that are written in Python, for torch.compile and torch.export. Torch imports them,
# and its decompositions with them, in a third of the time of its own import, and uses no name in them.
META = "torch._meta_registrations"


@contextmanager
def quick_start() -> Iterator[None]:
    """A block of imports for a prediction: without garbage collection, and without ``META`` until a name in it is used.

    What the block has made stays until the process ends, so that no later collection looks at it, not even the last
    one. Torch that is imported already stays as it is.
    """
    collects, later = gc.isenabled(), _Later()
    gc.disable()
    sys.meta_path.insert(0, later)
    try:
        yield
    finally:
        sys.meta_path.remove(later)
        gc.freeze()
        if collects:
            gc.enable()


class _Later(MetaPathFinder, Loader):
    """Finds ``META``, as a module that is empty until a name is asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == META else None
        if spec is None or spec.loader is None:
            return None
        self._own, spec.loader = spec.loader, self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        def load(name: str) -> Any:
            if name.startswith("__"):  # Python looks for ``__path__`` and others
                raise AttributeError(name)
            del module.__getattr__  # type: ignore[attr-defined]
            self._own.exec_module(module)
            return getattr(module, name)

        module.__getattr__ = load  # type: ignore[method-assign, assignment]
