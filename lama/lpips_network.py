"""The network of LPIPS v0.1 (Zhang et al., CVPR 2018) from the ``lpips`` package, with its trunk from a file.

A metric and a loss use it. Importing the package imports torchvision, so that this is done when it is asked for.
"""

import warnings
from pathlib import Path

from torch import nn

from lama import pretrained

TRUNKS = ("alex", "vgg", "squeeze")


def file_of(trunk: str, weights: str | None = None, download: bool = False) -> Path:
    """The file of a trunk: ``weights``, else from the cache, else fetched. Raises ValueError for an unknown trunk,
    MissingWeightsError where there is none."""
    if trunk not in TRUNKS:
        raise ValueError(f"lpips: expected trunk {', '.join(TRUNKS)}, got {trunk!r}")
    return pretrained.require(f"lpips_{trunk}", weights, download)


def lpips_network(trunk: str, file: Path) -> nn.Module:
    """The frozen network: ``file`` is a trunk as torchvision releases it (``features.<i>...``), or a whole LPIPS
    state dict; the linear heads are the package's. Raises ValueError where the file is something else."""
    import lama.torchvision_ops  # noqa: F401  isort: skip  (before lpips)
    import lpips

    with warnings.catch_warnings(action="ignore"):  # the package calls torchvision in a deprecated way
        network: nn.Module = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False).requires_grad_(False)
    _load_trunk(network, file, f"lpips_{trunk}")
    return network


def _load_trunk(network: nn.Module, file: Path, name: str) -> None:
    """Fill every ``net.slice<n>.<i>.<rest>`` from ``features.<i>.<rest>`` or from its own name."""
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
