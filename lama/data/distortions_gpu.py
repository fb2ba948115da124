"""The ``distortions`` chain on the device of the training: workers draw and cut windows, the batch is distorted there.

A worker draws with the generator of the sample, through the same transforms of albumentations. So the crops are those
of ``Distortions``, to rounding, for any number of workers and processes and after a resume. A worker decodes, cuts the
part of the image that the crop shows, and rasterises the mask. Resampling and colours are computed by kornia for the
whole batch; no image of it depends on the others.
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import kornia
import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lama.data.augment import Distortions, seeded, two_pixels
from lama.data.clahe import equalise
from lama.data.warp import lens_places
from lama.interfaces import ImageArray, MaskArray
from lama.pictures.images import mask_to_tensor

NO_LENS = (0.0, 1, 1, 0, 0)  # coefficient, height and width of the canvas, top, left
MOST_PIXELS = 2**27  # of a window; a perspective that sees more shows the horizon


class Window(NamedTuple):
    """The part of an image that a crop shows, and how to make the crop of it."""

    pixels: ImageArray  # (side, side, 3): the part, at the top left
    numbers: np.ndarray[Any, np.dtype[np.float32]]  # see ``_numbers``


class _KeptConstants(TorchFunctionMode):
    """Keeps tensors that are made of the same numbers again: kornia sends its constants in every call, and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.tensor or isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        key = repr((args, kwargs))
        if key not in self.kept:
            self.kept[key] = func(*args, **kwargs)
        return self.kept[key].clone()


class DistortionsOnDevice(Distortions):
    """``Distortions``, with the same options, computed on the device of the training.

    ``window`` is for the workers, ``collate`` makes a batch of what they return, ``finish`` makes its crops. Windows
    have twice the side of a crop. Where a crop shows more, its window is reduced first, which is smoother than one
    interpolation. Called like other augmentations, it computes on the CPU.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.side = 2 * max(self.size)
        self.constants = _KeptConstants()
        self.drawing = copy.deepcopy(self.chain)
        for transform in self.drawing.transforms:
            transform.apply_with_params = _untouched  # it draws, and does not compute

    def window(
        self, image: ImageArray, rng: np.random.Generator, mask: MaskArray | None = None
    ) -> tuple[Window, MaskArray | None]:
        """The window of an image; a mask is transformed at once. Raises ValueError for a window that is too large."""
        image = two_pixels(image)
        seeded(self.drawing, rng)(image=image)
        warp, flip, clahe, light, colour = (one.get_applied_params() for one in self.drawing.transforms)
        lens = warp["lens"] or NO_LENS
        pixels, to_window = _cut(image, _box(warp["back"], lens, self.size), self.side)
        numbers = _numbers(to_window @ warp["back"], lens, bool(flip), clahe, light, colour)
        if mask is not None:
            made = self.drawing.transforms[0].apply_to_mask(two_pixels(mask.astype(np.uint8)), **warp)
            mask = np.ascontiguousarray(made[:, ::-1] if flip else made).astype(np.bool_)
        return Window(pixels, numbers), mask

    @staticmethod
    def collate(samples: Sequence[tuple[Window, MaskArray]]) -> dict[str, Any]:
        """A batch: window uint8 (B, side, side, 3), numbers (B, 21), mask (B, 1, H, W)."""
        return {
            "window": torch.from_numpy(np.stack([window.pixels for window, _ in samples])),
            "numbers": torch.from_numpy(np.stack([window.numbers for window, _ in samples])),
            "mask": torch.stack([mask_to_tensor(mask) for _, mask in samples]),
        }

    @torch.no_grad()
    def finish(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """{"image": (B, 3, H, W) in [0, 1], "mask"} of a batch of ``collate``, on its device, without a wait."""
        with self.constants:
            return {"image": self._crops(batch), "mask": batch["mask"]}

    def _crops(self, batch: dict[str, Any]) -> Tensor:
        numbers = batch["numbers"]
        windows = batch["window"].permute(0, 3, 1, 2).float() / 255
        x, y = _places(numbers, *self.size)
        image = kornia.geometry.transform.remap(windows, x, y, align_corners=True)
        flip, contrast, brightness, *colour = numbers[:, 14:20, None, None, None].unbind(1)
        image = torch.where(flip > 0, image.flip(3), image)
        image = _equalised(image, numbers[:, 20])
        image = _coloured((image * contrast + brightness).clamp(0, 1), *colour)
        return image.clamp(0, 1)


def _untouched(params: dict[str, Any], **data: Any) -> dict[str, Any]:
    return data


def _box(back: Any, lens: tuple[float, int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels of the image that a crop shows; its border shows the outermost ones."""
    k, canvas_height, canvas_width, top, left = lens
    height, width = size
    lines = [
        (top, left, 1, width),
        (top + height - 1, left, 1, width),
        (top, left, height, 1),
        (top, left + width - 1, height, 1),
    ]
    border = [lens_places((k, canvas_height, canvas_width, y, x), h, w).reshape(-1, 2) for y, x, h, w in lines]
    places = cv2.perspectiveTransform(np.concatenate(border)[None], back)[0]
    (left, top), (right, bottom) = np.floor(places.min(axis=0)) - 1, np.ceil(places.max(axis=0)) + 2
    if not (right - left) * (bottom - top) < MOST_PIXELS:
        raise ValueError("its perspective shows too much")
    return int(left), int(top), int(right), int(bottom)


