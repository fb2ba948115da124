"""``augment=distortions_gpu``: the crops of ``augment=distortions``, computed for a batch on its device."""

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from trainings import BOXES, make_module, run_into

from lama.bench.data import plain_distortions
from lama.data import BuiltinPhotos, Distortions, DistortionsOnDevice, InpaintingDataModule
from lama.data.augment import seeded
from lama.data.clahe import equalise
from lama.machine.rehearsal import Rehearsal

SIZE = 48
NO_COLOURS = np.array([0, 1, 0, 0, 0, 0, 0])  # flip, contrast, brightness, hue, saturation, value, CLAHE


@pytest.fixture(scope="module")
def photos():
    source = BuiltinPhotos("train")
    return [source[i][1][:200, :240] for i in range(8)]


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (50, 64), (37, 71)])
def test_clahe_is_that_of_opencv(shape):
    rng = np.random.default_rng(0)
    images = [cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), sigma) for sigma in (0.5, 2, 5)]
    limits = (1.0, 2.3, 4.0)
    made = equalise(torch.from_numpy(np.stack(images)).float(), torch.tensor(limits))
    for image, limit, ours in zip(images, limits, made, strict=True):
        expected = cv2.createCLAHE(limit, (8, 8)).apply(image)
        assert np.abs(ours.numpy() - expected).max() <= 1


def windows(augment, images, first=0):
    return [augment.window(image, np.random.default_rng(first + i)) for i, image in enumerate(images)]


def finished(augment, drawn):
    none = np.zeros(augment.size, bool)
    return augment.finish(augment.collate([(window, none) for window, _ in drawn]))["image"]


@pytest.mark.parametrize("size", [SIZE, [40, 64]])
def test_the_crops_are_those_of_the_cpu(size, photos):
    here, there = Distortions(size), DistortionsOnDevice(size)
    drawn = windows(there, photos * 4)
    crops = finished(there, drawn)
    assert crops.shape[2:] == there.size
    errors = []
    for i, crop in enumerate(crops):
        expected, _ = here(photos[i % len(photos)], np.random.default_rng(i))
        assert np.array_equal(there(photos[i % len(photos)], np.random.default_rng(i))[0], expected)
        errors.append(np.abs(255 * crop.permute(1, 2, 0).numpy() - expected).mean())
    plain, equalised = (
        [e for e, (w, _) in zip(errors, drawn, strict=True) if bool(w.numbers[20]) == c] for c in (False, True)
    )
    assert min(len(plain), len(equalised)) > 8
    assert np.mean(plain) < 1.5  # of 255: OpenCV rounds after each part, and places to 1 / 32 of a pixel
    assert np.mean(equalised) < 5  # a level of lightness becomes several
    other = np.abs(255 * crops[:-8] - 255 * crops[8:].roll(1, 0)).mean()
    assert other > 30  # other crops


def test_an_image_smaller_than_its_crop_is_mirrored(photos):
    here, there = Distortions(SIZE), DistortionsOnDevice(SIZE)
    small = [photo[:20, :30] for photo in photos]
    for i, crop in enumerate(finished(there, windows(there, small))):
        expected, _ = here(small[i], np.random.default_rng(i))
        assert np.abs(255 * crop.permute(1, 2, 0).numpy() - expected).mean() < 6


def test_masks_and_the_draws_after_them_are_those_of_the_cpu(photos):
    here, there = Distortions(SIZE), DistortionsOnDevice(SIZE)
    mask = np.zeros(photos[0].shape[:2], bool)
    mask[60:130, 50:170] = True
    for seed in range(12):
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        assert np.array_equal(here(photos[0], one, mask)[1], there.window(photos[0], other, mask)[1])
        assert one.integers(2**62) == other.integers(2**62)


def test_a_crop_does_not_depend_on_its_batch(photos):
    augment = DistortionsOnDevice(SIZE)
    drawn = windows(augment, photos)
    together = finished(augment, drawn)
    for i in range(len(photos)):
        assert torch.equal(together[i : i + 1], finished(augment, drawn[i : i + 1]))


def test_the_host_does_not_wait_for_the_device(photos):
    augment = DistortionsOnDevice(SIZE)
    batch = augment.collate([(window, np.zeros(augment.size, bool)) for window, _ in windows(augment, photos)])
    assert batch["numbers"][:, 20].any()
    on_device = {key: value.to("meta") if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    for _ in range(2):  # the first sends the constants of kornia
        with Rehearsal() as seen:
            assert augment.finish(on_device)["image"].shape == (len(photos), 3, SIZE, SIZE)
    assert not seen.reads


def geometry(crop):
    """Place, horizontal and vertical scale, rotation, shear and bend of a crop of ``RAMPS``; None at borders."""
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]].reshape(2, -1)
    target = crop[..., :2].reshape(-1, 2).astype(float)
    design = np.stack([x, y, np.ones_like(x)], axis=1)
    fitted, *_ = np.linalg.lstsq(design, target, rcond=None)
    bend = np.abs(design @ fitted - target).max()
    if bend > 4:  # it shows a mirrored border
        return None
    matrix = fitted[:2].T
    across, down = matrix[:, 0], matrix[:, 1]
    angle = np.arctan2(across[1], across[0])
    slant = np.arctan2(-down[0], down[1]) - angle
    found = np.array([*target.mean(axis=0), np.hypot(*across), np.hypot(*down), angle, slant, bend])
    return found.round(2)  # crops without a distortion are equal then


