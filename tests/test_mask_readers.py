"""One reader of masks: the same files are the same hole to every part that reads masks."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lama.data import BuiltinPhotos, PairFolder
from lama.data.check import Findings, check_folder, check_pairs, quick_check
from lama.data.evaluation_set import FrozenPairs
from lama.demo.exchange import mask_alone, open_mask
from lama.masks import AreaLimits, MaskFolder, Mixture, PairedMasks
from lama.pictures import MaskReader
from lama.pictures.masks import read_mask
from lama.pictures.notices import Notices
from lama.pictures.pairing import is_mask
from lama.pictures.prediction_jobs import PredictionPlan
from lama.pictures.prediction_set import find
from lama.pictures.reading import read_image_file
from lama.pixels.opened import open_image

HOLE = np.zeros((48, 64), np.bool_)
HOLE[5:20, 7:22] = True  # 225 pixels, not symmetric
GREY = np.where(HOLE, 200, 0).astype(np.uint8)


def palette(grey):
    image = Image.fromarray(HOLE.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 0, 90, 0])
    return image


def layer(colour):
    """Strokes of one colour on a transparent layer."""
    return Image.fromarray(np.dstack([*(np.full_like(GREY, c) for c in colour), GREY]))


MASKS = {
    "grey": Image.fromarray,
    "dark grey": lambda grey: Image.fromarray(grey // 200),
    "1 bit": lambda grey: Image.fromarray(grey > 0),
    "palette": palette,
    "RGB": lambda grey: Image.fromarray(np.dstack([0 * grey, 0 * grey, grey])),
    "opaque RGBA": lambda grey: Image.fromarray(np.dstack([grey, grey, grey, 255 + 0 * grey])),
    "16 bits": lambda grey: Image.fromarray(grey.astype(np.uint16) * 256),
    "faint 16 bits": lambda grey: Image.fromarray(grey.astype(np.uint16)),
    "white layer with alpha": lambda grey: layer((255, 255, 255)),
    "black layer with alpha": lambda grey: layer((0, 0, 0)),
    "grey with alpha": lambda grey: Image.fromarray(np.dstack([255 + 0 * grey, grey]), "LA"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images named ``damask N.png`` in one folder, each with a mask of another kind."""
    root = tmp_path_factory.mktemp("pairs")
    for number, make in enumerate(MASKS.values()):
        image = np.random.default_rng(number).integers(0, 256, (*HOLE.shape, 3), np.uint8)
        Image.fromarray(image).save(root / f"damask{number}.png")
        make(GREY).save(root / f"damask{number}_mask000.png")
    return root


def predicted(folder, tmp_path):
    holes = []

    def fill(pixels, hole):
        holes.append(hole)
        return pixels

    found = find({"indir": str(folder), "outdir": str(tmp_path / "out")})
    for job in PredictionPlan(found, MaskReader()).jobs:
        job(fill)
    return holes


def paired(folder, tmp_path):
    masks = PairedMasks(str(folder))
    return [masks.of(np.random.default_rng(0), f"damask{number}") for number in range(len(MASKS))]


def by_folder(folder, tmp_path):
    """MaskFolder draws at random; each file is read alone."""
    masks = MaskFolder(str(folder), flip=False)
    assert len(masks.files) == len(MASKS), "images are not drawn as masks"
    files, holes = masks.files, []
    for masks.files in ([file] for file in files):
        holes.append(masks(np.random.default_rng(0), *HOLE.shape))
    return holes


def checked(folder, tmp_path):
    pairs = check_pairs(folder, findings := Findings())
    assert not findings.problems
    share = f"{HOLE.mean():.1%}"
    assert f"hole {share} on average, {share} to {share}" in findings.lines[0]
    return [read_mask(mask) for _, mask in pairs]


def computed_for_the_page(folder, tmp_path):
    holes = []
    for number in range(len(MASKS)):
        image = read_image_file(folder / f"damask{number}.png")
        content = (folder / f"damask{number}_mask000.png").read_bytes()
        holes.append(open_mask(content, image, MaskReader(), 50)[0])
    return holes


def painted_on_the_page(folder, tmp_path):
    masks = [(folder / f"damask{number}_mask000.png").read_bytes() for number in range(len(MASKS))]
    return [mask_alone(content, "image")[0].pixels > 127 for content in masks]


READERS = {
    "predict": predicted,
    "evaluate": lambda folder, tmp_path: [pair.mask for pair in PairFolder(folder)],
    "check": checked,
    "training, masks=from_folder": by_folder,
    "training, masks=paired": paired,
    "page, Remove": computed_for_the_page,
    "page, Load a mask": painted_on_the_page,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_finds_the_same_hole_in_every_kind_of_mask(folder, tmp_path, read):
    holes = read(folder, tmp_path)
    assert len(holes) == len(MASKS)
    order = sorted(range(len(MASKS)), key=lambda number: f"damask{number}_mask000.png")
    names = list(MASKS)
    kinds = names if read in (paired, computed_for_the_page, painted_on_the_page) else [names[i] for i in order]
    wrong = [kind for kind, hole in zip(kinds, holes, strict=True) if not np.array_equal(hole, HOLE)]
    assert not wrong


def test_the_contact_sheet_shows_the_same_hole(folder):
    findings, sheet, commands = check_folder(folder, crop=32)
    assert not findings.problems
    assert sheet is not None
    assert "bin/evaluate.py" in commands[0]


@pytest.mark.parametrize("name", ["a_mask.png", "a_mask001.png", "mask_1.png", "mask.png", "damask_mask000.png"])
def test_names_of_masks(name):
    assert is_mask(Path("folder") / name)


@pytest.mark.parametrize("name", ["damask.png", "unmasked.jpg", "a_masked.png", "gas mask.png", "a.png"])
def test_names_of_images(name):
    assert not is_mask(Path("masks") / name)


def test_an_image_with_the_name_of_a_mask_is_not_drawn_as_a_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "carnival_mask.png"), 255 - GREY)
    cv2.imwrite(str(tmp_path / "carnival_mask_mask000.png"), GREY)
    assert [file.name for file in MaskFolder(str(tmp_path)).files] == ["carnival_mask_mask000.png"]
    assert [mask.name for _, mask in PairFolder(tmp_path).paths] == ["carnival_mask_mask000.png"]
    found = find({"indir": str(tmp_path), "outdir": str(tmp_path / "out")})
    assert [item.mask.name for item in found.items] == ["carnival_mask_mask000.png"]


