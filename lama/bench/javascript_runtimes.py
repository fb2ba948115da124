"""Runtimes for ONNX with an npm package, on one thread: in Node.js, and in Chromium."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lama.interfaces import OnnxSession

_PROGRAM = Path(__file__).with_name("static") / "runtime.mjs"
_PAGE = "http://localhost/"  # every request is answered here
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_MINUTES = 10  # that one run may take


def _package(node: Path, name: str) -> dict[str, Any]:
    """``package.json`` of an npm package in ``node``; empty if it is not installed there."""
    file = node / "node_modules" / name / "package.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


@dataclass(frozen=True)
class NodeRuntime:
    """An npm package in Node.js: a process that runs the file once for each line that it reads."""

    name: str
    package: str
    entry: str  # the module in the package
    clock: str = "cpu"

    def missing(self, node: Path) -> str:
        """What to do if Node.js or the package is not there; else empty."""
        if shutil.which("node") is None:
            return "Node.js, from nodejs.org or the system's packages"
        return "" if _package(node, self.package) else f"npm install --ignore-scripts {self.package}, and --node FOLDER"

    def version(self, node: Path) -> str:
        """Of the package on npm."""
        return str(_package(node, self.package)["version"])

    def open(self, file: Path, feed: dict[str, Any], node: Path) -> OnnxSession:
        """(a function that gives the output and the seconds of one run, a function that ends the session)."""
        folder = TemporaryDirectory()
        shape = feed["image"].shape
        _write(feed, Path(folder.name))
        entry = (node / "node_modules" / self.package / self.entry).resolve()
        process = subprocess.Popen(
            ["node", _PROGRAM, entry, file.resolve(), folder.name, str(shape[2]), str(shape[3])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

        def close() -> None:
            process.kill()
            process.communicate()
            folder.cleanup()

        def answer() -> float:
            assert process.stdout is not None
            line = process.stdout.readline()
            said = json.loads(line) if line else {"error": "the process ended"}
            if "error" in said:
                raise RuntimeError(said["error"])
            return float(said["seconds"])

        def run() -> tuple[Any, float]:
            assert process.stdin is not None
            process.stdin.write("run\n")
            process.stdin.flush()
            seconds = answer()
            return np.fromfile(Path(folder.name) / "output.bin", np.float32).reshape(shape), seconds

        try:
            answer()
        except RuntimeError:
            close()
            raise
        return run, close


@dataclass(frozen=True)
class BrowserRuntime:
    """onnxruntime-web in Chromium, by WebAssembly; Playwright drives it. No request leaves the process."""

    name: str
    clock: str = "wall"

    def missing(self, node: Path) -> str:
        """What to do if Chromium, Playwright or the package is not there; else empty."""
        if _chromium() is None:
            return "Chromium, from the system's packages"
        if find_spec("playwright") is None:
            return "pip install playwright"
        return WEB.missing(node)

    def version(self, node: Path) -> str:
        """Of the package on npm, and of Chromium."""
        said = subprocess.run([str(_chromium()), "--version"], capture_output=True, text=True, check=False).stdout
        number = next((word for word in said.split() if word[0].isdigit()), "")
        return f"{WEB.version(node)}, Chromium {number.partition('.')[0]}"

    def open(self, file: Path, feed: dict[str, Any], node: Path) -> OnnxSession:
        """(a function that gives the output and the seconds of one run, a function that ends the session)."""
        from playwright.sync_api import sync_playwright

        folder = TemporaryDirectory()
        shape = feed["image"].shape
        _write(feed, Path(folder.name))
        places = {"network.onnx": file, "image.bin": Path(folder.name), "mask.bin": Path(folder.name)}
        playwright = sync_playwright().start()

        def serve(route: Any) -> None:
            name = route.request.url.removeprefix(_PAGE).partition("?")[0]
            place = places.get(name, node / "node_modules" / WEB.package / "dist")
            path = place / name if place.is_dir() else place
            kind = {".mjs": "text/javascript", ".wasm": "application/wasm"}.get(path.suffix, "application/octet-stream")
            if name:
                route.fulfill(body=path.read_bytes(), content_type=kind)
            else:
                route.fulfill(body="<!doctype html>", content_type="text/html")

        def close() -> None:
            playwright.stop()
            folder.cleanup()

        try:
            browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.set_default_timeout(_MINUTES * 60_000)
            page.route("**/*", serve)
            page.goto(_PAGE)
            page.evaluate(_OPEN, [*shape[2:]])
        except Exception:
            close()
            raise

        def run() -> tuple[Any, float]:
            said = page.evaluate(_RUN)
            return np.asarray(said["values"], np.float32).reshape(shape), float(said["seconds"])

        return run, close


_OPEN = """async ([height, width]) => {
  const ort = await import('/ort.wasm.min.mjs');
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  const bytes = async (name) => (await fetch(name)).arrayBuffer();
  const floats = async (name) => new Float32Array(await bytes(name));
  self.session = await ort.InferenceSession.create(await bytes('/network.onnx'), {executionProviders: ['wasm']});
  self.feed = {
    image: new ort.Tensor('float32', await floats('/image.bin'), [1, 3, height, width]),
    mask: new ort.Tensor('float32', await floats('/mask.bin'), [1, 1, height, width]),
  };
}"""
_RUN = """async () => {
  const before = performance.now();
  const {completed} = await self.session.run(self.feed);
  const seconds = (performance.now() - before) / 1000;
  return {seconds, values: Array.from(completed.data)};
}"""


def _chromium() -> str | None:
    return next((path for path in map(shutil.which, _BROWSERS) if path), None)


def _write(feed: dict[str, Any], folder: Path) -> None:
    for name, value in feed.items():
        value.astype(np.float32).tofile(folder / f"{name}.bin")


NODE = NodeRuntime("onnxruntime-node", "onnxruntime-node", "dist/index.js")
WEB = NodeRuntime("onnxruntime-web, Node.js", "onnxruntime-web", "dist/ort.node.min.mjs")
CHROMIUM = BrowserRuntime("onnxruntime-web, Chromium")
