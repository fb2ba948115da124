"""Wrong colours of a filled hole, whatever its texture."""

import math

from torch import Tensor

from lama.evaluation.pixel import mean_over_pixels
from lama.interfaces import ImageMetric

SIGMA = 8.0  # pixels: finer differences are texture, whose exact place a fill cannot know
_KERNEL = 2 * int(3 * SIGMA) + 1


class ColourError(ImageMetric):
    """Mean distance of the blurred colours in the hole: Delta E of CIE 1976 in CIELAB, after a Gaussian of ``SIGMA``.

    ``score`` takes completed and target (B, 3, H, W), sRGB in [0, 1], and mask (B, 1, H, W), 1 = hole. It gives (B,);
    nan for an image without a hole. A Delta E of 2.3 is just noticeable (Mahy et al., Color Res. Appl. 1994).
    """

    label, higher_is_better, bounds = "colour error (hole)", False, (0.0, math.inf)

    def score(self, completed: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        difference = _lab(completed.double()) - _lab(target.double())
        return mean_over_pixels(difference.norm(dim=1, keepdim=True), mask, region="hole")


def _lab(image: Tensor) -> Tensor:
    from kornia.color import rgb_to_lab  # here: importing it takes a second
    from kornia.filters import gaussian_blur2d

    return gaussian_blur2d(rgb_to_lab(image), (_KERNEL, _KERNEL), (SIGMA, SIGMA), border_type="replicate")
