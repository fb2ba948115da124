"""Opening a model of any origin.

A model is one of:

- the name of a released network;
- a ``.safetensors``, ours or another converter's;
- the folder of a run;
- a folder in the official layout (``config.yaml`` and ``models/best.ckpt``), or a zip of one;
- a ``.ckpt`` or ``.pth``: a Lightning checkpoint, a state dict or a pickled module;
- a TorchScript archive: one of the two released files called ``big-lama.pt``.

Our format names the class and the arguments of its networks. Otherwise a generator of LaMa is inferred from names and
shapes, and any other class of ``lama.models.GENERATORS`` is read from the run's ``config.yaml``. Nothing from a file is
executed. A network is loaded with all of its weights or not at all.
"""

import logging
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lama import pretrained
from lama.checkpoints import architecture
from lama.checkpoints.architecture import Description
from lama.checkpoints.archive import StoredTensor, check_head, read_archive
from lama.checkpoints.format import read_safetensors
from lama.checkpoints.official import read_config
from lama.checkpoints.zipped import member_of, unpacked
from lama.plugins import NotUsedError

# Prefixes of a network's weights; the first that occurs is taken. The average of a training with EMA precedes all of
# them; then come Lightning modules, TorchScript wrappers, DataParallel and the network alone.
_PREFIXES = {
    "generator": ("average.module.", "generator.", "model.generator.", "module.generator.", "", "module."),
    "discriminator": ("discriminator.", "model.discriminator.", "module.discriminator."),
}
_FIRST = {
    "generator": re.compile(r"(.*?)model\.1\.(ffc\.convl2l\.)?weight"),
    "discriminator": re.compile(r"(.*?)model0\.0\.weight"),
}
_AVERAGE = re.compile(r"(^|[._])(ema|average|avg)\b|_ema(?=[._])")
BUNDLED = {"small": pretrained.SMALL}
_SMALL_SCALE = (
    256  # pixels at which the network of this package works; our files carry it on to networks trained from it
)
EXPORTED = (".onnx", ".pt2", ".dtmodel")  # files of ``lama export`` for other runtimes; its .pt files can be read
_IN_A_FOLDER = ("models/best.safetensors", "models/last.safetensors", "models/best.ckpt", "models/last.ckpt")


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """An opened file of weights: its tensors by name, not yet read, and the descriptions it holds."""

    file: Path
    tensors: Mapping[str, StoredTensor]
    descriptions: Mapping[str, Description]  # by role, "generator" or "discriminator"; empty if it must be inferred
    stored_scale: int | None = None  # of our format

    def part(self, role: str) -> dict[str, StoredTensor]:
        """The weights of the generator or the discriminator under their own names; empty if there are none."""
        if role == "generator" and self.descriptions:  # has no prefix in our format
            return {k: t for k, t in self.tensors.items() if not k.startswith("discriminator.")}
        prefix = self._prefix(role)
        if prefix is None:
            return {}
        return {key[len(prefix) :]: tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}

    @property
    def scale(self) -> int | None:
        """The longer side in pixels at which the generator works best, if it is lama-small or was trained from it."""
        if self.file in BUNDLED.values():
            return _SMALL_SCALE
        stored = self.tensors.get("scale")  # in the checkpoint of a training
        return int(stored.load()) if stored is not None and stored.shape == () else self.stored_scale

    def left(self) -> Counter[str]:
        """How many tensors belong to neither network, by the first part of their names."""
        used = {"discriminator": self._prefix("discriminator"), "generator": self._prefix("generator")}
        prefixes = tuple(prefix for prefix in used.values() if prefix)
        if self.descriptions or used["generator"] == "":
            return Counter()
        return Counter(key.partition(".")[0] for key in self.tensors if not key.startswith(prefixes))

    def describe(self, role: str) -> Description:
        """Class and arguments of a network. Raises ValueError if the file does not hold it."""
        if role in self.descriptions:
            return self.descriptions[role]
        shapes = {key: tensor.shape for key, tensor in self.part(role).items()}
        if not shapes:
            raise ValueError(f"{self.file}: holds no {role} of LaMa{_first_names(self.tensors)}")
        infer = architecture.infer_generator if role == "generator" else architecture.infer_discriminator
        try:
            return infer(shapes)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.file}: holds no {role} of LaMa: {error}") from None

    def build(self, role: str) -> nn.Module:
        """The generator or the discriminator, with its weights, on the CPU."""
        name, config = self.describe(role)
        try:
            network = architecture.build(role, name, config)
        except NotUsedError as error:
            raise ValueError(f"{self.file}: {error}") from error
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{self.file}: damaged description of its {role} ({_first_line(error)})") from error
        network.load_state_dict(self.state(role, network), assign=True)
        if role == "generator":
            network.own_scale = self.scale  # type: ignore[assignment]  # for prediction; a training hands it on
        return network

    def state(self, role: str, network: nn.Module) -> dict[str, Tensor]:
        """All tensors that ``network`` needs, in its precision. Raises ValueError if one is missing or does not fit."""
        stored = self.part(role)
        wanted = network.state_dict()
        counters = [key for key in wanted if key.endswith("num_batches_tracked") and key not in stored]
        if counters:  # BatchNorm does not use them here, and some tools drop them
            logger.warning("%s: has no num_batches_tracked for %d layers; set to 0", self.file, len(counters))
            stored |= {key: StoredTensor((), partial(torch.zeros, (), dtype=torch.long)) for key in counters}
        odd = architecture.mismatch(network, {key: tensor.shape for key, tensor in stored.items()})
        if odd:
            raise ValueError(f"{self.file}: not a complete {type(network).__name__}: {odd}")
        loaded = {key: stored[key].load() for key in wanted}
        ints = [k for k, value in wanted.items() if value.is_floating_point() and not loaded[k].is_floating_point()]
        if ints:
            raise ValueError(f"{self.file}: {ints[0]} holds {loaded[ints[0]].dtype}, expected {wanted[ints[0]].dtype}")
        state = {key: loaded[key].to(value.dtype) for key, value in wanted.items()}
        bad = [key for key, value in state.items() if not value.isfinite().all()]
        if bad:
            raise ValueError(f"{self.file}: {len(bad)} weights hold NaN or infinity, first {bad[0]}: training diverged")
        return state

    def _prefix(self, role: str) -> str | None:
        """The prefix of the network's weights, or None. Raises ValueError if several are possible."""
        found = {match[1] for match in map(_FIRST[role].fullmatch, self.tensors) if match}
        averages = [prefix for prefix in found if _AVERAGE.search(prefix) and self._is_whole(role, prefix)]
        known = next((prefix for prefix in _PREFIXES[role] if prefix in found), None)
        if len(averages) != 1 and known is not None:
            return known
        possible = averages or sorted(found)
        if len(possible) > 1:
            possible = [prefix for prefix in possible if self._is_whole(role, prefix)] or possible
        if len(possible) > 1:
            several = ", ".join(sorted(possible))
            raise ValueError(f"{self.file}: holds several networks that could be the {role}: {several}")
        return (possible or [None])[0]

    def _is_whole(self, role: str, prefix: str) -> bool:
        """True if a network of LaMa has all of its weights behind ``prefix``."""
        shapes = {k[len(prefix) :]: tensor.shape for k, tensor in self.tensors.items() if k.startswith(prefix)}
        infer = architecture.infer_generator if role == "generator" else architecture.infer_discriminator
        try:
            wanted = architecture.build(role, *infer(shapes)).state_dict()
        except (ValueError, TypeError, RuntimeError, OverflowError):
            return False
        return all(shapes.get(key) == tuple(t.shape) for key, t in wanted.items() if not key.endswith("_tracked"))