def test_a_numbered_mask_belongs_to_the_image_of_its_number(tmp_path):
    """``mask_1.png`` and ``image_1.png``, to training as to evaluation."""
    cv2.imwrite(str(tmp_path / "image_1.png"), 255 - GREY)
    cv2.imwrite(str(tmp_path / "mask_1.png"), GREY)
    assert PairFolder(tmp_path)[0].mask.sum() == HOLE.sum()
    assert PairedMasks(str(tmp_path)).of(np.random.default_rng(0), "image_1").sum() == HOLE.sum()


def test_a_layer_is_warned_about_as_any_mask_is():
    file = io.BytesIO()
    Image.fromarray(np.dstack([GREY, GREY, GREY, 255 - 0 * GREY])).save(file, "PNG")
    assert mask_alone(file.getvalue(), "m")[1] == []
    file = io.BytesIO()
    Image.fromarray(255 - 0 * GREY).save(file, "PNG")
    (warning,) = mask_alone(file.getvalue(), "m")[1]
    assert "80%" in warning
    assert "invert=true" in warning
    assert "mask.invert" not in warning


PHOTO = np.random.default_rng(0).integers(0, 256, (*HOLE.shape, 3), np.uint8)
OTHERS = {  # how the mask is stored, the option that reads it, the setting that the warning names
    "JPEG": (lambda path: Image.fromarray(GREY).save(path.with_suffix(".jpg"), quality=70), {"threshold": 127}),
    "inverted": (lambda path: Image.fromarray(255 - GREY).save(path), {"invert": True}),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_other_kinds_are_warned_about_wherever_masks_are_read(tmp_path, caplog, kind):
    """A JPEG mask and one of the other polarity: a warning names the option, and the option gives the right hole."""
    store, options = OTHERS[kind]
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    store(tmp_path / "a_mask000.png")
    (option,) = options
    assert PairFolder(tmp_path)[0].mask.mean() > 0.5
    notices = Notices()
    PairFolder(tmp_path, notices=notices)[0]
    assert f"mask.{option}=" in caplog.text
    assert any(f"mask.{option}=" in problem for problem in check_folder(tmp_path, crop=32)[0].problems)
    pairs = PairFolder(tmp_path, masks=MaskReader(**options))
    np.testing.assert_array_equal(pairs[0].mask, HOLE)
    assert pairs.report()["masks"] == options
    for make in (PairedMasks, MaskFolder):
        (source,) = [make(str(tmp_path))]
        assert any(f"masks.{option}=" in notice for notice in source.notices())
        wrapped = Mixture({"a": AreaLimits(source)}, {"a": 1})
        problems = quick_check(BuiltinPhotos("held_out"), FrozenPairs(BuiltinPhotos("held_out"), source), 32, wrapped)
        assert any(f"masks.{option}=" in problem for problem in problems.problems)
        assert make(str(tmp_path), **options).notices() == []
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(PairedMasks(str(tmp_path), **options).of(rng, "a"), HOLE)
    np.testing.assert_array_equal(MaskFolder(str(tmp_path), flip=False, **options)(rng, *HOLE.shape), HOLE)


def test_a_mask_in_python_follows_the_rule_of_mask_files(tmp_path, caplog):
    """PIL masks with alpha are the same hole as their files; suspicious masks are warned about."""
    for name, make in MASKS.items():
        opened = open_image(PHOTO, make(GREY))
        np.testing.assert_array_equal(opened.hole, HOLE, err_msg=name)
    assert not caplog.records
    for mask, words in ((255 - GREY, "more than 80%"), (0 * GREY, "nothing"), (np.maximum(GREY, 1), "nearly 0")):
        caplog.clear()
        open_image(PHOTO, mask)
        assert words in caplog.text
    caplog.clear()
    open_image(PHOTO, ~HOLE)  # bool is meant as it is
    assert not caplog.records


@pytest.mark.parametrize("side", [6, 12])
def test_specks_around_a_small_hole_are_many_of_the_hole(tmp_path, side, caplog):
    """Less than 1 % of the image, more than a fifth of the hole."""
    grey = np.zeros((256, 256), np.uint8)
    grey[99 : 99 + side, 101 : 101 + side] = 255
    Image.fromarray(grey).save(tmp_path / "m.jpg", quality=60)
    decoded = np.asarray(Image.open(tmp_path / "m.jpg"))
    faint = (decoded > 0) & (decoded < 32)
    assert faint.mean() < 0.01
    assert faint.sum() > 0.2 * (decoded > 0).sum()
    warnings = MaskReader().hole(tmp_path / "m.jpg")[1]
    assert any("nearly black" in warning and "mask.threshold=127" in warning for warning in warnings)
    open_image(np.zeros((256, 256, 3), np.uint8), decoded)
    assert "nearly 0" in caplog.text
    Image.fromarray(grey).save(tmp_path / "m.png")
    assert MaskReader().hole(tmp_path / "m.png")[1] == []
