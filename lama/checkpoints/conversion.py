"""Conversion from any layout that ``load`` reads to our format or the official layout."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from lama.checkpoints.architecture import looks_like
from lama.checkpoints.format import save_generator
from lama.checkpoints.load import EXPORTED, open_checkpoint
from lama.checkpoints.official import save_official
from lama.files import check_writable


def convert(
    src: str | Path, dst: Path, discriminator: bool = False, overwrite: bool = False, half: bool = False
) -> list[str]:
    """Write the model at ``src`` to ``dst``: a ``.safetensors`` file, or a folder in the official layout.

    ``half``: store weights as float16, half the size; computation stays float32. The result is read again and compared
    with the source. Returns lines that describe it. Raises ValueError or FileNotFoundError if ``src`` is no model or
    lacks the discriminator, FileExistsError if ``dst`` exists.
    """
    dst = dst.expanduser()
    if half and not _is_file(dst):
        raise ValueError(f"half=true: the official layout has float32 weights; give dst={dst}.safetensors")
    if dst.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin", *EXPORTED):
        raise ValueError(f"dst={dst}: expected a name ending in .safetensors, or a folder for the official layout")
    _check_free(dst, overwrite)
    check_writable(dst.parent, "dst", dst)
    checkpoint = open_checkpoint(src, "src")
    training = Path(src).expanduser() / "checkpoints" / "last.ckpt"
    if discriminator and not checkpoint.part("discriminator") and training.is_file():
        raise ValueError(f"src={src}: a run keeps its discriminator in its training checkpoint; give src={training}")
    roles = ("generator", "discriminator") if discriminator else ("generator",)
    networks = {role: checkpoint.build(role) for role in roles}
    if half:
        for role, network in networks.items():
            network.half()
            if not all(value.isfinite().all() for value in network.state_dict().values()):
                raise ValueError(f"half=true: weights of the {role} are too large for float16")
    _write(dst, networks, checkpoint.file.name)
    lines = [f"{checkpoint.file} -> {dst}"]
    for role in roles:
        name, config = checkpoint.describe(role)
        title = looks_like((name, config))
        settings = ", ".join(f"{key} {value}" for key, value in config.items())
        rounded = "; rounded to float16" if half else ""
        named = f"{name} ({title})" if title else name
        lines.append(f"  {role}: {named}, {settings}{rounded}; read again, all tensors equal")
    if not discriminator and checkpoint.part("discriminator"):
        lines.append("  discriminator: left out; discriminator=true keeps it")
    return lines


def _write(dst: Path, networks: dict[str, nn.Module], source: str) -> None:
    """Write to a temporary folder, read again, compare, then move the result to ``dst``."""
    dst.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".converting-", dir=dst.parent) as folder:
        written = Path(folder) / dst.name
        if _is_file(dst):
            save_generator(written, networks["generator"], {"converted_from": source}, networks.get("discriminator"))
            files = [Path()]
        else:
            save_official(written, networks["generator"], networks.get("discriminator"))
            files = [Path("models/best.ckpt"), Path("config.yaml")]
        again = open_checkpoint(written, "dst")
        for role, network in networks.items():
            _compare(network, again.build(role))
        for file in files:
            (dst / file).parent.mkdir(parents=True, exist_ok=True)
            (written / file).replace(dst / file)


def _is_file(dst: Path) -> bool:
    """True if ``dst`` names a file of our format, else a folder."""
    return dst.suffix.lower() == ".safetensors"


def _check_free(dst: Path, overwrite: bool) -> None:
    """Raise FileExistsError unless ``dst`` is free, or a model of the same layout that may be replaced."""
    if not dst.exists() or (dst.is_dir() and not any(dst.iterdir())):
        return
    if _is_file(dst) != dst.is_file():
        raise FileExistsError(f"dst={dst}: is a {'file' if dst.is_file() else 'folder'}; choose another name")
    weights = dst if _is_file(dst) else dst / "models" / "best.ckpt"
    if not weights.is_file():
        raise FileExistsError(f"dst={dst}: holds something else than a model in that layout; choose another name")
    if not overwrite:
        raise FileExistsError(f"dst={dst}: exists already; replace it with overwrite=true")


def _compare(network: nn.Module, again: nn.Module) -> None:
    other = again.state_dict()
    odd = [
        key for key, value in network.state_dict().items() if not torch.equal(value.to(other[key].dtype), other[key])
    ]
    if odd:
        raise RuntimeError(f"the written weights differ from the source, first in {odd[0]}")
