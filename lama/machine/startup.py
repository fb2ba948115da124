"""A quick start for a program that fills images and ends: most of its time goes into imports."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# The kernels of torch's meta device that are written in Python, for torch.compile and torch.export. Torch imports them,
# and its decompositions with them, in a third of the time of its own import. Without them torch has no torch.Generator.
META = "torch._meta_registrations"


@contextmanager
def quick_start(whole: bool = False) -> Iterator[None]:
    """A block of imports: without garbage collection and, unless ``whole``, without ``META``.

    What the block has made stays until the process ends, and no later collection looks at it, not even the last one.
    ``META`` is imported when a name in it is used. Torch that is imported already stays as it is.
    """
    collects, later = gc.isenabled(), [] if whole else [_Later()]
    gc.disable()
    sys.meta_path[:0] = later
    try:
        yield
    finally:
        for finder in later:
            sys.meta_path.remove(finder)
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
