"""Read files of ``torch.save`` and ``torch.jit.save`` without executing anything from them.

A checkpoint is a zip archive: ``data.pkl``, a pickle of the structure, and one record of raw bytes per storage.
Unpickling may call any function that the file names. This unpickler therefore knows tensors and plain containers only;
every other name becomes an inert placeholder, which accepts any argument and does nothing. (Lightning 1.2 pickled
classes of its own and of OmegaConf into the official checkpoints; the weights do not need them.) A TorchScript archive
has the same structure; its code is not read. Tensors stay in the file until ``StoredTensor.load``: the 400 MB of metric
networks in an official checkpoint are never read.
"""

import io
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from lama.pretrained.misfits import failed_download

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file; ``load`` reads its values."""

    shape: tuple[int, ...]
    load: Callable[[], Tensor]


def read_archive(path: Path, content: IO[bytes] | None = None) -> dict[str, StoredTensor]:
    """{name: tensor} of a checkpoint, state dict, pickled module or TorchScript module.

    ``content``: the bytes, if ``path`` is no file of its own. Raises ValueError for any other file.
    """
    try:
        archive = zipfile.ZipFile(content or path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: {_not_an_archive(path)}") from error
    except (NotImplementedError, ValueError) as error:  # a version from the future, names that are no text
        raise ValueError(f"{path}: a damaged zip archive ({error})") from error
    try:
        entry = next(info for info in archive.infolist() if re.fullmatch(r"([^/]+/)?data\.pkl", info.filename))
        _check_size(entry)
        pickled = archive.read(entry)
        _check_pickle(pickled)
        root = entry.filename.removesuffix("data.pkl")
        stored = _Unpickler(io.BytesIO(pickled), archive, root).load()
        found = stored.get("state_dict", stored) if isinstance(stored, dict) else stored
        tensors = {key.replace("_orig_mod.", ""): tensor for key, tensor in _tensors(found, set())}  # torch.compile's
    except StopIteration:
        raise ValueError(f"{path}: a zip archive, but not a checkpoint of torch (it holds no data.pkl)") from None
    except Exception as error:  # a damaged or hostile pickle may raise anything
        raise ValueError(f"{path}: a damaged checkpoint ({type(error).__name__}: {error})") from error
    if isinstance(stored, dict) and "str_state_dict" in stored:
        raise ValueError(
            f"{path}: the older network for comics of manga-image-translator (inpainting_lama_mpe.ckpt), which has "
            "positional encodings and is another network than LaMa; take model.path=manga-512"
        )
    if not tensors:
        raise ValueError(f"{path}: a checkpoint without weights; expected a state dict of tensors")
    return tensors


def _check_size(entry: zipfile.ZipInfo) -> None:
    """Refuse compressed entries: torch writes none, and a small one may expand to any size."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed, which torch never does")


def _check_pickle(pickled: bytes) -> None:
    """Raise ValueError for a pickle that would exhaust memory or the stack."""
    nested = 0
    for opcode, argument, _ in pickletools.genops(pickled):
        if "PUT" in opcode.name and (argument or 0) > len(pickled):
            raise ValueError("a pickle with a memo index beyond its size")
        if opcode.name.startswith("TUPLE"):
            nested += 1
        elif "PUT" not in opcode.name and opcode.name != "MEMOIZE":
            nested = 0
        if nested > 100:
            raise ValueError("a pickle with too deeply nested tuples")


def _not_an_archive(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(b"PK"):
        return "a truncated checkpoint: its table of contents, at the end of the file, is missing; copy it again"
    if head.startswith(b"\x80"):
        return "a bare pickle; if torch before version 1.6 wrote it, load and save it again with a newer one"
    return "not a checkpoint; expected .safetensors, .ckpt, .pth or a TorchScript .pt"


def check_head(path: Path) -> None:
    """Raise ValueError for what a failed download leaves: nothing, a web page or a pointer of Git LFS."""
    found = failed_download(path)
    if found:
        advice = "run git lfs pull in its repository" if "Git LFS" in found else "the download failed; fetch it again"
        raise ValueError(f"{path}: {found}, not a model: {advice}")


class _Inert:
    """Placeholder for an object of an unknown class or function: holds its state and does nothing."""

    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "_Inert":
        return _Inert()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors, as ``StoredTensor``, and plain containers."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self.archive = archive
        self.root = root
        self.known: dict[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
        }

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known = self.known.get(f"{module}.{name}")
        return type(str(name), (_Inert,), {}) if known is None else known

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, *_ = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown kind of record {kind!r}")
        return dtype, f"{self.root}data/{key}"

    def _tensor(self, storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> StoredTensor:
        dtype, record = storage
        shape, stride = tuple(shape), tuple(stride)
        if not all(type(side) is int and side >= 0 for side in shape):
            raise pickle.UnpicklingError(f"a tensor of shape {shape}")

        def load() -> Tensor:
            try:
                _check_size(self.archive.getinfo(record))
                raw = bytearray(self.archive.read(record))  # checks the record's CRC
                flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
                return flat.as_strided(shape, stride, offset).contiguous()
            except Exception as error:  # zipfile and torch raise errors of many kinds for a damaged record
                line = str(error).partition("\n")[0]
                raise ValueError(f"{self.archive.filename}: damaged, {record} cannot be read ({line})") from error

        return StoredTensor(shape, load)


def _tensors(node: Any, seen: set[int], prefix: str = "") -> Iterator[tuple[str, StoredTensor]]:
    """Every tensor below ``node``: entries of dictionaries, attributes of TorchScript modules."""
    if isinstance(node, StoredTensor):
        yield prefix.removesuffix("."), node
    children = node.state if isinstance(node, _Inert) else node
    if isinstance(children, Mapping) and id(children) not in seen:  # a hostile structure may contain itself
        seen.add(id(children))
        module = isinstance(node, _Inert) and "_modules" in children  # a pickled module: its parts have no such name
        for name, child in children.items():
            if module and name in ("_modules", "_parameters", "_buffers"):
                yield from _tensors(child, seen, prefix)
            elif isinstance(name, str):
                yield from _tensors(child, seen, f"{prefix}{name}.")
