"""Images, training samples and evaluation sets: values, order and errors."""

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lama.data import BuiltinPhotos, Distortions, FrozenPairs, ImageFolder, InpaintingDataModule, PairFolder
from lama.data.datasets import TrainingDataset
from lama.data.evaluation_set import EvaluationDataset, PredictionFolder, write_pairs
from lama.data.sampler import EpochSampler
from lama.data.sources import SPLITS, scale_to_short_side
from lama.interfaces import EvaluationPair
from lama.masks import Boxes, PairedMasks
from lama.pictures.images import image_to_tensor, list_images, mask_to_tensor, read_image, write_image
from lama.pictures.masks import read_mask


def noise(height=12, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def half(height=12, width=16):
    mask = np.zeros((height, width), bool)
    mask[: height // 2] = True
    return mask


class Colours:
    """A source of images of one colour each, which tells them apart in any batch."""

    def __init__(self, count, size=16):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return f"colour{index}", np.full((self.size, self.size, 3), index, np.uint8)


def as_it_is(image, rng, mask=None):
    return image, mask


as_it_is.size = (16, 16)


def one_line(caught, path):
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# Reading


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"])
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_every_suffix_is_found_in_any_case_and_in_sub_folders(tmp_path, suffix, case):
    for folder in (tmp_path, tmp_path / "sub" / "folder"):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise()).save(folder / f"a{case(suffix)}")
    source = ImageFolder(tmp_path)
    assert sorted(name for name, _ in (source[0], source[1])) == ["a", "sub/folder/a"]
    assert all(image.shape == (12, 16, 3) and image.dtype == np.uint8 for _, image in (source[0], source[1]))


def test_images_are_listed_in_the_same_order_everywhere(tmp_path):
    for name in ("b", "a/z", "c", "a/b"):
        write_image(tmp_path / f"{name}.png", noise())
    assert list_images(tmp_path) == [tmp_path / f"{name}.png" for name in ("a/b", "a/z", "b", "c")]


def test_other_files_are_ignored(tmp_path):
    write_image(tmp_path / "a.png", noise())
    for name in ("notes.txt", "a.png.txt", "Thumbs.db", "noext"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert list_images(tmp_path) == [tmp_path / "a.png"]


def test_hidden_files_are_no_images(tmp_path):
    write_image(tmp_path / "a.png", noise())
    (tmp_path / "._a.png").write_bytes(b"resource fork of macOS")
    (tmp_path / ".b.1234.png").write_bytes(b"half of an image that a killed process left")
    assert list_images(tmp_path) == [tmp_path / "a.png"]


def test_the_names_of_a_source_are_unique(tmp_path):
    for name in ("a.png", "a.bmp"):
        write_image(tmp_path / name, noise())
    source = ImageFolder(tmp_path)
    assert source[0][0] != source[1][0]


@pytest.mark.parametrize("open_folder", [ImageFolder, PairFolder])
def test_a_missing_folder_is_named(tmp_path, open_folder):
    with pytest.raises(FileNotFoundError, match="no such folder") as caught:
        open_folder(tmp_path / "nowhere")
    one_line(caught, tmp_path / "nowhere")


@pytest.mark.parametrize("files", [[], ["notes.txt", "movie.mp4"]])
@pytest.mark.parametrize("open_folder", [ImageFolder, PairFolder])
def test_a_folder_without_images_is_named(tmp_path, open_folder, files):
    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match="expected images") as caught:
        open_folder(tmp_path)
    one_line(caught, tmp_path)


def truncated(path):
    Image.fromarray(noise(100, 100)).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:2000])


DAMAGED = {
    "truncated": truncated,
    "text": lambda path: path.write_text("this is no image\nat all"),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256))),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("name", ["broken.png", "broken.jpg"])
def test_an_image_that_cannot_be_read_is_named_in_one_line(tmp_path, damage, name):
    damage(tmp_path / name)
    with pytest.raises(ValueError, match="not a readable image") as caught:
        ImageFolder(tmp_path)[0]
    one_line(caught, tmp_path / name)


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_missing_file_is_named_in_one_line(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="no such file") as caught:
        read(tmp_path / "a.png")
    one_line(caught, tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".webp"])
