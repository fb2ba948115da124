"""``SimpleLama`` as in the package simple-lama-inpainting, computed by ``lama.load``.

from lama.bridges.simple_lama import SimpleLama
result = SimpleLama()(image, mask)
"""

import os

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lama.inference import load


class SimpleLama:
    """``SimpleLama(device)(image, mask)``: the image with its hole filled, a PIL image in RGB.

    ``image`` is a PIL image or an array of uint8, (H, W, 3) RGB or (H, W). ``mask`` is a PIL image or an array (H, W);
    every value above 0 is a hole. The environment variable LAMA_MODEL names the model: anything that ``lama.load``
    takes, lama-small if it is not set.

    The original returns the size that it computes, a multiple of 8, and rounds known pixels down. This one returns the
    size of the image, and known pixels as they are. Raises FileNotFoundError or ValueError, in one line, for a model
    that is not there, and ValueError for an image or a mask that is not supported.
    """

    def __init__(self, device: torch.device | str = "auto") -> None:
        named = os.environ.get("LAMA_MODEL")
        try:
            self.inpainter = load(named or "small", str(device))
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"LAMA_MODEL={named}: {error}" if named else str(error)) from None

    def __call__(self, image: Image.Image | NDArray[np.uint8], mask: Image.Image | NDArray[np.generic]) -> Image.Image:
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        return self.inpainter(picture.convert("RGB"), mask)