def open_checkpoint(path: str | Path, key: str = "") -> Checkpoint:
    """Open the model at ``path``; ``key`` is the setting that error messages name, if it came from one.

    Raises FileNotFoundError or ValueError, in one line, if there is no model, it is damaged, or the ``config.yaml`` of
    its folder describes another network.
    """
    file = find_weights(path, key)
    check_head(file)
    if file.suffix.lower() in EXPORTED:
        what = pretrained.not_read(file) or "exported for another runtime; give the model that it was made from"
        raise ValueError(f"{file}: {what}")
    if file.suffix.lower() == ".safetensors" or not _is_archive(file):
        checkpoint = Checkpoint(file, *read_safetensors(file))
        return checkpoint if checkpoint.descriptions else _with_config(checkpoint, file)
    member = member_of(file)
    content = None if member is None else unpacked(member)
    return _with_config(Checkpoint(file, read_archive(file, content), {}), member or file)


def _with_config(checkpoint: Checkpoint, place: Path | zipfile.Path) -> Checkpoint:
    """The checkpoint, checked with or described by its folder's ``config.yaml``. Raises ValueError if they differ."""
    folder: Any = place.parent
    places = [folder / "config.yaml"]
    if folder.name in ("models", "checkpoints"):
        places.append(folder.parent / "config.yaml")
    beside = next((place for place in places if place.is_file()), None)
    expected = None if beside is None else read_config(beside)
    if expected is None:
        return checkpoint
    if expected[0] not in architecture.INFERRED:
        return _described(checkpoint, expected)
    description = checkpoint.describe("generator")
    try:
        difference = architecture.differences(description, expected)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{beside}: describes no network of LaMa ({_first_line(error)})") from error
    if difference:
        differing = f"{checkpoint.file}: holds another network than {beside} describes: {difference}"
        raise ValueError(f"{differing}{_suggestion(description)}")
    return checkpoint


