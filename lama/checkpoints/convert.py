"""From any of the layouts we read to one of the two we write."""

from pathlib import Path

import torch
from torch import nn

from lama.checkpoints.architecture import looks_like
from lama.checkpoints.format import save_generator
from lama.checkpoints.load import open_checkpoint
from lama.checkpoints.official import save_official


def convert(src: str | Path, dst: Path, discriminator: bool = False, overwrite: bool = False) -> list[str]:
    """Write the model at ``src`` to ``dst``: a ``.safetensors`` file, or a folder in the official layout.

    What was written is read again and compared before this returns; the lines say what it is. Raises ValueError or
    FileNotFoundError where ``src`` is no model or lacks the discriminator, FileExistsError where ``dst`` exists.
    """
    dst = dst.expanduser()
    if dst.suffix not in ("", ".safetensors"):
        raise ValueError(f"dst={dst}: expected a name ending in .safetensors, or a folder for the official layout")
    _check_free(dst, overwrite)
    checkpoint = open_checkpoint(src, "src")
    training = Path(src).expanduser() / "checkpoints" / "last.ckpt"
    if discriminator and not checkpoint.part("discriminator") and training.is_file():
        raise ValueError(f"src={src}: a run keeps its discriminator in its training checkpoint; give src={training}")
    networks = {
        role: checkpoint.build(role) for role in (("generator", "discriminator") if discriminator else ("generator",))
    }
    if dst.suffix:
        save_generator(
            dst, networks["generator"], {"converted_from": checkpoint.file.name}, networks.get("discriminator")
        )
    else:
        save_official(dst, networks["generator"], networks.get("discriminator"))
    again = open_checkpoint(dst, "dst")
    lines = [f"{checkpoint.file} -> {dst}"]
    for role, network in networks.items():
        _compare(network, again.build(role))
        name, config = checkpoint.describe(role)
        title = looks_like((name, config))
        settings = ", ".join(f"{key} {value}" for key, value in config.items())
        lines.append(f"  {role}: {name}{f' ({title})' if title else ''}, {settings}; read again, all tensors equal")
    return lines


def _check_free(dst: Path, overwrite: bool) -> None:
    """Refuse to write over what is there, unless asked to replace a model of the same layout."""
    files = [dst] if dst.suffix else [dst / "models" / "best.ckpt", dst / "config.yaml"]
    if not any(file.exists() for file in files):
        return
    if not overwrite:
        raise FileExistsError(f"dst={dst}: exists already; replace it with overwrite=true")
    if not files[0].is_file():
        raise ValueError(f"dst={dst}: holds something else than a model in the official layout; choose another folder")


def _compare(network: nn.Module, again: nn.Module) -> None:
    other = again.state_dict()
    odd = [key for key, value in network.state_dict().items() if not torch.equal(value, other[key])]
    if odd:
        raise RuntimeError(f"what was written differs from what was read, first in {odd[0]}")
