"""bin/check_data.py: findings about a folder of images."""

import runpy
import shlex
import sys

import numpy as np
import pytest
from PIL import Image

from lama.data import BuiltinPhotos, ImageFolder, ImageList, PairFolder
from lama.data.cache import DecodedCache
from lama.data.check import check_folder, quick_check
from lama.data.sources import Subset
from lama.pictures.images import write_image


def noise(height=60, width=70, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hole(height=60, width=70, share=0.25):
    mask = np.zeros((height, width), bool)
    mask[: round(height * share)] = True
    return mask


def pair(folder, name, image=None, mask=None):
    write_image(folder / f"{name}.png", noise(seed=len(name)) if image is None else image)
    write_image(folder / f"{name}_mask000.png", hole() if mask is None else mask)


def good(folder, count=4):
    """The official layout, without a fault."""
    for i in range(count):
        write_image(folder / "train" / f"{i}.png", noise(seed=i))
        pair(folder / "val", f"v{i}", noise(seed=100 + i))
    return folder


def check(folder, crop=32):
    findings, sheet, commands = check_folder(folder, crop)
    for text in (*findings.lines, *findings.problems, *commands):
        assert "\n" not in text
    return "\n".join(findings.lines), "\n".join(findings.problems), sheet


def main(monkeypatch, root, *arguments):
    """Run the command as a user does, in this process; returns its exit code."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["check_data.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(root / "bin" / "check_data.py"), run_name="__main__")
    return exit_.value.code


# Counts


def test_a_good_folder_has_no_problem(tmp_path):
    lines, problems, sheet = check(good(tmp_path))
    assert not problems
    assert "4 images: 4 .png; 4 RGB" in lines
    assert "shorter side: 60 to 60 pixels, median 60" in lines
    assert "4 masks, hole 25.0% on average, 25.0% to 25.0%" in lines
    assert sheet.shape[2] == 3


def test_images_of_every_kind_are_counted_and_none_is_a_problem(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "rgb.jpg")
    Image.fromarray(noise()[..., 0]).save(tmp_path / "grey.png")
    Image.new("RGBA", (70, 60), (1, 2, 3, 4)).save(tmp_path / "alpha.png")
    Image.fromarray(noise()).convert("P").save(tmp_path / "palette.png")
    Image.new("CMYK", (70, 60)).save(tmp_path / "cmyk.jpg")
    Image.fromarray(noise()[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    lines, problems, _ = check(tmp_path)
    assert not problems
    assert "6 images: 4 .png, 2 .jpg" in lines
    for kind in ("1 RGB", "1 L", "1 RGBA", "1 P", "1 CMYK", "1 I;16"):
        assert kind in lines


@pytest.mark.parametrize(("tiny", "problem"), [(1, False), (5, True)])
def test_images_smaller_than_the_crop_are_a_problem_where_there_are_many(tmp_path, tiny, problem):
    for i in range(20):
        write_image(tmp_path / f"{i}.png", noise(20, 60, seed=i) if i < tiny else noise(seed=i))
    lines, problems, _ = check(tmp_path)
    text = f"{tiny} images ({tiny * 5}%) are smaller than the crop of 32"
    assert (text in problems) is problem
    assert (text in lines) is not problem


def test_the_crop_is_the_one_asked_for(tmp_path):
    write_image(tmp_path / "a.png", noise())
    assert not check(tmp_path, crop=60)[1]
    assert "smaller than the crop of 61" in check(tmp_path, crop=61)[1]


# Problems


@pytest.mark.parametrize("content", [b"", b"text", None], ids=["empty", "text", "truncated"])
def test_images_that_cannot_be_read_are_named_and_counted(tmp_path, content):
    for i in range(3):
        write_image(tmp_path / f"{i}.png", noise(seed=i))
    broken = tmp_path / "1.png"
    broken.write_bytes(broken.read_bytes()[:3000] if content is None else content)
    _, problems, sheet = check(tmp_path)
    assert "1 of 3 images cannot be read" in problems
    assert str(broken) in problems
    assert sheet is not None


def test_a_folder_of_nothing_but_broken_images_is_a_problem_and_no_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    _, problems, sheet = check(tmp_path)
    assert "1 of 1 images cannot be read" in problems
    assert sheet is None


def test_an_image_in_training_and_validation_is_found_under_another_name(tmp_path):
    good(tmp_path)
    (tmp_path / "val" / "v2.png").write_bytes((tmp_path / "train" / "3.png").read_bytes())
    _, problems, _ = check(tmp_path)
    assert "1 images are in training and validation, first " in problems
    assert "v2.png" in problems
    assert "3.png" in problems


def test_a_copy_of_another_size_and_compression_in_the_validation_is_named(tmp_path):
    photos = dict(BuiltinPhotos("train", 256))
    first, second, *_ = photos.values()
    write_image(tmp_path / "train" / "a.png", first)
    for i, image in enumerate((np.full_like(first, 128), noise(200, 200))):
        write_image(tmp_path / "train" / f"other{i}.png", image)
    small = np.asarray(Image.fromarray(first).resize((first.shape[1] // 2, first.shape[0] // 2)))
    pair(
        tmp_path / "val",
        "different",
        second,
        np.pad(hole(40, 40), ((0, second.shape[0] - 40), (0, second.shape[1] - 40))),
    )
    pair(tmp_path / "val", "flat", np.full((60, 70, 3), 120, np.uint8))
    mask = np.zeros(small.shape[:2], bool)
    mask[:20, :20] = True
    write_image(tmp_path / "val" / "copy.jpg", small)
    write_image(tmp_path / "val" / "copy_mask000.png", mask)
    problems = check(tmp_path)[1].splitlines()
    named = [line for line in problems if "looks like" in line]
    assert len(named) == 1
    assert named[0].split() == [str(tmp_path / "val" / "copy.jpg"), "looks", "like", str(tmp_path / "train" / "a.png")]
    assert any(line.startswith("1 images of the validation look like") for line in problems)


def test_inverted_masks_are_suspected(tmp_path):
    for i in range(3):
        pair(tmp_path, f"a{i}", mask=~hole(share=0.1))
    pair(tmp_path, "b")
    assert "3 of 4 masks, first" in check(tmp_path)[1]


def test_a_single_large_mask_is_not_reported(tmp_path):
    for i in range(3):
        pair(tmp_path, f"a{i}")
    pair(tmp_path, "b", mask=~hole(share=0.1))
    assert not check(tmp_path)[1]


@pytest.mark.parametrize(("share", "what"), [(0, "no pixel is hole"), (1, "every pixel is hole")])
def test_empty_and_full_masks_are_named(tmp_path, share, what):
    pair(tmp_path, "a")
    pair(tmp_path, "b", mask=hole(share=share))
    assert f"{tmp_path / 'b_mask000.png'}: {what}" in check(tmp_path)[1]


def test_masks_of_another_size_or_without_an_image_are_named(tmp_path):
    pair(tmp_path, "a")
    pair(tmp_path, "b", mask=hole(50, 70))
    write_image(tmp_path / "c_mask000.png", hole())
    lines, problems, sheet = check(tmp_path)
    assert f"{tmp_path / 'b_mask000.png'}: mask is 70 x 50, its image 70 x 60 pixels" in problems
    assert f"{tmp_path / 'c_mask000.png'}: mask without an image" in problems
    assert "hole 25.0%" in lines
    assert sheet is not None


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    pair(tmp_path, "a")
    pair(tmp_path, "b")
    (tmp_path / "b_mask000.png").write_bytes(b"")
    assert "b_mask000.png: not a readable image" in check(tmp_path)[1]


@pytest.mark.parametrize("below", ["", "val"])
def test_a_pair_with_a_truncated_image_is_named_and_the_check_continues(tmp_path, below):
    if below:
        good(tmp_path)
    pair(tmp_path / below, "a")
    pair(tmp_path / below, "b", noise(200, 200), hole(200, 200))
    broken = tmp_path / below / "b.png"
    broken.write_bytes(broken.read_bytes()[:9000])
    assert "b.png" in check(tmp_path)[1]


@pytest.mark.parametrize("turned", [True, False])
def test_an_image_that_the_camera_turned_is_compared_as_it_is_read(tmp_path, turned):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(60, 80)).save(tmp_path / "a.jpg", exif=exif)  # 60 wide, 80 high when it is read
    write_image(tmp_path / "a_mask000.png", hole(80, 60) if turned else hole(60, 80))
    _, problems, _ = check(tmp_path)
    assert ("mask is" in problems) is not turned


def test_a_training_folder_without_validation_is_told_what_to_do(tmp_path):
    good(tmp_path)
    (tmp_path / "val").rename(tmp_path / "elsewhere")
    assert "bin/gen_mask_dataset.py" in check(tmp_path)[1]


def test_validation_images_without_masks_are_a_finding(tmp_path):
    good(tmp_path)
    for mask in (tmp_path / "val").glob("*mask*"):
        mask.unlink()
    assert "masks" in check(tmp_path)[1]


def test_photographs_of_masks_are_images(tmp_path):
    for name in ("carnival_mask", "unmasked_crowd", "b"):
        write_image(tmp_path / "train" / f"{name}.png", noise(seed=len(name)))
        pair(tmp_path / "val", f"v{name}", noise(seed=100 + len(name)))
        write_image(tmp_path / "flat" / f"{name}.png", noise(seed=len(name)))
    assert not check(tmp_path)[1]
    assert "without an image" not in check(tmp_path / "flat")[1]


# The contact sheet


def test_the_contact_sheet_shows_images_and_holes(tmp_path):
    for i in range(3):
        write_image(tmp_path / "train" / f"{i}.png", np.full((200, 200, 3), (200, 10, 10), np.uint8))
        pair(tmp_path / "val", f"v{i}", np.full((200, 200, 3), (10, 10, 200), np.uint8), hole(200, 200, 0.5))
    _, _, sheet = check(tmp_path)
    for colour, least in (((200, 10, 10), 0.2), ((10, 10, 200), 0.05), ((236, 72, 153), 0.05)):
        assert (np.abs(sheet.astype(int) - colour).max(axis=2) < 12).mean() > least, colour


def test_the_sheet_of_many_images_stays_small(tmp_path):
    for i in range(30):
        write_image(tmp_path / f"{i}.png", noise(40, 40, seed=i))
    assert check(tmp_path)[2].shape[0] <= 2 * 160


def test_the_sheet_of_stored_masks_shows_one_hole_whichever_way_it_is_stored():
    from lama.data.sheets import reading_sheet
    from lama.pages.page import PINK

    sheet = reading_sheet(np.zeros((128, 128, 3), np.uint8))
    columns = np.split(sheet[-154:-4].astype(int), 7, axis=1)  # the lower tiles
    areas = [(np.abs(column - PINK).max(axis=2) < 12).mean() for column in columns]
    assert np.ptp(areas[:4]) < 0.01  # white on black, black on white, a layer, a cut-out image
    assert areas[5] == pytest.approx(areas[0], abs=0.02)  # JPEG, with a threshold
    assert areas[6] > 1.5 * areas[0]  # grown


# The command


def test_the_command_writes_the_sheet_and_ends_with_lines_to_paste(tmp_path, root, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    good(tmp_path / "mine")
    before = sorted(path.name for path in (tmp_path / "mine").rglob("*"))
    assert main(monkeypatch, root, "mine", "--crop", "32") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].strip().startswith("python bin/train.py")
    assert "location.data_root_dir=mine" in said[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert main(monkeypatch, root, "mine", "--crop", "32", "--sheet", "deep/look.jpg") == 0
    assert Image.open(tmp_path / "deep" / "look.jpg").size[0] == 6 * 160
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == before


@pytest.mark.parametrize("name", ["my photos (1)", "фото", "a=b,c", "it's"])
@pytest.mark.parametrize("layout", ["images", "pairs", "dataset"])
def test_the_command_runs_as_pasted_whatever_the_folder_is_called(tmp_path, root, monkeypatch, capsys, name, layout):
    from lama.config import check_plan, read

    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / name / ("train/a.png" if layout == "dataset" else "a.png"), noise())
    if layout == "dataset":
        write_image(tmp_path / name / "val" / "b.png", noise())
    if layout == "pairs":
        write_image(tmp_path / name / "a_mask000.png", noise() // 255 * 255)
    main(monkeypatch, root, name, "--crop", "32")
    _, script, *words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    if layout == "pairs":
        assert script == "bin/evaluate.py"
        assert read(words, "", "evaluation", paths=("indir",)).indir == name
    else:
        config = read(words, "", "training", None)
        check_plan(config)
        assert config.data.path == (f"{name}/train" if layout == "dataset" else name)


def test_problems_are_exit_code_1(tmp_path, root, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "mine" / "a.png", noise())
    (tmp_path / "mine" / "b.png").write_bytes(b"")
    assert main(monkeypatch, root, "mine", "--crop", "32") == 1
    said = capsys.readouterr().out
    assert "problem: 1 of 2 images cannot be read" in said
    assert "data=folder data.path=mine" in said


@pytest.mark.parametrize(("name", "expected"), [("nowhere", "nowhere: no such folder"), ("empty", "expected images")])
def test_a_folder_without_images_is_one_line_and_exit_code_2(tmp_path, root, monkeypatch, capsys, name, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(monkeypatch, root, name) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert expected in said.err
    assert said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_empty_training_folder_is_one_line(tmp_path, root, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    good(tmp_path / "mine")
    for path in (tmp_path / "mine" / "train").iterdir():
        path.unlink()
    assert main(monkeypatch, root, "mine") == 2
    assert "train: expected images" in capsys.readouterr().err


# At the start of a training


def sources(folder):
    whole = ImageFolder(folder / "train")
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in whole.paths))
    return {
        "folder": whole,
        "list": ImageList(folder / "list.txt"),
        "part": Subset(whole, [2, 3]),
        "cached part": DecodedCache(Subset(whole, [2, 3]), 0.001),
    }


@pytest.mark.parametrize("kind", ["folder", "list", "part", "cached part"])
def test_a_training_finds_the_same_at_its_start(tmp_path, kind):
    good(tmp_path)
    (tmp_path / "val" / "v1.png").write_bytes((tmp_path / "train" / "2.png").read_bytes())
    write_image(tmp_path / "val" / "v0_mask000.png", hole(share=1))
    (tmp_path / "train" / "3.png").write_bytes(b"")
    source = sources(tmp_path)[kind]
    problems = "\n".join(quick_check(source, PairFolder(tmp_path / "val"), 32).problems)
    assert f"1 of {len(source)} images cannot be read" in problems
    assert "1 images are in training and validation" in problems
    assert "v0_mask000.png: every pixel is hole" in problems


def test_a_training_looks_only_at_its_own_part_of_the_images(tmp_path):
    good(tmp_path)
    (tmp_path / "train" / "0.png").write_bytes(b"")
    assert not quick_check(sources(tmp_path)["part"], PairFolder(tmp_path / "val"), 32).problems


def test_the_check_at_the_start_reads_no_more_than_a_few_hundred_headers(tmp_path, monkeypatch):
    folder = ImageFolder(good(tmp_path) / "train")
    folder.paths = folder.paths * 1000
    opened, original = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path, *a: (opened.append(path), original(path, *a))[1])
    quick_check(folder, PairFolder(tmp_path / "val"), 32)
    assert len(opened) <= 220