def test_the_exif_orientation_is_applied_once(tmp_path, orientation, suffix):
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :16] = 255  # a white corner at the top left, as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif, quality=100)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(stored),
    }[orientation]
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}"), turned, atol=40)
    assert read_mask(tmp_path / f"a{suffix}").shape == turned.shape[:2]


def test_rgb_keeps_its_order_and_values(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), noise())


def test_grey_is_repeated(tmp_path):
    Image.fromarray(noise()[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(noise()[..., :1], 3, axis=2))


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    image.save(tmp_path / "a.png")
    expected = [[[10, 20, 30], [200, 100, 50]], [[1, 2, 3], [10, 20, 30]]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_without_a_change_of_colour(tmp_path, mode):
    image = Image.new(mode, (4, 3), (90, 91, 92, 0) if mode == "RGBA" else (90, 0))
    image.save(tmp_path / "a.png")
    expected = (90, 91, 92) if mode == "RGBA" else (90, 90, 90)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.broadcast_to(np.uint8(expected), (3, 4, 3)))


@pytest.mark.parametrize("suffix", [".jpg", ".tiff"])
def test_cmyk_is_converted(tmp_path, suffix):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"a{suffix}")  # magenta and yellow ink: red
    np.testing.assert_allclose(read_image(tmp_path / f"a{suffix}"), np.full((16, 16, 3), (255, 0, 0)), atol=4)


@pytest.mark.parametrize(("suffix", "channels"), [(".png", ()), (".png", (3,)), (".tiff", ())])
def test_16_bit_keeps_its_upper_8_bits(tmp_path, suffix, channels):
    values = np.random.default_rng(0).integers(0, 65536, (9, 8, *channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), values[..., ::-1] if channels else values)
    expected = (values if channels else np.repeat(values[..., None], 3, axis=2)) >> 8
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), expected)


MASK_FILES = {
    "grey 255": lambda m: Image.fromarray(m.astype(np.uint8) * 255),
    "grey 1": lambda m: Image.fromarray(m.astype(np.uint8)),
    "1 bit": Image.fromarray,
    "16 bit": lambda m: Image.fromarray(m.astype(np.uint16) * 256),
    "RGB": lambda m: Image.fromarray(m[..., None] * np.uint8([0, 0, 1])),
    "RGBA": lambda m: Image.fromarray(m[..., None] * np.uint8([255, 255, 255, 0]) + np.uint8([0, 0, 0, 255])),
    "palette": lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("P"),
}


@pytest.mark.parametrize("make", MASK_FILES.values(), ids=MASK_FILES)
def test_every_pixel_of_a_mask_that_is_not_black_is_a_hole(tmp_path, make):
    make(half()).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, half())


# Writing


def test_an_image_comes_back_as_it_was_written(tmp_path):
    write_image(tmp_path / "new" / "folder" / "a.png", noise())
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "folder" / "a.png"), noise())


def test_a_mask_is_written_black_and_white(tmp_path):
    write_image(tmp_path / "mask.png", half())
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), half() * 255)


def test_a_write_that_fails_keeps_the_old_image_and_leaves_nothing_else(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", noise(seed=1))

    def disk_full(self, path, *_, **__):
        Path(path).write_bytes(b"half an image")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", disk_full)
    with pytest.raises(OSError, match="no space left"):
        write_image(tmp_path / "a.png", noise(seed=2))
    monkeypatch.undo()
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), noise(seed=1))
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


def test_a_suffix_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="unknown file extension"):
        write_image(tmp_path / "a.nonsense", noise())
    assert not list(tmp_path.iterdir())


# Tensors and sizes


def test_an_image_becomes_a_tensor_of_the_conventions():
    tensor = image_to_tensor(noise())
    assert (tensor.dtype, tensor.shape) == (torch.float32, (3, 12, 16))
    np.testing.assert_array_equal((tensor * 255).round().byte().permute(1, 2, 0), noise())
    assert image_to_tensor(np.full((1, 1, 3), 255, np.uint8)).tolist() == [[[1]], [[1]], [[1]]]


