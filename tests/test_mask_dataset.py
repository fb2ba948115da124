"""Frozen evaluation sets: the same bytes for the same seed; every change is noticed."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lama.config import build, load_data_gen
from lama.data import MaskDataset, PairFolder
from lama.data import mask_dataset as module
from lama.data.mask_dataset import generate
from lama.files import PARTIAL, sha256_of
from lama.masks import Boxes
from lama.pictures.images import write_image

SETTINGS = {"size": 32, "seed": 0}


def noise(height=40, width=52, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photos(folder, count=5):
    for i in range(count):
        write_image(folder / ("a" if i % 2 else "b") / f"{i}.png", noise(30 + 9 * i, 60 - 5 * i, seed=i))
    return folder


@pytest.fixture
def images(tmp_path):
    return photos(tmp_path / "photos")


def small(**options):
    return MaskDataset(Boxes(1, 4, 24, 1, 3), **{"size": 32} | options)


def make(images, out, jobs=0, dataset=None, settings=SETTINGS, suffix=None):
    return generate(dataset or small(), settings, images, out, suffix, jobs)


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main(monkeypatch, root, *arguments):
    """Run the command as a user does, in this process; returns its exit code."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["gen_mask_dataset.py", *map(str, arguments)])
    try:
        runpy.run_path(str(root / "bin" / "gen_mask_dataset.py"), run_name="__main__")
    except SystemExit as exit_:
        return exit_.code or 0
    return 0


# Generated files


def test_every_image_gives_a_crop_and_its_mask_by_the_official_names(tmp_path, images):
    result = make(images, tmp_path / "out")
    names = [f"{'a' if i % 2 else 'b'}/{i}_crop000{kind}.png" for i in range(5) for kind in ("", "_mask000")]
    assert sorted(everything(tmp_path / "out")) == sorted([*names, "manifest.json"])
    assert set(result.files) == set(names)
    assert not result.refused


def test_crops_are_square_masks_black_and_white_and_neither_empty_nor_too_large(tmp_path, images):
    make(images, tmp_path / "out", dataset=small(max_area=0.3))
    for mask in (tmp_path / "out").rglob("*_mask000.png"):
        values = np.asarray(Image.open(mask))
        assert set(np.unique(values)) == {0, 255}
        assert 0 < (values > 0).mean() <= 0.3
        assert values.shape == (32, 32)
        crop = Image.open(mask.with_name(mask.name.replace("_mask000", "")))
        assert (crop.size, crop.mode) == ((32, 32), "RGB")


def test_the_shorter_side_is_scaled_to_the_size_and_the_crop_taken_along_the_longer(tmp_path):
    x = np.broadcast_to(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], (64, 256, 3))
    write_image(tmp_path / "photos" / "wide.png", x)
    lefts = set()
    for seed in range(6):
        ((crop, _),) = small(seed=seed).pairs("wide", x)
        np.testing.assert_allclose(np.diff(crop[:, :, 0].astype(float)).mean(), 2, atol=0.2)  # half the size
        lefts.add(int(crop[0, 0, 0]))
    assert len(lefts) > 2


def test_several_pairs_of_an_image_are_numbered(tmp_path, images):
    make(images, tmp_path / "out", dataset=small(masks_per_image=3, variants=8))
    assert len({pair.mask.tobytes() for pair in PairFolder(tmp_path / "out")}) > 5 * 2
    assert (tmp_path / "out" / "b" / "0_crop002_mask002.png").is_file()
    assert not (tmp_path / "out" / "b" / "0_crop003_mask003.png").exists()


