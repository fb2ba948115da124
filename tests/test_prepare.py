"""Archives of the official layouts become the folders that the configurations name."""

import io
import runpy
import sys
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from lama.data import MaskDataset, PairFolder
from lama.data import prepare as module
from lama.data.prepare import copy, extract, pick, prepare_celebahq, prepare_places
from lama.masks import Boxes
from lama.pictures.images import list_images

KINDS = ["random_thin", "random_medium", "random_thick"]


def jpeg(seed, height=50, width=60):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


ARCHIVES = {"tar": tar, "zip": zipped, "tar.gz": lambda path, members: tar(path, members, "w:gz")}


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def build(name):
    """Sets of small crops, so that a test takes no minutes."""
    size = 16 if name.endswith("256") else 32
    return MaskDataset(Boxes(1, 3, 9, 1, 2), size), {"name": name}


def main(monkeypatch, root, name, *arguments):
    """Run a command as a user does, in this process; returns its exit code."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    try:
        runpy.run_path(str(root / "bin" / name), run_name="__main__")
    except SystemExit as exit_:
        return exit_.code or 0
    return 0


# Archives


@pytest.mark.parametrize("kind", ARCHIVES)
def test_the_wanted_images_of_an_archive_are_unpacked(tmp_path, kind):
    members = {"data/a/1.jpg": jpeg(1), "data/b/2.JPG": jpeg(2), "data/readme.txt": b"x", "data/c/3.jpg": jpeg(3)}
    archive = ARCHIVES[kind](tmp_path / f"a.{kind}", members)
    assert len(extract(archive, tmp_path / "out", lambda name: "/c/" not in name)) == 2
    assert everything(tmp_path / "out") == {name: members[name] for name in ("data/a/1.jpg", "data/b/2.JPG")}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_existing_files_are_kept(tmp_path, kind):
    archive = ARCHIVES[kind](tmp_path / f"a.{kind}", {f"{i}.jpg": jpeg(i) for i in range(3)})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.jpg").write_bytes(b"mine")
    assert len(extract(archive, tmp_path / "out")) == 3
    assert (tmp_path / "out" / "1.jpg").read_bytes() == b"mine"
    assert (tmp_path / "out" / "2.jpg").read_bytes() == jpeg(2)


@pytest.mark.parametrize("name", ["../evil.jpg", "a/../../evil.jpg", "/tmp/evil_of_a_test.jpg"])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_paths_that_leave_the_folder_are_refused(tmp_path, kind, name):
    archive = ARCHIVES[kind](tmp_path / f"a.{kind}", {name: jpeg(0)})
    with pytest.raises(ValueError, match="outside of the folder"):
        extract(archive, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.rglob("*.jpg")] == []


def test_links_in_an_archive_lead_nowhere(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, target in (("dir", str(tmp_path / "elsewhere")), ("b.jpg", "/etc/passwd")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        member = tarfile.TarInfo("dir/c.jpg")
        member.size = len(jpeg(0))
        archive.addfile(member, io.BytesIO(jpeg(0)))
    (tmp_path / "elsewhere").mkdir()
    extract(tmp_path / "a.tar", tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "out" / "b.jpg").exists()


def middle(content):
    start = len(content) // 2
    return content[:start] + b"\xff" * 600 + content[start + 600 :]


DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "text": lambda _: b"x" * 999,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_damaged_archive_is_named_and_leaves_no_half_image(tmp_path, kind, damage):
    members = {f"{i}.jpg": jpeg(i) for i in range(8)}
    archive = ARCHIVES[kind](tmp_path / f"a.{kind}", members)
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(ValueError, match="damaged archive") as caught:
        extract(archive, tmp_path / "out")
    assert str(archive) in str(caught.value)
    for name, content in everything(tmp_path / "out").items():
        assert content == members[name]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_with_noise_in_its_middle_is_named(tmp_path, kind):
    members = {f"{i}.jpg": jpeg(i) for i in range(8)}
    archive = ARCHIVES[kind](tmp_path / f"a.{kind}", members)
    archive.write_bytes(middle(archive.read_bytes()))
    with pytest.raises(ValueError, match="damaged archive"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("cut", [0, 200])
def test_a_download_that_broke_off_between_two_images_is_noticed(tmp_path, cut):
    members = {f"{i}.jpg": jpeg(i) for i in range(8)}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT):
        pass
    archive = tar(tmp_path / "a.tar", members)
    content = archive.read_bytes()
    archive.write_bytes(content[: content.index(b"5.jpg") + cut])
    with pytest.raises(ValueError, match="damaged"):
        extract(archive, tmp_path / "out")


def test_a_missing_archive_and_one_without_images_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.tar: no such archive; download it first"):
        extract(tmp_path / "a.tar", tmp_path / "out")
    tar(tmp_path / "a.tar", {"a.txt": b"x"})
    with pytest.raises(ValueError, match="expected images"):
        extract(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pick_is_the_same_for_the_same_seed(tmp_path):
    paths = [tmp_path / f"{i:02d}" for i in range(40)]
    chosen = pick(paths, 10, 3)
    assert chosen == pick(paths, 10, 3) == sorted(set(chosen))
    assert len(chosen) == 10
    assert chosen != pick(paths, 10, 4)
    assert pick(paths, 40, 0) == paths
    with pytest.raises(ValueError, match="at least 41 images, got 40"):
        pick(paths, 41, 0)


# Places


@pytest.fixture
def places(tmp_path):
    tar(tmp_path / "train.tar", {f"data_large/{c}/{i:08d}.jpg": jpeg(i) for c in ("a/abbey", "b/barn") for i in (1, 2)})
    tar(tmp_path / "val.tar", {f"val_large/Places365_val_{i:08d}.jpg": jpeg(10 + i) for i in range(6)})
    tar(tmp_path / "test.tar", {f"test_large/Places365_test_{i:08d}.jpg": jpeg(20 + i) for i in range(5)})
    return [tmp_path / f"{name}.tar" for name in ("train", "val", "test")]


def test_places_becomes_the_folders_of_the_configurations(tmp_path, places):
    out = tmp_path / "places_standard_dataset"
    lines = prepare_places(*places, out, build, counts=(3, 2, 4))
    assert len(list_images(out / "train")) == 4
    assert len(PairFolder(out / "val")) == 3
    assert all("_test_" in pair.name for pair in PairFolder(out / "val"))
    assert len(PairFolder(out / "visual_test")) == 2
    assert all("_val_" in pair.name for pair in PairFolder(out / "visual_test"))
    assert len(list_images(out / "evaluation" / "hires")) == 4
    for kind in KINDS:
        for size, pixels in ((256, 16), (512, 32)):
            pairs = list(PairFolder(out / "evaluation" / f"{kind}_{size}"))
            assert [pair.mask.shape for pair in pairs] == [(pixels, pixels)] * 4
    assert "4 images in" in lines[0]
    assert f"location.data_root_dir={out}" in lines[1]


def test_only_training_images_of_the_categories_are_kept(tmp_path, places):
    (tmp_path / "categories.txt").write_text("barn\n\n")
    out = tmp_path / "challenge"
    lines = prepare_places(*places, out, build, counts=(1, 1, 1), categories=tmp_path / "categories.txt")
    assert {path.parent.name for path in list_images(out / "train")} == {"barn"}
    assert lines[0].startswith("2 images")


def test_places_prepared_again_changes_nothing(tmp_path, places):
    out = tmp_path / "out"
    prepare_places(*places, out, build, counts=(3, 2, 4))
    before = everything(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    prepare_places(*places, out, build, counts=(3, 2, 4), jobs=1)
    assert everything(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times


class Killed(BaseException):
    """Not an error of the program."""


@pytest.mark.parametrize("step", ["extract", "copy", "generate"])
def test_an_interrupted_preparation_is_resumed(tmp_path, places, monkeypatch, step):
    prepare_places(*places, tmp_path / "whole", build, counts=(3, 2, 4))
    original, calls = getattr(module, step), []

    def killed(*arguments, **options):
        calls.append(step)
        if len(calls) == 2:
            raise Killed
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(Killed):
            prepare_places(*places, tmp_path / "out", build, counts=(3, 2, 4))
    prepare_places(*places, tmp_path / "out", build, counts=(3, 2, 4))
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_an_extraction_killed_during_a_write_is_resumed(tmp_path, monkeypatch):
    members = {f"{i}.jpg": jpeg(i) for i in range(4)}
    archive = tar(tmp_path / "a.tar", members)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.jpg").write_bytes(members["0.jpg"])
    (tmp_path / "out" / ".1.4711.jpg").write_bytes(members["1.jpg"][:99])  # left by a killed process
    assert len(extract(archive, tmp_path / "out")) == 4
    assert [path.name for path in list_images(tmp_path / "out")] == sorted(members)


def test_too_few_images_are_named_with_their_folder(tmp_path, places):
    with pytest.raises(ValueError, match=r"source/test.*expected at least 6 images, got 5"):
        prepare_places(*places, tmp_path / "out", build, counts=(6, 1, 1))


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_archive_is_noticed_before_hours_of_unpacking(tmp_path, places, missing):
    places[missing].unlink()
    with pytest.raises(FileNotFoundError, match="no such archive"):
        prepare_places(*places, tmp_path / "out", build, counts=(1, 1, 1))
    assert not (tmp_path / "out").exists()


def test_categories_that_no_image_has_are_refused(tmp_path, places):
    (tmp_path / "categories.txt").write_text("castle\n")
    with pytest.raises(ValueError, match="expected images"):
        prepare_places(*places, tmp_path / "out", build, counts=(1, 1, 1), categories=tmp_path / "categories.txt")


# CelebA-HQ


@pytest.fixture
def celeba(tmp_path):
    return zipped(tmp_path / "data256x256.zip", {f"data256x256/{i:05d}.jpg": jpeg(i, 256, 256) for i in range(1, 13)})


def numbers(folder):
    return {int(path.stem) for path in list_images(folder)}


def test_celeba_becomes_the_folders_of_the_configurations(tmp_path, celeba):
    out = tmp_path / "celeba-hq-dataset"
    prepare_celebahq(celeba, out, build, counts=(3, 4))
    parts = [numbers(out / name) for name in ("train_256", "val_source_256", "visual_test_source_256")]
    assert [len(part) for part in parts] == [5, 3, 4]
    assert set.union(*parts) == set(range(12))
    assert (out / "train_256" / f"{min(parts[0])}.jpg").read_bytes() == jpeg(min(parts[0]) + 1, 256, 256)
    for folder, count in (("val_256", 3), ("visual_test_256", 4)):
        assert {path.name for path in (out / folder).iterdir()} == {f"{kind}_256" for kind in KINDS}
        assert len(PairFolder(out / folder)) == 3 * count


def test_the_official_list_names_the_visual_test_images(tmp_path, celeba):
    (tmp_path / "val.flist").write_text("/some/where/3.jpg\n0.jpg\n")
    prepare_celebahq(celeba, tmp_path / "out", build, counts=(3, 4), val_list=tmp_path / "val.flist")
    assert numbers(tmp_path / "out" / "visual_test_source_256") == {0, 3}
    assert len(numbers(tmp_path / "out" / "train_256")) == 7
    assert not {0, 3} & numbers(tmp_path / "out" / "train_256")


def test_the_split_is_a_function_of_the_seed(tmp_path, celeba):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare_celebahq(celeba, tmp_path / name, build, counts=(3, 4), seed=seed)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert numbers(tmp_path / "a" / "train_256") != numbers(tmp_path / "c" / "train_256")


def test_celeba_prepared_again_changes_nothing(tmp_path, celeba):
    prepare_celebahq(celeba, tmp_path / "out", build, counts=(3, 4))
    before = everything(tmp_path / "out")
    prepare_celebahq(celeba, tmp_path / "out", build, counts=(3, 4))
    assert everything(tmp_path / "out") == before


def test_a_list_of_images_that_are_not_there_and_too_few_are_refused(tmp_path, celeba):
    (tmp_path / "val.flist").write_text("3.jpg\n12.jpg\n")
    with pytest.raises(ValueError, match="1 of its images are not in the archive, first 12"):
        prepare_celebahq(celeba, tmp_path / "a", build, counts=(3, 4), val_list=tmp_path / "val.flist")
    with pytest.raises(ValueError, match=r"expected more than 12 images named 00001\.jpg \.\.\., got 12"):
        prepare_celebahq(celeba, tmp_path / "b", build, counts=(6, 6))


# The commands


def test_the_command_for_places_uses_the_official_settings(tmp_path, root, monkeypatch, capsys, places):
    for archive, name in zip(places, ("train", "val", "test"), strict=True):
        tar(archive, {f"{name}_large/x_{name}_{i}.jpg": jpeg(i, 40, 40) for i in range(2)})
    out = tmp_path / "out"
    assert main(monkeypatch, root, "prepare_places.py", *places, out, "--counts", "1", "1", "1") == 0
    assert "python bin/train.py" in capsys.readouterr().out
    assert [pair.mask.shape for pair in PairFolder(out / "val")] == [(512, 512)]
    assert [pair.mask.shape for pair in PairFolder(out / "evaluation" / "random_thin_256")] == [(256, 256)]


def test_the_command_for_celeba_uses_the_official_settings(tmp_path, root, monkeypatch, capsys, celeba):
    out = tmp_path / "out"
    assert main(monkeypatch, root, "prepare_celebahq.py", celeba, out, "--counts", "1", "1") == 0
    assert "python bin/train.py" in capsys.readouterr().out
    assert [pair.mask.shape for pair in PairFolder(out / "val_256")] == [(256, 256)] * 3


@pytest.mark.parametrize(
    ("name", "arguments"), [("prepare_places.py", ["a.tar"] * 3), ("prepare_celebahq.py", ["a.zip"])]
)
def test_a_missing_archive_is_one_line(tmp_path, root, monkeypatch, capsys, name, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(monkeypatch, root, name, *arguments, "out") == 2
    said = capsys.readouterr().err
    assert "no such archive; download it first" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_images_with_the_same_name_in_two_folders_are_both_copied_or_refused(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (20, 20), (9, 9, ord(folder))).save(tmp_path / folder / "1.jpg")
        paths.append(tmp_path / folder / "1.jpg")
    try:
        copy(paths, tmp_path, tmp_path / "out")
    except ValueError:
        return
    assert len(list_images(tmp_path / "out")) == 2
