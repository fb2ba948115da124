"""The image and mask contract."""

import numpy as np
import pytest
import torch

from lama.conventions import check_image_and_mask, complete, composite, generator_input, pad_to_multiple, padded_size


@pytest.fixture
def image():
    return torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


@pytest.fixture
def mask():
    mask = torch.zeros(2, 1, 5, 7)
    mask[0, 0, 1:3, 2:5] = 1
    mask[1, 0, 4, 6] = 1
    return mask


def test_an_image_and_its_mask_pass_the_check(image, mask):
    check_image_and_mask(image, mask)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 4, 5, 7), (2, 1, 5, 7), (2, 5, 7, 3)])
def test_an_image_of_another_shape_is_refused(mask, shape):
    with pytest.raises(ValueError, match=r"image: expected shape \(B, 3, H, W\)"):
        check_image_and_mask(torch.zeros(shape), mask)


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 3, 5, 7), (1, 1, 5, 7), (2, 1, 7, 5), (2, 1, 5, 6)])
def test_a_mask_of_another_shape_is_refused(image, shape):
    with pytest.raises(ValueError, match=r"mask: expected shape \(2, 1, 5, 7\)"):
        check_image_and_mask(image, torch.zeros(shape))


def test_the_generator_sees_the_mask_as_its_fourth_channel(image, mask):
    assert torch.equal(generator_input(image, mask)[:, 3:], mask)


def test_the_generator_sees_black_in_the_hole_and_the_image_elsewhere(image, mask):
    masked = generator_input(image, mask)[:, :3]
    hole = mask.bool().expand_as(image)
    assert masked[hole].eq(0).all()
    assert torch.equal(masked[~hole], image[~hole])


def test_what_is_under_the_hole_does_not_reach_the_generator(image, mask):
    changed = torch.where(mask.bool(), 1 - image, image)
    assert torch.equal(generator_input(image, mask), generator_input(changed, mask))


def test_the_generator_input_is_checked(image):
    with pytest.raises(ValueError, match="mask: expected shape"):
        generator_input(image, torch.zeros(2, 1, 7, 5))


def test_the_composite_takes_the_hole_from_the_prediction_and_the_rest_from_the_image(image, mask):
    predicted = torch.full_like(image, 0.95)
    completed = composite(predicted, image, mask)
    hole = mask.bool().expand_as(image)
    assert torch.equal(completed[hole], predicted[hole])
    assert torch.equal(completed[~hole], image[~hole])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (7, 8), (8, 16), (13, 31)])
@pytest.mark.parametrize("multiple", [1, 8, 32])
def test_padding_mirrors_the_image_as_numpy_does(size, multiple):
    x = np.arange(2 * 3 * size[0] * size[1], dtype=np.float32).reshape(2, 3, *size)
    extra = [(0, -side % multiple) for side in size]
    expected = np.pad(x, [(0, 0), (0, 0), *extra], mode="symmetric")
    np.testing.assert_array_equal(pad_to_multiple(torch.from_numpy(x), multiple), expected)


@pytest.mark.parametrize(("size", "expected"), [(1, 24), (17, 24), (24, 24), (25, 32)])
def test_a_padded_size_is_a_multiple_and_not_below_the_least(size, expected):
    assert padded_size(size, multiple=8, at_least=17) == expected


def test_completing_masks_pads_crops_and_composites(image, mask):
    class Network(torch.nn.Module):
        pad_multiple, min_size = 4, 8

        def forward(self, x):
            assert x.shape == (2, 4, 8, 8)
            assert torch.equal(x, pad_to_multiple(generator_input(image, mask), 4, 8))
            return x[:, :3] + 0.5

    predicted, completed = complete(Network(), image, mask)
    assert torch.equal(predicted, image * (1 - mask) + 0.5)
    assert torch.equal(completed, composite(predicted, image, mask))