RAMPS = np.stack([*np.mgrid[:240, :240][::-1], np.full((240, 240), 128)], axis=2).astype(np.uint8)


def geometries(images):
    """Rows of those that show no mirrored border."""
    found = [geometry(image) for image in images]
    kept = [one for one in found if one is not None]
    assert len(kept) > len(found) / 2
    return kept


@pytest.mark.parametrize("own", [False, True], ids=["the CPU's chain", "albumentations' transforms"])
def test_geometry_is_distributed_as_on_the_cpu(own):
    """albumentations 2 has another perspective than the published version, so that its own is left out."""
    options, count = ({"perspective": 0, "optical": 0} if own else {}), 240
    augment, names = DistortionsOnDevice(32, **options), ("x", "y", "width", "height", "angle", "slant", "bend")
    drawn = windows(augment, [RAMPS] * count, first=1000)
    for window, _ in drawn:
        window.numbers[14:] = NO_COLOURS
    found = geometries((255 * finished(augment, drawn)).round().permute(0, 2, 3, 1).numpy())
    chain = plain_distortions(32) if own else Distortions(32).chain
    chain.transforms[:] = [part for part in chain.transforms[:-4] if type(part).__name__ not in LEFT_OUT]
    agree(names, found, geometries(seeded(chain, np.random.default_rng(i))(image=RAMPS)["image"] for i in range(count)))


LEFT_OUT = ("Perspective", "OpticalDistortion")


def agree(names, found, expected):
    """Kolmogorov and Smirnov's test of each column."""
    for name, a, b in zip(names, np.transpose(found), np.transpose(expected), strict=True):
        assert ks_2samp(a, b).pvalue > 1e-3, (name, ks_2samp(a, b))


def colours(crop):
    levels = np.asarray(crop, float)
    grey = levels.mean(axis=2)
    return (
        grey.mean(),
        grey.std(),
        (levels.max(axis=2) - levels.min(axis=2)).mean(),
        (levels[..., 0] - levels[..., 2]).mean(),
    )


def test_colours_are_distributed_as_albumentations_own(photos):
    """Of one photograph, without its crop and distortion."""
    size, count = 64, 200
    augment = DistortionsOnDevice(size, perspective=0, scale=(1, 1), rotate=0, shear=0, affine_probability=0, optical=0)
    plain = plain_distortions(size)
    plain.transforms[:-4] = []
    photo = np.ascontiguousarray(photos[0][60 : 60 + size, 60 : 60 + size])
    found = [
        colours(255 * c.permute(1, 2, 0).numpy()) for c in finished(augment, windows(augment, [photo] * count, 2000))
    ]
    expected = [colours(seeded(plain, np.random.default_rng(i))(image=photo)["image"]) for i in range(count)]
    agree(("mean", "contrast", "saturation", "hue"), found, expected)


def data_with(workers=0, **settings):
    settings = {
        "epoch_size": 8,
        "batch_size": 4,
        "val_path": "held_out",
        "val_size": 32,
        "num_workers": workers,
    } | settings
    return InpaintingDataModule(BuiltinPhotos, "train", BOXES, DistortionsOnDevice(32), BOXES, **settings)


def test_workers_and_the_size_of_a_batch_change_no_crop():
    def crops(data):
        return torch.cat([data.on_after_batch_transfer(batch, 0)["image"] for batch in data.train_dataloader()])

    alone = crops(data_with(0))
    assert torch.equal(alone, crops(data_with(2)))
    assert torch.equal(alone, crops(data_with(0, batch_size=2)))


def test_a_training_takes_its_crops(tmp_path):
    module, seen = make_module(), []
    step = module.step
    module.step = lambda batch, *others, **more: (seen.append(batch), step(batch, *others, **more))[1]
    data = data_with()
    run_into(tmp_path / "run", module, data=data)
    assert len(seen) == 2
    expected = next(iter(data_with().train_dataloader()))
    assert torch.equal(seen[0]["image"], data.on_after_batch_transfer(expected, 0)["image"])
    assert seen[0]["mask"].shape == (4, 1, 32, 32)
