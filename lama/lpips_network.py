"""LPIPS v0.1 (Zhang et al., CVPR 2018) of the package ``lpips``, imported at the first call; backbones from files."""

import warnings
from pathlib import Path

from torch import nn

from lama import pretrained

BACKBONES = ("alex", "vgg", "squeeze")


def file_of(backbone: str, weights: str | None = None, download: bool = False) -> Path:
    """The file of a backbone: ``weights`` if given, else from the cache, else (with ``download``) from its URL.

    Raises ValueError for an unknown backbone, MissingWeightsError where no file is found.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"lpips: expected backbone {', '.join(BACKBONES)}, got {backbone!r}")
    return pretrained.require(f"lpips_{backbone}", weights, download)


def lpips_network(backbone: str, file: Path) -> nn.Module:
    """The frozen network; ``file`` holds torchvision's backbone or all of LPIPS. Raises ValueError for another file."""
    import lama.torchvision_ops  # noqa: F401  isort: skip  (before lpips)
    import lpips

    with warnings.catch_warnings(action="ignore"):  # the package calls torchvision in a deprecated way
        network: nn.Module = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False).requires_grad_(False)
    _load_backbone(network, file, f"lpips_{backbone}")
    return network


def _load_backbone(network: nn.Module, file: Path, name: str) -> None:
    """Fill each ``net.slice<n>.<i>.<rest>`` from ``features.<i>.<rest>``, or from the same name."""
    released = pretrained.read_state_dict(file, name)
    state = network.state_dict()
    for key in state:
        if not key.startswith("net."):
            continue
        torchvision_key = "features." + key.split(".", 2)[2]
        value = released.get(key, released.get(torchvision_key))
        if value is None or value.shape != state[key].shape:
            raise ValueError(f"weights.{name}: {file} has no {torchvision_key} of shape {tuple(state[key].shape)}")
        state[key] = value
    network.load_state_dict(state)
