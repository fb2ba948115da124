"""Weights, images and masks as functions of a seed, so that no reference needs a stored file of weights.

The same rules as those the reference numbers were made with: a tensor depends on (seed, crc32 of its key, shape).
"""

import zlib

import numpy as np
import torch
from torch import Tensor, nn


def formula_tensor(key: str, shape: tuple[int, ...], seed: int = 0, gain: float = 1.0) -> Tensor:
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.ones(shape, dtype=torch.long)
    if leaf == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif leaf in ("running_mean", "bias"):
        values = rng.uniform(-0.1, 0.1, shape)
    elif len(shape) == 1:
        values = rng.uniform(0.5, 0.9, shape)
    else:
        values = rng.standard_normal(shape) * gain * np.sqrt(2.0 / np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, np.float32).reshape(shape))


def fill(network: nn.Module, seed: int = 0, gain: float = 1.0) -> nn.Module:
    """Give every tensor of ``network`` its formula value."""
    state = network.state_dict()
    network.load_state_dict({key: formula_tensor(key, tuple(t.shape), seed, gain) for key, t in state.items()})
    return network


def formula_image(seed: int, *shape: int) -> Tensor:
    """Waves and noise in [0, 1], (B, C, H, W)."""
    rng = np.random.default_rng([seed, 7])
    batch, channels, height, width = shape
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.zeros(shape)
    for i in range(batch):
        for j in range(channels):
            fy, fx = rng.uniform(0.5, 6, 2).tolist()
            phase = rng.uniform(0, 6.28)
            image[i, j] = 0.5 + 0.3 * np.sin(6.28 * (fy * rows / height + fx * columns / width) + phase)
    image += rng.uniform(-0.2, 0.2, shape)
    return torch.from_numpy(np.clip(image, 0, 1).astype(np.float32))


def formula_mask(seed: int, batch: int, height: int, width: int) -> Tensor:
    """One box and one bar per item, (B, 1, H, W), 1 = hole."""
    rng = np.random.default_rng([seed, 11])
    mask = np.zeros((batch, 1, height, width), np.float32)
    for i in range(batch):
        y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
        mask[i, 0, y : y + height // 3, x : x + width // 3] = 1
        x = rng.integers(0, width - 4)
        mask[i, 0, :, x : x + 4] = 1
    return torch.from_numpy(mask)
