"""onnxruntime-web, the runtime of the page: the archive of its npm package, and the files of it that the page needs."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from lama.pretrained import ReleasedFile, cache_dir
from lama.pretrained.fetch import CannotFetchError, fetch
from lama.pretrained.places import find_copy

ARCHIVE = ReleasedFile(
    "onnxruntime-web-1.30.0.tgz",
    ("https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
     "https://registry.npmmirror.com/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz"),
    sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    size=33_106_585,
)  # fmt: skip
WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
_INSIDE = "package/dist/"


def runtime_files(names: tuple[str, ...], archive: str | None = None) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each of ``names`` in the npm package, which is fetched once, or given by its path.

    Raises FileNotFoundError where it cannot be had, ValueError for another archive.
    """
    path = _found_or_fetched() if archive is None else Path(archive).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"runtime={path}: no such file; expected {ARCHIVE.filename} from {ARCHIVE.mirrors[0]}")
    try:
        with tarfile.open(path) as package:
            for name in names:
                member = package.extractfile(_INSIDE + name)
                assert member is not None, name
                yield name, member.read()
    except (tarfile.TarError, EOFError, KeyError, AssertionError) as error:
        reason = f"has no {error.args[0]}" if isinstance(error, KeyError) else "is not a readable archive"
        raise ValueError(f"runtime={path}: {reason}; expected {ARCHIVE.filename} from {ARCHIVE.mirrors[0]}") from error


def _found_or_fetched() -> Path:
    copy = find_copy(ARCHIVE)
    if copy is not None:
        return copy[1]
    try:
        return fetch(ARCHIVE)
    except CannotFetchError as error:
        raise FileNotFoundError(
            f"runtime: {ARCHIVE.filename} cannot be fetched ({error}); get it from {' or '.join(ARCHIVE.mirrors)} "
            f"({ARCHIVE.check()}) and put it into {cache_dir()}, or pass runtime=FILE"
        ) from error
