"""Our checkpoint for inference: one safetensors file with the weights, and the network's description inside.

The description is {class name, constructor arguments} as JSON in the metadata; only generators of ``lama.models`` are
accepted, so that nothing from a file is ever executed.
"""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import lama.models

FORMAT = "lama-generator-1"


def save_generator(path: str | Path, generator: nn.Module, info: dict[str, Any] | None = None) -> None:
    """Write ``generator`` (one of ``lama.models``, with a ``config``) whole or not at all; ``info`` is for people."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "format": FORMAT,
        "generator": json.dumps({"class": type(generator).__name__, "config": generator.config}),
        "info": json.dumps(info or {}),
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file({key: value.contiguous() for key, value in generator.state_dict().items()}, partial, metadata)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_generator(path: str | Path) -> nn.Module:
    """Build the generator stored at ``path`` (a file, or a run folder), in eval mode, on the CPU.

    Raises FileNotFoundError or ValueError, in one line, where there is none or it is damaged.
    """
    file = find_weights(path)
    try:
        with safe_open(file, "pt") as content:
            metadata = content.metadata() or {}
        state = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file, or a damaged one ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{file}: expected a {FORMAT} file, as training writes it, got {metadata.get('format')}")
    description = json.loads(metadata["generator"])
    if description["class"] not in lama.models.GENERATORS:
        raise ValueError(f"{file}: unknown network {description['class']!r}; known: {', '.join(lama.models.GENERATORS)}")
    generator: nn.Module = getattr(lama.models, description["class"])(**description["config"])
    try:
        generator.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{file}: weights do not fit their own description: {error}") from error
    return generator.eval().requires_grad_(False)


def find_weights(path: str | Path) -> Path:
    """The weights at ``path``: itself, or best, else last, of a run folder. Raises FileNotFoundError."""
    path = Path(path).expanduser()
    places = [path, path / "models" / "best.safetensors", path / "models" / "last.safetensors"]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"model.path={path}: no model there; expected a .safetensors file, or a run folder with "
        "models/best.safetensors or models/last.safetensors"
    )
