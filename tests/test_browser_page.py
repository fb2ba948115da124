"""The page without a server: its folder, and a removal in Chromium that no server takes part in."""

import contextlib
import functools
import http.server
import io
import json
import os
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_page import CHROMIUM, browser, photograph, upload  # noqa: F401  (fixtures)

import lama
from lama.browser import write_page
from lama.browser.runtime import ARCHIVE, WASM, WEBGPU
from lama.checkpoints.format import save_generator
from lama.models import FFCResNetGenerator

RUNTIME = os.environ.get("LAMA_RUNTIME")  # the archive of npm, which the suite does not fetch
NEEDS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: chromium)"),
    pytest.mark.skipif(RUNTIME is None, reason=f"LAMA_RUNTIME=FILE names no {ARCHIVE.filename}"),
]


def in_chromium(test):
    """A test that drives the page in Chromium."""
    for mark in NEEDS:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_generator(path, FFCResNetGenerator(ngf=4, n_blocks=1).eval())
    return path


@pytest.fixture
def archive(tmp_path):
    """An archive with the names of onnxruntime-web's files."""
    path = tmp_path / "runtime.tgz"
    with tarfile.open(path, "w:gz") as package:
        for name in (*WASM, *WEBGPU):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            package.addfile(member, io.BytesIO(name.encode()))
    return path


@pytest.mark.slow
def test_the_folder_is_whole_and_is_replaced_only_on_request(model, archive, tmp_path):
    out = tmp_path / "page"
    said = []
    write_page(str(model), str(out), runtime=str(archive), say=said.append)
    assert [line for line in said if ".partial" in line] == []
    assert (out / "static" / WEBGPU[0]).read_text() == WEBGPU[0]
    info = json.loads((out / "page.json").read_text())
    assert info["model"] == "tiny"
    assert info["detail"] is False
    assert info["bytes"] == (out / "network.onnx").stat().st_size
    assert "import" in (out / "static/main.js").read_text()
    assert "VERSION" not in (out / "sw.js").read_text()
    with pytest.raises(FileExistsError, match="overwrite=true"):
        write_page(str(model), str(out), runtime=str(archive))
    write_page(str(model), str(out), runtime=str(archive), webgpu=False, overwrite=True)
    assert not (out / "static" / WEBGPU[0]).exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("damage", ["missing", "text", "other"])
def test_a_wrong_archive_leaves_nothing(model, tmp_path, damage):
    path = tmp_path / "runtime.tgz"
    if damage == "text":
        path.write_text("not an archive")
    elif damage == "other":
        with tarfile.open(path, "w:gz"):
            pass
    with pytest.raises((ValueError, FileNotFoundError), match=r"runtime=.*runtime\.tgz.*npmjs"):
        write_page(str(model), str(tmp_path / "page"), runtime=str(path))
    assert [each.name for each in tmp_path.iterdir()] == [path.name] * (damage != "missing")


def test_another_folder_is_kept(model, tmp_path):
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(FileExistsError, match="no page"):
        write_page(str(model), str(tmp_path), overwrite=True)
    assert (tmp_path / "photo.jpg").read_text() == "mine"


@pytest.fixture(scope="module")
def served_page(model, tmp_path_factory):
    """The folder behind a static host that knows nothing of it; ``stop`` ends the host."""
    out = tmp_path_factory.mktemp("web") / "page"
    write_page(str(model), str(out), runtime=RUNTIME)
    server = static_host(out)
    yield f"http://127.0.0.1:{server.server_port}/", server
    server.shutdown()
    server.server_close()