def test_a_mask_becomes_a_tensor_of_the_conventions():
    tensor = mask_to_tensor(half())
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor, half()[None])


@pytest.mark.parametrize("size", [(10, 30), (300, 20), (7, 7), (1, 9)])
@pytest.mark.parametrize("short_side", [8, 40])
def test_scaling_makes_the_short_side_exact_and_keeps_the_shape(size, short_side):
    height, width = scale_to_short_side(noise(*size), short_side).shape[:2]
    assert min(height, width) == short_side
    assert max(height, width) == pytest.approx(short_side * max(size) / min(size), abs=1)
    assert (height > width) == (size[0] > size[1])


# Training samples


def training_set(seed=0, count=6):
    return TrainingDataset(Images(count), Distortions(32), Boxes(2, 5, 20, 1, 3), seed)


class Images(Colours):
    """Noise of different sizes, some smaller than the crop."""

    def __getitem__(self, index):
        return f"noise{index}", noise(20 + 7 * index, 70 - 9 * index, seed=index)


def batches(workers, epoch=0):
    sampler = EpochSampler(6, 10, seed=1)
    sampler.set_epoch(epoch)
    context = "fork" if workers else None
    loader = DataLoader(training_set(), 3, sampler=sampler, num_workers=workers, multiprocessing_context=context)
    return [batch[key].numpy().tobytes() for batch in loader for key in ("image", "mask")]


def test_the_number_of_workers_changes_no_byte():
    assert batches(workers=0) == batches(workers=2)


def test_what_was_drawn_before_changes_no_sample():
    dataset = training_set()
    expected = [dataset[0, 3], dataset[1, 2]]
    np.random.seed(5)
    again = [dataset[1, 2], dataset[0, 3]][::-1]
    for sample, other in zip(expected, again, strict=True):
        assert all(torch.equal(sample[key], other[key]) for key in ("image", "mask"))


@pytest.mark.parametrize("other", [lambda: training_set(seed=1)[0, 3], lambda: training_set()[1, 3]])
@pytest.mark.parametrize("key", ["image", "mask"])
def test_another_seed_or_pass_gives_another_sample(key, other):
    assert not torch.equal(training_set()[0, 3][key], other()[key])


def test_images_of_one_batch_have_masks_of_their_own():
    masks = [training_set()[0, index]["mask"].numpy().tobytes() for index in range(6)]
    assert len(set(masks)) == 6


def test_a_sample_keeps_the_conventions():
    sample = training_set()[0, 0]
    assert (sample["image"].shape, sample["mask"].shape) == ((3, 32, 32), (1, 32, 32))
    assert sample["image"].dtype == sample["mask"].dtype == torch.float32
    assert 0 <= sample["image"].min() < sample["image"].max() <= 1
    assert set(sample["mask"].unique().tolist()) == {0, 1}


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (31, 33), (90, 70)])
def test_distortions_crop_any_image_to_their_size(size):
    augment = Distortions(32)
    for seed in range(10):
        image, _ = augment(noise(*size), np.random.default_rng(seed))
        assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)


def test_distortions_are_a_function_of_the_rng():
    augment, other = Distortions(32), Distortions(32)
    other(noise(50, 60), np.random.default_rng(9))
    images = [chain(noise(50, 60), np.random.default_rng(3))[0] for chain in (augment, other)]
    np.testing.assert_array_equal(*images)
    assert not np.array_equal(images[0], augment(noise(50, 60), np.random.default_rng(4))[0])


def test_distortions_leave_the_source_as_it_was():
    image = noise(50, 60)
    for seed in range(10):
        Distortions(32)(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, noise(50, 60))


def test_distortions_refuse_a_size_too_small():
    with pytest.raises(ValueError, match=r"augment\.size"):
        Distortions(8)


# The order of samples


def epoch(sampler, number):
    sampler.set_epoch(number)
    keys = list(sampler)
    assert [key.position for key in keys] == sorted(key.position for key in keys)
    return [(key.pass_, key.image) for key in keys]


