"""Our checkpoint: one safetensors file with the weights, and the networks' description inside.

The description is {class name, constructor arguments} as JSON in the metadata. Weights of the generator keep their
names; weights of a discriminator, if there is one, have the prefix ``discriminator.``.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lama.checkpoints.architecture import Description
from lama.checkpoints.archive import StoredTensor
from lama.files import atomic_write

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
    state: dict[str, Tensor] = {}
    for role, network in zip(ROLES, (generator, discriminator), strict=True):
        if network is not None:
            metadata[role] = json.dumps({"class": type(network).__name__, "config": network.config})
            prefix = "discriminator." if role == "discriminator" else ""
            state |= {f"{prefix}{key}": value.contiguous() for key, value in network.state_dict().items()}
    with atomic_write(path) as partial:
        try:
            save_file(state, partial, metadata)
        except SafetensorError as error:  # for a full disk, for example, raise Python's own error
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def read_safetensors(file: Path) -> tuple[dict[str, StoredTensor], dict[str, Description]]:
    """Tensors of ``file``, and descriptions by role if in our format. Raises ValueError for a damaged file."""
    try:
        content = safe_open(file, "pt")
        metadata = content.metadata() or {}
        tensors = {key: _stored(content, key) for key in content.keys()}  # noqa: SIM118  (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file, or a damaged one ({error})") from error
    descriptions = {}
    for role in ROLES if metadata.get("format") == FORMAT else ():
        if role in metadata or role == "generator":
            try:
                described = json.loads(metadata[role])
                descriptions[role] = (described["class"], dict(described["config"]))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{file}: damaged description of its {role} ({type(error).__name__})") from error
    return tensors, descriptions


def _stored(content: Any, key: str) -> StoredTensor:
    return StoredTensor(tuple(content.get_slice(key).get_shape()), lambda: content.get_tensor(key))
