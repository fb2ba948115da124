"""Compile the C++ kernels of this package on the machine that runs them, at their first use.

A kernel is one ``.cpp`` in the folder of its module, with headers of the language only. The system's compiler
builds it for this CPU, and ctypes loads it. The library is kept in ``$LAMA_CACHE``, or ``~/.cache/lama``, under a hash
of source, compiler and CPU. If there is no compiler, the build fails or the cache cannot be written, one log line gives
the reason and the caller computes the same without a kernel.
"""

import ctypes
import functools
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import subprocess
from pathlib import Path

from lama.files import atomic_write

logger = logging.getLogger(__name__)

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wl,--as-needed")
PATIENCE = 300  # seconds; a build takes two to ten


@functools.cache
def load(name: str) -> ctypes.CDLL | None:
    """The kernels of ``name``.cpp, here or at an absolute path; None, after one log line, if they cannot be loaded."""
    source = Path(__file__).parent / f"{name}.cpp"
    try:
        return ctypes.CDLL(str(build(source)))
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s: no compiled kernel, computing without it: %s", name, _reason(error))
        return None


def build(source: Path) -> Path:
    """The shared library of ``source``, from the cache or built now; several processes may build at once.

    Raises OSError or subprocess.SubprocessError without a working compiler, or if the cache cannot be written.
    """
    compiler = find_compiler()
    openmp = [str(path) for path in openmp_runtime()]
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE)
    key = "\0".join([source.read_text(encoding="utf-8"), version.stdout, cpu(), *FLAGS, *openmp])
    library = cache_dir() / f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not library.is_file():
        logger.info("building %s with %s (once, some seconds)", library, compiler)
        with atomic_write(library) as partial:
            command = [compiler, *FLAGS, str(source), *openmp, "-o", str(partial)]
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return library


def cache_dir() -> Path:
    """The folder ``kernels`` in ``$LAMA_CACHE``, or in ``~/.cache/lama``."""
    return Path(os.environ.get("LAMA_CACHE", "~/.cache/lama")).expanduser() / "kernels"


def find_compiler() -> str:
    """``$CXX``, or the first of c++, g++, clang++. Raises FileNotFoundError if none exists."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise FileNotFoundError("no C++ compiler found (c++, g++, clang++ or $CXX)")


def openmp_runtime() -> list[Path]:
    """The OpenMP runtime of torch: a second one would compete with it for the cores."""
    torch = importlib.util.find_spec("torch")  # not imported: it takes more than a second
    if torch is None or torch.origin is None:
        return []
    folder = Path(torch.origin).parent / "lib"
    return sorted(path for kind in ("gomp", "iomp5", "omp") for path in folder.glob(f"lib{kind}*.so*"))[:1]


@functools.cache
def cpu() -> str:
    """The properties of the CPU that ``-march=native`` depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    kept = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), *sorted(kept)])


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    """One line: a compiler's first error, or the exception."""
    output = getattr(error, "stderr", None)
    lines = [line for line in str(output or error).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line]
    return (errors or lines or [type(error).__name__])[0].strip()
