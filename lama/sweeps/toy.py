"""Material for a trial sweep: built-in photographs, evaluation sets of them, encoders with random weights."""

from pathlib import Path

import numpy as np
import torch
from skimage.segmentation import felzenszwalb

from lama.config import build, load_data_gen
from lama.data import BuiltinPhotos
from lama.data.mask_dataset import generate
from lama.files import atomic_write
from lama.models import SegmentationEncoder, VGG19Features
from lama.pictures.images import write_image

SETS = ("random_thin_256", "random_thick_256", "segm_256")


def make_material(folder: str | Path) -> str:
    """Write photographs, their segments, evaluation sets and random encoders to ``folder``, unless they exist."""
    folder = Path(folder)
    images, labels = folder / "images", folder / "labels"
    for name, image in map(BuiltinPhotos("held_out", 288).__getitem__, range(3)):
        if not (labels / f"{name}.png").is_file():
            write_image(images / f"{name}.png", image)
            segments = felzenszwalb(image, scale=400, sigma=1, min_size=2000) + 1
            write_image(labels / f"{name}.png", np.repeat(segments[:, :, None], 3, 2).astype(np.uint8))
    for name in SETS:
        if not (folder / "sets" / name / "manifest.json").is_file():
            settings = load_data_gen(name, 0, str(labels) if name.startswith("segm") else None)
            generate(build(settings, name), settings, images, folder / "sets" / name, None, 0)
    torch.manual_seed(0)
    for name, network in (("encoder", SegmentationEncoder), ("vgg19", VGG19Features)):
        if not (folder / f"{name}.pth").is_file():
            with atomic_write(folder / f"{name}.pth") as partial:
                torch.save(network().state_dict(), partial)
    return f"{folder}: sets {', '.join(SETS)} of 3 photographs; encoder.pth and vgg19.pth with random weights"
