"""Remove an object with OpenCV alone: no torch, no ONNX Runtime, none of this package.

lama export format=onnx out=lama.onnx
python opencv.py lama.onnx photo.jpg mask.png result.png

White in the mask is removed; the sizes of photograph and mask are equal, and free. Needs opencv-python 5.
"""

import os
import sys

import cv2
import numpy as np
from numpy.typing import NDArray


def remove(network: cv2.dnn.Net, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Image (H, W, 3) BGR, as OpenCV reads it, and mask (H, W), above 0 = hole: the image with its hole filled."""
    network.setInput(cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True), "image")  # (1, 3, H, W) RGB in [0, 1]
    network.setInput(cv2.dnn.blobFromImage(mask), "mask")
    completed = network.forward("completed")[0].transpose(1, 2, 0)[:, :, ::-1]
    filled = (completed * 255).round().clip(0, 255).astype(np.uint8)
    return np.where(mask[:, :, None] > 0, filled, image)


def read(path: str, mode: int) -> NDArray[np.uint8]:
    """The picture, 8 bits. Raises SystemExit with one line if OpenCV cannot read it."""
    pixels = cv2.imread(path, mode)
    if pixels is None:
        raise SystemExit(f"{path}: OpenCV cannot read it as a picture")
    return np.asarray(pixels, np.uint8)


def main(model: str, photo: str, hole: str, out: str) -> None:
    """Raises SystemExit, in one line, for a file that cannot be read, computed or written, and for unequal sizes."""
    image, mask = read(photo, cv2.IMREAD_COLOR), read(hole, cv2.IMREAD_GRAYSCALE)
    if image.shape[:2] != mask.shape:
        sizes = " and ".join(f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (image, mask))
        raise SystemExit(f"photograph and mask: expected equal sizes, got {sizes} pixels")
    if not os.path.isfile(model):
        raise SystemExit(f"{model}: no such file; lama export format=onnx out={model} writes one")
    try:
        filled = remove(cv2.dnn.readNetFromONNX(model), image, mask)
    except cv2.error as error:
        raise SystemExit(f"{model}: OpenCV {cv2.__version__} cannot compute it: {error.err}") from None
    try:
        written = cv2.imwrite(out, filled)
    except cv2.error:  # a name without the suffix of a format
        written = False
    if not written:
        raise SystemExit(f"{out}: OpenCV cannot write it: expected a name such as result.png in a folder that exists")
    print(f"written: {out}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit("usage: python opencv.py lama.onnx photo.jpg mask.png result.png")
    main(*sys.argv[1:])