def test_an_epoch_as_long_as_the_data_is_a_permutation():
    sampler = EpochSampler(20)
    for number in range(3):
        assert sorted(index for _, index in epoch(sampler, number)) == list(range(20))


def test_successive_epochs_have_another_order():
    sampler = EpochSampler(20)
    orders = [[index for _, index in epoch(sampler, number)] for number in range(3)]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] != list(range(20))


def test_the_order_is_a_function_of_seed_and_epoch():
    assert epoch(EpochSampler(20, seed=3), 5) == epoch(EpochSampler(20, seed=3), 5)
    assert epoch(EpochSampler(20, seed=3), 5) != epoch(EpochSampler(20, seed=4), 5)


@pytest.mark.parametrize("epoch_size", [1, 3, 7, 10, 25])
def test_epochs_of_any_length_continue_one_stream_of_passes(epoch_size):
    sampler = EpochSampler(10, epoch_size)
    stream = [key for number in range(100 // epoch_size) for key in epoch(sampler, number)]
    for pass_ in range(len(stream) // 10):
        keys = stream[10 * pass_ : 10 * pass_ + 10]
        assert sorted(keys) == [(pass_, index) for index in range(10)]


@pytest.mark.parametrize("epoch_size", [10, 7, 33])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_an_epoch_without_overlap(monkeypatch, epoch_size, world):
    whole = epoch(EpochSampler(10, epoch_size, seed=2), 3)
    shares = []
    for rank in range(world):
        monkeypatch.setattr("lama.data.sampler.rank_and_world", lambda rank=rank: (rank, world))
        shares.append(epoch(EpochSampler(10, epoch_size, seed=2), 3))
        assert len(shares[-1]) == len(EpochSampler(10, epoch_size, seed=2))
    equal = epoch_size // world * world  # what does not divide is left out: unequal processes would wait for ever
    assert len({len(share) for share in shares}) == 1
    assert sorted(key for share in shares for key in share) == sorted(whole[:equal])


@pytest.mark.parametrize("epoch_size", [0, -1])
def test_an_epoch_of_nothing_is_refused(epoch_size):
    with pytest.raises(ValueError, match=r"data\.epoch_size"):
        EpochSampler(10, epoch_size)


# The data of a run


def datamodule(count=20, **options):
    options = {"val_size": 16, "batch_size": 2, "num_workers": 0} | options
    masks = Boxes(1, 3, 8, 1, 2)
    return InpaintingDataModule(lambda path: Colours(int(path)), str(count), masks, as_it_is, masks, **options)


def colours(loader):
    return [round(255 * value) for batch in loader for value in batch["image"][:, 0, 0, 0].tolist()]


@pytest.mark.parametrize(("count", "fraction"), [(2, 0.05), (20, 0.05), (20, 0.5), (31, 0.1)])
def test_images_to_validate_on_are_never_trained_on(count, fraction):
    module = datamodule(count, val_fraction=fraction, batch_size=1)
    trained, held_out = colours(module.train_dataloader()), colours(module.val_dataloader())
    assert not set(trained) & set(held_out)
    assert sorted(trained + held_out) == list(range(count))
    assert len(held_out) == max(1, round(count * fraction))


def test_with_a_validation_folder_all_other_images_are_trained_on():
    module = datamodule(20, val_path="3")
    assert sorted(colours(module.train_dataloader())) == list(range(20))
    assert sorted(colours(module.val_dataloader())) == list(range(3))


def test_given_validation_pairs_are_not_changed(tmp_path):
    write_pairs([EvaluationPair("a_mask000", noise(), half())], tmp_path)
    module = datamodule(20, val_pairs=str(tmp_path))
    (batch,) = module.val_dataloader()
    assert batch["name"] == ["a_mask000"]
    np.testing.assert_array_equal(batch["mask"][0, 0], half())
    assert len(colours(module.train_dataloader())) == 20


def test_validation_draws_no_more_pairs_than_it_is_told():
    assert len(datamodule(100, val_path="90", max_val_pairs=12, val_per_image=3).val_pairs) == 12


def test_a_last_batch_of_a_part_is_left_out():
    assert len(colours(datamodule(20, val_path="1", batch_size=6).train_dataloader())) == 18


def test_fewer_images_than_a_batch_are_trained_on_nevertheless():
    assert len(colours(datamodule(4, val_path="1", batch_size=6).train_dataloader())) == 4


def test_one_image_cannot_be_split_into_training_and_validation():
    with pytest.raises(ValueError, match="at least 2 images"):
        datamodule(1)


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"val_fraction": 0}, {"val_fraction": 1}, {"epoch_size": 0}])
def test_options_out_of_range_are_refused_by_name(option):
    with pytest.raises(ValueError, match=r"data\." + next(iter(option))):
        datamodule(**option)


