"""Remove things from pictures with a trained generator."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lama.checkpoints import load_generator
from lama.conventions import generator_input, pad_to_multiple

Picture = TypeVar("Picture", np.ndarray, Image.Image)


class Inpainter:
    """``inpainter(image, mask)``: the picture with its hole filled, of the same kind and size.

    ``image`` is a NumPy array uint8, (H, W, 3) RGB, (H, W, 4) or (H, W), or a PIL picture; ``mask`` is an array
    (H, W), (H, W, 1) or (H, W, 3) of any dtype, or a PIL picture. Every mask pixel above 0 is a hole. Known pixels
    come back byte for byte, alpha is kept. ``.generator`` is the plain module, (B, 4, H, W) -> (B, 3, H, W).
    """

    def __init__(self, generator: nn.Module, device: str = "auto") -> None:
        self.device = pick_device(device)
        self.generator = generator.eval().to(self.device)

    def __call__(self, image: Picture, mask: np.ndarray[Any, Any] | Image.Image) -> Picture:
        """Raises ValueError where the picture or the mask is of another kind, or their sizes differ."""
        if isinstance(image, Image.Image):
            return self._fill_pil(image, mask)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"image: expected a uint8 array or a PIL picture, got {kind}")
        if image.ndim == 2:
            rgb = np.repeat(image[..., None], 3, axis=2)
            return np.where(_hole(mask, image), _luminance(self._fill(rgb, mask)), image)
        if image.ndim != 3 or image.shape[2] not in (3, 4):
            raise ValueError(f"image: expected (H, W), (H, W, 3) or (H, W, 4), got {image.shape}")
        return np.concatenate([self._fill(image[..., :3], mask), image[..., 3:]], axis=2)

    def _fill_pil(self, image: Image.Image, mask: np.ndarray[Any, Any] | Image.Image) -> Image.Image:
        if image.mode == "F" or image.mode.startswith("I"):
            raise ValueError(
                f"image: 16-bit and float pictures (mode {image.mode}) are not supported; convert to 8 bit"
            )
        if image.mode in ("L", "RGB", "RGBA"):
            return Image.fromarray(self(np.asarray(image), mask))
        return self._fill_pil(image.convert("RGBA" if "A" in image.getbands() else "RGB"), mask)

    def _fill(self, image: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | Image.Image) -> np.ndarray[Any, Any]:
        """uint8 (H, W, 3) and a mask -> uint8 (H, W, 3)."""
        hole = _hole(mask, image)
        image_tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
        predicted = self.predict(image_tensor, torch.from_numpy(hole.copy())[None, None].float())
        filled = (predicted[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return np.where(hole[..., None], filled, image)

    @torch.inference_mode()
    def predict(self, image: Tensor, mask: Tensor) -> Tensor:
        """Raw output for image (B, 3, H, W) in [0, 1] and mask (B, 1, H, W), 1 = hole; any H and W: (B, 3, H, W)."""
        height, width = image.shape[-2:]
        x = generator_input(image.to(self.device), mask.to(self.device))
        x = pad_to_multiple(x, int(self.generator.pad_multiple), int(self.generator.min_size))  # type: ignore[arg-type]
        predicted: Tensor = self.generator(x)
        return predicted[..., :height, :width]


def load(path: str | Path, device: str = "auto") -> Inpainter:
    """The model at ``path``, a ``.safetensors`` file or a run folder, ready to use.

    ``device`` is auto (cuda where there is one, else cpu) or any name torch knows. Raises FileNotFoundError or
    ValueError, in one line, where there is no model.
    """
    return Inpainter(load_generator(path), device)


def pick_device(name: str) -> torch.device:
    """``auto`` -> cuda where there is one, else cpu. Raises ValueError for a device this machine does not have."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={name}: not available here; expected auto, cpu, cuda or mps") from error
    return device


def _hole(mask: np.ndarray[Any, Any] | Image.Image, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """bool (H, W), True = hole."""
    if 0 in image.shape:
        raise ValueError(f"image: expected at least one pixel, got shape {image.shape}")
    array = _mask_array(mask) if isinstance(mask, Image.Image) else np.asarray(mask)
    if array.ndim == 3 and array.shape[2] in (1, 3):
        array = array.max(axis=2)
    if array.shape != image.shape[:2]:
        height, width = image.shape[:2]
        raise ValueError(f"mask: expected shape {(height, width)}, that of the picture, got {array.shape}")
    return array > 0


def _mask_array(mask: Image.Image) -> np.ndarray[Any, Any]:
    """(H, W), above 0 where any colour channel is; alpha does not count."""
    if mask.mode in ("1", "L", "F") or mask.mode.startswith("I"):
        return np.asarray(mask)
    return np.asarray(mask.convert("RGB")).max(axis=2)


def _luminance(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(Image.fromarray(rgb).convert("L"))
