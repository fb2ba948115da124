"""Training samples: a picture, augmented, and a mask drawn for it."""

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from lama.data.images import image_to_tensor, mask_to_tensor
from lama.interfaces import Augmentation, EvaluationSet, ImageSource, MaskSampler

SampleKey = tuple[int, int]  # (which pass over the source, index in the source)


class TrainingDataset(Dataset[dict[str, Tensor]]):
    """``dataset[pass_, index]`` -> {"image": float (3, H, W) in [0, 1], "mask": float (1, H, W), 1 = hole}.

    Crop, augmentation and mask are a function of (seed, pass, index) alone: workers, processes and resuming change
    nothing.
    """

    def __init__(self, source: ImageSource, augment: Augmentation, masks: MaskSampler, seed: int) -> None:
        self.source = source
        self.augment = augment
        self.masks = masks
        self.seed = seed

    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        pass_, index = key
        rng = np.random.default_rng([self.seed, pass_, index])
        name, image = self.source[index]
        try:
            image = self.augment(image, rng)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        mask = self.masks(rng, *image.shape[:2])
        return {"image": image_to_tensor(image), "mask": mask_to_tensor(mask)}


class EvaluationDataset(Dataset[dict[str, Tensor | str]]):
    """Frozen pairs as {"name", "image", "mask"}, tensors as in ``TrainingDataset``."""

    def __init__(self, pairs: EvaluationSet) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        pair = self.pairs[index]
        return {"name": pair.name, "image": image_to_tensor(pair.image), "mask": mask_to_tensor(pair.mask)}
