"""Networks: the generator, the discriminator, and the frozen encoders of the perceptual losses."""

from lama.models.dilated import DilatedResNetGenerator
from lama.models.ffc_resnet import FFCResNetGenerator
from lama.models.patchgan import PatchDiscriminator
from lama.models.resnet import ResNetGenerator
from lama.models.segmentation_encoder import SegmentationEncoder
from lama.models.vgg import VGG19Features

__all__ = [
    "DilatedResNetGenerator", "FFCResNetGenerator", "PatchDiscriminator", "ResNetGenerator", "SegmentationEncoder",
    "VGG19Features",
]  # fmt: skip
GENERATORS = tuple(name for name in __all__ if name.endswith("Generator"))  # classes that a checkpoint may name
