"""Augmentation: crops, distortions and colour; a mask is transformed with its image."""

import albumentations as A
import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf

from lama.config import CONFIGS, build
from lama.data import CropFlip, Distortions, NoAugmentation, ScaleCrop
from lama.data.warp import WarpCrop

PLAIN = {"perspective": 0, "scale": (1, 1), "rotate": 0, "shear": 0, "affine_probability": 0, "optical": 0}
CHAINS = {
    "distortions": Distortions,
    "light": lambda size: Distortions(size, 0.02, (0.8, 1.8), 20, 0.03, optical=0),
    "small scales": lambda size: Distortions(size, scale=(0.3, 0.7), affine_probability=1),
    "scale_crop": ScaleCrop,
    "crop_flip": CropFlip,
}
OFFICIAL = {  # perspective, scale, rotate, shear, probability of the affine part, optical
    "distortions": (0.06, (0.7, 1.3), 40, 0.1, 0.5, 0.05),
    "distortions_light": (0.02, (0.8, 1.8), 20, 0.03, 0.5, 0),
    "distortions_scale05_1": (0.06, (0.5, 1.0), 40, 0.1, 1, 0.05),
    "distortions_scale03_12": (0.06, (0.3, 1.2), 40, 0.1, 1, 0.05),
    "distortions_scale03_07": (0.06, (0.3, 0.7), 40, 0.1, 1, 0.05),
}


