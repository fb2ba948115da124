"""The colour error of a filled hole, against scikit-image and scipy."""

import numpy as np
import skimage
import torch
from scipy.ndimage import gaussian_filter

from lama.evaluation.colour import SIGMA, ColourError


def tensor(image):
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]


def fixtures():
    photo = skimage.data.coffee()[:200, :240]
    mask = np.zeros(photo.shape[:2], bool)
    mask[60:140, 80:170] = True
    return photo, mask


def test_it_is_delta_e_of_blurred_lab():
    photo, mask = fixtures()
    filled = np.where(mask[..., None], photo[mask].mean(axis=0).astype(np.uint8), photo)

    def blurred(image):
        return gaussian_filter(skimage.color.rgb2lab(image), (SIGMA, SIGMA, 0), mode="nearest", truncate=3)

    expected = skimage.color.deltaE_cie76(blurred(filled), blurred(photo))[mask].mean()
    ours = ColourError().score(tensor(filled), tensor(photo), torch.from_numpy(mask)[None, None].float())
    assert abs(float(ours) - expected) < 0.01 * expected


def test_texture_costs_little_and_a_cast_much():
    photo, mask = fixtures()
    m = torch.from_numpy(mask)[None, None].float()
    noise = np.random.default_rng(0).normal(0, 20, photo.shape) * mask[..., None]
    cast = np.array([0, 0, 40]) * mask[..., None]
    textured, tinted = (tensor((photo + change).clip(0, 255)) for change in (noise, cast))
    score = ColourError().score
    assert 0 < score(textured, tensor(photo), m) < 2.3 < score(tinted, tensor(photo), m)
    assert score(tensor(photo), tensor(photo), m) == 0
