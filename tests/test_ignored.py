"""Pixels that are no context: transparent ones, and those of ``ignore``."""

import numpy as np
import pytest
from PIL import Image

import lama
from lama.inference import Inpainter
from lama.inference.refine import Refiner
from lama.pictures import MaskReader
from lama.pictures.ignored import Ignored
from lama.pictures.prediction_jobs import PredictionPlan, fill_all
from lama.pictures.prediction_set import find
from lama.pictures.reading import ImageFile
from lama.pixels.opened import open_image

HOLE = np.zeros((160, 160), np.bool_)
HOLE[50:90, 44:64] = True
HIDDEN = np.zeros_like(HOLE)
HIDDEN[:, 64:] = True  # the right half; the hole touches it
VARIANTS = {
    "full": {"strategy": "full"},
    "crop": {"strategy": "crop", "margin": 16},
    "tile": {"strategy": "tile", "tile": 128},
    "detail": {"detail": "on"},
    "scale": {"scale": 64, "detail": "off"},
    "feather": {"feather": 6},
    "refined": {"refiner": Refiner(n_iters=1, min_side=64, max_scales=2)},
}


def photo(hidden, dtype=np.uint8):
    """Noise around 190, with ``hidden`` of 255 in the right half."""
    image = np.random.default_rng(0).integers(180, 200, (160, 160, 3)).astype(np.uint8)
    image[HIDDEN] = hidden
    return image / np.float32(255) if dtype == np.float32 else image


def rgba(hidden):
    return np.dstack([photo(hidden), np.where(HIDDEN, 0, 255).astype(np.uint8)])


@pytest.fixture(scope="module")
def small():
    """A trained network: one with random weights hardly depends on its input."""
    return lama.load("small", "cpu", detail="off")


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_no_result_depends_on_what_is_hidden(small, options):
    inpaint = small.variant(**options)
    black, white = (inpaint(rgba(hidden), HOLE) for hidden in (0, 255))
    np.testing.assert_array_equal(black[HOLE], white[HOLE])
    for result, hidden in ((black, 0), (white, 255)):
        np.testing.assert_array_equal(result[~HOLE], rgba(hidden)[~HOLE])
    ignored = inpaint(photo(7), HOLE, HIDDEN)
    np.testing.assert_array_equal(ignored[HOLE], black[HOLE][:, :3])
    np.testing.assert_array_equal(ignored[~HOLE], photo(7)[~HOLE])
    assert (inpaint(photo(7), HOLE)[HOLE] != ignored[HOLE]).any(), "an opaque half is context"


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "float", "16 bits", "grey"])
def test_every_kind_of_image_hides_its_transparent_pixels(tiny_generator, kind):
    def make(hidden):
        image = Image.fromarray(rgba(hidden))
        if kind == "LA":
            return image.convert("LA")
        if kind == "P":  # index 255 is transparent
            indices = np.where(HIDDEN, 255, photo(0)[..., 0])
            flat = Image.fromarray(indices.astype(np.uint8), "P")
            flat.putpalette([value for i in range(255) for value in (i, i, i)] + [hidden] * 3)
            flat.info["transparency"] = 255
            return flat
        if kind == "float":
            return np.dstack([photo(hidden, np.float32), np.where(HIDDEN, 0, 1).astype(np.float32)])
        return rgba(hidden).astype(np.uint16) * 257 if kind == "16 bits" else photo(hidden)[..., 0]

    inpaint = Inpainter(tiny_generator, "cpu", fast=False)
    ignore = Image.fromarray(HIDDEN) if kind == "grey" else None
    black, white = (np.asarray(inpaint(make(hidden), HOLE, ignore)) for hidden in (0, 255))
    np.testing.assert_array_equal(black[HOLE], white[HOLE])


def test_the_fill_has_the_colour_of_what_is_visible(small):
    """Beside a hidden black half, 190 is right; with the hidden pixels as context the hole becomes dark."""
    edge = HOLE & (np.arange(160) > 55)
    assert abs(small(photo(0), HOLE)[edge].mean() - 190) > 40
    assert abs(small(rgba(0), HOLE)[edge][:, :3].mean() - 190) < 10


def test_transparent_pixels_are_used_where_nothing_else_is_known(tiny_generator):
    image = rgba(90)
    image[..., 3] = 0
    inpaint = Inpainter(tiny_generator, "cpu", fast=False)
    np.testing.assert_array_equal(inpaint(image, HOLE)[..., :3], inpaint(image[..., :3].copy(), HOLE))


def test_a_hole_among_ignored_pixels_sees_what_lies_farther_away(small):
    ignore = np.ones((300, 300), np.bool_)
    ignore[:100] = False
    hole = np.zeros_like(ignore)
    hole[200:220, 200:220] = True
    images = [np.full((300, 300, 3), value, np.uint8) for value in (20, 230)]
    inpaint = small.variant(strategy="crop", margin=16)
    dark, bright = (inpaint(image, hole, ignore)[hole].mean() for image in images)
    assert dark + 10 < bright


def test_ignore_has_the_size_of_the_image():
    with pytest.raises(ValueError, match="ignore"):
        open_image(photo(0), HOLE, HIDDEN[1:])


