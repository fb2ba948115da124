"""Reading and writing images for prediction: everything outside the hole is preserved."""

import contextlib
import io
import re
import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from lama.data.duplicates import difference_hash
from lama.pictures.encode import is_lossy, losses, write_image_file
from lama.pictures.reading import ImageFile, read_image_file

ORIENTATION, MAKE, EXIF, GPS, TAKEN = 0x0112, 0x010F, 0x8769, 0x8825, 0x9003
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SHAPES = {"L": (6, 9), "LA": (6, 9, 2), "RGB": (6, 9, 3), "RGBA": (6, 9, 4)}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def noise(rng, mode, dtype=np.uint8):
    return rng.integers(0, np.iinfo(dtype).max + 1, SHAPES[mode], dtype=dtype)


def an_exif(orientation=None):
    exif = Image.Exif()
    exif[MAKE] = "Maker"
    exif[EXIF] = {TAKEN: "2020:01:02 03:04:05"}
    exif[GPS] = {1: "N"}
    if orientation is not None:
        exif[ORIENTATION] = orientation
    loaded = Image.Exif()
    loaded.load(exif.tobytes())  # Pillow's TIFF writer wants data that were read
    return loaded


def png_16(array, colour_type, *chunks):
    """A 16-bit PNG, by hand: (H, W, C), every row unfiltered."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def both(image):
    return (image.pixels, image.alpha)


def assert_same(one, other):
    for a, b in zip(both(one), both(other), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", SHAPES)
def test_8_bits_and_alpha_come_back(rng, tmp_path, mode, suffix):
    Image.fromarray(noise(rng, mode), mode).save(tmp_path / "a.png")
    image = read_image_file(tmp_path / "a.png")
    assert image.pixels.ndim == (2 if "L" in mode else 3)
    assert (image.alpha is not None) == ("A" in mode)
    assert losses(image, suffix) == []
    write_image_file(tmp_path / f"b{suffix}", image, quality=100)
    if suffix == ".webp" and "L" in mode:  # the format has no grey
        back = read_image_file(tmp_path / f"b{suffix}")
        assert_same(replace(back, pixels=back.pixels[..., 0]), image)
    else:
        assert_same(read_image_file(tmp_path / f"b{suffix}"), image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("mode", "colour_type"), [("L", 0), ("RGB", 2), ("LA", 4), ("RGBA", 6)])
def test_16_bits_come_back(rng, tmp_path, mode, colour_type, suffix):
    array = noise(rng, mode, np.uint16).reshape(6, 9, -1)
    (tmp_path / "a.png").write_bytes(png_16(array, colour_type))
    image = read_image_file(tmp_path / "a.png")
    colours = array[..., : 1 if "L" in mode else 3].squeeze()
    np.testing.assert_array_equal(image.pixels, colours)
    assert image.pixels.dtype == np.uint16
    if "A" in mode:
        np.testing.assert_array_equal(image.alpha, array[..., -1])
    write_image_file(tmp_path / f"b{suffix}", image)
    back = read_image_file(tmp_path / f"b{suffix}")
    if mode == "LA":  # written as RGBA: there is no writer of 16-bit grey with alpha
        back = replace(back, pixels=back.pixels[..., 0])
    assert_same(back, image)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": False}, {"byteorder": ">"}])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_tiffs_of_other_programs_are_read(rng, tmp_path, options, channels):
    array = rng.integers(0, 65536, (6, 9, channels), np.uint16).squeeze()
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb" if channels == 3 else "minisblack", **options)
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.tif").pixels, array)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp"])
def test_16_bits_become_8_where_the_format_has_no_more(rng, tmp_path, suffix):
    pixels = rng.integers(0, 65536, (6, 9, 3), np.uint16)
    image = ImageFile(pixels, alpha=None)
    (loss,) = losses(image, suffix)
    assert re.search(rf"^\{suffix} .*16 bits", loss)
    write_image_file(tmp_path / f"a{suffix}", image, quality=100)
    back = read_image_file(tmp_path / f"a{suffix}").pixels
    assert np.abs(back.astype(int) - (pixels >> 8)).max() <= (0 if suffix != ".jpg" else 6)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_is_dropped_and_told_where_the_format_has_none(rng, tmp_path, suffix):
    image = ImageFile(noise(rng, "RGB"), alpha=noise(rng, "L"))
    (loss,) = losses(image, suffix)
    assert re.search(rf"^\{suffix} has no alpha", loss)
    write_image_file(tmp_path / f"a{suffix}", image, quality=100)
    assert read_image_file(tmp_path / f"a{suffix}").alpha is None


def test_what_counts_as_lossy():
    assert is_lossy(".JPG", 100)
    assert is_lossy(".webp", 99)
    assert not is_lossy(".webp", 100)
    assert not is_lossy(".png", 50)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("suffix", "out"), [(".jpg", ".png"), (".jpg", ".jpg"), (".png", ".webp"), (".tif", ".png")])
def test_orientation_is_applied_once(tmp_path, orientation, suffix, out):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (200, 0, 0)  # a corner and a side, so that every turn differs
    upright[:8, 16:] = (0, 200, 0)
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
            6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
            8: lambda a: np.rot90(a, -1)}  # fmt: skip
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    stored.save(tmp_path / f"a{suffix}", exif=an_exif(orientation))
    image = read_image_file(tmp_path / f"a{suffix}")
    assert np.abs(image.pixels.astype(int) - upright).mean() < 8  # a wrong turn: above 20
    assert image.turned == (orientation >= 5)
    write_image_file(tmp_path / f"b{out}", image)
    with Image.open(tmp_path / f"b{out}") as written:
        assert written.size == (32, 16)
        assert written.getexif()[ORIENTATION] == 1
        assert written.getexif()[MAKE] == "Maker"
    assert np.abs(read_image_file(tmp_path / f"b{out}").pixels.astype(int) - upright).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_16_bit_images_are_turned_as_those_of_8_bits(rng, tmp_path, orientation, kind):
    array = rng.integers(0, 65536, (6, 9, 3), np.uint16)
    path = tmp_path / f"a.{kind}"
    if kind == "png":
        path.write_bytes(png_16(array, 2, (b"eXIf", an_exif(orientation).tobytes()[6:])))
    else:
        tifffile.imwrite(path, array, photometric="rgb", extratags=[(ORIENTATION, 3, 1, orientation, True)])
    Image.fromarray((array >> 8).astype(np.uint8)).save(tmp_path / "plain.png", exif=an_exif(orientation))
    image = read_image_file(path)
    np.testing.assert_array_equal(image.pixels >> 8, read_image_file(tmp_path / "plain.png").pixels)
    write_image_file(tmp_path / "b.png", image)
    assert_same(read_image_file(tmp_path / "b.png"), image)


@pytest.mark.parametrize("out", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_exif_profile_and_resolution_are_kept(rng, tmp_path, suffix, out):
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    options = {"exif": an_exif(), "icc_profile": ICC, "dpi": (300, 300)}
    if suffix in (".jpg", ".webp"):
        options["xmp"] = xmp
    Image.fromarray(noise(rng, "RGB")).save(tmp_path / f"a{suffix}", **options)
    image = read_image_file(tmp_path / f"a{suffix}")
    write_image_file(tmp_path / f"b{out}", image)
    with Image.open(tmp_path / f"b{out}") as written:
        exif = written.getexif()
        assert exif[MAKE] == "Maker"
        assert ORIENTATION not in exif
        assert exif.get_ifd(EXIF)[TAKEN] == "2020:01:02 03:04:05"
        assert exif.get_ifd(GPS)[1] == "N"
        assert written.info["icc_profile"] == ICC
        if ".webp" not in (suffix, out):  # it has no place for a resolution
            assert written.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        if suffix in (".jpg", ".webp"):
            assert written.info["xmp"].rstrip(b"\0") == xmp


def test_a_16_bit_png_keeps_its_metadata(rng, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png", exif=an_exif(), icc_profile=ICC, dpi=(300, 300))
    metadata = read_image_file(tmp_path / "a.png").metadata
    for suffix, has_exif in ((".png", True), (".tif", False)):
        write_image_file(tmp_path / f"b{suffix}", ImageFile(noise(rng, "RGB", np.uint16), None, metadata))
        with Image.open(tmp_path / f"b{suffix}") as written:
            assert written.info["icc_profile"] == ICC
            assert written.info["dpi"] == pytest.approx((300, 300), abs=0.01)
            assert (MAKE in written.getexif()) == has_exif  # as in docs/prediction.md


def test_the_text_and_colour_chunks_of_a_png_are_kept(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add_text("parameters", "a cat\nsteps: 20")
    info.add_itxt("Title", "Kätzchen", "de", "Titel")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    write_image_file(tmp_path / "b.png", read_image_file(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as written:
        assert written.text == {"parameters": "a cat\nsteps: 20", "Title": "Kätzchen"}
        assert written.text["Title"].lang == "de"
        assert written.info["gamma"] == 0.45455


def with_thumbnail(path):
    """A JPEG whose EXIF data hold a thumbnail, as a camera's do."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(thumbnail, "JPEG")
    content = thumbnail.getvalue()
    ifd0 = struct.pack("<HHHII", 1, ORIENTATION, 3, 1, 1) + struct.pack("<I", 26)
    ifd1 = struct.pack("<HHHIIHHIII", 2, 0x201, 4, 1, 26 + 30, 0x202, 4, 1, len(content), 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd0 + ifd1 + content
    Image.new("RGB", (32, 32)).save(path, exif=exif)
    return content


def test_the_thumbnail_that_shows_what_was_removed_is_not_kept(tmp_path):
    content = with_thumbnail(tmp_path / "a.jpg")
    assert content in (tmp_path / "a.jpg").read_bytes()
    for suffix in (".jpg", ".png", ".webp"):
        write_image_file(tmp_path / f"b{suffix}", read_image_file(tmp_path / "a.jpg"))
        assert content not in (tmp_path / f"b{suffix}").read_bytes()


def test_an_image_with_damaged_exif_data_is_read(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\1" * 30)
    image = read_image_file(tmp_path / "a.jpg")
    write_image_file(tmp_path / "b.jpg", image)
    assert read_image_file(tmp_path / "b.jpg").size == (8, 8)


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_invalid_orientation_is_ignored(rng, tmp_path, value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    pixels = noise(rng, "RGB")
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image = read_image_file(tmp_path / "a.png")
    np.testing.assert_array_equal(image.pixels, pixels)
    assert not image.turned
    write_image_file(tmp_path / "b.png", image)
    assert Image.open(tmp_path / "b.png").getexif()[ORIENTATION] == 1


def test_exif_data_too_long_for_a_jpeg_are_left_out(tmp_path):
    exif = an_exif()
    exif[0x010E] = "x" * 70000
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", exif=exif)
    write_image_file(tmp_path / "b.jpg", read_image_file(tmp_path / "a.png"))
    write_image_file(tmp_path / "b.png", read_image_file(tmp_path / "a.png"))
    assert not Image.open(tmp_path / "b.jpg").getexif()
    assert len(Image.open(tmp_path / "b.png").getexif()[0x010E]) == 70000


def test_palettes_become_rgb_and_one_bit_grey(rng, tmp_path):
    rgb = Image.fromarray(noise(rng, "RGB") // 128 * 255)
    rgb.quantize(8).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image_file(tmp_path / "p.png").pixels, np.asarray(rgb))
    rgb.convert("L").quantize(8).save(tmp_path / "pt.png", transparency=0)
    assert read_image_file(tmp_path / "pt.png").alpha is not None
    bits = noise(rng, "L") > 127
    Image.fromarray(bits).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_image_file(tmp_path / "1.png").pixels, bits * np.uint8(255))
    Image.fromarray(noise(rng, "RGB")).save(tmp_path / "key.png", transparency=(0, 0, 0))
    assert read_image_file(tmp_path / "key.png").alpha is not None


def test_cmyk_becomes_srgb_and_says_so(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", icc_profile=b"no profile", dpi=(300, 300))
    image = read_image_file(tmp_path / "a.jpg")
    assert image.notes == ("CMYK becomes sRGB",)
    assert image.pixels[4, 4, 0] > 200
    assert image.pixels[4, 4, 1] < 60
    assert image.metadata.icc is None  # it described CMYK
    assert image.metadata.dpi == (300, 300)


def test_several_frames_are_reported(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for suffix in (".tif", ".webp", ".png"):
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
        image = read_image_file(tmp_path / f"a{suffix}")
        assert image.notes == ("only the first of 2 frames is filled",)
        assert image.pixels[0, 0].tolist()[0] > 250
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert read_image_file(tmp_path / "a.jpg").notes == ()  # phones store previews like that


def broken(path, kind):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "words": b"no image"}[kind])


@pytest.mark.parametrize("kind", ["cut", "empty", "words"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_damaged_file_is_one_line(tmp_path, suffix, kind):
    broken(tmp_path / f"a{suffix}", kind)
    with pytest.raises(ValueError, match=f"a{suffix}: not a readable image") as caught:
        read_image_file(tmp_path / f"a{suffix}")
    assert "\n" not in str(caught.value)


def test_a_damaged_16_bit_file_is_one_line(rng, tmp_path):
    content = png_16(rng.integers(0, 65536, (64, 64, 3), np.uint16), 2)
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a.png: not a readable image"):
        read_image_file(tmp_path / "a.png")


def test_a_decompression_bomb_is_refused(tmp_path):
    rows = zlib.compress(bytes(1 + 20000 // 8) * 20000, 9)
    content = png_16(np.zeros((1, 1, 1), np.uint16), 0)
    header = struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    content = content[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    idat = b"IDAT" + rows
    content += struct.pack(">I", len(rows)) + idat + struct.pack(">I", zlib.crc32(idat))
    (tmp_path / "a.png").write_bytes(content)
    assert len(content) < 100_000
    with pytest.raises(ValueError, match=r"more than 179 megapixels.*max_megapixels="):
        read_image_file(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_large_photograph_is_read_without_a_word(tmp_path, suffix, recwarn):
    Image.new("1", (12000, 8000)).save(
        tmp_path / f"a{suffix}", **({"compression": "group4"} if suffix == ".tif" else {})
    )
    assert read_image_file(tmp_path / f"a{suffix}").size == (12000, 8000)
    difference_hash(tmp_path / f"a{suffix}")
    assert warnings_of_readers(recwarn) == []


def warnings_of_readers(recwarn):
    """Without ResourceWarnings, which come whenever garbage of an earlier test is collected."""
    return [str(one.message) for one in recwarn.list if not issubclass(one.category, ResourceWarning)]


def test_a_damaged_tiff_is_one_error_and_nothing_else(tmp_path, recwarn, caplog):
    file = tmp_path / "a.tif"
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(file, compression="tiff_lzw")
    content = file.read_bytes()
    for length in range(8, len(content), 7):
        file.write_bytes(content[:length])
        with contextlib.suppress(ValueError):
            read_image_file(file)
    assert warnings_of_readers(recwarn) == []
    assert [record.getMessage() for record in caplog.records] == []


def test_a_missing_file_and_a_folder_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_image_file(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="is a folder, expected an image"):
        read_image_file(tmp_path)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bits_are_refused(tmp_path, mode):
    Image.new(mode, (8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"mode {mode} .*8 or 16 bits"):
        read_image_file(tmp_path / "a.tif")


def test_an_image_too_large_for_its_format_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"a.webp: .webp cannot hold this image of 17000 x 1 pixels"):
        write_image_file(tmp_path / "a.webp", ImageFile(np.zeros((1, 17000, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_cv2_agrees_about_a_16_bit_png_we_wrote(rng, tmp_path):
    pixels = noise(rng, "RGB", np.uint16)
    write_image_file(tmp_path / "a.png", ImageFile(pixels, None, read_image_file(_with_text(tmp_path)).metadata))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], pixels)
    with Image.open(tmp_path / "a.png") as written:
        written.load()  # checks every chunk
        assert written.text == {"a": "b"}


def _with_text(folder):
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b")
    Image.new("RGB", (2, 2)).save(folder / "text.png", pnginfo=info)
    return folder / "text.png"