@pytest.mark.parametrize("option", [{"val_per_image": 0}, {"max_val_pairs": 0}, {"val_size": 0}, {"num_workers": -1}])
def test_more_options_out_of_range_are_refused_by_name(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        datamodule(**option)


# Photographs that need no download


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("split", SPLITS)
def test_built_in_photographs_load_without_a_network(split, no_network):
    photos = BuiltinPhotos(split, short_side=24)
    assert len(photos) > 1
    for i in range(len(photos)):
        name, image = photos[i]
        assert name == photos.names[i]
        assert (image.dtype, image.shape[2], min(image.shape[:2])) == (np.uint8, 3, 24)
        assert image.std() > 5


def test_no_built_in_photograph_is_in_both_splits():
    assert not set(BuiltinPhotos("train").names) & set(BuiltinPhotos("held_out").names)


def test_both_views_of_the_motorcycle_are_on_one_side():
    sides = [split for split in SPLITS for name in BuiltinPhotos(split).names if name.startswith("motorcycle")]
    assert len(sides) == 2
    assert len(set(sides)) == 1


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train or held_out, got 'test'"):
        BuiltinPhotos("test")


# Evaluation sets


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.png", "a_mask.png"),
        ("a.png", "a_mask001.png"),
        ("a.jpg", "a_mask001.png"),
        ("a.PNG", "a_mask001.tif"),
        ("a.v2.png", "a.v2_mask000.png"),
        ("image_1.png", "mask_1.png"),
        ("sub/a.png", "sub/a_mask000.png"),
        ("unmasked_crowd.png", "unmasked_crowd_mask000.png"),
    ],
)
def test_a_mask_finds_its_image(tmp_path, image, mask):
    (tmp_path / image).parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((12, 16, 3), 128, np.uint8)).save(tmp_path / image)
    write_image(tmp_path / mask, half())
    (pair,) = PairFolder(tmp_path)
    assert pair.name == str(Path(mask).with_suffix(""))
    np.testing.assert_array_equal(pair.mask, half())
    assert (pair.image == 128).all()


