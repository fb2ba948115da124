"""Sources of images: lists, shards, the cache; unusable images are replaced."""

import io
import pickle
import struct
import sys
import tarfile
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lama.data import CropFlip, Distortions, ImageFolder, ImageList, InpaintingDataModule, NoAugmentation, TarShards
from lama.data.cache import DecodedCache, gigabytes_to_spare
from lama.data.datasets import TrainingDataset
from lama.data.sampler import EpochSampler
from lama.data.sources import Subset, known_names, known_paths
from lama.interfaces import FileSource, NamedSource
from lama.masks import Boxes, PairedMasks
from lama.pictures.images import write_image
from lama.runs.callbacks import BrokenImages


def noise(height=40, width=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photos(folder, count, size=(40, 48)):
    for i in range(count):
        write_image(folder / f"{i:03d}.png", noise(*size, seed=i))
    return folder


def one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def contents(source):
    return [(name, image.tobytes(), image.shape) for name, image in (source[i] for i in range(len(source)))]


# Lists


def test_a_list_gives_its_images_in_its_own_order(tmp_path):
    photos(tmp_path / "photos", 3)
    absolute = tmp_path / "photos" / "000.png"
    (tmp_path / "list.txt").write_text(f"# mine\nphotos/002.png\n\n  {absolute}  # absolute\nphotos/001.png\r\n")
    source = ImageList(tmp_path / "list.txt")
    assert len(source) == 3
    for i, seed in enumerate((2, 0, 1)):
        np.testing.assert_array_equal(source[i][1], noise(seed=seed))
    assert len({source[i][0] for i in range(3)}) == 3


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n  # comments\n"])
def test_an_empty_list_is_refused(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match="one path per line, found none") as caught:
        ImageList(tmp_path / "list.txt")
    one_line(caught, tmp_path / "list.txt")


def test_a_list_of_missing_images_names_and_counts_them(tmp_path):
    photos(tmp_path, 1)
    (tmp_path / "list.txt").write_text("000.png\nb.png\nc.png\n")
    with pytest.raises(FileNotFoundError, match=r"2 of 3 files are missing, first .*b\.png") as caught:
        ImageList(tmp_path / "list.txt")
    one_line(caught, tmp_path / "list.txt")


def test_a_missing_list_is_named_and_a_folder_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such list"):
        ImageList(tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match=r"is a folder.*data=folder"):
        ImageList(tmp_path)


def test_names_of_a_list_carry_no_suffix_and_stay_inside_a_folder_of_results(tmp_path):
    photos(tmp_path / "photos", 2)
    (tmp_path / "list.txt").write_text(f"photos/000.png\n{tmp_path}/photos/001.png\n")
    for name in ImageList(tmp_path / "list.txt").names:
        assert not name.endswith(".png")
        assert (tmp_path / "out" / name).resolve().is_relative_to(tmp_path / "out")


def test_pairs_drawn_from_a_list_are_not_written_next_to_the_images(tmp_path):
    from lama.data import FrozenPairs
    from lama.data.evaluation_set import write_pairs

    photos(tmp_path / "photos", 1)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/photos/000.png\n")
    write_pairs(FrozenPairs(ImageList(tmp_path / "list.txt"), Boxes(1, 3, 9, 1, 1), 32), tmp_path / "out")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["000.png"]


# Shards


def write_shard(path, samples):
    """A plain tar file of {key: {suffix: content}}, in the layout of the ``webdataset`` package."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for key, files in samples.items():
            for suffix, content in files.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


def shards(folder, counts=(2, 3), suffix="jpg"):
    folder.mkdir(exist_ok=True)
    seed = 0
    for number, count in enumerate(counts):
        samples = {}
        for _ in range(count):
            image = cv2.imencode(f".{suffix}", noise(seed=seed)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
            samples[f"a/{seed:06d}"] = {suffix: image.tobytes(), "json": b"{}"}
            seed += 1
        write_shard(folder / f"part{number:05d}.tar", samples)
    return folder


@pytest.mark.parametrize("how", ["{folder}", "{folder}/part{{00000..00001}}.tar"])
def test_shards_are_read_in_any_order(tmp_path, how):
    source = TarShards(how.format(folder=shards(tmp_path / "shards", suffix="png")))
    assert len(source) == 5
    for i in (4, 0, 2, 1, 3, 4):
        name, image = source[i]
        np.testing.assert_array_equal(image, noise(seed=i))
        assert name == f"part0000{i >= 2:d}/a/{i:06d}"


def test_one_shard_is_enough(tmp_path):
    shards(tmp_path / "shards")
    assert len(TarShards(tmp_path / "shards" / "part00001.tar")) == 3


def test_shards_are_read_by_workers_as_by_one_process(tmp_path):
    source = TarShards(shards(tmp_path / "shards"))
    expected = contents(source)
    loader = DataLoader(source, None, num_workers=2, multiprocessing_context="fork")
    assert [(name, image.numpy().tobytes(), tuple(image.shape)) for name, image in loader] == expected


def test_an_image_damaged_in_its_shard_is_named_with_the_shard(tmp_path):
    good = cv2.imencode(".jpg", noise())[1].tobytes()
    write_shard(tmp_path / "a.tar", {"good": {"jpg": good}, "bad": {"jpg": b"no image"}})
    source = TarShards(tmp_path)
    assert source[0][1].shape == (40, 48, 3)
    with pytest.raises(ValueError, match="not a readable image") as caught:
        source[1]
    one_line(caught, tmp_path / "a.tar", "bad")


def cut_in_a_image(content):
    return content[: len(content) // 2 + 200]


def no_tar(content):
    return b"this is no tar file at all" * 100


@pytest.mark.parametrize("damage", [cut_in_a_image, no_tar, lambda _: b""])
def test_a_damaged_shard_is_named(tmp_path, damage):
    path = shards(tmp_path / "shards", (6,)) / "part00000.tar"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="damaged") as caught:
        TarShards(tmp_path / "shards")
    one_line(caught, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content, start: content[:start] + b"\xa5" * 512 + content[start + 512 :],
        lambda content, start: content[: start + 200],
        lambda content, start: content[:start],
    ],
    ids=["overwritten header", "cut in a header", "cut before a header"],
)
def test_a_shard_damaged_between_two_images_loses_none_in_silence(tmp_path, damage):
    write_shard(
        tmp_path / "a.tar", {str(i): {"png": cv2.imencode(".png", noise(seed=i))[1].tobytes()} for i in range(6)}
    )
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(damage(content, content.index(b"2.png")))
    with pytest.raises(ValueError, match="damaged"):
        TarShards(tmp_path / "a.tar")


def test_braces_without_the_package_name_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "braceexpand", None)
    shards(tmp_path / "shards")
    assert len(TarShards(tmp_path / "shards")) == 5, "the package is needed for braces only"
    with pytest.raises(ValueError, match="pip install braceexpand") as caught:
        TarShards(f"{tmp_path}/shards/part{{00000..00001}}.tar")
    one_line(caught, "braces")


def test_missing_shards_are_counted_and_the_first_is_named(tmp_path):
    shards(tmp_path / "shards")
    with pytest.raises(FileNotFoundError, match=r"2 of 4 shards are missing, first .*part00002.tar"):
        TarShards(f"{tmp_path}/shards/part{{00000..00003}}.tar")


@pytest.mark.parametrize("path", ["http://host/part{0..3}.tar", "s3://bucket/a.tar", "pipe:cat a.tar"])
def test_shards_elsewhere_are_refused(path):
    with pytest.raises(ValueError, match="shards must be local files") as caught:
        TarShards(path)
    one_line(caught, path)


def test_a_folder_without_shards_and_shards_without_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected .tar files, found none"):
        TarShards(tmp_path)
    write_shard(tmp_path / "a.tar", {"a": {"txt": b"no image"}})
    with pytest.raises(ValueError, match="expected images"):
        TarShards(tmp_path)


# The cache


class Counted:
    """A source that counts, across processes, how often it decodes."""

    def __init__(self, count=6):
        self.names = [f"n{i}" for i in range(count)]
        self.decoded = torch.zeros(count, dtype=torch.long).share_memory_()

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        self.decoded[index] += 1
        return self.names[index], noise(30 + index, 50 - index, seed=index)


MEGABYTE = 1 / 1024


def test_a_cache_gives_the_same_names_and_bytes_every_time():
    cache = DecodedCache(Counted(), MEGABYTE)
    expected = contents(Counted())
    assert contents(cache) == expected
    assert contents(cache) == expected


def test_a_cache_decodes_each_image_once():
    source = Counted()
    cache = DecodedCache(source, MEGABYTE)
    for _ in range(3):
        contents(cache)
    assert source.decoded.tolist() == [1] * 6


def test_a_cache_of_a_part_of_a_source_decodes_once():
    source = Counted()
    cache = DecodedCache(Subset(source, [1, 3, 5]), MEGABYTE)  # as in a training without a validation folder
    assert [contents(cache) for _ in range(3)][-1] == contents(Subset(Counted(), [1, 3, 5]))
    assert source.decoded.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_full_cache_keeps_what_fits_and_decodes_the_rest():
    source = Counted()
    cache = DecodedCache(source, 3.5 * 30 * 50 * 3 / (1 << 30))
    for _ in range(3):
        assert contents(cache) == contents(Counted())
    assert sorted(source.decoded.tolist()) == [1, 1, 1, 3, 3, 3]


def test_a_cached_image_cannot_be_overwritten():
    cache = DecodedCache(Counted(), MEGABYTE)
    contents(cache)
    with pytest.raises(ValueError, match="read-only"):
        cache[0][1][:] = 0


def test_workers_that_are_forked_share_the_cache():
    source = Counted()
    cache = DecodedCache(source, MEGABYTE)
    for workers in (2, 2, 0):
        loader = DataLoader(cache, None, num_workers=workers, multiprocessing_context="fork" if workers else None)
        assert [image.numpy().tobytes() for _, image in loader] == [c[1] for c in contents(Counted())]
    assert source.decoded.tolist() == [1] * 6


def test_a_cache_can_be_sent_to_a_spawned_process():
    cache = DecodedCache(Counted(), MEGABYTE)
    contents(cache)
    again = pickle.loads(pickle.dumps(DecodedCache(Plain(), MEGABYTE)))
    for _ in range(2):
        assert contents(again) == contents(Counted())


class Plain(Counted):
    """A picklable one: shared tensors are not, outside of a start of a process."""

    def __init__(self):
        super().__init__()
        self.decoded = np.zeros(6, int)


def test_an_error_is_not_cached(tmp_path):
    photos(tmp_path, 2)
    (tmp_path / "001.png").write_bytes(b"")
    cache = DecodedCache(ImageFolder(tmp_path), MEGABYTE)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"001\.png: not a readable image"):
            cache[1]
    assert cache[0][0] == "000"


@pytest.mark.parametrize("asked", [-1, -0.001])
def test_a_negative_cache_size_is_refused(asked):
    with pytest.raises(ValueError, match=r"data\.cache_gb"):
        gigabytes_to_spare(asked)


def test_the_cache_has_the_given_size_or_a_share_of_the_free_memory():
    assert gigabytes_to_spare(0) == 0
    assert gigabytes_to_spare(7.5) == 7.5
    assert 0 <= gigabytes_to_spare(None) <= 4


@pytest.mark.parametrize(("available", "gigabytes"), [(2.0, 0.5), (400.0, 4.0), (0.0, 0.0)])
def test_the_cache_respects_the_memory_limit_of_a_container(monkeypatch, available, gigabytes):
    monkeypatch.setattr("lama.data.cache.available", lambda device: int(available * 2**30))
    assert gigabytes_to_spare(None) == gigabytes


# Optional protocols of sources


class Anonymous:
    """A source that satisfies no optional protocol."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return f"n{index}", noise(seed=index)


def test_names_and_files_are_known_through_subsets_and_the_cache(tmp_path):
    folder = ImageFolder(photos(tmp_path, 4))
    wrapped = DecodedCache(Subset(folder, [3, 1]), 0.001)
    assert isinstance(wrapped, FileSource)
    assert isinstance(wrapped, NamedSource)
    assert list(known_names(wrapped)) == ["003", "001"]
    assert list(known_paths(wrapped)) == [tmp_path / "003.png", tmp_path / "001.png"]


def test_a_source_without_names_and_files_is_used():
    assert not isinstance(Anonymous(), FileSource | NamedSource)
    cache = DecodedCache(Subset(Anonymous(), [3, 1]), 0.001)
    assert not known_names(cache)
    assert not known_paths(cache)
    for _ in range(2):
        assert [name for name, _ in (cache[0], cache[1])] == ["n3", "n1"]
    assert TrainingDataset(cache, whole_image, Boxes(1, 3, 9, 1, 2), 0).name(1) == "1"


# Images that cannot be used


def jpeg(path):
    Image.fromarray(noise(60, 60)).save(path, format="JPEG")
    return path.read_bytes()


def png(path):
    Image.fromarray(noise(60, 60)).save(path, format="PNG")
    return path.read_bytes()


def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc or zlib.crc32(kind + data))


