"""The networks of set metrics: each gives an image one vector and sees it once; vectors of 8-bit images are kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lama.evaluation.cache import Store, content_of, is_8_bit
from lama.evaluation.protocol import Protocol


class Features:
    """Vectors (B, D) of images (B, 3, H, W) in [0, 1]. A network is a subclass with ``vectors``.

    ``extractor`` names network, weights and preparation: images of equal content have equal vectors under it.
    """

    def __init__(self, network: Any, sha256: str, extractor: str, store: Store) -> None:
        self.network, self.sha256, self.store = network, sha256, store
        self.extractor = f"{extractor} {sha256}"

    def __call__(self, image: Tensor) -> NDArray[np.float32]:
        if not is_8_bit(image):  # validation during training does not quantise
            return self._compute(image)
        return self.store.get(self.extractor, content_of(image), lambda missing: self._compute(image[missing]))

    def _compute(self, image: Tensor) -> NDArray[np.float32]:
        self.network.to(image.device)
        with torch.no_grad():
            return self.vectors(image).float().cpu().numpy()

    def vectors(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, D), on the device of the image."""
        raise NotImplementedError


def _inception(weights: str | None, protocol: Protocol, store: Store) -> Features:
    from lama.evaluation.inception import Inception

    return Inception(weights, protocol.inception_resize, store)


def _clip(weights: str | None, protocol: Protocol, store: Store) -> Features:
    from lama.evaluation.cmmd import Clip

    return Clip(weights, store)


def _dinov2(weights: str | None, protocol: Protocol, store: Store) -> Features:
    from lama.evaluation.fd_dinov2 import DinoV2

    return DinoV2(weights, store)


NETWORKS: dict[str, Callable[[str | None, Protocol, Store], Any]] = {  # by the name in ``SetMetric.network``
    "inception": _inception,
    "clip": _clip,
    "dinov2": _dinov2,
}