def test_an_image_may_have_several_masks(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", noise())
    for name in ("a_mask000", "a_mask001", "b_mask000"):
        write_image(tmp_path / f"{name}.png", half())
    assert [pair.name for pair in PairFolder(tmp_path)] == ["a_mask000", "a_mask001", "b_mask000"]


def test_the_image_of_the_same_folder_is_taken(tmp_path):
    for seed, folder in enumerate(("x", "y")):
        write_image(tmp_path / folder / "a.png", noise(seed=seed))
        write_image(tmp_path / folder / "a_mask000.png", half())
    for seed, pair in enumerate(PairFolder(tmp_path)):
        np.testing.assert_array_equal(pair.image, noise(seed=seed))


def test_masks_without_an_image_are_named_and_counted(tmp_path):
    write_image(tmp_path / "a.png", noise())
    for name in ("a_mask000", "b_mask000", "c_mask000", "d_mask000"):
        write_image(tmp_path / f"{name}.png", half())
    with pytest.raises(ValueError, match=r"mask without an image; expected b .*2 more") as caught:
        PairFolder(tmp_path)
    one_line(caught, tmp_path / "b_mask000.png")


def test_a_folder_without_masks_is_named(tmp_path):
    write_image(tmp_path / "a.png", noise())
    with pytest.raises(ValueError, match="expected masks") as caught:
        PairFolder(tmp_path)
    one_line(caught, tmp_path)


def test_a_mask_of_another_size_is_named_with_both_sizes(tmp_path):
    write_image(tmp_path / "a.png", noise(12, 16))
    write_image(tmp_path / "a_mask000.png", half(12, 20))
    with pytest.raises(ValueError, match=r"mask is 20 x 12, but its image a\.png is 16 x 12") as caught:
        PairFolder(tmp_path)[0]
    one_line(caught, tmp_path / "a_mask000.png")


def test_an_image_of_a_pair_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    write_image(tmp_path / "a_mask000.png", half())
    with pytest.raises(ValueError, match="not a readable image") as caught:
        PairFolder(tmp_path)[0]
    one_line(caught, tmp_path / "a.jpg")


def test_the_first_image_that_cannot_be_read_comes_with_the_others(tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
        write_image(tmp_path / f"{name}_mask000.png", np.ones((4, 4), np.bool_))
    for name in ("a", "c"):
        (tmp_path / f"{name}.png").write_text("no image")
    with pytest.raises(ValueError, match="not a readable image") as caught:
        PairFolder(tmp_path)[0]
    one_line(caught, tmp_path / "a.png")
    assert f"1 more cannot be opened: {tmp_path / 'c.png'}" in str(caught.value)
    assert "b.png" not in str(caught.value)


def frozen(count=4, **options):
    return FrozenPairs(Images(count), Boxes(1, 4, 28, 0, 2), **{"size": 32} | options)


def same(a, b):
    return a.name == b.name and np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)


def test_frozen_pairs_never_change_whatever_is_read_first():
    expected, again = list(frozen(per_image=2)), frozen(per_image=2)
    assert len(expected) == 8
    assert all(same(again[i], expected[i]) for i in (5, 0, 7, 5, 2, 1))


def test_frozen_pairs_of_another_seed_have_other_masks():
    assert not any(np.array_equal(a.mask, b.mask) for a, b in zip(frozen(), frozen(seed=1), strict=True))


def test_frozen_pairs_have_names_and_masks_of_their_own():
    pairs = list(frozen(per_image=3))
    assert len({pair.name for pair in pairs}) == len({pair.mask.tobytes() for pair in pairs}) == 12


@pytest.mark.parametrize("max_area", [0.1, 0.5])
def test_frozen_masks_cover_something_but_not_too_much(max_area):
    areas = [pair.mask.mean() for pair in frozen(per_image=10, max_area=max_area)]
    assert 0 < min(areas) <= max(areas) <= max_area


def test_frozen_crops_are_square_and_of_the_size_asked_for():
    for pair in frozen():
        assert (pair.image.shape, pair.mask.shape) == ((32, 32, 3), (32, 32))


def test_a_frozen_crop_is_part_of_its_image():
    image, crop = noise(41, 43, seed=3), frozen(size=20)[3].image
    windows = np.lib.stride_tricks.sliding_window_view(image, (20, 20), axis=(0, 1))
    assert (windows == crop.transpose(2, 0, 1)).all(axis=(2, 3, 4)).sum() == 1


@pytest.mark.parametrize("mask", [np.zeros, np.ones])
def test_a_sampler_without_a_valid_mask_is_reported(mask):
    with pytest.raises(ValueError, match="none of 100 covers between 0 and 50%"):
        FrozenPairs(Colours(1), lambda rng, *size: mask(size, bool), size=16)[0]


def test_written_pairs_come_back_exactly(tmp_path):
    expected = list(frozen(per_image=2))
    assert write_pairs(expected, tmp_path / "pairs") == tmp_path / "pairs"
    read = list(PairFolder(tmp_path / "pairs"))
    assert len(read) == len(expected)
    assert all(same(a, b) for a, b in zip(sorted(read, key=lambda pair: pair.name), expected, strict=True))


def test_pairs_of_an_image_named_like_a_mask_come_back(tmp_path):
    write_image(tmp_path / "photos" / "carnival_mask.png", noise(40, 40))
    expected = list(FrozenPairs(ImageFolder(tmp_path / "photos"), Boxes(2, 5, 10, 1, 2), size=32))
    read = list(PairFolder(write_pairs(expected, tmp_path / "pairs")))
    assert len(read) == 1
    assert same(read[0], expected[0])


def test_an_evaluation_sample_is_its_pair_as_tensors():
    pair, sample = frozen()[1], EvaluationDataset(frozen())[1]
    assert sample["name"] == pair.name
    assert torch.equal(sample["image"], image_to_tensor(pair.image))
    assert torch.equal(sample["mask"], mask_to_tensor(pair.mask))


@pytest.fixture
def pairs(tmp_path):
    return PairFolder(write_pairs(list(frozen(2)), tmp_path / "pairs"))


def test_predictions_are_found_by_the_names_of_their_masks(tmp_path, pairs):
    for i, pair in enumerate(pairs):
        write_image(tmp_path / "out" / f"{pair.name}.bmp", noise(32, 32, seed=i))
    predictions = PredictionFolder(tmp_path / "out", pairs)
    for i, pair in enumerate(pairs):
        np.testing.assert_array_equal(predictions.read([pair])[0], noise(32, 32, seed=i))


def test_missing_predictions_are_counted_and_the_first_is_named(tmp_path, pairs):
    write_image(tmp_path / "out" / f"{pairs[0].name}.png", noise(32, 32))
    with pytest.raises(ValueError, match=f"1 of 2 predictions are missing, {pairs[1].name}"):
        PredictionFolder(tmp_path / "out", pairs)


def test_a_prediction_of_another_size_is_named(tmp_path, pairs):
    for pair in pairs:
        write_image(tmp_path / "out" / f"{pair.name}.png", noise(32, 24))
    with pytest.raises(ValueError, match="prediction is 24 x 32, but its image is 32 x 32") as caught:
        PredictionFolder(tmp_path / "out", pairs).read([pairs[0]])
    one_line(caught, tmp_path / "out" / f"{pairs[0].name}.png")


# Frozen pairs of images with masks of their own


@pytest.fixture
def own_masks(tmp_path):
    """Two images, one smaller than the crop, each with a hole where it is red."""
    for name, height, width in (("a", 60, 80), ("b", 12, 18)):
        hole = np.zeros((height, width), bool)
        hole[height // 4 : height // 2, width // 3 : width // 2] = True
        image = np.where(hole[..., None], (255, 0, 0), (0, 0, 255)).astype(np.uint8)
        write_image(tmp_path / "images" / f"{name}.png", image)
        write_image(tmp_path / "masks" / f"{name}.png", hole)
    return tmp_path


def test_frozen_pairs_keep_an_image_and_its_own_mask_together(own_masks):
    source, masks = ImageFolder(own_masks / "images"), PairedMasks(str(own_masks / "masks"))
    pairs = FrozenPairs(source, masks, size=24, per_image=3)
    for pair in pairs:
        assert pair.image.shape == (24, 24, 3)
        assert 0 < pair.mask.mean() <= 0.5
        red = pair.image[..., 0] > 127
        assert (red == pair.mask).mean() > (0.99 if pair.name.startswith("a") else 0.9)  # b's edges are interpolated
    assert [pair.name for pair in pairs][:2] == ["a_crop000_mask000", "a_crop001_mask000"]
    np.testing.assert_array_equal(pairs[1].mask, pairs[1].mask)


def test_frozen_pairs_refuse_an_own_mask_of_another_size(own_masks):
    write_image(own_masks / "masks" / "a.png", np.ones((60, 79), bool))
    pairs = FrozenPairs(ImageFolder(own_masks / "images"), PairedMasks(str(own_masks / "masks")), size=24)
    with pytest.raises(ValueError, match=r"mask is 79 x 60, .* 80 x 60 pixels"):
        pairs[0]


def test_frozen_pairs_refuse_an_own_mask_that_hides_nothing(own_masks):
    write_image(own_masks / "masks" / "a.png", np.zeros((60, 80), bool))
    pairs = FrozenPairs(ImageFolder(own_masks / "images"), PairedMasks(str(own_masks / "masks")), size=24)
    with pytest.raises(ValueError, match="no crop of a_crop000_mask000 hides between 0 and 50%"):
        pairs[0]