def bomb(path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0" * 99)) + chunk(b"IEND", b""))


def wrong_crc(path):
    content = bytearray(png(path))
    content[content.index(b"IDAT") + 40] ^= 0xFF
    path.write_bytes(bytes(content))


def broken_exif(path):
    """A turned image with one flipped byte in its EXIF data: its resolution has another type than declared."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    Image.fromarray(noise(60, 60)).save(path, exif=exif)
    content = path.read_bytes()
    assert b"\x01\x1a\x00\x05\x00" in content
    path.write_bytes(content.replace(b"\x01\x1a\x00\x05\x00", b"\x01\x1a\x00\x01\x00", 1))


DAMAGES = {
    "truncated jpg": lambda path: path.write_bytes(jpeg(path)[:900]),
    "half png": lambda path: path.write_bytes(png(path)[:5000]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("photo of a cat"),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "html": lambda path: path.write_text("<html><body>404 Not Found</body></html>"),
    "noise after the header": lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 9),
    "archive with a wrong suffix": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(300)),
    "huge size in the header": bomb,
    "wrong checksum": wrong_crc,
    "dangling link": lambda path: (path.unlink(missing_ok=True), path.symlink_to("nowhere")),
    "too small": lambda path: Image.fromarray(noise(8, 8)).save(path, format="PNG"),  # for augment=none
}


def whole_image(image, rng, mask=None):
    if image.shape[:2] != (40, 48):
        raise ValueError("another size")
    return image, mask


whole_image.size = (40, 48)


def training(folder, max_broken=0.5, augment=whole_image, masks=None):
    return TrainingDataset(ImageFolder(folder), augment, masks or Boxes(1, 3, 9, 1, 2), 0, max_broken)


def indices(samples):
    """Which of the images made by ``photos`` the samples are."""
    known = {noise(seed=i).tobytes(): i for i in range(40)}
    return [known[(s["image"].permute(1, 2, 0) * 255).round().byte().numpy().tobytes()] for s in samples]


@pytest.fixture
def damaged(tmp_path):
    """Thirty images, twelve of them damaged in twelve ways, and a folder named like an image."""
    photos(tmp_path / "photos", 30)
    places = [1, 2, 4, 7, 9, 12, 13, 15, 18, 22, 25, 29]
    for place, damage in zip(places, DAMAGES.values(), strict=True):
        damage(tmp_path / "photos" / f"{place:03d}.png")
    (tmp_path / "photos" / "014b.jpg").mkdir()
    return tmp_path / "photos"


def test_each_broken_image_is_replaced_by_the_next_healthy_one_and_the_rest_stays(damaged):
    source = ImageFolder(damaged)  # a dangling link is no file, and not listed
    numbers = [int(name) for name in source.names]
    broken = {1, 2, 4, 7, 9, 12, 13, 15, 18, 22, 29} & set(numbers)
    healthy = [n for n in numbers if n not in broken]
    expected = [next((n for n in numbers[i:] if n not in broken), healthy[0]) for i in range(len(numbers))]
    dataset = training(damaged)
    assert indices(dataset[0, i] for i in range(len(numbers))) == expected
    assert {numbers[i] for i in dataset.broken_images()} == broken


@pytest.mark.parametrize("order", [1, -1])
def test_images_found_broken_before_change_no_sample(damaged, order):
    fresh, used = training(damaged, augment=CropFlip(32)), training(damaged, augment=CropFlip(32))
    everything = list(range(len(fresh.source)))[::order]
    for index in everything[:-3]:
        used[0, index]
    for index in everything[::3]:
        a, b = used[1, index], fresh[1, index]
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["mask"], b["mask"])


def test_an_epoch_over_broken_images_lists_each_of_them_once(tmp_path, damaged, caplog):
    dataset = training(damaged)
    listing = BrokenImages(tmp_path / "run", dataset)
    loader = DataLoader(dataset, 4, sampler=EpochSampler(len(dataset.source)), num_workers=2,
                        multiprocessing_context="fork")  # fmt: skip
    assert sum(len(batch["image"]) for batch in loader) == len(dataset.source)
    with caplog.at_level("WARNING"):
        listing.on_train_epoch_end(None, None)
        first = caplog.text
        listing.on_train_epoch_end(None, None)
    assert caplog.text == first  # nothing new, no message
    lines = (tmp_path / "run" / "broken_images.txt").read_text().splitlines()
    names = [f"{i:03d}" for i in (1, 2, 4, 7, 9, 12, 13, 15, 18, 22, 29)]
    assert len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        assert name in line
        assert name in first
    assert f"{len(names)} of {len(dataset.source)} images cannot be used" in first


def test_a_healthy_epoch_lists_nothing(tmp_path, caplog):
    dataset = training(photos(tmp_path / "photos", 3))
    dataset[0, 0]
    BrokenImages(tmp_path / "run", dataset).on_train_epoch_end(None, None)
    assert not caplog.text
    assert not (tmp_path / "run").exists()


def test_an_image_that_became_readable_again_is_still_named_by_its_path(tmp_path):
    photos(tmp_path, 3)
    (tmp_path / "001.png").rename(tmp_path / "away")
    dataset = training(tmp_path)
    dataset.source.paths.insert(1, tmp_path / "001.png")
    dataset.source.names.insert(1, "001")
    dataset = TrainingDataset(dataset.source, whole_image, Boxes(1, 3, 9, 1, 2), 0, 0.5)
    dataset[0, 1]
    (tmp_path / "away").rename(tmp_path / "001.png")  # a network drive that was gone for a moment
    assert "001" in dataset.broken_images()[1].replace("1: ", "")


def test_more_broken_images_than_the_limit_are_an_error_that_names_one(tmp_path):
    photos(tmp_path, 20)
    for place in (3, 8):
        (tmp_path / f"{place:03d}.png").write_bytes(b"")
    dataset = training(tmp_path, max_broken=0.05)
    dataset[0, 3]  # one of twenty is allowed
    with pytest.raises(ValueError, match=r"2 of 20 images cannot be used, more than data.max_broken=0.05") as caught:
        dataset[0, 8]
    one_line(caught, tmp_path / "008.png")


def test_without_a_healthy_image_there_is_no_sample(tmp_path):
    photos(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"00[01]\.png"):
        training(tmp_path, max_broken=0.99)[0, 0]


@pytest.mark.parametrize("share", [-0.1, 1, 5])
def test_a_limit_that_is_no_share_is_refused(tmp_path, share):
    with pytest.raises(ValueError, match=r"data\.max_broken"):
        training(photos(tmp_path, 1), max_broken=share)


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_damaged_exif_data_end_no_training(tmp_path, suffix):
    photos(tmp_path, 3)
    (tmp_path / "001.png").unlink()
    broken_exif(tmp_path / f"001{suffix}")
    dataset = training(tmp_path, augment=CropFlip(32))
    assert all(dataset[0, i]["image"].shape == (3, 32, 32) for i in range(3))


@pytest.mark.parametrize("augment", [Distortions(32), CropFlip(32), NoAugmentation([40, 48])])
def test_an_image_of_an_extreme_shape_ends_no_training(tmp_path, augment):
    photos(tmp_path, 3)
    write_image(tmp_path / "001.png", np.zeros((2, 40000, 3), np.uint8))
    dataset = training(tmp_path, augment=augment)
    for pass_ in range(4):
        assert dataset[pass_, 1]["image"].shape[0] == 3


@pytest.mark.parametrize("split", [{"val_fraction": 0.5}, {"val_path": "the same"}])
def test_a_broken_image_to_validate_on_is_left_out_and_named(tmp_path, caplog, split):
    photos(tmp_path, 8)
    for place in (0, 7):
        (tmp_path / f"{place:03d}.png").write_bytes(b"")
    options = {"val_path": str(tmp_path)} if "val_path" in split else split
    masks = Boxes(1, 3, 9, 1, 2)
    module = InpaintingDataModule(ImageFolder, str(tmp_path), masks, CropFlip(32), masks, val_size=32, num_workers=0,
                                  max_broken=0.5, cache_gb=0, **options)  # fmt: skip
    assert len(module.val_pairs) == (6 if "val_path" in split else 2)
    assert all(pair.image.shape == (32, 32, 3) for pair in module.val_pairs)
    assert "000.png" in caplog.text
    assert "007.png" in caplog.text


# Masks that belong to their images


def paired(tmp_path, count=4):
    """Images whose red channel is their mask."""
    for i in range(count):
        image, mask = noise(40, 48, seed=i), np.zeros((40, 48), bool)
        mask[5 + i : 25, 8 : 30 + i] = True
        image[..., 0] = mask * 255
        write_image(tmp_path / "photos" / "sub" / f"{i}.png", image)
        write_image(tmp_path / "masks" / "sub" / f"{i}.png", mask)
    return tmp_path / "photos"


def paired_set(tmp_path, augment, max_broken=0.5):
    source = ImageFolder(tmp_path / "photos")
    return TrainingDataset(source, augment, PairedMasks(str(tmp_path / "masks")), 0, max_broken)


def test_a_paired_mask_is_cut_out_with_its_image(tmp_path):
    paired(tmp_path)
    dataset = paired_set(tmp_path, CropFlip([32, 40]))
    crops = set()
    for pass_ in range(8):
        for index in range(4):
            sample = dataset[pass_, index]
            assert torch.equal(sample["image"][:1], sample["mask"])
            crops.add(sample["mask"].numpy().tobytes())
    assert len(crops) > 20


def test_an_image_without_its_mask_or_with_one_of_another_size_is_replaced_and_named(tmp_path):
    paired(tmp_path)
    (tmp_path / "masks" / "sub" / "1.png").unlink()
    write_image(tmp_path / "masks" / "sub" / "2.png", np.ones((40, 40), bool))
    (tmp_path / "masks" / "sub" / "0.png").write_bytes(b"no image")
    dataset = paired_set(tmp_path, CropFlip(32), max_broken=0.8)
    samples = [dataset[0, index] for index in range(4)]
    assert all(torch.equal(sample["image"][:1], sample["mask"]) for sample in samples)
    reasons = dataset.broken_images()
    assert list(reasons) == [0, 1, 2]
    assert "0.png: not a readable" in reasons[0]
    assert "no mask for the image sub/1" in reasons[1]
    assert "sub/2: mask is 40 x 40, but its image is 48 x 40 pixels" in reasons[2]


def test_paired_masks_work_with_a_list_of_absolute_paths(tmp_path):
    paired(tmp_path)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/photos/sub/1.png\n")
    masks = PairedMasks(str(tmp_path / "masks" / "sub"))
    sample = TrainingDataset(ImageList(tmp_path / "list.txt"), CropFlip(32), masks, 0)[0, 0]
    assert torch.equal(sample["image"][:1], sample["mask"])


def test_paired_masks_go_through_a_run_of_the_data_module(tmp_path):
    paired(tmp_path)
    module = InpaintingDataModule(
        lambda path: ImageFolder(path), str(tmp_path / "photos"), PairedMasks(str(tmp_path / "masks")), CropFlip(32),
        Boxes(1, 3, 9, 1, 2), val_path=str(tmp_path / "photos"), val_size=32, batch_size=2, num_workers=0,
        cache_gb=0.01,
    )  # fmt: skip
    for epoch in range(3):
        module.sampler.set_epoch(epoch)
        for batch in module.train_dataloader():
            assert torch.equal(batch["image"][:, :1], batch["mask"])


def test_one_run_lists_the_broken_images_of_all_its_processes(tmp_path):
    """Two processes that each met another broken image and end their epoch one after the other."""
    photos(tmp_path / "photos", 20)
    for place in (3, 8):
        (tmp_path / "photos" / f"{place:03d}.png").write_bytes(b"")
    for rank, met in enumerate((3, 8)):
        dataset = training(tmp_path / "photos")
        dataset[0, met]
        trainer = SimpleNamespace(global_rank=rank, is_global_zero=rank == 0)
        BrokenImages(tmp_path / "run", dataset).on_train_epoch_end(trainer, None)
    text = "".join(path.read_text() for path in (tmp_path / "run").glob("broken_images*"))
    assert "003.png" in text
    assert "008.png" in text
