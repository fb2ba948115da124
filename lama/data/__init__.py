"""Training samples and evaluation sets. Names are imported on first use: reading a folder needs no lightning."""

import importlib
from typing import Any

_HOMES = {
    "BuiltinPhotos": "lama.data.sources",
    "CropFlip": "lama.data.augment",
    "Distortions": "lama.data.augment",
    "DistortionsOnDevice": "lama.data.distortions_gpu",
    "FrozenPairs": "lama.data.evaluation_set",
    "ImageFolder": "lama.data.sources",
    "ImageList": "lama.data.sources",
    "InpaintingDataModule": "lama.data.datamodule",
    "MaskDataset": "lama.data.mask_dataset",
    "Mixture": "lama.data.mixture",
    "NoAugmentation": "lama.data.augment",
    "PairFolder": "lama.data.evaluation_set",
    "ScaleCrop": "lama.data.augment",
    "TarShards": "lama.data.shards",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lama.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
