"""The folder of the page: a network as ONNX, onnxruntime-web, and the served page with another ``api.js``."""

import base64
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lama.browser.runtime import WASM, WEBGPU, runtime_files
from lama.checkpoints import load_generator
from lama.conventions import complete
from lama.export import export_model
from lama.files import check_writable

_HERE = Path(__file__).resolve().parent / "static"
_SERVED = [_HERE.parent.parent / room / "static" for room in ("serving", "demo")]  # the page that ``lama demo`` serves
_INFO = "page.json"  # marks a folder that this module wrote
_SCALE = 512  # longer side in pixels at which a network works whose file states no scale
_CHECKED = 64  # pixels a side, of the image that the page checks a backend with
Say = Callable[[str], None]


def write_page(
    model: str,  # anything that ``lama.load`` takes
    out: str,  # a new folder, or one that an earlier call wrote, with ``overwrite``
    runtime: str
    | None = None,  # the archive onnxruntime-web-VERSION.tgz of npm; None: found on this machine or fetched
    webgpu: bool = True,  # compute on the graphics card where the browser offers it: 27 MB more
    int8: bool = False,  # store the weights in 8 bits
    overwrite: bool = False,
    say: Say = lambda line: None,  # called with each line of the report
) -> None:
    """Write a folder of static files that removes objects in a browser; no request leaves the folder's address.

    The folder appears complete or not at all. Before the page uses a backend of the browser, it compares a result with
    the one that is computed here. Raises ValueError, FileNotFoundError, FileExistsError, NotADirectoryError or
    PermissionError, in one line.
    """
    folder = Path(out).expanduser()
    if folder.exists() and not (folder / _INFO).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"out={folder}: exists already and is no page of this command; choose another name")
    if (folder / _INFO).is_file() and not overwrite:
        raise FileExistsError(f"out={folder}: holds a page already; replace it with overwrite=true")
    check_writable(folder.parent, "out", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as partial:
        written = Path(partial) / "page"
        _copy_scripts(written)
        for name, content in runtime_files(WASM + WEBGPU * webgpu, runtime):
            (written / "static" / name).write_bytes(content)
        export_model(model, "onnx", str(written / "network.onnx"), int8=int8, say=_before_the_program(say, written))
        _describe(model, written, webgpu)
        if folder.exists():
            shutil.rmtree(folder)
        written.rename(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    say(f"{folder}: {size / 1e6:.1f} MB; any static host serves it, or: python -m http.server -d {folder}")


def _before_the_program(say: Say, folder: Path) -> Say:
    """The report of the export without its end, a program for ONNX Runtime, and without files in ``folder``."""
    ended: list[str] = []

    def say_some(line: str) -> None:
        if line == "to run it:":
            ended.append(line)
        if not ended and not line.startswith(str(folder)):
            say(line)

    return say_some


def _copy_scripts(written: Path) -> None:
    """The files of the served page; the ones of this folder take the place of files with the same name."""
    (written / "static").mkdir(parents=True)
    for file in (file for folder in (*_SERVED, _HERE) for file in sorted(folder.iterdir())):
        at_top = file.name in ("index.html", "sw.js")  # a service worker sees only what lies below it
        shutil.copyfile(file, written / file.name if at_top else written / "static" / file.name)


def _describe(model: str, written: Path, webgpu: bool) -> None:
    """``page.json``, and the version of the files, which the service worker keeps until it changes."""
    generator = load_generator(model)
    own_scale = getattr(generator, "own_scale", None)
    info: dict[str, Any] = {
        "model": Path(model).stem or model,
        "scale": int(own_scale or _SCALE),
        "detail": own_scale is not None,  # with ``auto``, take texture from the photograph
        "bytes": (written / "network.onnx").stat().st_size,
        "webgpu": webgpu,
        "check": {"size": _CHECKED, "expected": _expected(generator)},
    }
    (written / _INFO).write_text(json.dumps(info), encoding="utf-8")
    digest = hashlib.sha256()
    for file in sorted(path for path in written.rglob("*") if path.is_file()):
        digest.update(file.read_bytes())
    worker = written / "sw.js"
    worker.write_text(worker.read_text(encoding="utf-8").replace("VERSION", digest.hexdigest()[:16]), encoding="utf-8")


@torch.inference_mode()
def _expected(generator: nn.Module) -> str:
    """The result for the image that ``static/network.js`` makes too: bytes (3, 64, 64) in base64."""
    image, mask = check_input()
    completed = complete(generator.eval(), image, mask)[1]
    return base64.b64encode((completed[0] * 255).round().clamp(0, 255).byte().numpy().tobytes()).decode("ascii")


def check_input() -> tuple[Tensor, Tensor]:
    """Waves (1, 3, 64, 64) in [0, 1] and a mask (1, 1, 64, 64) with a square hole, as ``network.js`` makes them."""
    c, y, x = torch.meshgrid(torch.arange(3), torch.arange(_CHECKED), torch.arange(_CHECKED), indexing="ij")
    image = ((7 * x + 13 * y + 29 * c) % 64) / 63
    inside = (torch.minimum(x, y) >= _CHECKED // 4) & (torch.maximum(x, y) < 3 * _CHECKED // 4)
    return image[None].float(), inside[None, :1].float()