def test_the_command_ignores_a_file_and_transparent_pixels(tmp_path):
    seen = []

    def fill(pixels, hole, ignored=None):
        seen.append(ignored)
        return pixels

    Image.fromarray(rgba(0)).save(tmp_path / "a.png")
    Image.fromarray(photo(0)).save(tmp_path / "b.png")
    Image.fromarray(HOLE).save(tmp_path / "m.png")
    Image.fromarray(~HIDDEN & ~HOLE).save(tmp_path / "left.png")

    def run(image, **options):
        seen.clear()
        places = {"image": str(tmp_path / image), "mask": str(tmp_path / "m.png"), "out": str(tmp_path / "o.png")}
        outcome = fill_all(fill, PredictionPlan(find(places), MaskReader(), overwrite=True, **options).jobs)
        assert outcome.failures == []
        return seen[0]

    np.testing.assert_array_equal(run("a.png"), HIDDEN)
    assert run("b.png") is None
    np.testing.assert_array_equal(run("b.png", ignore=tmp_path / "left.png"), ~HIDDEN & ~HOLE)
    np.testing.assert_array_equal(run("a.png", ignore=tmp_path / "left.png"), ~HOLE)
    with pytest.raises(FileNotFoundError, match="ignore="):
        run("a.png", ignore=tmp_path / "missing.png")


BANNER = np.zeros((160, 160, 3), np.uint8)
BANNER[:] = np.random.default_rng(1).integers(100, 200, BANNER.shape)
BANNER[HIDDEN] = (0, 255, 0)
BANNER[0, 0] = (0, 254, 0)  # nearly the colour


@pytest.mark.parametrize("colour", ["lime", "#00ff00", "rgb(0, 255, 0)", "#0F0"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "PIL", "RGBA"])
def test_a_colour_is_no_context(small, colour, kind):
    image = {
        "uint8": BANNER, "uint16": BANNER.astype(np.uint16) * 257, "float32": BANNER / np.float32(255),
        "PIL": Image.fromarray(BANNER), "RGBA": Image.fromarray(BANNER).convert("RGBA"),
    }[kind]  # fmt: skip
    opened = open_image(image, HOLE, colour)
    np.testing.assert_array_equal(opened.ignored, HIDDEN & ~HOLE)
    if kind == "uint8" and colour == "lime":
        expected = small(image, HOLE, HIDDEN)
        np.testing.assert_array_equal(small(image, HOLE, colour), expected)
        np.testing.assert_array_equal(expected[~HOLE], image[~HOLE])


def test_a_colour_of_a_grey_image():
    grey = np.full((20, 30), 90, np.uint8)
    grey[:, 20:] = 0
    hole = np.zeros((20, 30), np.bool_)
    hole[5:9, 5:9] = True
    np.testing.assert_array_equal(open_image(grey, hole, "black").ignored, grey == 0)
    assert open_image(grey, hole, "red").ignored is None


@pytest.mark.parametrize(("colour", "part"), [("grren", "ignore=grren"), ("#00ff0080", "alpha")])
def test_a_name_that_is_no_colour_is_one_line(colour, part):
    with pytest.raises(ValueError, match=f"^ignore=.*{part}|^{part}"):
        open_image(BANNER, HOLE, colour)


def test_the_command_takes_a_file_or_a_colour(tmp_path, caplog):
    Image.fromarray(BANNER).save(tmp_path / "a.png")
    Image.fromarray(HOLE).save(tmp_path / "m.png")
    Image.fromarray(HIDDEN[1:]).save(tmp_path / "short.png")
    Image.fromarray(np.ones((160, 160), np.bool_)).save(tmp_path / "all.png")

    def run(ignore, reader=None):
        seen = []

        def fill(pixels, hole, ignored=None):
            seen.append(ignored)
            return pixels

        places = {"image": str(tmp_path / "a.png"), "mask": str(tmp_path / "m.png"), "out": str(tmp_path / "o.png")}
        plan = PredictionPlan(find(places), reader or MaskReader(), overwrite=True, ignore=ignore)
        return seen, fill_all(fill, plan.jobs).failures, plan.notices.names

    seen, failures, notices = run("#00ff00")
    np.testing.assert_array_equal(seen[0], HIDDEN)
    assert (failures, notices) == ([], {})
    _, failures, _ = run(tmp_path / "short.png")
    assert "ignore is 160 x 159" in failures[0]
    assert run(tmp_path / "short.png", MaskReader(resize=True))[1] == []
    (notice,) = run(tmp_path / "all.png")[2]
    assert notice.startswith("ignore covers more than 80%")
    with pytest.raises(FileNotFoundError, match="ignore=grren"):
        run("grren")


def test_python_warns_of_an_ignore_that_covers_nearly_all(caplog):
    open_image(BANNER, HOLE, ~HIDDEN | HIDDEN)
    assert "ignore covers" in caplog.text


def test_a_colour_that_no_pixel_has_is_a_warning(caplog):
    image = ImageFile(np.full((4, 5, 3), 200, np.uint8))
    assert not Ignored("magenta").of(image, "a.png").any()
    assert "a.png" in caplog.text
    caplog.clear()
    assert Ignored("#c8c8c8").of(image, "a.png").all()
    assert not caplog.text


def test_one_colour_serves_many_images_and_other_counts_are_refused(tiny_generator):
    inpainter = Inpainter(tiny_generator, "cpu")
    image, mask = np.full((32, 40, 3), 90, np.uint8), np.zeros((32, 40), bool)
    mask[8:16, 8:16] = True
    image[:, 30:] = 0
    each = inpainter.many([image, image], [mask, mask], ignore=["black", "black"])
    np.testing.assert_array_equal(each, inpainter.many([image, image], [mask, mask], ignore="black"))
    with pytest.raises(ValueError, match=r"ignore.*2 images.*got 1"):
        inpainter.many([image, image], [mask, mask], ignore=["black"])
