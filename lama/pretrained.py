"""Third-party weights: from an explicit path, then the cache folder, then a URL, with a check of the sha256.

There is no silent fallback. ``require`` runs before anything is built; its one-line error names the missing file, the
paths that were searched, the URL, and the setting that does not need the file.
"""

import functools
import hashlib
import logging
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lama.files import atomic_write, sha256_of

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class WeightFile:
    """A released file."""

    filename: str
    url: str
    sha256: str  # the digest, or its first digits where only these are published; "" = unknown, never downloaded
    without: str  # the setting that does not need the file


_TORCHVISION = "https://download.pytorch.org/models/"
WEIGHT_FILES: Mapping[str, WeightFile] = {
    "ade20k_encoder": WeightFile(
        "ade20k-resnet50dilated-ppm_deepsup/encoder_epoch_20.pth",
        "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-resnet50dilated-ppm_deepsup/encoder_epoch_20.pth",
        "",
        "losses=no_perceptual",
    ),
    "ade20k_encoder_plain": WeightFile(
        "ade20k-resnet50-ppm_deepsup/encoder_epoch_20.pth",
        "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-resnet50-ppm_deepsup/encoder_epoch_20.pth",
        "",
        "losses=no_perceptual",
    ),
    "resnet50_imagenet": WeightFile(
        "resnet50-imagenet.pth",
        "http://sceneparsing.csail.mit.edu/model/pretrained_resnet/resnet50-imagenet.pth",
        "",
        "losses=no_perceptual",
    ),
    "fid_inception": WeightFile(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d",
        "metrics without fid (training: evaluator=pixels)",
    ),
    "lpips_alex": WeightFile(
        "alexnet-owt-7be5be79.pth", _TORCHVISION + "alexnet-owt-7be5be79.pth", "7be5be79", "metrics without lpips_alex"
    ),
    "lpips_vgg": WeightFile(
        "vgg16-397923af.pth",
        _TORCHVISION + "vgg16-397923af.pth",
        "397923af",
        "metrics without lpips_vgg (training: evaluator=pixels)",
    ),
    "lpips_squeeze": WeightFile(
        "squeezenet1_1-b8a52dc0.pth",
        _TORCHVISION + "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc0",
        "metrics without lpips_squeeze (training: losses=no_perceptual)",
    ),
    "vgg19": WeightFile("vgg19-dcbb9e9d.pth", _TORCHVISION + "vgg19-dcbb9e9d.pth", "dcbb9e9d", "losses=no_perceptual"),
}


class MissingWeightsError(FileNotFoundError):
    """A weight file is not on this machine and could not be downloaded; ``missing_file`` is its name."""

    def __init__(self, message: str, missing_file: str) -> None:
        super().__init__(message)
        self.missing_file = missing_file


def cache_dir() -> Path:
    """``$LAMA_WEIGHTS``, or ``~/.cache/lama``."""
    return Path(os.environ.get("LAMA_WEIGHTS", "~/.cache/lama")).expanduser()


def find(name: str, path: str | None = None) -> Path | None:
    """``path``, or the cached file ``name``, or None. Raises FileNotFoundError if a given ``path`` is not a file."""
    spec = WEIGHT_FILES[name]
    if path is not None:
        given = Path(path).expanduser()
        if not given.is_file():
            raise FileNotFoundError(f"weights.{name}: no such file: {given}; expected {spec.filename} from {spec.url}")
        return given
    places = [
        cache_dir() / spec.filename,
        cache_dir() / "ade20k" / spec.filename,
    ]  # the second as in the official $TORCH_HOME
    flat = Path(spec.filename).name
    if [Path(other.filename).name for other in WEIGHT_FILES.values()].count(flat) == 1:
        places.append(cache_dir() / flat)
    return next((place for place in places if place.is_file()), None)