def test_the_manifest_has_seed_settings_and_the_sha256_of_every_file(tmp_path, images):
    import hashlib

    make(images, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    files = everything(tmp_path / "out")
    del files["manifest.json"]
    assert manifest["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert manifest["settings"].items() >= SETTINGS.items()


# The same for any number of jobs, order of files, and after interruptions


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_number_of_jobs_changes_no_byte(tmp_path, images, jobs):
    make(images, tmp_path / "one")
    make(images, tmp_path / "other", jobs=jobs)
    assert everything(tmp_path / "one") == everything(tmp_path / "other")


def test_the_order_of_the_files_changes_no_byte(tmp_path, images, monkeypatch):
    make(images, tmp_path / "one")
    listed = module.list_images
    monkeypatch.setattr(module, "list_images", lambda folder: listed(folder)[::-1])
    make(images, tmp_path / "other")
    assert everything(tmp_path / "one") == everything(tmp_path / "other")


def test_other_images_in_the_folder_change_no_pair(tmp_path, images):
    make(images, tmp_path / "one")
    write_image(images / "a" / "0first.png", noise(seed=99))
    make(images, tmp_path / "other")
    one, other = everything(tmp_path / "one"), everything(tmp_path / "other")
    assert all(other[name] == content for name, content in one.items() if name != "manifest.json")


def test_another_seed_gives_other_masks(tmp_path, images):
    one = make(images, tmp_path / "one")
    other = make(images, tmp_path / "other", dataset=small(seed=1), settings=SETTINGS | {"seed": 1})
    assert one.hash != other.hash
    assert not set(one.files.values()) & {v for name, v in other.files.items() if "mask" in name}


class Killed(BaseException):
    """Not an error of the program."""


def interrupt(monkeypatch, images, out, after=5):
    """Generate, and stop while image number ``after // 2`` is written."""
    original, calls = module.write_image, []

    def write(path, image):
        calls.append(path)
        if len(calls) > after:
            path.with_name(f"{PARTIAL}{path.stem}.png").write_bytes(b"half an image")
            raise Killed
        original(path, image)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_image", write)
        with pytest.raises(Killed):
            make(images, out)


@pytest.mark.parametrize("jobs", [0, 2])
def test_an_interrupted_set_is_resumed_to_the_same_bytes(tmp_path, images, monkeypatch, jobs):
    make(images, tmp_path / "whole")
    interrupt(monkeypatch, images, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    make(images, tmp_path / "out", jobs)
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_what_was_finished_before_an_interruption_is_not_made_again(tmp_path, images, monkeypatch):
    interrupt(monkeypatch, images, tmp_path / "out")
    written = []
    original = module.write_image
    monkeypatch.setattr(module, "write_image", lambda path, image: (written.append(path), original(path, image)))
    make(images, tmp_path / "out")
    assert len(written) == 6


@pytest.mark.parametrize("left", [1, 20, 120])
def test_a_truncated_journal_is_resumed(tmp_path, images, monkeypatch, left):
    make(images, tmp_path / "whole")
    interrupt(monkeypatch, images, tmp_path / "out")
    journal = tmp_path / "out" / module.JOURNAL
    journal.write_bytes(journal.read_bytes()[:-left])
    make(images, tmp_path / "out")
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_a_pair_lost_after_an_interruption_is_made_again(tmp_path, images, monkeypatch):
    make(images, tmp_path / "whole")
    interrupt(monkeypatch, images, tmp_path / "out")
    next((tmp_path / "out").rglob("*_mask000.png")).unlink()
    make(images, tmp_path / "out")
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_an_interrupted_set_is_not_resumed_with_other_settings(tmp_path, images, monkeypatch):
    interrupt(monkeypatch, images, tmp_path / "out")
    before = everything(tmp_path / "out")
    with pytest.raises(FileExistsError, match="unfinished set of other images or settings"):
        make(images, tmp_path / "out", settings=SETTINGS | {"seed": 5})
    assert everything(tmp_path / "out") == before


def test_a_finished_set_is_left_alone(tmp_path, images, monkeypatch):
    first = make(images, tmp_path / "out")
    monkeypatch.setattr(module, "write_image", None)
    assert make(images, tmp_path / "out") == first


def test_a_full_disk_leaves_no_partial_file_and_the_set_is_resumed_later(tmp_path, images, monkeypatch):
    make(images, tmp_path / "whole")
    original, calls = Image.Image.save, []

    def save(self, path, *arguments, **options):
        calls.append(path)
        if len(calls) > 3:
            path.write_bytes(b"half an image")
            raise OSError(28, "No space left on device", str(path))
        original(self, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match="No space left"):
        make(images, tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3
    monkeypatch.undo()
    make(images, tmp_path / "out")
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


# Images and folders that are refused


@pytest.mark.parametrize("jobs", [0, 2])
def test_refused_images_are_listed_with_their_reasons(tmp_path, images, jobs):
    (images / "a" / "broken.png").write_bytes(b"no image")
    result = make(images, tmp_path / "out", jobs)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert list(result.refused) == list(manifest["refused"]) == ["a/broken"]
    assert "not a readable image" in result.refused["a/broken"]
    assert str(tmp_path) not in result.refused["a/broken"]  # equal manifests on every machine
    assert len(PairFolder(tmp_path / "out")) == 5


def test_an_image_for_which_no_mask_is_fit_is_refused_with_the_reason(tmp_path, images):
    class Full:
        def __call__(self, rng, height, width):
            return np.ones((height, width), bool) if height > width else Boxes(1, 4, 9, 1, 1)(rng, height, width)

    result = make(images, tmp_path / "out", dataset=MaskDataset(Full(), 32))
    assert 0 < len(result.refused) < 5
    assert all("each of 5 masks" in reason and "50%" in reason for reason in result.refused.values())


def test_where_no_image_gives_a_pair_nothing_is_left(tmp_path, images):
    nothing = MaskDataset(Boxes(max_times=0, min_size=5, margin=0), 32)
    with pytest.raises(ValueError, match="none of 5 images gave a pair"):
        make(images, tmp_path / "out", dataset=nothing)
    make(images, tmp_path / "out", settings=SETTINGS | {"max_area": 0.6})  # with better settings it works


def test_only_images_of_the_suffix_are_taken(tmp_path, images):
    Image.fromarray(noise()).save(images / "c.JPG")
    Image.fromarray(noise()).save(images / "d.jpg")
    for i, suffix in enumerate(("jpg", ".jpg", "JPG")):
        result = make(images, tmp_path / f"out{i}", suffix=suffix)
        assert sorted(result.files) == [
            "c_crop000.png",
            "c_crop000_mask000.png",
            "d_crop000.png",
            "d_crop000_mask000.png",
        ]


def test_a_suffix_that_no_image_has_is_refused_with_what_there_is(tmp_path, images):
    with pytest.raises(ValueError, match=r"expected images \*\.webp, found only \.png"):
        make(images, tmp_path / "out", suffix="webp")
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_name_are_refused(tmp_path, images):
    Image.fromarray(noise()).save(images / "a" / "1.jpg")
    with pytest.raises(ValueError, match="a/1: two images"):
        make(images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    make(images, tmp_path / "out", suffix="png")


def test_a_folder_that_holds_something_else_is_refused_and_left_as_it_was(tmp_path, images):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("important")
    with pytest.raises(FileExistsError, match="holds other files"):
        make(images, tmp_path / "out")
    assert everything(tmp_path / "out") == {"thesis.txt": b"important"}


@pytest.mark.parametrize("change", ["settings", "images"])
def test_a_finished_set_of_other_settings_or_images_is_refused(tmp_path, images, change):
    make(images, tmp_path / "out")
    before = everything(tmp_path / "out")
    if change == "images":
        write_image(images / "new.png", noise())
    with pytest.raises(FileExistsError, match="evaluation set of other images or settings"):
        make(images, tmp_path / "out", settings=SETTINGS | ({"seed": 9} if change == "settings" else {}))
    assert everything(tmp_path / "out") == before


def test_a_set_made_inside_the_folder_of_its_images_can_be_made_twice_or_is_refused_at_once(tmp_path, images):
    try:
        first = make(images, images / "out")
    except ValueError:
        assert not (images / "out").exists()
        return
    assert make(images, images / "out") == first


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"variants": 0}, {"masks_per_image": 0}, {"max_area": 0}, {"max_area": 1.1}, {"seed": -1}],
)
def test_settings_out_of_range_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        small(**options)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        make(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected images"):
        make(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Evaluation verifies the manifest


@pytest.fixture
def finished(tmp_path, images):
    make(images, tmp_path / "out")
    return tmp_path / "out"


def test_a_set_that_nobody_touched_is_read(finished):
    assert [pair.image.shape for pair in PairFolder(finished)] == [(32, 32, 3)] * 5


@pytest.mark.parametrize("name", ["b/0_crop000.png", "b/0_crop000_mask000.png"])
def test_a_changed_byte_is_noticed(finished, name):
    content = bytearray((finished / name).read_bytes())
    content[-1] ^= 1  # in the checksum of the last chunk: still an image that Pillow reads
    (finished / name).write_bytes(content)
    with pytest.raises(ValueError, match="changed since the evaluation set was made") as caught:
        list(PairFolder(finished))
    assert name in str(caught.value)


@pytest.mark.parametrize("names", [["a/1_crop000.png"], ["a/1_crop000_mask000.png"],
                                   ["a/1_crop000.png", "a/1_crop000_mask000.png"]])  # fmt: skip
def test_a_missing_file_is_noticed(finished, names):
    for name in names:
        (finished / name).unlink()
    with pytest.raises(ValueError, match="files are missing, first a/1_crop000"):
        PairFolder(finished)


@pytest.mark.parametrize("names", [["a/new.png", "a/new_mask000.png"], ["a/1_crop000_mask001.png"]])
def test_a_file_that_does_not_belong_to_it_is_noticed(finished, names):
    for name in names:
        write_image(finished / name, np.full((32, 32), 255, np.uint8))
    with pytest.raises(ValueError, match="do not belong to it, first a/"):
        PairFolder(finished)


def test_sets_below_a_folder_are_verified_too(finished):
    write_image(finished / "b" / "0_crop000.png", noise(32, 32))
    with pytest.raises(ValueError, match="changed since"):
        list(PairFolder(finished.parent / "out"))
    finished.rename(finished.parent / "sub")
    (finished.parent / "all").mkdir()
    (finished.parent / "sub").rename(finished.parent / "all" / "thick")
    with pytest.raises(ValueError, match="changed since"):
        list(PairFolder(finished.parent / "all"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {}}', '{"files": [], "hash": "a"}'])
def test_a_damaged_manifest_is_named(finished, text):
    (finished / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest.json"):
        PairFolder(finished)


def test_a_manifest_changed_by_hand_is_noticed(finished):
    write_image(finished / "b" / "0_crop000.png", noise(32, 32))
    manifest = json.loads((finished / "manifest.json").read_text())
    manifest["files"]["b/0_crop000.png"] = sha256_of(finished / "b" / "0_crop000.png")
    (finished / "manifest.json").write_text(json.dumps(manifest))  # its hash still names the old files
    with pytest.raises(ValueError, match="manifest"):
        list(PairFolder(finished))


# The command


def test_the_official_command_makes_a_set(tmp_path, root, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    for i in range(2):
        Image.fromarray(noise(300, 260, seed=i)).save(tmp_path / "in" / f"{i}.jpg")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"")
    config = root / "configs" / "data_gen" / "random_thick_256.yaml"
    arguments = [config, tmp_path / "in", tmp_path / "out", "--ext", "jpg", "--n-jobs", "2"]
    assert main(monkeypatch, root, *arguments) == 0
    said = capsys.readouterr()
    assert "2 pairs in" in said.out
    assert "1 images refused" in said.out
    assert "refused broken: " in said.out
    assert [pair.mask.shape for pair in PairFolder(tmp_path / "out")] == [(256, 256)] * 2
    before = everything(tmp_path / "out")
    assert main(monkeypatch, root, *arguments[:5]) == 0  # again, in one process
    assert everything(tmp_path / "out") == before
    assert main(monkeypatch, root, *arguments, "--seed", "1") == 2
    assert "other images or settings" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["random_thin_256", "random_medium_256", "random_thick_256", "random_thin_512",
                                  "random_medium_512", "random_thick_512"])  # fmt: skip
def test_the_official_settings_build_by_name(root, name):
    settings = load_data_gen(name, 3, None)
    dataset = build(settings, name)
    assert dataset.size == int(name[-3:])
    assert (dataset.variants, dataset.masks_per_image, dataset.max_area, dataset.seed) == (5, 1, 0.5, 3)
    assert settings == load_data_gen(str(root / "configs" / "data_gen" / f"{name}.yaml"), 3, None)


def test_masks_in_the_shape_of_objects_come_from_label_maps(tmp_path, root, monkeypatch, capsys):
    write_image(tmp_path / "in" / "a.png", noise(256, 300))
    labels = np.zeros((200, 200), np.uint8)
    labels[40:120, 60:130] = 7
    write_image(tmp_path / "labels" / "l.png", labels)
    assert main(monkeypatch, root, "segm_256", tmp_path / "in", tmp_path / "no") == 2
    assert "--labels DIR" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    assert main(monkeypatch, root, "segm_256", tmp_path / "in", tmp_path / "out", "--labels", tmp_path / "labels") == 0
    (pair,) = PairFolder(tmp_path / "out")
    assert 0.01 < pair.mask.mean() <= 0.5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["random_thikc_256", "in", "out"], "random_thikc_256: no such configuration of an evaluation set; known: "),
        (["nowhere.yaml", "in", "out"], "nowhere.yaml: no such configuration"),
        (["random_thick_256", "nowhere", "out"], "nowhere: no such folder"),
        (["random_thick_256", "in", "out", "--ext", "webp"], "expected images *.webp"),
        (["random_thick_256", "in", "out", "--labels", "in"], "draws no objects"),
        (["bad.yaml", "in", "out"], "expected _target_, masks, size"),
        (["evil.yaml", "in", "out"], "_target_"),
        (["growing.yaml", "in", "out"], "error: "),
        (["unknown.yaml", "in", "out"], "error: "),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, root, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "in" / "a.png", noise())
    (tmp_path / "bad.yaml").write_text("size: 3\n")
    (tmp_path / "evil.yaml").write_text("_target_: os.system\nmasks: random_thick_256\n")
    (tmp_path / "growing.yaml").write_text("_target_: lama.data.MaskDataset\nmasks: train_wide\nsizes: 1\n")
    (tmp_path / "unknown.yaml").write_text("_target_: lama.data.MaskDataset\nmasks: no_such_masks\n")
    before = sorted(tmp_path.rglob("*"))
    assert main(monkeypatch, root, *arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert expected in said
    assert "\n" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_masks_of_the_trainings_can_be_named_too(tmp_path, root, monkeypatch, capsys):
    (tmp_path / "wide.yaml").write_text("_target_: lama.data.MaskDataset\nmasks: train_wide\nsize: 256\n")
    write_image(tmp_path / "in" / "a.png", noise(256, 300))
    code = main(monkeypatch, root, tmp_path / "wide.yaml", tmp_path / "in", tmp_path / "out")
    assert code == 0, capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_one_line(tmp_path, root, monkeypatch, capsys):
    write_image(tmp_path / "in" / "a.png", noise())
    (tmp_path / "file").write_text("")
    assert main(monkeypatch, root, "random_thick_256", tmp_path / "in", tmp_path / "file" / "out") == 2
    assert "error: " in capsys.readouterr().err
    assert main(monkeypatch, root, "random_thick_256", tmp_path / "in", tmp_path / "file") == 2
    assert (tmp_path / "file").read_text() == ""


# What users stumbled over


def test_a_damaged_set_is_mended_when_it_is_made_again(tmp_path, images):
    make(images, tmp_path / "out")
    whole = everything(tmp_path / "out")
    masks = sorted((tmp_path / "out").rglob("*_mask000.png"))
    masks[0].unlink()
    masks[1].write_bytes(b"something else")
    make(images, tmp_path / "out")
    assert everything(tmp_path / "out") == whole


def test_an_unfinished_set_is_not_evaluated_on(tmp_path, images):
    make(images, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out" / ".journal.jsonl").touch()
    with pytest.raises(ValueError, match="unfinished evaluation set"):
        PairFolder(tmp_path / "out")


def test_images_that_are_enlarged_are_counted(tmp_path, images, caplog):
    make(images, tmp_path / "out", dataset=small(size=48))
    assert "of 5 images are smaller than 48 pixels" in caplog.text


def test_jobs_start_where_opencv_has_threads_already(tmp_path, images):
    """A forked process that ends OpenCV's threads waits for threads that it does not have."""
    code = (
        "import sys, cv2, numpy as np, test_mask_dataset as t; from pathlib import Path;"
        "cv2.setNumThreads(3); x = np.zeros((2000, 2000), np.float32);"
        "cv2.warpAffine(x, np.eye(2, 3), (2000, 2000));"
        "print(len(t.make(Path(sys.argv[1]), Path(sys.argv[2]), 2).files), cv2.getNumThreads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(images), str(tmp_path / "out")],
        capture_output=True, text=True, timeout=100, check=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.stdout.split() == ["10", "3"]


def test_twelve_bits_are_named_and_white_stretches_them(tmp_path, caplog):
    levels = np.random.default_rng(0).integers(0, 256, (40, 52))
    levels[0, 0] = 255
    for i in range(2):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray((levels * 16).astype(np.uint16)).save(tmp_path / "photos" / f"{i}.png")
    generate(small(), SETTINGS, tmp_path / "photos", tmp_path / "dark")
    assert "--white=4095" in caplog.text
    assert "2 images" in caplog.text
    caplog.clear()
    result = generate(small(), SETTINGS, tmp_path / "photos", tmp_path / "bright", white=4080)
    assert "--white" not in caplog.text
    dark, bright = (np.asarray(Image.open(tmp_path / name / "0_crop000.png")) for name in ("dark", "bright"))
    assert dark.max() < 17
    assert bright.max() > 200
    again = generate(small(), SETTINGS, tmp_path / "photos", tmp_path / "bright", white=4080)
    assert again.hash == result.hash
    with pytest.raises(FileExistsError):
        generate(small(), SETTINGS, tmp_path / "photos", tmp_path / "bright")
    with pytest.raises(ValueError, match="--white=0"):
        generate(small(), SETTINGS, tmp_path / "photos", tmp_path / "other", white=0)
