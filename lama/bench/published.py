"""The training step computed the plain way, as the published code did it: for the first column of ``bench.train``.

Three convolutions for an FFC, each with its own padding; the spectrum taken apart into planes and back; images and
weights as planes (NCHW); BatchNorm of the HRF encoder computed; ``mse_loss`` of its features; Adam one tensor after the
other. The results equal the results of the replaced methods, to rounding.
"""

from functools import partial
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.losses import HRFPerceptualLoss
from lama.models.ffc import FFC, Branches, FourierUnit
from lama.training import InpaintingModule
from lama.training.non_finite import StepGuard


def as_published(module: InpaintingModule) -> None:
    """Replace methods of ``module`` by the published computation; results and state dict stay the same."""
    compute_plainly(module.generator)
    module.use_memory_format(torch.contiguous_format)
    for loss in module.objective.modules():
        if isinstance(loss, HRFPerceptualLoss):
            loss.mean_square = F.mse_loss  # type: ignore[method-assign, assignment]
    module.guard = NoCopies([])
    module.make_optimizers = {
        "generator": partial(torch.optim.Adam, lr=1e-3, foreach=False),
        "discriminator": partial(torch.optim.Adam, lr=1e-4, foreach=False),
    }


class NoCopies(StepGuard):
    """The published step keeps no copy to put back."""

    def remember_update(self, network: nn.Module, optimizer: Any) -> None:
        pass


def compute_plainly(generator: nn.Module) -> None:
    """Replace the ``forward`` of every FFC and Fourier unit."""
    for layer in generator.modules():
        if isinstance(layer, FFC):
            layer.forward = MethodType(_ffc, layer)  # type: ignore[method-assign]
        elif isinstance(layer, FourierUnit):
            layer.forward = MethodType(_fourier_unit, layer)  # type: ignore[method-assign]


def _ffc(self: FFC, x: Tensor | Branches) -> Branches:
    local, glob = x if isinstance(x, tuple) else (x, None)
    to_local = [conv(part) for conv, part in ((self.convl2l, local), (self.convg2l, glob)) if conv and part is not None]
    to_glob = [conv(part) for conv, part in ((self.convl2g, local), (self.convg2g, glob)) if conv and part is not None]
    return sum(to_local[1:], to_local[0]) if to_local else None, sum(to_glob[1:], to_glob[0]) if to_glob else None


def _fourier_unit(self: FourierUnit, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
    planes = torch.stack((spectrum.real, spectrum.imag), dim=-1).permute(0, 1, 4, 2, 3).contiguous()
    planes = planes.view(batch, 2 * channels, height, -1)
    planes = self.relu(self.bn(self.conv_layer(planes)))
    planes = planes.view(batch, -1, 2, height, planes.shape[-1]).permute(0, 1, 3, 4, 2).contiguous()
    return torch.fft.irfftn(
        torch.complex(planes[..., 0], planes[..., 1]), s=(height, width), dim=(-2, -1), norm="ortho"
    )
