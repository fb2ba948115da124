"""Images with fewer bits than their file can hold, and with more bands than colour and alpha."""

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

import lama
from lama.data import BuiltinPhotos, ImageFolder, InpaintingDataModule, PairFolder
from lama.data.augment import CropFlip
from lama.data.check import Findings, check_images
from lama.masks import Boxes
from lama.pictures.encode import encode
from lama.pictures.images import read_image
from lama.pictures.notices import Notices
from lama.pictures.reading import read_image_file

MOON = np.asarray(Image.fromarray(skimage.data.moon()).resize((96, 96))).astype(np.uint16)
HOLE = np.zeros(MOON.shape, np.bool_)
HOLE[30:50, 30:60] = True
COFFEE = np.asarray(Image.fromarray(skimage.data.coffee()).resize((48, 32)))


@pytest.fixture
def scans(tmp_path):
    """Pairs of 12 bits in 16."""
    for i in range(4):
        Image.fromarray(MOON * 16).save(tmp_path / f"{i}.png")
        Image.fromarray(HOLE).save(tmp_path / f"{i}_mask000.png")
    return tmp_path


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_twelve_bits_are_filled_as_well_as_sixteen(dtype):
    small = lama.load("small", "cpu", detail="off", fast=False)
    twelve, sixteen = MOON * 16, MOON * 257
    if dtype == np.float32:
        twelve, sixteen = (image / np.float32(65535) for image in (twelve, sixteen))
    dim, bright = (small(image, HOLE) for image in (twelve, sixteen))
    factor = 257 / 16
    assert dim.dtype == dtype
    np.testing.assert_array_equal(dim[~HOLE], twelve[~HOLE])
    error = abs(dim[HOLE] * factor - bright[HOLE]).mean() / sixteen.max()
    assert error < 0.005  # 0.09 without stretching


def test_a_data_check_names_twelve_bits_and_their_option(scans):
    findings = Findings()
    check_images(sorted(scans.glob("?.png")), 32, findings)
    assert any("4 of 4 images" in problem and "data.white=4095" in problem for problem in findings.problems)
    check_images(sorted(scans.glob("?.png")) * 10, 32, findings := Findings(), decode=False)  # at a training's start
    assert any("20 of 20 images" in problem and "data.white=4095" in problem for problem in findings.problems)
    check_images(sorted(scans.glob("?.png")), 32, findings := Findings(), white=4095)
    assert findings.problems == []


def test_white_stretches_training_and_evaluation(scans, caplog):
    levels = np.rint(MOON * (16 * 255 / 4095)).astype(np.uint8)
    for image in (
        read_image(scans / "0.png", white=4095),
        ImageFolder(scans, white=4095)[0][1],
        PairFolder(scans, white=4095)[0].image,
    ):
        np.testing.assert_array_equal(image, np.repeat(levels[..., None], 3, axis=2))
    assert read_image(scans / "0.png").max() <= 15
    PairFolder(scans, notices=Notices())[0]
    assert "white=4095" in caplog.text
    assert PairFolder(scans, white=4095).report()["white"] == 4095


def test_white_reaches_the_source_of_a_training(scans):
    def data(source, **options):
        masks = Boxes()
        return InpaintingDataModule(source, str(scans), masks, CropFlip(32), masks, cache_gb=0, **options)

    assert data(ImageFolder, white=4095).train_set.source[0][1].max() > 200
    assert data(ImageFolder, white=4095, val_pairs=str(scans)).val_pairs[0].image.max() > 200
    with pytest.raises(ValueError, match=r"data\.white=4095"):
        data(BuiltinPhotos, white=4095)
    with pytest.raises(ValueError, match=r"data\.white=0"):
        data(ImageFolder, white=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_band_is_named_and_is_no_alpha(tmp_path, dtype):
    bands = np.dstack([COFFEE, COFFEE[..., 1]]).astype(dtype) * (257 if dtype == np.uint16 else 1)
    for name, meaning in (("near_infrared", "unspecified"), ("alpha", "unassalpha")):
        tifffile.imwrite(tmp_path / f"{name}.tif", bands, photometric="rgb", planarconfig="contig",
                         extrasamples=[meaning])  # fmt: skip
    image = read_image_file(tmp_path / "near_infrared.tif")
    np.testing.assert_array_equal(image.pixels, bands[..., :3])
    assert image.alpha is None
    assert "4 bands" in image.notes[0]
    (tmp_path / "written.tiff").write_bytes(encode(image, ".tif"))
    with tifffile.TiffFile(tmp_path / "written.tiff") as written:
        assert written.pages[0].shape == COFFEE.shape
        assert ", 4]" not in written.pages[0].description  # the shape that tifffile has noted
    alpha = read_image_file(tmp_path / "alpha.tif")
    np.testing.assert_array_equal(alpha.alpha, bands[..., 3])
    assert alpha.notes == ()
    check_images(sorted(tmp_path.glob("*.tif")), 32, findings := Findings())
    assert any("1 of 2 images" in problem and "bands" in problem for problem in findings.problems)


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_a_sound_tiff_that_cannot_be_read_is_described(tmp_path, planes):
    bands = np.dstack([COFFEE, COFFEE[..., :2]]).astype(np.uint16)
    array = bands if planes == "contig" else np.moveaxis(bands, -1, 0)
    extras = ["unspecified"] * 2
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", planarconfig=planes, extrasamples=extras)
    for read in (read_image, read_image_file):
        with pytest.raises(ValueError, match=r"5 bands of 16 bits.*convert") as error:
            read(tmp_path / "a.tif")
        assert "repair" not in str(error.value)
