"""Our checkpoint for inference: one safetensors file with the weights, and the network's description inside.

The description is {class name, constructor arguments} as JSON in the metadata; only generators of ``lama.models`` are
accepted, so that nothing from a file is ever executed.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import lama.models
from lama.files import whole

FORMAT = "lama-generator-1"


def save_generator(path: str | Path, generator: nn.Module, info: dict[str, Any] | None = None) -> None:
    """Write ``generator`` (one of ``lama.models``, with a ``config``) whole or not at all; ``info`` is for people."""
    metadata = {
        "format": FORMAT,
        "generator": json.dumps({"class": type(generator).__name__, "config": generator.config}),
        "info": json.dumps(info or {}),
    }
    with whole(path) as partial:
        save_file({key: value.contiguous() for key, value in generator.state_dict().items()}, partial, metadata)


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
        raise ValueError(
            f"{file}: not a safetensors file, or a damaged one ({error}); expected models/best.safetensors of a run"
        ) from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{file}: expected a {FORMAT} file, as training writes it, got {metadata.get('format')}")
    generator = _build(file, metadata)
    expected = generator.state_dict()
    odd = [key for key in expected.keys() | state.keys() if _shape(expected, key) != _shape(state, key)]
    if odd:
        raise ValueError(
            f"{file}: {len(odd)} weights do not fit their own description, first {min(odd)}: "
            f"expected {_shape(expected, min(odd))}, got {_shape(state, min(odd))}"
        )
    generator.load_state_dict(state)
    return generator.eval().requires_grad_(False)


def _build(file: Path, metadata: dict[str, str]) -> nn.Module:
    """The network that the metadata describes, with weights still to be filled in."""
    known = lama.models.GENERATORS
    try:
        description = json.loads(metadata["generator"])
        name, config = description["class"], description["config"]
        if name not in known:
            raise ValueError(f"unknown network {name!r}, known: {', '.join(known)}")
        network: nn.Module = getattr(lama.models, name)(**config)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: damaged description of its network ({type(error).__name__}: {error})") from error
    return network


def _shape(state: dict[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None


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
