"""bin/predict.py and its parts: the choice of images and masks, messages, exit codes."""

import errno
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lama.checkpoints import save_generator
from lama.inference import Inpainter
from lama.pictures import MaskReader
from lama.pictures.prediction_jobs import PredictionPlan, fill_all
from lama.pictures.prediction_set import find
from lama.pictures.reading import ImageFile, read_image_file


def paint(pixels, hole, ignored=None):
    """Stands in for a network: the hole becomes mid grey."""
    filled = pixels.copy()
    filled[hole] = np.iinfo(pixels.dtype).max // 2
    return filled


def put(path, size=(12, 10), colour="red", **options):
    """An image of one colour that is not mid grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def put_mask(path, size=(12, 10), hole=(slice(2, 5), slice(3, 9))):
    array = np.zeros(size[::-1], np.uint8)
    array[hole] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def outs(found, folder):
    return {str(t.image.relative_to(folder)) if t.image else None: str(t.out.relative_to(folder)) for t in found.items}


def in_folder(tmp_path, **places):
    return {name: str(tmp_path / path) for name, path in places.items()}


# Which images


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "sub/b"):
        put(tmp_path / "in" / f"{name}.jpg")
        put_mask(tmp_path / "in" / f"{name}_mask001.png")
    put_mask(tmp_path / "in" / "a_mask002.png")
    return tmp_path


def test_results_are_named_after_the_masks(folder):
    found = find(in_folder(folder, indir="in", outdir="out"))
    assert sorted(str(t.out.relative_to(folder)) for t in found.items) == [
        "out/a_mask001.png", "out/a_mask002.png", "out/sub/b_mask001.png",
    ]  # fmt: skip
    assert {t.image.name for t in found.items} == {"a.jpg", "b.jpg"}


def test_the_format_may_be_that_of_the_image(folder):
    found = find(in_folder(folder, indir="in", outdir="out"), out_ext="same")
    assert {t.out.suffix for t in found.items} == {".jpg"}
    found = find(in_folder(folder, indir="in", outdir="out"), out_ext="webp")
    assert {t.out.suffix for t in found.items} == {".webp"}
    with pytest.raises(ValueError, match=r"out_ext=\.gif.*same.*\.jpg"):
        find(in_folder(folder, indir="in", outdir="out"), out_ext=".gif")


def test_masks_may_lie_in_a_folder_of_their_own(tmp_path):
    for name in ("1", "2", "deep/3", "4"):
        put(tmp_path / "images" / f"{name}.jpg")
    for name in ("1", "2_mask000", "2_mask001", "deep/3"):
        put_mask(tmp_path / "masks" / f"{name}.png")
    found = find(in_folder(tmp_path, indir="images", maskdir="masks", outdir="out"))
    assert sorted((t.image.name, str(t.out.relative_to(tmp_path))) for t in found.items) == [
        ("1.jpg", "out/1.png"), ("2.jpg", "out/2_mask000.png"), ("2.jpg", "out/2_mask001.png"),
        ("3.jpg", "out/deep/3.png"),
    ]  # fmt: skip
    assert [str(path) for path in found.unmasked] == ["4.jpg"]


def test_one_mask_serves_all_and_results_are_named_after_the_images(tmp_path):
    put(tmp_path / "in" / "a.jpg")
    put(tmp_path / "in" / "deep" / "b.png")
    put_mask(tmp_path / "in" / "m.png")
    found = find(in_folder(tmp_path, indir="in", mask="in/m.png", outdir="out"))
    assert outs(found, tmp_path) == {"in/a.jpg": "out/a.png", "in/deep/b.png": "out/deep/b.png"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,mask,out\na.png,m/1.png,x.jpg\nb.png,m/2.png,deep/y.png\n", {"a": "x.jpg", "b": "deep/y.png"}),
        ("\ufeffMask;Note;Image;Out\r\nm/1.png;hello;a.png;x.jpg\r\n", {"a": "x.jpg"}),
        ("a.png\tm/1.png\tx.png\n\n", {"a": "x.png"}),
        ('"a.png", "m/1.png", "with, comma.png"', {"a": "with, comma.png"}),
    ],
)
def test_pairs_may_be_listed(tmp_path, text, expected):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    found = find(in_folder(tmp_path, pairs="list.csv"))
    assert {t.image.stem: str(t.out.relative_to(tmp_path)) for t in found.items} == expected
    assert found.items[0].mask == tmp_path / "m" / "1.png"


def test_a_list_without_results_is_named_after_the_masks(tmp_path):
    (tmp_path / "list.csv").write_text("a.png,m/1.png\nb.png,../m/2.png\n")
    found = find(in_folder(tmp_path, pairs="list.csv", outdir="out"))
    assert [str(t.out.relative_to(tmp_path)) for t in found.items] == ["out/m/1.png", "out/2.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found none"),
        ("image,mask\n", "found none"),
        ("a.png,m.png\n", "line 1: .*outdir="),
        (
            "photo,mask\na.png,m.png\n",
            "line 1: .*image.*mask.*out.*photo,mask",
        ),
        ("image,mask,out\na.png,m.png,x.png\nb.png\n", "line 3: expected image,mask,out, got b.png"),
        ("a.png,m.png,x.txt\n", "line 1: out=x.txt: expected one of .jpg"),
        ("a.png,m.png,x.png,more\n", "line 1: expected image,mask,out"),
    ],
)
def test_an_invalid_list_is_one_line(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        find(in_folder(tmp_path, pairs="list.csv"))


def test_a_listed_file_that_is_not_there_is_named_with_its_line(tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("image,mask,out\na.png,a.png,x.png\na.png,m.png,y.png\nb.png,a.png,z.png\n")
    missing = [item.missing for item in find(in_folder(tmp_path, pairs="list.csv")).items]
    where = f"{tmp_path / 'list.csv'}, line"
    assert missing == [
        "",
        f"{where} 3: no such file: {tmp_path / 'm.png'}",
        f"{where} 4: no such file: {tmp_path / 'b.png'}",
    ]


def test_a_list_that_is_not_utf_8_is_one_line(tmp_path):
    put(tmp_path / "list.csv", format="PNG")
    with pytest.raises(ValueError, match=r"pairs=.*CSV.*UTF-8"):
        find(in_folder(tmp_path, pairs="list.csv"))


@pytest.mark.parametrize(
    "names", [(), ("indir",), ("image", "mask"), ("indir", "out"), ("indir", "outdir", "image"), ("pairs", "indir")]
)
def test_other_combinations_of_places_are_refused(names):
    with pytest.raises(ValueError, match="expected one of: indir= outdir=; indir= maskdir= outdir=; "):
        find(dict.fromkeys(names, "x"))


def test_no_masks_is_an_error_that_says_what_was_looked_for(tmp_path):
    put(tmp_path / "in" / "a.png")
    with pytest.raises(ValueError, match=r"NAME_mask001\.png.*NAME\.png.*found 1") as caught:
        find(in_folder(tmp_path, indir="in", outdir="out"))
    assert "a.png" in str(caught.value)
    assert "maskdir=FOLDER" in str(caught.value)


def test_images_may_have_mask_within_their_names(tmp_path):
    for name in ("unmasked.png", "gas mask.png"):
        put(tmp_path / "in" / name)
        put_mask(tmp_path / "in" / f"{Path(name).stem}_mask001.png")
    found = find(in_folder(tmp_path, indir="in", outdir="out"))
    assert sorted(t.out.name for t in found.items) == ["gas mask_mask001.png", "unmasked_mask001.png"]
    assert found.unmasked == []


def test_masks_in_the_folder_of_their_images_need_no_maskdir(folder):
    with pytest.raises(ValueError, match=r"maskdir=.*in: is indir"):
        find(in_folder(folder, indir="in", maskdir="in", outdir="out"))


def test_folders_of_images_and_masks_are_recognised_in_the_error(tmp_path):
    put(tmp_path / "in" / "images" / "a.png")
    put_mask(tmp_path / "in" / "masks" / "a.png")
    with pytest.raises(ValueError, match=r"indir=.*/images maskdir=.*/masks\?"):
        find(in_folder(tmp_path, indir="in", outdir="out"))


def test_a_mask_without_an_image_names_the_nearest(tmp_path):
    put(tmp_path / "in" / "kitchen.jpg")
    put_mask(tmp_path / "in" / "kitchn_mask.png")
    with pytest.raises(ValueError, match=r"kitchn_mask\.png: .*kitchen\.jpg$"):
        find(in_folder(tmp_path, indir="in", outdir="out"))  # it is the only one
    put(tmp_path / "in" / "bath.jpg")
    put_mask(tmp_path / "in" / "bath_mask.png")
    item = find(in_folder(tmp_path, indir="in", outdir="out")).items[-1]
    assert item.image is None
    assert "mask without an image; expected kitchn with one of" in item.missing
    assert "the nearest is kitchen.jpg" in item.missing


def test_a_missing_file_names_the_nearest(tmp_path):
    put(tmp_path / "photo.jpg")
    put_mask(tmp_path / "mask.png")
    with pytest.raises(FileNotFoundError, match=r"photo.jpeg: no such file; .*photo\.jpg\?"):
        find(in_folder(tmp_path, image="photo.jpeg", mask="mask.png", out="out.png"))


def test_a_missing_common_mask_or_list_is_reported(folder):
    with pytest.raises(FileNotFoundError, match=r"mask=.*a_mask01.png: no such file; .*a_mask001\.png"):
        find(in_folder(folder, indir="in", mask="in/a_mask01.png", outdir="out"))
    with pytest.raises(FileNotFoundError, match=r"pairs=.*list.csv: no such file"):
        find(in_folder(folder, pairs="list.csv"))
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find(in_folder(folder, indir="nowhere", outdir="out"))


def test_results_of_an_earlier_run_below_the_folder_are_no_inputs(folder):
    before = find(in_folder(folder, indir="in", outdir="in/results"))
    put(folder / "in" / "results" / "a_mask001.png")
    assert find(in_folder(folder, indir="in", outdir="in/results")) == before


def test_two_results_of_one_name_are_an_error_before_any_work(tmp_path):
    put(tmp_path / "in" / "a.jpg")
    put_mask(tmp_path / "in" / "a_mask1.png")
    put_mask(tmp_path / "in" / "a_mask1.bmp")
    with pytest.raises(ValueError, match=r"a_mask1.bmp and .*a_mask1.png would both be written to .*a_mask1.png"):
        find(in_folder(tmp_path, indir="in", outdir="out"))


def test_two_images_of_one_name_are_not_guessed_between(tmp_path):
    put(tmp_path / "in" / "a.jpg")
    put(tmp_path / "in" / "a.png")
    put_mask(tmp_path / "in" / "a_mask1.png")
    with pytest.raises(ValueError, match=r"a_mask1\.png: .*a\.jpg, a\.png"):
        find(in_folder(tmp_path, indir="in", outdir="out"))
    with pytest.raises(ValueError, match=r"a.jpg and .*a.png would both be written to"):
        find(in_folder(tmp_path, indir="in", mask="in/a_mask1.png", outdir="out"))


def test_no_input_is_overwritten(folder):
    with pytest.raises(ValueError, match="is indir"):
        find(in_folder(folder, indir="in", outdir="in"))
    with pytest.raises(ValueError, match="would overwrite an input"):
        find(in_folder(folder, image="in/a.jpg", mask="in/a_mask001.png", out="in/../in/a.jpg"))
    put(folder / "sub" / "a.png")
    put_mask(folder / "a.png")
    with pytest.raises(ValueError, match="would overwrite an input"):
        find(in_folder(folder, indir="sub", mask="a.png", outdir="."))
    (folder / "link.png").symlink_to(folder / "in" / "a_mask001.png")
    with pytest.raises(ValueError, match="would overwrite an input"):
        find(in_folder(folder, image="in/a.jpg", mask="in/a_mask001.png", out="link.png"))


def test_an_unwritable_place_is_reported_before_any_work(folder):
    with pytest.raises(NotADirectoryError, match=r"a.jpg: is a file, expected a folder to write to"):
        find(in_folder(folder, indir="in", outdir="in/a.jpg/deep"))
    (folder / "out.png").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        find(in_folder(folder, image="in/a.jpg", mask="in/a_mask001.png", out="out.png"))
    assert not (folder / "out").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may do everything is stopped by nothing")
def test_a_folder_without_permission_is_reported(folder):
    (folder / "locked").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="write"):
        find(in_folder(folder, indir="in", outdir="locked/out"))


# Masks


HOLE = np.zeros((10, 12), bool)
HOLE[2:5, 3:9] = True
IMAGE = ImageFile(np.zeros((10, 12, 3), np.uint8))


def layer(colour, transparent):
    """Opaque strokes of ``colour`` on a layer that is ``transparent`` (its hidden colour) elsewhere."""
    array = np.empty((10, 12, 4), np.uint8)
    array[...] = (*transparent, 0)
    array[HOLE] = (*colour, 255)
    return Image.fromarray(array)


def grey(dtype, low, high):
    return Image.fromarray(np.where(HOLE, high, low).astype(dtype))


def palette():
    image = Image.fromarray(HOLE.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


MASKS = {
    "grey": grey(np.uint8, 0, 255),
    "dark grey": grey(np.uint8, 0, 1),
    "16 bits": grey(np.uint16, 0, 65535),
    "16 bits, dark": grey(np.uint16, 0, 1),
    "1 bit": Image.fromarray(HOLE),
    "palette": palette(),
    "RGB": grey(np.uint8, 0, 255).convert("RGB"),
    "blue": Image.merge("RGB", [Image.new("L", (12, 10)), Image.new("L", (12, 10)), grey(np.uint8, 0, 255)]),
    "RGBA, opaque": grey(np.uint8, 0, 255).convert("RGBA"),
    "grey with alpha, opaque": grey(np.uint8, 0, 255).convert("LA"),
    "white strokes on transparent black": layer((255, 255, 255), (0, 0, 0)),
    "white strokes on transparent white": layer((255, 255, 255), (255, 255, 255)),
    "black strokes on transparent black": layer((0, 0, 0), (0, 0, 0)),
    "coloured strokes on transparent white": layer((200, 30, 0), (255, 255, 255)),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_every_kind_are_read(tmp_path, kind):
    MASKS[kind].save(tmp_path / "m.png")
    np.testing.assert_array_equal(MaskReader().read(tmp_path / "m.png", IMAGE, "a.png")[0], HOLE)


def test_a_cut_out_image_is_a_mask_by_its_alpha(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (10, 12, 4), np.uint8)
    array[..., 3] = np.where(HOLE, 0, 255)  # transparent = to be filled, as image editing services have it
    Image.fromarray(array).save(tmp_path / "m.png")
    reader = MaskReader(channel="alpha", invert=True)
    np.testing.assert_array_equal(reader.read(tmp_path / "m.png", IMAGE, "a.png")[0], HOLE)
    Image.new("RGB", (12, 10)).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match="this mask has no alpha channel"):
        reader.read(tmp_path / "m.png", IMAGE, "a.png")[0]


def test_alpha_can_be_ignored(tmp_path):
    layer((255, 255, 255), (9, 9, 9)).save(tmp_path / "m.png")
    assert MaskReader(channel="colour").read(tmp_path / "m.png", IMAGE, "a.png")[0].all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_black_may_be_what_is_removed(tmp_path, dtype):
    grey(dtype, np.iinfo(dtype).max, 0).save(tmp_path / "m.png")
    np.testing.assert_array_equal(MaskReader(invert=True).read(tmp_path / "m.png", IMAGE, "a")[0], HOLE)


@pytest.mark.parametrize(("threshold", "values"), [(0, (1, 127, 128, 255)), (127, (128, 255)), (254, (255,))])
@pytest.mark.parametrize("factor", [1, 257])
def test_a_threshold_is_of_255_whatever_the_depth(tmp_path, threshold, values, factor):
    levels = np.array([[0, 1, 127, 128, 255]])
    Image.fromarray((levels * factor).astype(np.uint8 if factor == 1 else np.uint16)).save(tmp_path / "m.png")
    hole, _ = MaskReader(threshold=threshold).read(tmp_path / "m.png", ImageFile(np.zeros((1, 5), np.uint8)), "a")
    assert tuple(levels[hole]) == values


def test_a_threshold_cleans_a_jpeg(tmp_path):
    image = Image.fromarray(np.where(np.indices((64, 64)).sum(axis=0) < 50, 255, 0).astype(np.uint8))
    image.save(tmp_path / "m.jpg", quality=50)
    truth, photo = np.asarray(image) > 0, ImageFile(np.zeros((64, 64), np.uint8))
    assert (MaskReader().read(tmp_path / "m.jpg", photo, "a")[0] != truth).mean() > 0.02
    assert (MaskReader(threshold=127).read(tmp_path / "m.jpg", photo, "a")[0] != truth).mean() < 0.005


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "nearly black.*mask\\.threshold=127"),
        ({"threshold": 127}, None),
        ({"threshold": 127, "invert": True}, "80%.*black is removed.*mask\\.invert=false"),
    ],
)
def test_remarks_on_a_jpeg(tmp_path, options, part):
    image = Image.fromarray(np.where(np.indices((64, 64)).sum(axis=0) < 20, 255, 0).astype(np.uint8))
    image.save(tmp_path / "m.jpg", quality=50)
    _, remarks = MaskReader(**options).read(tmp_path / "m.jpg", ImageFile(np.zeros((64, 64), np.uint8)), "a")
    assert len(remarks) == (part is not None)
    assert part is None or re.search(part, remarks[0])


def test_the_polarity_is_remarked_on_before_anything_else(tmp_path):
    image = Image.fromarray(np.where(np.indices((64, 64)).sum(axis=0) > 40, 255, 0).astype(np.uint8))
    image.save(tmp_path / "m.jpg", quality=20)
    _, remarks = MaskReader().read(tmp_path / "m.jpg", ImageFile(np.zeros((64, 64), np.uint8)), "a")
    assert [remark.split(",")[0] for remark in remarks] == [
        "the mask removes more than 80% of the image; white is removed",
        "the mask has many pixels that are nearly black",
    ]


def test_a_mask_that_is_rotated_by_90_degrees_is_reported(tmp_path):
    put_mask(tmp_path / "m.png", size=(30, 20))
    image = ImageFile(np.zeros((30, 20), np.uint8))
    with pytest.raises(ValueError, match=r"mask is 30 x 20, .* is 20 x 30 pixels; .*90 degrees"):
        MaskReader().read(tmp_path / "m.png", image, "a.png")


def test_a_mask_of_zeros_and_ones_gives_no_warning(tmp_path):
    MASKS["dark grey"].save(tmp_path / "m.png")
    assert MaskReader().read(tmp_path / "m.png", IMAGE, "a.png")[1] == []


def test_a_hole_grows_by_a_disc(tmp_path):
    put_mask(tmp_path / "m.png", size=(21, 21), hole=(10, 10))
    image = ImageFile(np.zeros((21, 21), np.uint8))
    hole = MaskReader(dilate=5).read(tmp_path / "m.png", image, "a")[0]
    y, x = np.indices((21, 21)) - 10
    np.testing.assert_array_equal(hole, x**2 + y**2 <= 25)
    put_mask(tmp_path / "empty.png", size=(21, 21), hole=(slice(0), slice(0)))
    assert not MaskReader(dilate=5).read(tmp_path / "empty.png", image, "a")[0].any()


def test_a_mask_of_another_size_is_refused_or_stretched(tmp_path):
    put_mask(tmp_path / "m.png", size=(6, 5), hole=(slice(1, 3), slice(2, 4)))
    with pytest.raises(ValueError, match=r"m.png: mask is 6 x 5, but its image a.png is 12 x 10 pixels; mask.resize"):
        MaskReader().read(tmp_path / "m.png", IMAGE, "a.png")[0]
    hole = MaskReader(resize=True).read(tmp_path / "m.png", IMAGE, "a.png")[0]
    expected = np.zeros((10, 12), bool)
    expected[2:6, 4:8] = True
    np.testing.assert_array_equal(hole, expected)


def test_a_mask_drawn_before_the_image_was_turned_is_explained(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    put(tmp_path / "a.jpg", size=(12, 10), exif=exif)
    put_mask(tmp_path / "m.png", size=(12, 10))
    with pytest.raises(ValueError, match="before its EXIF orientation"):
        MaskReader().read(tmp_path / "m.png", read_image_file(tmp_path / "a.jpg"), "a.jpg")[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threshold": 255}, "threshold=255"), ({"threshold": -1}, "threshold=-1"), ({"dilate": -1}, "dilate=-1")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MaskReader(**options)


# Running


def predict(tmp_path, fill=paint, masks=None, quality=95, skip_existing=False, out_ext=".png", **places):
    places = places or {"indir": "in", "outdir": "out"}
    found = find(in_folder(tmp_path, **places), out_ext)
    plan = PredictionPlan(found, masks or MaskReader(), quality, skip_existing)
    return plan, fill_all(fill, plan.jobs)


def test_results_and_photographs_are_replaced_only_with_overwrite(tmp_path):
    """A folder of originals below the inputs may be named as outdir by mistake."""
    put(tmp_path / "in" / "x.png")
    original = put(tmp_path / "in" / "sub" / "x.png", size=(7, 7)).read_bytes()
    put_mask(tmp_path / "m.png")
    found = find(in_folder(tmp_path, indir="in", mask="m.png", outdir="in/sub"), ".png")
    with pytest.raises(FileExistsError, match=r"x\.png: exists already, one of 1 .*skip_existing=true.*overwrite=true"):
        PredictionPlan(found, MaskReader())
    assert (tmp_path / "in" / "sub" / "x.png").read_bytes() == original
    assert len(PredictionPlan(found, MaskReader(), overwrite=True).jobs) == 1
    assert PredictionPlan(found, MaskReader(), skip_existing=True).jobs == []


def test_the_hole_is_filled_and_the_rest_of_the_file_kept(tmp_path):
    put(tmp_path / "in" / "a.png", dpi=(300, 300))
    put_mask(tmp_path / "in" / "a_mask.png")
    plan, outcome = predict(tmp_path)
    assert (outcome.done, outcome.failures, outcome.exit_code) == (1, [], 0)
    assert plan.summary(1, "") == f"1 of 1 images written to {tmp_path / 'out'}"
    written = read_image_file(tmp_path / "out" / "a_mask.png")
    assert (written.pixels[HOLE] == 127).all()
    assert (written.pixels[~HOLE] == (255, 0, 0)).all()
    assert written.metadata.dpi == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (5000, 3)])
def test_odd_sizes_and_a_mask_of_everything(tmp_path, tiny_generator, size):
    put(tmp_path / "in" / "a.png", size=size)
    put_mask(tmp_path / "in" / "a_mask.png", size=size, hole=...)
    _, outcome = predict(tmp_path, Inpainter(tiny_generator, "cpu"))
    assert outcome.failures == []
    result = read_image_file(tmp_path / "out" / "a_mask.png").pixels
    assert result.shape == (size[1], size[0], 3)
    assert (result != (255, 0, 0)).any(axis=2).all()


def test_16_bits_through_a_network(tmp_path, tiny_generator):
    pixels = np.random.default_rng(0).integers(0, 65536, (10, 12), np.uint16)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    put_mask(tmp_path / "in" / "a_mask.png")
    _, outcome = predict(tmp_path, Inpainter(tiny_generator, "cpu"))
    assert outcome.failures == []
    result = read_image_file(tmp_path / "out" / "a_mask.png").pixels
    np.testing.assert_array_equal(result[~HOLE], pixels[~HOLE])
    assert (result[HOLE] != pixels[HOLE]).any()


def test_a_bad_file_is_reported_at_the_end_and_the_rest_is_filled(tmp_path):
    for name in ("a", "b", "c", "d", "e"):
        put(tmp_path / "in" / f"{name}.jpg", size=(64, 64))
        put_mask(tmp_path / "in" / f"{name}_mask.png", size=(64, 64))
    cut = (tmp_path / "in" / "b.jpg").read_bytes()
    (tmp_path / "in" / "b.jpg").write_bytes(cut[: len(cut) - 40])
    (tmp_path / "in" / "c.jpg").unlink()
    put_mask(tmp_path / "in" / "d_mask.png", size=(9, 9))
    (tmp_path / "in" / "e_mask.png").write_bytes(b"")
    plan, outcome = predict(tmp_path)
    assert (outcome.done, outcome.exit_code, outcome.stopped) == (1, 1, "")
    assert files(tmp_path / "out") == ["a_mask.png"]
    for failure, part in zip(
        outcome.failures,
        ("b.jpg: not a readable image", "c_mask.png: mask without an image", "mask is 9 x 9", "e_mask.png: not a"),
        strict=True,
    ):
        assert part in failure
        assert "\n" not in failure
    assert plan.summary(outcome.done, outcome.stopped).startswith("1 of 5 images written")


def test_a_failure_inside_the_network_names_its_image(folder):
    def refuse(pixels, hole):
        raise ValueError("too odd")

    _, outcome = predict(folder, refuse)
    assert len(outcome.failures) == 3
    assert outcome.failures[0].endswith("in/a.jpg: too odd")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_too_little_memory_for_one_image_does_not_stop_the_rest(folder, error):
    def hungry(pixels, hole):
        raise error

    _, outcome = predict(folder, hungry)
    assert outcome.failures[0].endswith("in/a.jpg: not enough memory for an image of this size")
    assert len(outcome.failures) == 3


@pytest.mark.parametrize("error", [TypeError("bug"), RuntimeError("shapes differ")])
def test_a_programming_error_is_not_swallowed(folder, error):
    def wrong(pixels, hole):
        raise error

    with pytest.raises(type(error), match=str(error)):
        predict(folder, wrong)


def test_an_interrupted_run_is_continued(folder, caplog):
    calls = []

    def until_the_second(pixels, hole):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return paint(pixels, hole)

    plan, outcome = predict(folder, until_the_second)
    assert outcome.exit_code == 130
    assert files(folder / "out") == ["a_mask001.png"]
    summary = plan.summary(outcome.done, outcome.stopped)
    assert summary.startswith(f"interrupted: 1 of 3 images written to {folder / 'out'}; ")
    assert "skip_existing=true" in summary
    before = (folder / "out" / "a_mask001.png").stat().st_mtime_ns
    plan, outcome = predict(folder, skip_existing=True)
    assert (outcome.done, outcome.exit_code) == (2, 0)
    assert plan.summary(outcome.done, "").endswith(", 1 existed already")
    assert (folder / "out" / "a_mask001.png").stat().st_mtime_ns == before
    assert len(files(folder / "out")) == 3
    plan, outcome = predict(folder, skip_existing=True)
    assert outcome.exit_code == 0  # nothing left is no error
    assert plan.summary(outcome.done, "") == f"nothing to do: all 3 results are in {folder / 'out'} already"


def test_a_full_disk_stops_with_one_line_and_leaves_nothing_half_written(folder, monkeypatch):
    written = []

    def write(self, content):
        if written:
            with self.open("wb") as file:
                file.write(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(self)
        with self.open("wb") as file:
            file.write(content)

    monkeypatch.setattr(Path, "write_bytes", write)
    plan, outcome = predict(folder)
    assert outcome.exit_code == 1
    assert outcome.stopped == f"{folder / 'out' / 'a_mask002.png'}: no space left on device"
    assert plan.summary(outcome.done, outcome.stopped).endswith("skip_existing=true to continue")
    assert [path.name for path in (folder / "out").rglob("*") if path.is_file()] == ["a_mask001.png"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(tmp_path, small_disk):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (110, 120, 3), np.uint8)).save(tmp_path / "in" / f"{name}.png")  # 40 kB
    put_mask(tmp_path / "m.png", size=(120, 110))
    _, outcome = predict(tmp_path, indir="in", mask="m.png", outdir="disk/out")
    assert outcome.stopped == f"{small_disk / 'out' / 'b.png'}: no space left on device"
    assert outcome.done == 1
    assert [path.name for path in (small_disk / "out").iterdir()] == ["a.png"]


def test_polarity_is_warned_about_once_and_counted(folder, caplog):
    masks = MaskReader(invert=True)
    with caplog.at_level(logging.INFO):
        plan, _ = predict(folder, masks=masks)
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == [
        f"{folder / 'in' / 'a.jpg'}: the mask removes more than 80% of the image; "
        "black is removed, and mask.invert=false removes white"
    ]
    assert plan.notices.counted()[0].startswith(f"3 images, first {folder / 'in' / 'a.jpg'}: the mask removes more")


def test_an_empty_mask_is_reported_and_nothing_is_computed(tmp_path, caplog):
    put(tmp_path / "in" / "a.png")
    put_mask(tmp_path / "in" / "a_mask.png", hole=(slice(0), slice(0)))
    _, outcome = predict(tmp_path, fill=None)
    assert outcome.done == 1
    assert "removes nothing" in caplog.text
    np.testing.assert_array_equal(
        read_image_file(tmp_path / "out" / "a_mask.png").pixels, read_image_file(tmp_path / "in" / "a.png").pixels
    )


def test_a_lossy_format_is_reported_once_before_the_work(folder, caplog):
    with caplog.at_level(logging.INFO):
        predict(folder, out_ext=".jpg", quality=90)
    assert len(caplog.messages) == 1
    assert re.search(r"\.jpg is lossy.*quality=90", caplog.messages[0])


def test_losses_of_a_format_are_reported(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    Image.new("RGBA", (12, 10), (255, 0, 0, 99)).save(tmp_path / "in" / "a.png")
    put_mask(tmp_path / "in" / "a_mask.png")
    predict(tmp_path, out_ext=".bmp")
    assert ".bmp has no alpha" in caplog.text


def test_images_without_a_mask_are_reported(folder, caplog):
    put(folder / "in" / "alone.png")
    with caplog.at_level(logging.INFO):
        predict(folder)
    assert "without a mask, skipped (1): alone.png" in caplog.text


@pytest.mark.parametrize("quality", [0, 101, "high", True, 9.5])
def test_a_quality_out_of_range_is_refused(folder, quality):
    with pytest.raises(ValueError, match=r"quality=.*1 to 100"):
        predict(folder, quality=quality)


# The command


@pytest.fixture
def model(tmp_path, tiny_generator):
    save_generator(tmp_path / "model.safetensors", tiny_generator)
    return tmp_path / "model.safetensors"


def command(root, *arguments, cwd):
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return subprocess.Popen(
        [sys.executable, str(root / "bin" / "predict.py"), "model.path=model.safetensors", *arguments],
        cwd=cwd, env=environment | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        "my photos (1)",
        "a=b,c",
        "it's",
        "[a] {b}",
        "C:\\x\\",
        "C:\\x\\'y",
        "日本",
        "$x #y",
        "a'b\\\\'c",
        " both ",
        "1",
        "true",
    ],
)
def test_a_path_is_taken_as_it_is(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from lama.config import literal

    (override,) = OverridesParser.create().parse_overrides(
        [literal(f"mask={value}", ["mask.path"], {"mask": "mask.path"})]
    )
    assert (override.key_or_group, override.value()) == ("mask.path", value)


@pytest.mark.parametrize("argument", ["indir='my photos'", "indir=null", "mask.invert=true", "--cfg", "indir", "x=a b"])
def test_other_arguments_are_left_alone(argument):
    from lama.config import literal

    assert literal(argument, ["indir"], {"mask": "mask.path"}) == argument


def test_odd_names_need_no_quotes_and_mask_options_combine_with_its_path(root, tmp_path, model):
    image = put(tmp_path / "my photos (1)" / "a=b, ü 'x'.png")
    mask = tmp_path / "m [1].png"
    grey(np.uint8, 255, 0).save(mask)
    out = tmp_path / "out {2}" / "日本 = c.png"
    relative = [path.relative_to(tmp_path) for path in (image, mask, out)]
    arguments = [f"{key}={path}" for key, path in zip(("image", "mask", "out"), relative, strict=True)]
    process = command(root, *arguments, "mask.invert=true", "mask.dilate=1", cwd=tmp_path)
    stdout, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert stdout.strip() == f"1 of 1 images written to {relative[2]}"
    result = read_image_file(out).pixels
    assert (result[:1] == (255, 0, 0)).all()
    assert (result[1, 3:9] != (255, 0, 0)).any()


def test_ctrl_c_ends_with_one_line(root, tmp_path, model):
    for i in range(400):
        put(tmp_path / "in" / f"{i}.png", size=(200, 200))
    put_mask(tmp_path / "m.png", size=(200, 200))
    process = command(root, "indir=in", "mask=m.png", "outdir=out", cwd=tmp_path)
    for _ in range(600):
        if (tmp_path / "out").exists() and len(list((tmp_path / "out").glob("[0-9]*.png"))) > 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert "skip_existing=true" in last
    assert "Traceback" not in errors
    done = len(list((tmp_path / "out").iterdir()))
    assert f"{done} of 400 images written" in last
    assert 2 < done < 400


# Real sets of other projects


@pytest.mark.parametrize(
    ("places", "options", "done", "failed"),
    [
        ({"indir": "fcf_celebahq"}, {}, 12, 0),  # RGBA masks, opaque
        ({"indir": "fcf_places2"}, {}, 8, 0),  # grey masks, RGBA images
        ({"indir": "ffhq_256_freeform/images", "maskdir": "ffhq_256_freeform/masks"}, {"invert": True}, 18, 0),
        ({"indir": "places2_256_freeform/images", "maskdir": "places2_256_freeform/masks"}, {"invert": True}, 16, 0),
        ({"indir": "iopaint"}, {"threshold": 127}, 3, 1),  # anytext_mask.jpg has no anytext
        ({"indir": "iopaint", "mask": "iopaint/mask.png"}, {"resize": True}, 10, 0),  # EXIF data, profiles, words
        ({"indir": "simple_lama"}, {}, 1, 0),
        ({"indir": "aotgan_logos/image", "maskdir": "aotgan_logos/mask"}, {}, 0, 4),  # masks of another size
        ({"indir": "aotgan_logos/image", "maskdir": "aotgan_logos/mask"}, {"resize": True}, 4, 0),
    ],
)
def test_real_pairs(shared, tmp_path, tiny_generator, places, options, done, failed):
    places = {name: str(shared / "pairs" / path) for name, path in places.items()} | {"outdir": str(tmp_path)}
    masks = MaskReader(**options)
    plan = PredictionPlan(find(places, "same" if "mask" in places else ".png"), masks)
    outcome = fill_all(Inpainter(tiny_generator, "cpu"), plan.jobs)
    assert (outcome.done, len(outcome.failures)) == (done, failed)
    for job in plan.jobs:
        if not job.item.out.exists():
            continue
        before, after = read_image_file(job.item.image), read_image_file(job.item.out)
        hole = masks.read(job.item.mask, before, "")[0]
        if job.item.out.suffix == ".png":
            np.testing.assert_array_equal(after.pixels[~hole], before.pixels[~hole])
        assert (after.pixels[hole] != before.pixels[hole]).any()
        if before.alpha is not None:
            np.testing.assert_array_equal(after.alpha, before.alpha)
        assert after.metadata.icc == before.metadata.icc
        assert after.metadata.text == before.metadata.text
        assert dict(after.metadata.exif or {}) == dict(before.metadata.exif or {})
    if failed == 4:
        assert all("mask is 512 x 512" in line and "mask.resize=true" in line for line in outcome.failures)


def test_an_image_that_is_its_own_mask_is_opaque_where_it_was_filled(tmp_path, caplog):
    rgba = np.full((10, 12, 4), 200, np.uint8)
    rgba[2:5, 3:9, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "cut.png")
    put_mask(tmp_path / "m.png")
    cut_out = MaskReader(channel="alpha", invert=True, threshold=127)
    predict(tmp_path, masks=cut_out, image="cut.png", mask="cut.png", out="own.png")
    assert (np.asarray(Image.open(tmp_path / "own.png"))[2:5, 3:9, 3] == 255).all()
    assert (np.asarray(Image.open(tmp_path / "own.png"))[0, :, 3] == 200).all()
    assert "stays transparent" not in caplog.text
    predict(tmp_path, image="cut.png", mask="m.png", out="with_mask.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "with_mask.png"))[..., 3], rgba[..., 3])
    assert "stays transparent" in caplog.text


def test_one_mask_for_all_leaves_masks_alone_and_names_what_is_not_read(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for name in ("p.jpg", "a_masked.jpg"):
        put(tmp_path / "in" / name)
    put_mask(tmp_path / "in" / "p_mask.png")
    put_mask(tmp_path / "m.png")
    (tmp_path / "in" / "phone.HEIC").write_bytes(b"")
    found = find(in_folder(tmp_path, indir="in", mask="m.png", outdir="out"))
    assert sorted(t.image.name for t in found.items) == ["a_masked.jpg", "p.jpg"]
    PredictionPlan(found, MaskReader())
    assert "skipped (1): phone.HEIC" in caplog.text


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"indir": "in", "mask": "in", "outdir": "out"}, r"mask=.*is a folder.*maskdir="),
        ({"image": "m.png", "mask": "in", "out": "b.png"}, "is a folder.*maskdir="),
        ({"image": "m.png", "mask": "m.png"}, "out= is missing; expected one of"),
    ],
)
def test_a_file_for_a_folder_or_the_reverse_names_the_right_key(tmp_path, places, message):
    put(tmp_path / "in" / "a.png")
    put(tmp_path / "m.png")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find(in_folder(tmp_path, **places))


def test_skip_existing_and_overwrite_exclude_each_other(folder):
    with pytest.raises(ValueError, match="skip_existing=true and overwrite=true"):
        PredictionPlan(find(in_folder(folder, indir="in", outdir="out")), MaskReader(), 95, True, True)
