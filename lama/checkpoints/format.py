"""Our checkpoint: one safetensors file with the weights, and the networks' description inside.

The description is {class name, constructor arguments} as JSON in the metadata, as are the CRC-32 of all tensors: the
format itself has no checksums. ``scale`` is there too if the generator has one: the longer side in pixels of a hole
with its context at which it works best (the option ``scale`` of prediction). Weights of the generator keep their names;
weights of a discriminator, if there is one, have the prefix ``discriminator.``.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lama.checkpoints.architecture import Description
from lama.checkpoints.archive import StoredTensor
from lama.files import atomic_write
from lama.plugins import full_name

FORMAT = "lama-generator-1"
ROLES = ("generator", "discriminator")


def save_generator(
    path: str | Path,
    generator: nn.Module,  # one of ``lama.models.GENERATORS``
    info: dict[str, Any] | None = None,  # for people: origin, date, step
    discriminator: nn.Module | None = None,  # for fine-tuning only
) -> None:
    """Write the networks atomically. Raises OSError if the disk is full."""
    metadata = {"format": FORMAT, "info": json.dumps(info or {})}
    if getattr(generator, "own_scale", None):
        metadata["scale"] = str(generator.own_scale)
    state: dict[str, Tensor] = {}
    for role, network in zip(ROLES, (generator, discriminator), strict=True):
        if network is not None:
            metadata[role] = json.dumps({"class": full_name(type(network)), "config": network.config})
            prefix = "discriminator." if role == "discriminator" else ""
            state |= {f"{prefix}{key}": value.contiguous() for key, value in network.state_dict().items()}
    metadata["crc32"] = json.dumps({key: _checksum(value) for key, value in state.items()})
    with atomic_write(path) as partial:  # ``save_file`` would make a temporary file of its own, which a kill leaves
        partial.write_bytes(save(state, metadata))


def read_safetensors(file: Path) -> tuple[dict[str, StoredTensor], dict[str, Description], int | None]:
    """Tensors of ``file``; if in our format, descriptions by role and the scale. Raises ValueError if damaged."""
    try:
        content = safe_open(file, "pt")
        metadata = content.metadata() or {}
        checksums = json.loads(metadata.get("crc32", "{}"))
        names = content.keys()
        tensors = {key: _stored(content, key, checksums.get(key), file) for key in names}
    except (SafetensorError, ValueError, AttributeError) as error:
        raise ValueError(f"{file}: not a safetensors file, or a damaged one ({error})") from error
    descriptions = {}
    for role in ROLES if metadata.get("format") == FORMAT else ():
        if role in metadata or role == "generator":
            try:
                described = json.loads(metadata[role])
                descriptions[role] = (described["class"], dict(described["config"]))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{file}: damaged description of its {role} ({type(error).__name__})") from error
    try:
        scale = int(metadata["scale"]) if descriptions and "scale" in metadata else None
    except ValueError as error:
        raise ValueError(f"{file}: damaged, scale {metadata['scale']!r} in its metadata is no number") from error
    return tensors, descriptions, scale


def _stored(content: Any, key: str, checksum: int | None, file: Path) -> StoredTensor:
    def load() -> Tensor:
        tensor: Tensor = content.get_tensor(key)
        if checksum is not None and _checksum(tensor) != checksum:
            raise ValueError(f"{file}: damaged, wrong checksum of {key}; copy it again")
        return tensor

    return StoredTensor(tuple(content.get_slice(key).get_shape()), load)


def _checksum(tensor: Tensor) -> int:
    values: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return zlib.crc32(values)
