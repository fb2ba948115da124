"""Which files below a folder are images: suffixes, links, folders of other programs, names of any length."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from lama.data import ImageFolder, PairFolder
from lama.files import PARTIAL, atomic_write
from lama.pictures import MaskReader
from lama.pictures.encode import is_lossy
from lama.pictures.images import files_below, list_images
from lama.pictures.prediction_jobs import PredictionPlan, fill_all
from lama.pictures.prediction_set import find

MASK = np.zeros((10, 12), np.uint8)
MASK[2:5, 3:9] = 255


def put(path, format=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), "red").save(path, format)
    return path


def names(root):
    return [path.relative_to(root).as_posix() for path in list_images(root)]


def test_every_suffix_of_jpeg_is_read_and_written(tmp_path):
    for name in ("a.jfif", "b.jpe", "c.JPEG"):
        put(tmp_path / "in" / name, "JPEG")
    assert names(tmp_path / "in") == ["a.jfif", "b.jpe", "c.JPEG"]
    assert is_lossy(".jfif", 95)
    Image.fromarray(MASK).save(tmp_path / "m.png")
    places = {"indir": str(tmp_path / "in"), "mask": str(tmp_path / "m.png"), "outdir": str(tmp_path / "out")}
    plan = PredictionPlan(find(places, "same"), MaskReader())
    assert fill_all(lambda pixels, hole: pixels, plan.jobs).failures == []
    assert Image.open(tmp_path / "out" / "a.jfif").format == "JPEG"


def test_formats_that_are_not_read_are_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    put(tmp_path / "in" / "a.png")
    put(tmp_path / "in" / "c.ppm")
    put(tmp_path / "in" / "d.gif")
    (tmp_path / "in" / "e.heic").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("")
    Image.fromarray(MASK).save(tmp_path / "m.png")
    found = find({"indir": str(tmp_path / "in"), "mask": str(tmp_path / "m.png"), "outdir": str(tmp_path / "out")})
    assert [path.name for path in found.others] == ["c.ppm", "d.gif", "e.heic"]
    Image.fromarray(MASK).save(tmp_path / "in" / "c_mask.png")
    Image.fromarray(MASK).save(tmp_path / "in" / "a_mask.png")
    beside = find({"indir": str(tmp_path / "in"), "outdir": str(tmp_path / "out")})
    (missing,) = [item.missing for item in beside.items if item.missing]
    assert "c.ppm is there" in missing
    with pytest.raises(ValueError, match=r"c\.ppm is there"):
        PairFolder(tmp_path / "in")


def test_thumbnails_of_other_programs_are_no_images(tmp_path):
    put(tmp_path / "a.jpg")
    put(tmp_path / "@eaDir" / "a.jpg" / "SYNOPHOTO_THUMB_M.jpg")
    put(tmp_path / "sub" / "__MACOSX" / "b.jpg")
    assert names(tmp_path) == ["a.jpg"]


def test_links_to_folders_are_followed_once_and_end(tmp_path):
    root = tmp_path / "pictures"
    put(tmp_path / "disk" / "one.jpg")
    put(tmp_path / "disk" / "sub" / "two.jpg")
    put(root / "zoo" / "three.jpg")
    os.symlink(tmp_path / "disk", root / "b_more")
    os.symlink(tmp_path / "disk", root / "a_more")  # a second link to the same folder
    os.symlink(root / "zoo", root / "a_zoo")  # to a folder of root
    os.symlink("..", root / "up")
    os.symlink(root, tmp_path / "disk" / "back")
    os.symlink(tmp_path / "nowhere", root / "broken")
    os.symlink(tmp_path / "disk" / "one.jpg", root / "four.jpg")
    expected = ["a_more/one.jpg", "a_more/sub/two.jpg", "four.jpg", "zoo/three.jpg"]
    assert names(root) == expected
    assert [name for name, _ in ImageFolder(root)] == [name.removesuffix(".jpg") for name in expected]
    assert len(files_below(root)) == 4


@pytest.mark.parametrize("length", [240, 250])
def test_names_as_long_as_a_file_system_allows(tmp_path, length):
    stem = "x" * (length - len("_mask001.png"))
    put(tmp_path / "in" / f"{stem}.jpg")
    Image.fromarray(MASK).save(tmp_path / "in" / f"{stem}_mask001.png")
    plan = PredictionPlan(find({"indir": str(tmp_path / "in"), "outdir": str(tmp_path / "out")}), MaskReader())
    assert fill_all(lambda pixels, hole: pixels, plan.jobs).failures == []
    assert (tmp_path / "out" / f"{stem}_mask001.png").is_file()
    put(tmp_path / "images" / f"{stem}.jpg")
    (tmp_path / "masks").mkdir()
    Image.fromarray(MASK).save(tmp_path / "masks" / f"{stem}.png")
    places = {"indir": "images", "maskdir": "masks", "outdir": "more"}
    plan = PredictionPlan(find({key: str(tmp_path / place) for key, place in places.items()}), MaskReader())
    assert fill_all(lambda pixels, hole: pixels, plan.jobs).failures == []
    with atomic_write(tmp_path / ("y" * 255)) as partial:
        partial.write_text("")
    assert not list(tmp_path.glob(f"{PARTIAL}*"))


@pytest.mark.parametrize("apart", [False, True])
def test_joined_masks_are_one_hole_and_one_result(tmp_path, apart):
    put(tmp_path / "in" / "sub" / "a.png")
    put(tmp_path / "in" / "b.jpg")
    masks = tmp_path / ("masks" if apart else "in")
    (masks / "sub").mkdir(parents=True, exist_ok=True)
    for name, column in (("sub/a_mask001", 1), ("sub/a_mask002", 5), ("b_mask", 9)):
        mask = np.zeros((10, 12), np.uint8)
        mask[2:4, column] = 255
        Image.fromarray(mask).save(masks / f"{name}.png")
    places = {"indir": str(tmp_path / "in"), "outdir": str(tmp_path / "out")}
    found = find(places | ({"maskdir": str(masks)} if apart else {}), "same", join=True)
    holes = {}
    jobs = PredictionPlan(found, MaskReader()).jobs
    for job in jobs:
        job(lambda pixels, hole: (holes.setdefault(job.item.out.name, hole), pixels)[1])  # noqa: B023
    assert files_below(tmp_path / "out") == [tmp_path / "out" / "b.jpg", tmp_path / "out" / "sub" / "a.png"]
    assert np.flatnonzero(holes["a.png"].any(axis=0)).tolist() == [1, 5]
    assert np.flatnonzero(holes["b.jpg"].any(axis=0)).tolist() == [9]


def test_masks_can_be_joined_in_folders_only(tmp_path):
    put(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"mask\.join=true"):
        find({"image": str(tmp_path / "a.png"), "mask": str(tmp_path / "a.png"), "out": "o.png"}, join=True)