def smooth(height=120, width=160):
    """An image without sharp edges, so that another way of interpolating makes little difference."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + k) + np.cos(y / 7 - k) for k in range(3)]
    return (127 + 50 * np.stack(waves, axis=2)).astype(np.uint8)


def noise(height=50, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blob(height=120, width=160):
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 2, height // 2), min(height, width) // 3, 1, -1)
    cv2.rectangle(mask, (3, 5), (width // 4, height // 5), 1, -1)
    return mask.astype(bool)


def rng(seed):
    return np.random.default_rng(seed)


def warp(transform, image, seed=0, **others):
    chain = A.Compose([transform], strict=True)
    chain.set_random_seed(seed)
    return chain(image=image, **others)


def only_affine(height, width, **options):
    """A warp that draws nothing but what ``options`` ask for, always."""
    nothing = {"perspective": 0, "p_perspective": 0, "scale": (1, 1), "rotate": 0, "shear": 0, "p_affine": 1,
               "optical": 0, "p_optical": 0}  # fmt: skip
    return WarpCrop(height, width, **nothing | options)


@pytest.fixture(params=CHAINS.values(), ids=CHAINS)
def chain(request):
    return request.param


# Every chain


@pytest.mark.parametrize("size", [32, [32, 48], (40, 16)])
@pytest.mark.parametrize("photo", [(120, 160), (50, 20), (33, 200), (1, 1), (2, 300)])
def test_a_crop_has_the_size_asked_for(chain, size, photo):
    augment = chain(size)
    height, width = (size, size) if isinstance(size, int) else size
    assert tuple(augment.size) == (height, width)
    for seed in range(4):
        image, mask = augment(noise(*photo), rng(seed), np.zeros(photo, bool))
        assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)
        assert (mask.shape, mask.dtype) == ((height, width), np.bool_)


def test_without_a_mask_none_comes_back(chain):
    image, mask = chain(32)(noise(), rng(0))
    assert image.shape == (32, 32, 3)
    assert mask is None


def test_a_mask_takes_the_same_way_as_its_image(chain):
    hole = blob()
    photo = np.repeat(hole[..., None] * np.uint8(200) + np.uint8(20), 3, axis=2)
    areas = []
    for seed in range(25):
        image, mask = chain([64, 48])(photo, rng(seed), hole)
        level = image.mean(axis=2)
        if 0.1 < mask.mean() < 0.9:  # colours change, but white stays above black
            eroded = [cv2.erode(m.astype(np.uint8), np.ones((3, 3))).astype(bool) for m in (mask, ~mask)]
            assert level[eroded[0]].min() > level[eroded[1]].max() + 20, seed
        areas.append(mask.mean())
    assert np.std(areas) > 0.05


def test_the_mask_changes_nothing_about_the_image(chain):
    for seed in range(5):
        with_mask, _ = chain(32)(noise(), rng(seed), np.ones((50, 60), bool))
        without, _ = chain(32)(noise(), rng(seed))
        np.testing.assert_array_equal(with_mask, without)


def test_crops_are_a_function_of_the_rng(chain):
    augment, used = chain(32), chain(32)
    used(noise(80, 90), rng(9))
    for seed in range(5):
        np.testing.assert_array_equal(augment(noise(), rng(seed))[0], used(noise(), rng(seed))[0])
    assert len({augment(noise(), rng(seed))[0].tobytes() for seed in range(10)}) > 7


def test_the_image_and_its_mask_are_left_as_they_were(chain):
    image, mask = noise(), blob(50, 60)
    for seed in range(5):
        chain(32)(image, rng(seed), mask)
    np.testing.assert_array_equal(image, noise())
    np.testing.assert_array_equal(mask, blob(50, 60))


def test_a_read_only_image_is_augmented(chain):
    image = noise()
    image.flags.writeable = False
    for seed in range(5):
        assert chain(32)(image, rng(seed))[0].any()


def test_borders_are_reflections_and_never_black(chain):
    white = np.full((40, 30, 3), 250, np.uint8)
    for seed in range(30):
        assert chain(64)(white, rng(seed), np.ones((40, 30), bool))[0].min() > 100
        assert chain(64)(white, rng(seed), np.ones((40, 30), bool))[1].all()


def test_an_extended_image_mirrors_without_repeating_its_edge():
    padded = only_affine(20, 24, p_affine=0)
    image = noise(12, 16)
    expected = cv2.copyMakeBorder(image, 4, 4, 4, 4, cv2.BORDER_REFLECT_101)
    np.testing.assert_array_equal(warp(padded, image)["image"], expected)


def test_the_parts_of_a_chain_happen_independently_of_each_other():
    """Flip, contrast and colour of the plainest photo that shows each of them."""
    y, x = np.mgrid[:32, :32]
    photo = np.stack([60 + 4 * x, 90 + 2 * y, 100 + 0 * x], axis=2).astype(np.uint8)
    chain = Distortions(32, **PLAIN | {"scale": (1, 1)})
    flips, kinds = [], []
    for seed in range(300):
        image = chain(photo, rng(seed))[0].astype(int)
        flips.append(image[:, 0, 0].mean() > image[:, -1, 0].mean())
        kinds.append(np.abs(np.sort(image, axis=1) - np.sort(photo.astype(int), axis=1)).max() > 1)
    both = np.array([flips, kinds])
    assert 0.4 < both[0].mean() < 0.6
    assert 0.8 < both[1].mean() < 0.95  # three parts, each half of the time: seven of eight
    assert abs(np.corrcoef(both)[0, 1]) < 0.2


# The crops


def windows(image, crop):
    """Where ``crop`` is found in ``image``, or in its mirror image."""
    found = 0
    for whole in (image, image[:, ::-1]):
        places = np.lib.stride_tricks.sliding_window_view(whole, crop.shape[:2], axis=(0, 1))
        found += int((places == crop.transpose(2, 0, 1)).all(axis=(2, 3, 4)).sum())
    return found


@pytest.mark.parametrize("size", [32, [20, 44]])
def test_crop_flip_cuts_out_unchanged_pixels(size):
    for seed in range(5):
        assert windows(noise(), CropFlip(size)(noise(), rng(seed))[0]) == 1


def test_crop_flip_reaches_every_place_and_mirrors_half_of_the_time():
    x = np.broadcast_to(np.arange(24, dtype=np.uint8)[None, :, None], (18, 24, 3))
    crops = [CropFlip(16)(x, rng(seed))[0][0, :, 0] for seed in range(200)]
    assert {int(crop.min()) for crop in crops} == set(range(9))
    assert 60 < sum(crop[0] > crop[-1] for crop in crops) < 140


@pytest.mark.parametrize("seed", range(3))
def test_a_warp_that_draws_nothing_is_a_plain_crop(seed):
    photo = noise()
    image = warp(only_affine(32, 24, p_affine=0), photo, seed)["image"]
    assert windows(photo, image) == 1


@pytest.mark.parametrize("seed", range(3))
def test_an_affine_of_scale_one_and_no_rotation_is_a_plain_crop(seed):
    image = noise()
    assert windows(image, warp(only_affine(32, 24), image, seed)["image"]) == 1


def test_crops_of_a_warp_reach_every_place():
    x = np.broadcast_to(np.arange(24, dtype=np.uint8)[None, :, None], (18, 24, 3))
    crops = [warp(only_affine(16, 16), x, seed)["image"][0, 0, 0] for seed in range(150)]
    assert {int(left) for left in crops} == set(range(9))


def scales(scale, count=60):
    """Horizontal and vertical scale of drawn warps, measured in a ramp per direction."""
    y, x = np.mgrid[:128, :128]
    ramps = np.stack([x, y, x], axis=2).astype(np.uint8)
    drawn = []
    for seed in range(count):
        image = warp(only_affine(32, 32, scale=scale), ramps, seed)["image"].astype(float)
        drawn.append((slope(image[16, :, 0]), slope(image[:, 16, 1])))
    return np.array(drawn)


def slope(values):
    """By how much a ramp of one level per pixel was stretched."""
    return 1 / abs(np.polyfit(np.arange(len(values)), values, 1)[0])


def test_horizontal_and_vertical_scale_are_independent_and_fill_their_range():
    drawn = scales((1.0, 1.6))
    assert 0.97 < drawn.min() < 1.1
    assert 1.5 < drawn.max() < 1.64
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.35


@pytest.mark.parametrize("factor", [1.25, 1.5])
def test_a_scale_above_one_enlarges(factor):
    np.testing.assert_allclose(scales((factor, factor), 5), factor, rtol=0.03)


@pytest.mark.parametrize("angle", [30.0, 90.0])
def test_rotation_covers_its_range_both_ways(angle):
    y, x = np.mgrid[:121, :121]
    ramps = np.stack([x, y, x], axis=2).astype(np.uint8)
    turned = []
    for seed in range(40):
        image = warp(only_affine(121, 121, rotate=angle), ramps, seed)["image"].astype(float)
        across = image[60, 65, :2] - image[60, 55, :2]  # the direction in the image of a step to the right
        turned.append(np.degrees(np.arctan2(across[1], across[0])))
    assert -angle - 2 < min(turned) < -0.75 * angle
    assert 0.75 * angle < max(turned) < angle + 2


# Against others' warps


class FixedAffine(WarpCrop):
    """The warp with drawn numbers that a test can read."""

    def _affine(self, rng, height, width):
        self.matrix = super()._affine(rng, height, width)
        return self.matrix


@pytest.mark.parametrize("seed", range(6))
def test_the_affine_part_is_opencvs_followed_by_the_crop(seed):
    photo = smooth()
    transform = FixedAffine(120, 160, 0, 0, (0.7, 1.3), 40, 5, 1, 0, 0)
    image = warp(transform, photo, seed)["image"]
    expected = cv2.warpAffine(photo, transform.matrix[:2], (160, 120), borderMode=cv2.BORDER_REFLECT_101)
    assert np.abs(image.astype(int) - expected).max() <= 4
    assert np.abs(photo.astype(int) - expected).max() > 40


@pytest.mark.parametrize("seed", range(4))
def test_a_crop_of_the_warp_is_a_part_of_the_whole_warped_image(seed):
    image = smooth()
    transform = FixedAffine(48, 64, 0, 0, (0.8, 1.2), 30, 1, 1, 0, 0)
    crop = warp(transform, image, seed)["image"].astype(int)
    whole = cv2.warpAffine(image, transform.matrix[:2], (160, 120), borderMode=cv2.BORDER_REFLECT_101)
    score = cv2.matchTemplate(whole, crop.astype(np.uint8), cv2.TM_SQDIFF)
    _, _, (left, top), _ = cv2.minMaxLoc(score)
    assert np.abs(whole[top : top + 48, left : left + 64].astype(int) - crop).max() <= 4


@pytest.mark.parametrize(("scale", "angle"), [(1.2, 0), (1.0, 25), (0.8, -10)])
def test_scale_and_rotation_mean_what_albumentations_means(scale, angle):
    image = smooth()

    class Turned(WarpCrop):
        def _affine(self, rng, height, width):
            rng.random()
            self.rotate = 0
            matrix = super()._affine(rng, height, width)
            c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            centre = np.array([[1, 0, 79.5], [0, 1, 59.5], [0, 0, 1]])
            return centre @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.linalg.inv(centre) @ matrix

    ours = warp(Turned(120, 160, 0, 0, (scale, scale), 0, 0, 1, 0, 0), image)["image"].astype(int)
    affine = A.Affine(scale=scale, rotate=(angle, angle), border_mode=cv2.BORDER_REFLECT_101, p=1)
    opposite = A.Affine(scale=scale, rotate=(-angle, -angle), border_mode=cv2.BORDER_REFLECT_101, p=1)
    gaps = [np.abs(warp(other, image)["image"].astype(int) - ours).max() for other in (affine, opposite)]
    assert min(gaps) <= 4


class FixedLens(WarpCrop):
    k = 0.0

    def get_params_dependent_on_data(self, params, data):
        drawn = super().get_params_dependent_on_data(params, data)
        self.k = drawn["lens"][0]
        return drawn


@pytest.mark.parametrize("seed", range(4))
def test_optical_distortion_is_that_of_albumentations_05(seed):
    photo = smooth(96, 128)
    transform = FixedLens(96, 128, 0, 0, (1, 1), 0, 0, 0, 0.4, 1)
    image = warp(transform, photo, seed)["image"]
    camera = np.array([[128, 0, 64], [0, 128, 48], [0, 0, 1]], np.float32)
    bend = np.array([transform.k, transform.k, 0, 0, 0], np.float32)
    maps = cv2.initUndistortRectifyMap(camera, bend, None, camera, (128, 96), cv2.CV_32FC1)
    expected = cv2.remap(photo, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    assert np.abs(image.astype(int) - expected).max() <= 2
    assert abs(transform.k) <= 0.4


def test_optical_distortion_is_centred_on_the_whole_image_not_the_crop():
    image = smooth(96, 128)
    whole = FixedLens(96, 128, 0, 0, (1, 1), 0, 0, 0, 0.4, 1)
    crop = FixedLens(40, 40, 0, 0, (1, 1), 0, 0, 0, 0.4, 1)
    crop.get_params_dependent_on_data = lambda **_: {"back": np.eye(3), "lens": (0.3, 96, 128, 50, 80)}
    whole.get_params_dependent_on_data = lambda **_: {"back": np.eye(3), "lens": (0.3, 96, 128, 0, 0)}
    part = warp(whole, image)["image"][50:90, 80:120].astype(int)
    assert np.abs(part - warp(crop, image)["image"]).max() <= 1


def test_perspective_moves_the_corners_inwards():
    image = np.zeros((100, 100, 3), np.uint8)
    image[3:-3, 3:-3] = 255  # a black frame that is cut off where corners come from inside
    transform = WarpCrop(100, 100, 0.2, 1, (1, 1), 0, 0, 0, 0, 0)
    black = [(warp(transform, image, seed)["image"] < 128).mean() for seed in range(20)]
    before = (image < 128).mean()
    assert max(black) <= before * 1.05
    assert min(black) < before / 4


# The official variants


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_variants_have_the_official_ranges(name, monkeypatch):
    drawn = {}

    class Recorded(WarpCrop):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            drawn["transform"] = self

    monkeypatch.setattr("lama.data.augment.WarpCrop", Recorded)
    folder = CONFIGS / "training" / "augment"
    config = OmegaConf.load(folder / f"{name}.yaml")
    if "defaults" in config:
        config = OmegaConf.merge(OmegaConf.load(folder / "distortions.yaml"), config)
        del config["defaults"]
    build(config, "augment")
    warp = drawn["transform"]
    perspective, scale, rotate, shear, probability, optical = OFFICIAL[name]
    assert (warp.height, warp.width, warp.perspective, warp.p_perspective) == (256, 256, perspective, 0.5)
    assert (tuple(warp.scale), warp.rotate, warp.shear, warp.p_affine) == (scale, rotate, shear, probability)
    assert warp.optical == optical
    assert warp.p_optical == (0.5 if optical else 0)


def drawn_kinds(count=400):
    """How often the default chain draws each of its three parts."""
    transform = WarpCrop(32, 32)
    kinds = {"perspective": 0, "affine": 0}

    def counted(name, original):
        def wrapper(*arguments):
            kinds[name] += 1
            return original(*arguments)

        return wrapper

    for name in list(kinds):
        setattr(transform, f"_{name}", counted(name, getattr(transform, f"_{name}")))
    lenses = 0
    for seed in range(count):
        transform.set_random_seed(seed)
        drawn = transform.get_params_dependent_on_data({"shape": (60, 60, 3)}, {})
        lenses += drawn["lens"] is not None
        if drawn["lens"]:
            assert abs(drawn["lens"][0]) <= 0.05
    return [*kinds.values(), lenses]


def test_each_part_is_drawn_half_of_the_time():
    assert all(150 < count < 250 for count in drawn_kinds())


def test_scale_crop_scales_by_no_more_than_a_fifth():
    x = np.mgrid[:80, :80][1]
    x = np.repeat((x * 3).astype(np.uint8)[..., None], 3, axis=2)
    chain = ScaleCrop(48).chain.transforms[0]
    widths = set()
    for seed in range(100):
        chain.set_random_seed(seed)
        widths.add(A.Compose([chain], seed=seed)(image=x)["image"].shape[1])
    assert min(widths) >= 64
    assert max(widths) <= 96
    assert len(widths) > 20
    assert 80 in widths


# Unusual images


def test_no_augmentation_changes_nothing():
    image, mask = NoAugmentation([50, 60])(noise(), rng(0), blob(50, 60))
    np.testing.assert_array_equal(image, noise())
    np.testing.assert_array_equal(mask, blob(50, 60))


def test_no_augmentation_refuses_another_size_and_says_what_to_do():
    with pytest.raises(ValueError, match=r"expected an image of 32 x 40 pixels, got 60 x 50: resize .*crop_flip"):
        NoAugmentation([40, 32])(noise(), rng(0))


# Bad input


@pytest.mark.parametrize("size", [0, 8, -256, [256], [256, 8], [16, 16, 16], 256.0, "256"])
@pytest.mark.parametrize("kind", [Distortions, ScaleCrop, CropFlip, NoAugmentation])
def test_an_invalid_size_is_refused(kind, size):
    with pytest.raises(ValueError, match=r"augment\.size: expected at least 16 pixels"):
        kind(size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (1.3, 0.7)}, r"augment\.scale"),
        ({"scale": (0, 1)}, r"augment\.scale"),
        ({"scale": (1,)}, r"augment\.scale"),
        ({"scale": (-1, 1)}, r"augment\.scale"),
        ({"perspective": -0.1}, "perspective"),
        ({"rotate": -1}, "rotate"),
        ({"shear": -1}, "shear"),
        ({"optical": -0.1}, "optical"),
        ({"affine_probability": 1.5}, "affine_probability"),
    ],
)
def test_invalid_ranges_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        Distortions(32, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("photo", [(20, 40000), (40000, 20)])
def test_a_panorama_is_cropped_or_refused_as_a_bad_image(photo):
    for seed in range(8):
        try:
            image, _ = Distortions(32)(np.zeros((*photo, 3), np.uint8), rng(seed))
        except ValueError:  # a training replaces such an image; other errors end it
            continue
        assert image.shape == (32, 32, 3)
