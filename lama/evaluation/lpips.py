"""LPIPS v0.1 (Zhang et al., CVPR 2018), from the ``lpips`` package, with its trunk from a file on this machine."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

import lama.torchvision_ops  # noqa: F401  isort: skip  (before lpips)
import lpips

from lama import pretrained

TRUNKS = ("alex", "vgg", "squeeze")


class LPIPS:
    """Distance of deep features over the whole picture; LaMa reports the ``vgg`` trunk, others ``alex``.

    ``weights`` is a trunk as torchvision releases it (``features.<i>...``) or a whole LPIPS state dict; None looks in
    the cache. Raises MissingWeightsError where neither is there, ValueError where the file is something else.
    """

    def __init__(self, trunk: str = "vgg", weights: str | None = None) -> None:
        if trunk not in TRUNKS:
            raise ValueError(f"lpips: expected trunk {', '.join(TRUNKS)}, got {trunk!r}")
        name = f"lpips_{trunk}"
        file = pretrained.require(name, weights, download=False)
        with warnings.catch_warnings(action="ignore"):  # the package calls torchvision in a deprecated way
            self.network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False).requires_grad_(False)
        _load_trunk(self.network, file, name)
        self.sha256 = pretrained.sha256_of(file)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        network = self.network.to(completed.device)
        distance: Tensor = network(completed, target, normalize=True)
        return distance.flatten()


def _load_trunk(network: torch.nn.Module, file: Path, name: str) -> None:
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
