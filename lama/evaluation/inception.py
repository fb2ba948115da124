"""Features of the Inception network of 2015-12-05, with the resizing of each protocol."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import lama.torchvision_ops  # noqa: F401  isort: skip  (before pytorch_fid, which imports torchvision)
from pytorch_fid import inception as pytorch_fid

from lama import pretrained
from lama.evaluation.cache import Store
from lama.evaluation.features import Features
from lama.files import sha256_of

SIDE = 299  # pixels, height and width of the network's input


def fid_inception(weights: str | None = None) -> tuple[nn.Module, str]:
    """pytorch-fid's network, resized images (B, 3, 299, 299) -> [(B, 2048, 1, 1)], and the sha256 of its weights.

    ``weights`` is the path of pt_inception-2015-12-05-6726825d.pth; None looks in the cache. Raises
    MissingWeightsError for a missing file, ValueError for a file of another network.
    """
    file = pretrained.require("fid_inception", weights, download=False)
    state = pretrained.read_state_dict(file, "fid_inception")
    downloader = pytorch_fid.load_state_dict_from_url
    pytorch_fid.load_state_dict_from_url = lambda *_, **__: state  # the package offers no path argument
    try:
        network: nn.Module = pytorch_fid.InceptionV3(resize_input=False, normalize_input=False).eval()
    except RuntimeError as error:
        expected = pretrained.WEIGHT_FILES["fid_inception"].url
        raise ValueError(f"weights.fid_inception: {file} is another network; expected {expected}") from error
    finally:
        pytorch_fid.load_state_dict_from_url = downloader
    return network.requires_grad_(False), sha256_of(file)


def bilinear(image: Tensor) -> Tensor:
    """The resizing of pytorch-fid and LaMa: torch's bilinear interpolation without antialiasing, [0, 1] -> [-1, 1]."""
    return 2 * F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False) - 1


def tensorflow_bilinear(image: Tensor) -> Tensor:
    """The resizing of TensorFlow 1, for the original FID, torch-fidelity and NVIDIA's Inception.

    Output pixel i is at i * size / 299 of the input. [0, 1] -> (v - 128) / 128 of v in [0, 255].
    """
    image = image * 255
    for dim in (2, 3):
        size = image.shape[dim]
        place = torch.arange(SIDE, device=image.device) * (size / SIDE)
        low = place.floor().long()
        high = (low + 1).clamp(max=size - 1)
        share = (place - low).to(image.dtype).view(-1, *([1] * (3 - dim)))
        image = image.index_select(dim, low) * (1 - share) + image.index_select(dim, high) * share
    return (image - 128) / 128


def pillow_bicubic(image: Tensor) -> Tensor:
    """The resizing of clean-fid: Pillow's antialiased bicubic, channel by channel in float32, without quantisation."""
    array = (image * 255).round().cpu().numpy().astype(np.float32)
    out = np.empty((*array.shape[:2], SIDE, SIDE), np.float32)
    for i, single in enumerate(array):
        for c, channel in enumerate(single):
            out[i, c] = np.asarray(Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return (torch.from_numpy(out.clip(0, 255)).to(image.device) - 128) / 128


RESIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "bilinear": bilinear,
    "tensorflow": tensorflow_bilinear,
    "pillow": pillow_bicubic,
}


class Inception(Features):
    """Features (B, 2048) of images (B, 3, H, W) in [0, 1], with a protocol's resizing."""

    def __init__(self, weights: str | None, resize: str, store: Store) -> None:
        network, sha256 = fid_inception(weights)
        super().__init__(network, sha256, f"inception {resize}", store)
        self.resize = RESIZES[resize]

    def vectors(self, image: Tensor) -> Tensor:
        features: Tensor = self.network(self.resize(image))[0]
        return features.flatten(1)
