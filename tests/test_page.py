"""The page in a real browser, as a person uses it: Chromium, driven by Playwright."""

import io
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from page import Slow, served
from PIL import Image

from lama.checkpoints.format import save_generator
from lama.demo.models import Models
from lama.models import FFCResNetGenerator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: chromium)"),
]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
SHOTS = os.environ.get("LAMA_SCREENSHOTS")  # a folder to look at them


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Two models that differ, served."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        save_generator(folder / f"{name}.safetensors", FFCResNetGenerator(ngf=4, n_blocks=1).eval())
    with served(Models([str(folder / "first.safetensors"), str(folder / "second.safetensors")])) as client:
        yield f"http://127.0.0.1:{client.port}/"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The page; requests to other servers and errors on its console fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#examples img")
    yield page
    context.close()
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()
    refused = "Failed to load resource: the server responded with a status of 4"  # Chromium's line for each of them
    assert [line for line in wrong if not line.startswith(refused)] == []


@pytest.fixture(scope="module")
def photograph():
    """Something that is no power of two, and not noise either."""
    y, x = np.mgrid[0:203, 0:317]
    return np.stack([x % 256, y, (x + 2 * y) % 256], axis=2).astype(np.uint8)


def upload(page, image, kind="PNG", name="my photo.png", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    page.set_input_files("#file", {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": file.getvalue()})
    page.wait_for_selector("#work:not([hidden])")


def drag(page, *points):
    """Over the stage; points are shares of the image's width and height."""
    box = page.locator("#after").bounding_box()
    place = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*place[0])
    page.mouse.down()
    for each in place[1:]:
        page.mouse.move(*each, steps=6)
    page.mouse.up()


def until(page, condition, seconds=60):
    """Wait for a condition in JavaScript; the page's security policy lets nothing be evaluated within it."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never: {condition}"
        page.wait_for_timeout(50)


def done(page):
    until(page, "document.getElementById('status').textContent.startsWith('Done')")


def downloaded(page, button):
    """Name and image of the file that a button saves."""
    with page.expect_download() as event:
        page.click(button)
    return event.value.suggested_filename, Image.open(event.value.path())


def shot(page, name):
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def test_the_walk(page, photograph):
    """Load, paint, remove, compare, step back, again, a second object, download: all else is as it was."""
    shot(page, "start")
    upload(page, photograph)
    page.fill("#size", "30")
    drag(page, (0.3, 0.3), (0.5, 0.4))
    page.click("[data-tool=eraser]")
    drag(page, (0.5, 0.4), (0.45, 0.4))
    page.click("[data-tool=rectangle]")
    drag(page, (0.1, 0.6), (0.2, 0.8))
    shot(page, "painted")
    name, first = downloaded(page, "#save-mask")
    first = np.asarray(first.convert("L")) > 127
    assert name == "my photo_mask.png"
    assert first.shape == (203, 317)
    assert first[142, 47], "inside the rectangle"
    assert not first[81, 158], "erased"
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.click("#run")
    done(page)
    shot(page, "done")

    page.click("#compare")
    assert page.inner_text("#label-left") == "before"
    drag(page, (0.5, 0.5), (0.25, 0.5))
    assert abs(float(page.input_value("#split")) - 25) < 2
    shot(page, "compared")
    page.click("#result-list button:nth-child(2)")
    assert page.inner_text("#label-right") == "second"
    page.select_option("#against", "first")
    assert page.inner_text("#label-left") == "first"
    page.click("#compare")

    page.click("#back")
    assert page.is_disabled("#back")
    page.set_input_files("#mask-file", {"name": "m.png", "mimeType": "image/png", "buffer": as_png(first)})
    until(page, "document.getElementById('status').textContent.startsWith('Mask loaded')")
    page.click("#run")
    done(page)
    page.click("[data-tool=brush]")
    drag(page, (0.8, 0.2), (0.9, 0.5))
    _, second = downloaded(page, "#save-mask")
    page.click("#run")
    until(page, "!document.getElementById('run').hidden")
    done(page)
    name, result = downloaded(page, "#download")
    assert (name, result.format, result.size) == ("my photo_lama.png", "PNG", (317, 203))
    hole = first | (np.asarray(second.convert("L")) > 127)
    np.testing.assert_array_equal(np.asarray(result)[~hole], photograph[~hole])
    assert (np.asarray(result)[hole] != photograph[hole]).mean() > 0.5


def as_png(mask):
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def test_a_jpeg_comes_back_as_one_with_its_metadata(page, photograph):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    upload(page, photograph, "JPEG", "a.b.jpg", quality=95, exif=exif)
    drag(page, (0.4, 0.4), (0.6, 0.4))
    page.click("#run")
    done(page)
    name, result = downloaded(page, "#download")
    assert (name, result.format, result.size) == ("a.b_lama.jpg", "JPEG", (203, 317))
    assert result.getexif()[0x010F] == "maker"
    page.select_option("#format", "webp")
    assert downloaded(page, "#download")[1].format == "WEBP"


def test_by_keyboard_alone(page):
    page.click("#examples button")  # focus and Enter work as for any button
    page.wait_for_selector("#work:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "stage"
    for key in ("ArrowLeft", "ArrowLeft", " ", "ArrowUp", " ", "]", " "):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    done(page)
    page.keyboard.press("c")
    assert page.get_attribute("#compare", "aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    assert float(page.input_value("#split")) == 52
    for key, tool in (("e", "eraser"), ("r", "rectangle"), ("h", "hand"), ("b", "brush")):
        page.keyboard.press(key)
        assert page.get_attribute(f"[data-tool={tool}]", "aria-checked") == "true"
    page.keyboard.press("Control+z")  # nothing is painted: the removal
    assert page.is_disabled("#back")


def test_zoomed_in_the_brush_still_paints_where_it_is(page, photograph):
    upload(page, photograph)
    for _ in range(4):
        page.click("#zoom-in")
    page.mouse.move(*centre(page))
    page.mouse.wheel(0, -300)
    page.fill("#size", "8")
    before = page.evaluate("(() => { const b = document.getElementById('after').getBoundingClientRect();"
                           "return [b.x, b.y, b.width / 317]; })()")  # fmt: skip
    x, y = centre(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.up()
    mask = np.asarray(downloaded(page, "#save-mask")[1].convert("L")) > 127
    rows, columns = np.nonzero(mask)
    assert abs(columns.mean() + 0.5 - (x - before[0]) / before[2]) < 1
    assert abs(rows.mean() + 0.5 - (y - before[1]) / before[2]) < 1
    assert 6 <= columns.max() - columns.min() + 1 <= 9


def centre(page):
    box = page.locator("#stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_mistakes_are_shown_on_the_page(page, photograph):
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    until(page, "document.getElementById('toast').textContent.startsWith('a.png: not a readable image')")
    upload(page, photograph)
    page.click("#run")
    assert page.inner_text("#status").startswith("Paint over")


def test_a_long_removal_is_cancelled(browser, photograph):
    with served(Slow()) as client:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{client.port}/")
        page.wait_for_selector("#examples img")
        upload(page, photograph)
        drag(page, (0.3, 0.3), (0.5, 0.4))
        page.click("#run")
        until(page, "/pieces \\d+ of 6000/.test(document.getElementById('progress-text').textContent)")
        shot(page, "computing")
        page.keyboard.press("Escape")
        until(page, "document.getElementById('status').textContent === 'Cancelled.'")
        client.wait_for(lambda: not client.worker.jobs)
        assert not page.is_disabled("#undo"), "the strokes are kept"
        page.close()


def test_detail_is_compared_with_the_network_alone_and_undo_brings_the_mask_back(page, photograph):
    upload(page, photograph)
    drag(page, (0.3, 0.3), (0.5, 0.4))
    painted = np.asarray(downloaded(page, "#save-mask")[1].convert("L")) > 127
    for detail, guided in (("off", False), ("on", True)):
        page.select_option("#detail", detail)
        page.uncheck("#models input[value=second]")
        page.click("#run")
        done(page)
        assert page.is_visible("#against") == guided
        if guided:
            page.click("#compare")
            page.select_option("#against", label="network alone")
            assert page.inner_text("#label-left") == "network alone"
            shot(page, "network alone")
        page.keyboard.press("Control+z")
        until(page, "document.getElementById('status').textContent.startsWith('The last removal is undone')")
        again = np.asarray(downloaded(page, "#save-mask")[1].convert("L")) > 127
        assert (again != painted).mean() < 1e-3, "but for the smooth edge of the stroke"


def test_strokes_painted_during_a_computation_stay(page, photograph):
    upload(page, photograph)
    drag(page, (0.3, 0.3), (0.5, 0.4))
    page.route("**/api/inpaint", lambda route: (time.sleep(0.5), route.continue_()))
    page.click("#run")
    drag(page, (0.7, 0.7), (0.8, 0.7))
    done(page)
    mask = np.asarray(downloaded(page, "#save-mask")[1].convert("L")) > 127
    assert mask[142, 237], "painted since"
    assert not mask[71, 127], "removed"


def test_a_window_of_another_size_keeps_the_zoom(page, photograph):
    upload(page, photograph)
    page.click("#zoom-in")
    width = page.locator("#after").bounding_box()["width"]
    page.set_viewport_size({"width": 1280, "height": 760})
    page.wait_for_timeout(200)
    assert page.locator("#after").bounding_box()["width"] == width


@pytest.mark.parametrize(("name", "scheme", "width"), [("phone", "light", 390), ("dark", "dark", 1280)])
def test_on_a_phone_and_in_the_dark(browser, address, photograph, name, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, has_touch=width < 500)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#examples img")
    until(page, "[...document.querySelectorAll('#examples img')].every((image) => image.complete)")
    shot(page, f"{name} start")
    page.click("#examples button")
    page.wait_for_selector("#work:not([hidden])")
    drag(page, (0.3, 0.3), (0.5, 0.4))
    page.click("#run")
    done(page)
    page.click("#compare")
    page.wait_for_timeout(600)
    shot(page, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is cut off at the side"
    page.click("#theme")
    other = {"light": "dark", "dark": "light"}[scheme]
    assert page.evaluate("document.documentElement.dataset.theme") == other
    context.close()