def require(name: str, path: str | None = None, download: bool = True) -> Path:
    """``find``, or download into the cache. Raises MissingWeightsError if neither succeeds.

    A file in the cache must have the published sha256; otherwise a ValueError is raised. A file given by its path may
    have another sha256; a warning is logged once.
    """
    found = find(name, path)
    spec = WEIGHT_FILES[name]
    if found is not None:
        if path is None and not is_published(name, found):
            raise ValueError(
                f"weights.{name}: {found} has sha256 {sha256_of(found)[:16]}..., expected {spec.sha256}...: the "
                f"file is damaged or another one; remove it, or pass weights.{name}={found} to use it"
            )
        _warn_unpublished(name, found)
        return found
    reason = "no automatic download"
    if spec.sha256 and download:
        try:
            return _download(spec)
        except (OSError, ValueError) as error:
            reason = f"download failed: {error}"
    sha256 = f"{spec.sha256}..." if spec.sha256 else "not published"
    raise MissingWeightsError(
        f"weights.{name}: {spec.filename} is missing; looked for {cache_dir() / spec.filename}; {reason}; get it from "
        f"{spec.url} (sha256 {sha256}) and put it there or pass weights.{name}=PATH; not needed with: {spec.without}",
        Path(spec.filename).name,
    )


def is_published(name: str, file: Path) -> bool:
    """True if a file has the published sha256, or if none is published."""
    return sha256_of(file).startswith(WEIGHT_FILES[name].sha256)


@functools.cache
def _warn_unpublished(name: str, file: Path) -> None:
    if not is_published(name, file):
        spec = WEIGHT_FILES[name]
        logger.warning(
            "weights.%s: %s is not the published file, %s with sha256 %s...: numbers may not be comparable",
            name, file, spec.filename, spec.sha256,
        )  # fmt: skip


def load_into(network: Network, name: str, path: str | None = None) -> Network:
    """Fill ``network`` with the weights ``name``. Raises ValueError if a tensor is missing or has another shape."""
    file = require(name, path)
    released = read_state_dict(file, name)
    wanted = network.state_dict()
    missing = [key for key in wanted if key not in released and not key.endswith("num_batches_tracked")]
    wrong = [key for key in wanted if key in released and released[key].shape != wanted[key].shape]
    if missing or wrong:
        raise ValueError(
            f"weights.{name}: {file} is not {WEIGHT_FILES[name].filename}: {len(missing)} keys are missing, "
            f"{len(wrong)} have another shape; the first is {(missing + wrong)[0]!r}"
        )
    network.load_state_dict({key: released.get(key, value) for key, value in wanted.items()})
    return network


def read_state_dict(file: Path, name: str) -> dict[str, Tensor]:
    """Read a ``.pth`` of plain tensors without executing code from it. Raises ValueError for other content."""
    expected = f"expected {WEIGHT_FILES[name].filename} from {WEIGHT_FILES[name].url}"
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ... for a damaged file
        what = f"not a readable weight file ({type(error).__name__})"
        raise ValueError(f"weights.{name}: {file}: {what}; {expected}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        holds = f"holds {type(content).__name__}, not a state dict of tensors"
        raise ValueError(f"weights.{name}: {file} {holds}; {expected}")
    return content


def _download(spec: WeightFile) -> Path:
    """Download, verify the sha256, and rename: the cache never holds an incomplete or another file."""
    target = cache_dir() / spec.filename
    digest = hashlib.sha256()
    logger.info("downloading %s to %s", spec.url, target)
    with atomic_write(target) as partial:
        with urllib.request.urlopen(spec.url, timeout=20) as response, partial.open("wb") as out:
            size = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(total=size, unit="B", unit_scale=True, desc=target.name) as progress:
                while chunk := response.read(1 << 20):
                    digest.update(chunk)
                    out.write(chunk)
                    progress.update(len(chunk))
        if not digest.hexdigest().startswith(spec.sha256):
            raise ValueError(f"{spec.url}: sha256 is {digest.hexdigest()}, expected {spec.sha256}...")
    return target
