"""C++ of this package, compiled on the machine that runs it, when it is first needed.

A kernel is one ``.cpp`` beside the module that calls it, without headers of anything; it is built by the system's
compiler for the very CPU, and loaded with ctypes. The result is kept in ``$LAMA_CACHE``, or ``~/.cache/lama``, under a
name that tells source, compiler and CPU. Where there is no compiler, or the build fails, or the cache cannot be
written, the caller computes the same without, and one log line says why.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

from lama.files import atomic_write

logger = logging.getLogger(__name__)

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wl,--as-needed")
PATIENCE = 300  # seconds for a build, which takes two to ten


@functools.cache
def load(name: str) -> ctypes.CDLL | None:
    """The kernels of ``name``.cpp of this folder; None where they cannot be had, after one log line."""
    source = Path(__file__).with_name(f"{name}.cpp")
    try:
        return ctypes.CDLL(str(build(source)))
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s: no compiled kernel, computing without it: %s", name, _reason(error))
        return None


def build(source: Path) -> Path:
    """The shared library of ``source``, from the cache or made now; processes that build at once do no harm.

    Raises OSError or subprocess.SubprocessError where there is no compiler, no working one, or no room.
    """
    compiler = find_compiler()
    openmp = [str(path) for path in openmp_runtime()]
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE)
    key = "\0".join([source.read_text(), version.stdout, cpu(), *FLAGS, *openmp])
    library = cache_dir() / f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not library.is_file():
        logger.info("building %s with %s (once, some seconds)", library, compiler)
        with atomic_write(library) as partial:
            command = [compiler, *FLAGS, str(source), *openmp, "-o", str(partial)]
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return library


def cache_dir() -> Path:
    """``$LAMA_CACHE``, or ``~/.cache/lama``; kernels lie in its folder of that name."""
    return Path(os.environ.get("LAMA_CACHE", "~/.cache/lama")).expanduser() / "kernels"


def find_compiler() -> str:
    """``$CXX``, or the first of c++, g++, clang++. Raises FileNotFoundError where there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise FileNotFoundError("no C++ compiler found (c++, g++, clang++ or $CXX)")


def openmp_runtime() -> list[Path]:
    """The OpenMP runtime that came with torch: a second one would fight it for the cores."""
    folder = Path(torch.__file__).parent / "lib"
    return sorted(path for kind in ("gomp", "iomp5", "omp") for path in folder.glob(f"lib{kind}*.so*"))[:1]


@functools.cache
def cpu() -> str:
    """What ``-march=native`` depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    kept = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), *sorted(kept)])


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    """One line: of a compiler the last thing it said."""
    said = getattr(error, "stderr", None)
    lines = [line for line in str(said or error).splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line]
    return (wrong or lines or [type(error).__name__])[0].strip()
