"""Small generators of every kind, and third-party networks with random weights."""

import pytest
import torch

import lama.torchvision_ops  # noqa: F401  isort: skip  (before pytorch_fid)
from pytorch_fid import inception

from lama.models import DilatedResNetGenerator, FFCResNetGenerator, ResNetGenerator

GENERATORS = {
    "ffc": lambda: FFCResNetGenerator(ngf=4, n_blocks=2),
    "all channels global": lambda: FFCResNetGenerator(ngf=4, n_blocks=1, ratio=1),
    "lfu": lambda: FFCResNetGenerator(ngf=8, n_blocks=1, enable_lfu=True),
    "regular": lambda: ResNetGenerator(ngf=4, n_blocks=1),
    "dilated": lambda: DilatedResNetGenerator(ngf=4, n_blocks=1),
}


def random_inception(make=inception.fid_inception_v3):
    """The network of pytorch-fid's ``make``; the package builds it only after a download."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
        return make().eval()


class TinyInception(torch.nn.Module):
    """In place of the Inception: 12 numbers of an image."""

    def forward(self, x):
        return [torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)[:, :, None, None]]