def _described(checkpoint: Checkpoint, description: Description) -> Checkpoint:
    """The checkpoint with the generator of this description. Raises ValueError if its weights are others."""
    try:
        wanted = architecture.build("generator", *description).state_dict()
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{checkpoint.file}: config.yaml describes no generator ({_first_line(error)})") from error
    for prefix in _PREFIXES["generator"]:
        if all(prefix + key in checkpoint.tensors for key in wanted):
            tensors = {key: checkpoint.tensors[prefix + key] for key in wanted}
            tensors |= {f"discriminator.{key}": value for key, value in checkpoint.part("discriminator").items()}
            return Checkpoint(checkpoint.file, tensors, {"generator": description})
    raise ValueError(f"{checkpoint.file}: its weights do not fit the {description[0]} in its config.yaml")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _first_names(tensors: Mapping[str, StoredTensor]) -> str:
    """The first parts of the names in the file, in words."""
    names = sorted({key.partition(".")[0].encode("unicode_escape").decode() for key in tensors})
    return f", only {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _is_archive(file: Path) -> bool:
    with file.open("rb") as content:
        head = content.read(16)
    return head[8:9] != b"{"  # a safetensors file begins with 8 bytes of length and JSON


def _suggestion(description: Description) -> str:
    title = architecture.looks_like(description)
    return f"; this looks like {title}" if title else ""


def load_generator(path: str | Path) -> nn.Module:
    """The generator at ``path``, in eval mode, on the CPU. Raises as ``open_checkpoint``."""
    checkpoint = open_checkpoint(path)
    generator = checkpoint.build("generator")
    config: Any = generator.config
    if config.get("input_nc", 4) != 4 or config.get("output_nc", 3) != 3:
        raise ValueError(f"{path}: expected a network from 4 channels (image and mask) to 3, got {config}")
    return generator.eval().requires_grad_(False)


def find_weights(path: str | Path, key: str = "") -> Path:
    """The file at ``path``, else the best or last weights in that folder, else the network of that name.

    A name is ``small`` or one of ``lama.pretrained.NETWORKS``, which is fetched if it is not on this machine. A file or
    a model folder of the same name comes first, except for ``small``. Raises FileNotFoundError.
    """
    if not path or not str(path):
        raise FileNotFoundError(f"{key or 'model'}: expected a path of a model, or {' or '.join(BUNDLED)}, got none")
    if str(path) in BUNDLED:  # a folder of that name is ./small
        return BUNDLED[str(path)]
    name, path = str(path), Path(path).expanduser()
    found = path if path.is_file() else None
    found = found or next((path / place for place in _IN_A_FOLDER if (path / place).is_file()), None)
    if name in pretrained.NETWORKS:
        if found is None:
            if path.is_dir():
                logger.warning("%s: a folder of this name holds no model%s", name, _what_is_there(path))
            return pretrained.released(name)
        logger.info("%s: %s, on this disk, and not the released network of that name", name, found)
    if found is not None:
        return found
    raise FileNotFoundError(
        f"{f'{key}=' if key else ''}{path}: no model there; expected {', '.join(BUNDLED)}, a released network (lama "
        "weights list), a .safetensors, .ckpt or TorchScript .pt file, or a folder with models/best.safetensors or "
        f"models/best.ckpt{_what_is_there(path)}"
    )


def in_folder(path: str | Path, checkpoint: str | None) -> str | Path:
    """The file ``checkpoint`` of the model folder ``path``, for the official key ``model.checkpoint``.

    ``path`` itself for null and for ``best.ckpt``, which every model has under some name. Raises FileNotFoundError.
    """
    if checkpoint is None:
        return path
    folder = Path(path).expanduser()
    if checkpoint == "best.ckpt" and not (folder / "models" / checkpoint).is_file():
        return path
    found = next((p for place in ("models", "checkpoints", ".") if (p := folder / place / checkpoint).is_file()), None)
    if found is None and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder (working directory: {Path.cwd()})")
    if found is None:
        files = (path for path in folder.glob("*/*") if path.suffix in (".ckpt", ".safetensors"))
        there = sorted(path.relative_to(folder).as_posix() for path in files)
        known = f"; there are {', '.join(there)}" if there else ""
        raise FileNotFoundError(
            f"model.checkpoint={checkpoint}: no such file in {folder}, its models or checkpoints{known}"
        )
    return found


def _what_is_there(path: Path) -> str:
    """A hint for an error message: a model nearby, or a file of weights below ``path``."""
    if not path.exists():
        meant = get_close_matches(path.name.lower().removeprefix("lama-"), BUNDLED, n=1)
        meant = meant or pretrained.nearest_names(path.name)
        nearest = f"; do you mean {' or '.join(meant)}?" if meant else ""
        return f" (no such file or folder; working directory: {Path.cwd()}){nearest}"
    for folder in (*sorted(path.glob("*/")), path.parent):
        if any((folder / place).is_file() for place in _IN_A_FOLDER):
            return f"; do you mean {folder}?"
    near = islice(path.rglob("*"), 10_000)  # the folder may be a data set of millions
    there = min((file for file in near if file.suffix in (".safetensors", ".ckpt", ".pt")), default=None)
    return f"; there is {there.relative_to(path)}: give {there}" if there else ""
