"""Third-party networks with random weights, for tests that have no files of weights."""

import pytest
import torch

import lama.torchvision_ops  # noqa: F401  isort: skip  (before pytorch_fid)
from pytorch_fid import inception


def random_inception(make=inception.fid_inception_v3):
    """What ``make`` of pytorch-fid builds; the package knows no other way to a network without its download."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
        return make().eval()
