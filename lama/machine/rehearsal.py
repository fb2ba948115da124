"""Rehearse a computation on torch's meta device: shapes without values, so no GPU and no memory are needed.

A meta tensor stands for a tensor on a GPU. The rehearsal counts the bytes that would be alive on the GPU, and the
places where the host reads a value and so waits for the GPU. A tensor that was made on the wrong device is an error.
"""

import inspect
import sys
import sysconfig
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_PACKAGE = str(Path(__file__).resolve().parents[1])
_LIBRARIES = (
    *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")},
    str(Path(torch.__file__).parent),
    "<",
)
_BLOCK = 512  # bytes; torch's allocator on a GPU rounds up to it


class Rehearsal(TorchDispatchMode):
    """``with Rehearsal() as seen:`` compute on the meta device; then read ``peak``, ``reads`` and ``flops``.

    ``reads`` counts, by place (file:line), how often the host reads a value, for which it gets a 1 (True), or sends one
    (``torch.tensor(..., device=...)``, a copy without ``non_blocking``): a GPU lets it wait in both. ``peak`` is the
    largest number of bytes alive at once, of the tensors given to ``hold`` and of those made in the block. ``flops``
    counts convolutions and matrix products, two for a multiplication and its addition. Raises RuntimeError, with the
    place, for an operation on the meta device that takes a tensor of another device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.peak = self._alive = self.flops = 0
        self._known: set[int] = set()
        self._sending = _Sending(self.reads)

    def __enter__(self) -> Self:
        self._sending.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._sending.__exit__(*error)

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count ``tensors``, which existed before, as alive."""
        for tensor in tensors:
            self._note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        meta = any(x.is_meta for x in given)
        if meta and func is torch.ops.aten._local_scalar_dense.default:
            self.reads[place()] += 1
            return torch.ones((), dtype=given[0].dtype).item()
        if meta and _leaves_the_device(func, args, kwargs or {}):
            self.reads[place()] += 1
            return torch.ones(given[0].shape, dtype=(kwargs or {}).get("dtype") or given[0].dtype)
        if _enters_the_device(func, args, kwargs or {}):
            self.reads[place()] += 1
        if meta and func is not torch.ops.aten.copy_.default:
            self._check(func, given)
        if meta and func.overloadpacket.__name__.startswith("_fused_"):  # a step of an optimiser, in place
            return None
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        for made in tree_leaves(result):
            if isinstance(made, Tensor) and made.is_meta:
                self._note(made)
        return result

    def _check(self, func: Any, given: list[Tensor]) -> None:
        for x in given:
            if not x.is_meta and x.ndim > 0:  # torch takes a single number from the host
                raise RuntimeError(f"{place()}: {func} takes tensors of two devices; one of {tuple(x.shape)} is not "
                                   "on the device of the others")  # fmt: skip

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = size_on_gpu(tensor)
        self._known.add(key)
        self._alive += size
        self.peak = max(self.peak, self._alive)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size


class _Sending(TorchFunctionMode):
    """Counts in ``reads`` the tensors that the host makes of its own numbers on the meta device."""

    def __init__(self, reads: Counter[str]) -> None:
        super().__init__()
        self.reads = reads

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor) and made.is_meta:
            self.reads[place()] += 1
        return made


@contextmanager
def fused_optimizers() -> Iterator[None]:
    """Optimisers take ``fused=True`` for weights on the meta device in this block, and steps go to a ``Rehearsal``."""
    asked = _get_fused_kernels_supported_devices
    with mock.patch.object(sys.modules[Optimizer.__module__], asked.__name__, return_value=[*asked(), "meta"]):
        yield


@contextmanager
def bfloat16_convolutions() -> Iterator[None]:
    """Convolutions on the meta device take and give bfloat16 in this block, as under autocast, which meta lacks."""
    plain = {name: getattr(F, name) for name in ("conv2d", "conv_transpose2d")}
    for name, convolution in plain.items():
        setattr(F, name, partial(_in_bfloat16, convolution))
    try:
        yield
    finally:
        for name, convolution in plain.items():
            setattr(F, name, convolution)


def _in_bfloat16(convolution: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Any = None, *rest: Any,
                 **options: Any) -> Tensor:  # fmt: skip
    tensors = [tensor if tensor is None or not x.is_meta else tensor.to(torch.bfloat16) for tensor in (x, weight, bias)]
    return convolution(*tensors, *rest, **options)


def _leaves_the_device(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    if func is torch.ops.aten._to_copy.default:
        return kwargs.get("device") is not None and torch.device(kwargs["device"]).type != "meta"
    return func is torch.ops.aten.copy_.default and not args[0].is_meta


def _enters_the_device(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    if func is torch.ops.aten._to_copy.default:
        device = kwargs.get("device")
        entered = device is not None and torch.device(device).type == "meta" and not args[0].is_meta
        return entered and not kwargs.get("non_blocking")
    if func is torch.ops.aten.copy_.default:
        return args[0].is_meta and not args[1].is_meta and (len(args) < 3 or not args[2])
    return False


def size_on_gpu(tensor: Tensor) -> int:
    """Bytes that the storage of ``tensor`` takes there."""
    return -(-tensor.untyped_storage().nbytes() // _BLOCK) * _BLOCK


def place() -> str:
    """file:line of the code, of this package or of a user's, that is being executed."""
    for frame in _callers(inspect.currentframe()):
        name = frame.f_code.co_filename
        if name != __file__ and not name.startswith(_LIBRARIES):
            shown = f"lama{name.removeprefix(_PACKAGE)}" if name.startswith(_PACKAGE) else name
            return f"{shown}:{frame.f_lineno}"
    return "a library"


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
