"""Choose a device that this machine has and that computes Fourier transforms correctly."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

logger = logging.getLogger(__name__)

_SIZES = ((8, 8), (6, 9), (15, 16), (7, 13))  # all combinations of even and odd
_TOLERANCE = 1e-4  # absolute, for values of about 1; float32 reaches 1e-6


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread in this block, on the CPU: OpenMP then starts none, which a fork would not survive."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)


@contextmanager
def float32(tf32: bool = False) -> Iterator[None]:
    """In this block, a GPU computes float32 with all of its 23 bits; with ``tf32``, it may use TF32, which has 10.

    From NVIDIA's Ampere on, PyTorch lets convolutions use TF32 by default: faster, with errors of 1e-3. The setting is
    one for all threads of the process.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def has_fast_bf16(device: torch.device) -> bool:
    """Whether ``device`` has instructions for bfloat16, or at least (a CPU with AVX-512) vectors that serve for them.

    On other CPUs oneDNN has no bf16 kernels, and a training step takes 50 times as long as in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def pick_device(name: str) -> torch.device:
    """The device ``name``; ``auto`` is the first of cuda, mps and cpu that exists and passes ``fourier_is_right``.

    Raises ValueError for a device that this machine does not have, or that computes wrong Fourier transforms.
    """
    if name == "auto":
        return _first_that_works()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={name}: not available here; expected auto, or a device of this machine") from error
    if not fourier_is_right(device):
        raise ValueError(
            f"device={name}: its Fourier transform is wrong (irfftn(rfftn(x)) is not x) in torch {torch.__version__}, "
            "and so would the images be; use device=cpu"
        )
    return device


def _first_that_works() -> torch.device:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    for name in (name for name, yes in there.items() if yes):
        if fourier_is_right(torch.device(name)):
            return torch.device(name)
        logger.warning("device=auto: passing over %s: its Fourier transform is wrong or fails", name)
    raise ValueError(f"device=auto: irfftn(rfftn(x)) is not x on any of {', '.join(there)}: torch is broken here")


def scattered(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Values in [-1, 1] that are as good as random for a check, and always the same.

    ``torch.Generator`` would need the modules that ``lama.machine.startup.quick_start`` leaves out.
    """
    places = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    return torch.sin(places.square()).reshape(shape).to(dtype)


@cache
def fourier_is_right(device: torch.device) -> bool:
    """Whether ``irfftn(rfftn(x))`` equals x on ``device``, for even and odd sizes; computed once per device.

    Some versions of torch return wrong values on MPS without an error (pytorch issues 124096 and 126649), or have no
    Fourier transform there.
    """
    try:
        for size in _SIZES:
            x = scattered(2, 3, *size)
            spectrum = torch.fft.rfftn(x.to(device), dim=(-2, -1), norm="ortho")
            back = torch.fft.irfftn(spectrum, s=size, dim=(-2, -1), norm="ortho").cpu()
            if not torch.allclose(back, x, rtol=0, atol=_TOLERANCE):
                return False
    except (RuntimeError, NotImplementedError) as error:
        logger.debug("no Fourier transform on %s: %s", device, error)
        return False
    return True
