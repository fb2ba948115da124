"""A ComfyUI node: an image and a mask in, the image with its hole filled out. Copy this folder to ``custom_nodes``.

ComfyUI's contract: IMAGE is a tensor (B, H, W, 3) float32 in [0, 1], MASK is (B, H, W) or (H, W) in [0, 1].
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lama.inference import Inpainter, load

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]


@lru_cache(maxsize=1)  # the network stays in memory until another one is asked for
def _inpainter(model: str, device: str) -> Inpainter:
    return load(model, device)


class LamaRemove:
    """The node. A mask of one frame serves a batch of images; every mask value above 0 is a hole.

    ``model`` is anything that ``lama.load`` takes. Alpha is dropped. Raises ValueError, in one line, if mask and image
    differ in size, and the errors of ``lama.load`` for a model that is not there.
    """

    CATEGORY = "image/inpaint"
    FUNCTION = "remove"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        return {
            "required": {
                "image": ("IMAGE",),
                "mask": ("MASK",),
                "model": ("STRING", {"default": "small"}),
                "device": (["auto", "cpu", "cuda", "mps"],),
            }
        }

    def remove(self, image: Tensor, mask: Tensor, model: str = "small", device: str = "auto") -> tuple[Tensor]:
        masks = mask[None] if mask.dim() == 2 else mask
        if masks.shape[0] not in (1, image.shape[0]) or masks.shape[1:] != image.shape[1:3]:
            size = f"{image.shape[2]} x {image.shape[1]} pixels"
            found = f"{masks.shape[0]} of {masks.shape[2]} x {masks.shape[1]}"
            raise ValueError(f"mask: expected 1 or {image.shape[0]} of {size} as the image, got {found}")
        images = list(image[..., :3].float().clamp(0, 1).cpu().numpy())
        holes = list(masks.expand(image.shape[0], -1, -1).float().cpu().numpy())
        filled = _inpainter(model, device).many(images, holes)
        return (torch.stack([torch.from_numpy(pixels) for pixels in filled]).to(image),)


NODE_CLASS_MAPPINGS = {"LamaRemove": LamaRemove}
NODE_DISPLAY_NAME_MAPPINGS = {"LamaRemove": "Remove an object (LaMa)"}
