"""A quick start for a program that fills images and ends: most of its time goes into imports."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# The kernels of torch's meta device that are written in Python, for torch.compile and torch.export. Torch imports them,
# and its decompositions with them, in a third of the time of its own import. Without them torch has no torch.Generator.
META = "torch._meta_registrations"


# Files that the drivers of NVIDIA's and AMD's GPUs make on Linux.
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")


def may_use_gpu(device: str) -> bool:
    """Whether a computation on ``device``, an option of a command, may take place on a GPU; torch is not asked."""
    return device != "cpu" and (device != "auto" or sys.platform != "linux" or any(map(os.path.exists, _DRIVERS)))


@contextmanager
def quick_start(whole: bool = False) -> Iterator[None]:
    """A block of imports: without garbage collection and, unless ``whole``, without ``META``.

    What the block has made stays until the process ends, and no later collection looks at it, not even the last one.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with nullcontext() if whole else later(META):
            yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


@contextmanager
def later(name: str) -> Iterator[None]:
    """In this block, importing the module ``name`` gives an empty one, which is filled when a name in it is used.

    If it is imported already, it stays as it is.
    """
    finder = _Later(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Later(MetaPathFinder, Loader):
    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == self._name else None
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