def static_host(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def visitor(browser, served_page):  # noqa: F811
    """A page in Chromium; a request to another address, or an error on the console, fails the test."""
    address, _ = served_page
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page, asked, wrong = context.new_page(), [], []
    context.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.wait_for_function("self.crossOriginIsolated && navigator.serviceWorker.controller", timeout=60_000)
    yield page
    context.close()
    assert {url for url in asked if not url.startswith((address, "data:", f"blob:{address}"))} == set()
    assert wrong == []


def remove(page, box, detail="off"):
    """Paint a rectangle (left, top, right, bottom in pixels of the image), remove it, and download the result."""
    page.select_option("#detail", detail)
    page.keyboard.press("r")
    scale = page.evaluate("""() => { const r = document.getElementById("after").getBoundingClientRect();
        return [r.left, r.top, r.width / document.getElementById("after").width]; }""")
    left, top, size = scale
    page.mouse.move(left + box[0] * size, top + box[1] * size)
    page.mouse.down()
    page.mouse.move(left + box[2] * size, top + box[3] * size, steps=4)
    page.mouse.up()
    page.click("#run")
    page.wait_for_selector("#run:not([hidden])", timeout=300_000)
    assert "Done" in page.text_content("#status")


def downloaded(page):
    with page.expect_download() as download:
        page.click("#download")
    return np.array(Image.open(download.value.path()).convert("RGB")).astype(int)


@in_chromium
def test_a_removal_equals_the_library(visitor, model, photograph):  # noqa: F811
    """One window, not reduced: the result of ONNX Runtime in the browser is torch's, to the last bit of 8."""
    upload(visitor, photograph)
    remove(visitor, (100, 60, 160, 110))
    got = downloaded(visitor)
    changed = (got != photograph).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    box = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    assert all(abs(a - b) <= 3 for a, b in zip(box, (60, 110, 100, 160), strict=True))
    mask = np.zeros(photograph.shape[:2], bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    expected = lama.load(str(model), strategy="crop", detail="off")(photograph, mask).astype(int)
    assert np.abs(got - expected).max() <= 1


def fine(image, box):
    """Root mean square of the contrast between neighbours in a row, within (left, top, right, bottom)."""
    left, top, right, bottom = box
    return float(np.sqrt(np.square(np.diff(image[top:bottom, left:right], axis=1)).mean()))


@in_chromium
def test_detail_takes_the_photographs_texture(visitor, photograph):  # noqa: F811
    """``on`` is as fine as the image around the hole, ``off`` is not; "network alone" can be compared."""
    rough = np.random.default_rng(0).normal(size=photograph.shape)
    textured = np.clip(photograph // 4 + 96 + 20 * (rough + np.roll(rough, 1, axis=0)), 0, 255).astype(np.uint8)
    box, inner, results = (100, 60, 160, 110), (106, 66, 154, 104), {}
    for detail in ("off", "on"):
        visitor.reload()
        upload(visitor, textured)
        remove(visitor, box, detail)
        results[detail] = downloaded(visitor)
        offered = "network alone" in visitor.text_content("#against")
        assert offered == (detail == "on")
    outside = np.ones(textured.shape[:2], bool)
    outside[box[1] - 3 : box[3] + 3, box[0] - 3 : box[2] + 3] = False
    assert all((result[outside] == textured[outside]).all() for result in results.values())
    around = fine(textured.astype(int), inner)
    assert 0.6 * around < fine(results["on"], inner) < 1.2 * around
    assert fine(results["off"], inner) < 0.6 * around


@in_chromium
def test_it_works_when_the_host_is_gone(visitor, served_page, photograph):  # noqa: F811
    """After a first removal nothing is fetched any more; a second visit with the network cut computes too."""
    upload(visitor, photograph)
    remove(visitor, (100, 60, 160, 110))
    visitor.context.set_offline(True)
    visitor.reload()
    upload(visitor, photograph)
    remove(visitor, (20, 20, 60, 60))
    got = downloaded(visitor)
    assert (got[100:] == photograph[100:]).all()


def renderers():
    """(seconds of the processor of Chromium's pages, peak memory of the largest in GB), from Linux's /proc."""
    seconds, most = 0.0, 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, StopIteration):  # a process that has ended
            if "--type=renderer" in (folder / "cmdline").read_text():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                peak = next(line for line in (folder / "status").read_text().splitlines() if "VmHWM" in line)
                most = max(most, int(peak.split()[1]) / 1e6)
    return seconds, most


@pytest.mark.slow
@in_chromium
def test_a_small_hole_in_a_photograph_of_12_megapixels(browser, tmp_path):  # noqa: F811
    """With lama-small, in 8 bits, and detail; the seconds and the memory are printed."""
    skimage = pytest.importorskip("skimage")
    write_page("small", str(tmp_path / "page"), runtime=RUNTIME, int8=True, webgpu=False)
    photo = np.pad(skimage.data.astronaut(), ((0, 2488), (0, 3488), (0, 0)), mode="symmetric")
    server = static_host(tmp_path / "page")
    page = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True).new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    page.wait_for_function("self.crossOriginIsolated && navigator.serviceWorker.controller", timeout=60_000)
    for visit in ("first", "second"):
        upload(page, photo)
        shown = (
            page.evaluate("document.getElementById('after').width") / photo.shape[1]
        )  # a large photograph is reduced
        before, started = renderers()[0], time.perf_counter()
        remove(page, [shown * side for side in (1800, 1300, 2100, 1550)], "auto")
        wall, (after, memory) = time.perf_counter() - started, renderers()
        print(f"{visit} removal: {wall:.0f} s, {after - before:.0f} s of the processor, {memory:.2f} GB")
        changed = (downloaded(page) != photo).any(axis=2)
        assert not changed[:1290].any()
        assert changed[1310:1540, 1810:2090].mean() > 0.9
        page.reload()
        page.wait_for_function("self.crossOriginIsolated", timeout=60_000)
    page.context.close()
    server.shutdown()
    server.server_close()