def _cut(image: ImageArray, box: tuple[int, int, int, int], side: int) -> tuple[ImageArray, Any]:
    """The pixels in ``box`` at the top left of (side, side, 3), and the matrix from the image to them (3, 3).

    Outside of the image they are its reflection. A box larger than ``side`` is reduced to it.
    """
    left, top, right, bottom = box
    if min(left, top) < 0 or bottom > image.shape[0] or right > image.shape[1]:
        part = image[_reflected(top, bottom, image.shape[0])][:, _reflected(left, right, image.shape[1])]
    else:
        part = image[top:bottom, left:right]
    height, width = min(part.shape[0], side), min(part.shape[1], side)
    x, y = width / part.shape[1], height / part.shape[0]
    if (x, y) != (1, 1):
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[:height, :width] = part
    return pixels, np.array([[x, 0, (0.5 - left) * x - 0.5], [0, y, (0.5 - top) * y - 0.5], [0, 0, 1]])


def _reflected(first: int, last: int, length: int) -> Any:
    """Indices of an axis from ``first`` to ``last``, mirrored without repeating its ends (``BORDER_REFLECT_101``)."""
    period = 2 * (length - 1)
    indices = np.abs(np.arange(first, last)) % period
    return np.minimum(indices, period - indices)


def _numbers(matrix: Any, lens: Any, flip: bool, clahe: Any, light: Any, colour: Any) -> Any:
    """float32 (21,): matrix from canvas to window (9), lens (5), flip, contrast, brightness, colours (3), CLAHE.

    The values of a transform that is not applied change nothing; the limit of CLAHE is 0 then.
    """
    shifts = [colour.get(f"{name}_shift", 0.0) for name in ("hue", "sat", "val")]
    lighter = light.get("alpha", 1.0), light.get("beta", 0.0) / 255
    return np.array([*matrix.ravel(), *lens, flip, *lighter, *shifts, clahe.get("clip_limit", 0.0)], np.float32)


def _places(numbers: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where in its window each pixel of a crop lies: x and y (B, H, W) in pixels. See ``lens_places``."""
    matrix = numbers[:, :9, None, None]
    k, canvas_height, canvas_width, top, left = numbers[:, 9:14, None, None].unbind(1)
    x = (torch.arange(width, device=numbers.device) + left - canvas_width / 2) / canvas_width
    y = (torch.arange(height, device=numbers.device)[:, None] + top - canvas_height / 2) / canvas_width
    r2 = x**2 + y**2
    bend = canvas_width * (1 + k * r2 * (1 + r2))
    x, y = bend * x + canvas_width / 2, bend * y + canvas_height / 2
    a, b, c = ((matrix[:, i] * x + matrix[:, i + 1] * y + matrix[:, i + 2]) for i in (0, 3, 6))
    return a / c, b / c


def _equalised(image: Tensor, limit: Tensor) -> Tensor:
    """CLAHE of the lightness in 8-bit levels, as OpenCV computes it; images whose ``limit`` (B,) is 0 are unchanged."""
    lab = kornia.color.rgb_to_lab(image)
    levels = (lab[:, 0] * 2.55).round().clamp(0, 255)
    lab = torch.cat([equalise(levels, limit)[:, None] / 2.55, lab[:, 1:]], dim=1)
    return torch.where(limit[:, None, None, None] > 0, kornia.color.lab_to_rgb(lab).clamp(0, 1), image)


def _coloured(image: Tensor, hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Shifts in OpenCV's 8-bit units: hue of 2 degrees, saturation and value of 1 / 255. Grey stays grey."""
    h, s, v = (channel[:, None] for channel in kornia.color.rgb_to_hsv(image).unbind(1))
    h = (h + hue * (torch.pi / 90)) % (2 * torch.pi)
    s = torch.where(s * 255 < 0.5, s, (s + saturation / 255).clamp(0, 1))
    return kornia.color.hsv_to_rgb(torch.cat([h, s, (v + value / 255).clamp(0, 1)], dim=1))
