"""Photographs with holes, the requests for them, and the Inpainter's own results."""

import base64
import json
from io import BytesIO
from pathlib import Path

import numpy as np
from formula import fill, formula_image
from PIL import Image

from lama.checkpoints import load_generator, save_generator
from lama.inference import Inpainter
from lama.models import FFCResNetGenerator
from lama.pictures import MaskReader
from lama.pictures.reading import read_image_file

SIZES = [(16, 24), (33, 47), (64, 64), (97, 61), (120, 200), (150, 100), (256, 256), (301, 203), (40, 640)]
OPTIONS = [{}, {"detail": "on"}, {"feather": 3}, {"dilate": 2}, {"strategy": "crop"}]
KINDS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP"]
MOST_PIXELS = 500_000  # of the soak's server


def tiny_model(folder):
    """The file of a network of 4 channels, filled by a formula."""
    path = Path(folder) / "tiny.safetensors"
    save_generator(path, fill(FFCResNetGenerator(ngf=4, n_blocks=1)).eval())
    return path


def file_of(pixels, kind="PNG"):
    """The bytes of a file, in base64."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def pixels_in(text):
    """uint8 (H, W, 3), from base64."""
    return read_image_file("answer", base64.b64decode(text)).pixels


def noise(height, width):
    """A photograph that no format makes smaller, uint8 (H, W, 3)."""
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), np.uint8)


class Case:
    """One request to /api/inpaint, and the only right result."""

    def __init__(self, number, generator):
        height, width = SIZES[number % len(SIZES)]
        options = OPTIONS[number % len(OPTIONS)]
        photo = (formula_image(number, 1, 3, height, width)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : height // 2, width // 3 : width // 3 + max(4, width // 5)] = 255
        self.image, self.mask = file_of(photo, KINDS[number % len(KINDS)]), file_of(mask)
        self.body = json.dumps({"image": self.image, "mask": self.mask, "format": "png", **options}).encode()
        self.photo = pixels_in(self.image)
        opened = read_image_file("image", base64.b64decode(self.image))
        reader = MaskReader(dilate=options.get("dilate", 0))
        self.hole, _ = reader.read(Path("mask"), opened, "image", base64.b64decode(self.mask))
        made = Inpainter(generator, **{key: value for key, value in options.items() if key != "dilate"})
        self.expected = made(self.photo, self.hole)
        self._known_answers = set()  # texts that were decoded and found right

    def is_right(self, answer):
        """Whether the pixels outside the hole are the photograph's, and all are the Inpainter's."""
        text = answer["image"]
        if text in self._known_answers:
            return True
        pixels = pixels_in(text)
        same = np.array_equal(pixels[~self.hole], self.photo[~self.hole]) and np.array_equal(pixels, self.expected)
        if same:
            self._known_answers.add(text)
        return same


def cases(model, count=45):
    """``count`` different cases; 45 pairs every size with every option and every format."""
    generator = load_generator(str(model))
    return [Case(number, generator) for number in range(count)]
