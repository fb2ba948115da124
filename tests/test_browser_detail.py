"""Detail in the browser's page: its JavaScript, run by Node.js, beside ``lama.detail``."""

import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import lama.browser
from lama.data import BuiltinPhotos
from lama.detail import synthesize
from lama.detail.colour import to_lab
from lama.detail.contrast import sharpened
from lama.detail.level import UNIT, Level, split_centres
from lama.detail.patchmatch import Plain
from lama.detail.synthesize import Weights, _build, _smooth
from lama.detail.windows import texture_pieces

NODE = shutil.which("node") or shutil.which("nodejs")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node.js on this machine (Debian: nodejs)")
STATIC = Path(lama.browser.__file__).with_name("static")
SEARCH = """
    import { costs, improve, vote } from "./patchmatch.js";
    const { calls, weight, fall, ...level } = input;
    level.cost = costs(level, level.centres.map((p) => level.match[p]));
    for (const [first, stop, reach, seed] of calls) improve(level, first, stop, [1, 3], reach, seed);
    vote(level, weight, fall);
    output = { match: level.match, used: level.used, cost: level.cost, detail: level.detail, energy: level.energy };
"""
FILL = """
    import { synthesize } from "./detail.js";
    const told = [];
    const tell = (done, of) => told.push([done, of]);
    const { rgba, hole, width, height, texture } = input;
    synthesize(rgba, hole, width, height, { texture, tell });
    output = { rgba, told };
"""
FILTERS = """
    import { area, cubic, distances, linear, resize, smooth } from "./filters.js";
    import { toLab } from "./lab.js";
    const { plane, hole, rgba, width, height } = input;
    const sized = (kind, w, h) => resize(plane, width, height, w, h, kind);
    output = {
      fine: smooth(plane, width, height, 2), wide: smooth(plane, width, height, 19),
      area: sized(area, 22, 19), linear: sized(linear, 99, 150), cubic: sized(cubic, 200, 111),
      depth: distances(hole, width, height), lab: toLab(rgba, width, input).flatMap((part) => [...part]),
    };
"""
LEVEL = """
    import { build, sharpened } from "./detail.js";
    import { toLab } from "./lab.js";
    import { smooth } from "./filters.js";
    const { rgba, hole, width, height, voted, energy, step } = input;
    const lab = toLab(rgba, width, { top: 0, left: 0, bottom: height, right: width });
    const low = lab.map((plane) => smooth(plane, width, height, 7));
    const level = build({ lab, low, hole, target: hole, width, height }, step, 4, 0.5);
    output = { ...level, sharp: sharpened({ ...level, detail: voted, energy }) };
"""
TIME = """
    import { synthesize } from "./detail.js";
    const before = process.cpuUsage();
    synthesize(input.rgba, input.hole, input.width, input.height);
    const { user, system } = process.cpuUsage(before);
    output = { seconds: (user + system) / 1e6, peak: process.resourceUsage().maxRSS / 1e6 };
"""
WINDOWS = """
    import { texturePieces } from "./windows.js";
    const { height, width, boxes } = input;
    const hole = new Uint8Array(height * width);
    for (const [top, bottom, left, right] of boxes) {
      for (let y = top; y < bottom; y++) hole.fill(1, y * width + left, y * width + right);
    }
    output = texturePieces(hole, width, height).map(({ top, bottom, left, right }) => [top, bottom, left, right]);
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The page's scripts in a folder whose ``.js`` files Node.js takes for modules."""
    folder = tmp_path_factory.mktemp("scripts")
    for file in STATIC.glob("*.js"):
        shutil.copy(file, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def run(folder, program, **values):
    """What ``program`` leaves in ``output``; ``input`` has the values, arrays as typed arrays of their kind."""
    kinds = {
        "int16": "Int16Array",
        "int32": "Int32Array",
        "uint8": "Uint8Array",
        "float32": "Float32Array",
        "float64": "Float64Array",
    }
    arrays = {name: kinds[str(value.dtype)] for name, value in values.items() if isinstance(value, np.ndarray)}
    lines = program.strip().splitlines()
    imports = [line for line in lines if line.lstrip().startswith("import ")]
    (folder / "program.js").write_text("\n".join([
        'import { readFileSync } from "node:fs";', *imports,
        'const input = JSON.parse(readFileSync("input.json"));', "let output;",
        "const read = (Kind, name) => new Kind(new Uint8Array(readFileSync(name)).buffer);",
        *(f'input.{name} = read({kind}, "{name}");' for name, kind in arrays.items()),
        *(line for line in lines if line not in imports),
        "const list = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;",
        "console.log(JSON.stringify(output, list));",
    ]))  # fmt: skip
    for name in arrays:
        np.ascontiguousarray(values[name]).tofile(folder / name)
    (folder / "input.json").write_text(json.dumps({name: values[name] for name in values if name not in arrays}))
    done = subprocess.run([NODE, "program.js"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def random_level(radius, seed):
    rng = np.random.default_rng(seed)
    shape = 37 + 2 * radius, 44 + 2 * radius
    detail, low = (rng.integers(-3200, 3201, (*shape, 4)).astype(np.int16) for _ in range(2))
    detail[..., 3] = low[..., 3] = 0
    hole = np.zeros(shape, bool)
    hole[14:24, 12:25] = True
    hole[:7, :9] = True  # reaches the frame
    centres, boundary, source = split_centres(hole, hole, radius)
    level = Level(
        radius=radius, detail=detail, low=low, hole=hole, source=source, centres=centres, boundary=boundary,
        locality=rng.uniform(0, 1e5, len(centres)), trust=np.ones(len(centres)), guide=24, slope=5, reuse=10**5,
        threads=1, match=np.full(shape, -1, np.int32),
    )  # fmt: skip
    level.match.ravel()[centres] = rng.choice(level.candidates, len(centres))
    level.used[:] = np.bincount(level.match.ravel()[centres], minlength=hole.size).reshape(shape)
    return level


@pytest.mark.parametrize("radius", [2, 3])
def test_search_and_vote_equal_numpy(scripts, radius):
    """Costs, matches, uses and votes of two sweeps, integer by integer."""
    level, kernel = random_level(radius, radius), Plain()
    rng = np.random.default_rng(1)
    weight = np.zeros(level.hole.shape, np.int32)
    weight.ravel()[level.centres] = rng.integers(0, 2**20, len(level.centres))
    fall = rng.integers(0, 2**10, (2 * radius + 1,) * 2).astype(np.int32)
    halves = (0, level.boundary), (level.boundary, len(level.centres))
    calls = [(*half, 48, int(rng.integers(2**32))) for _ in range(2) for half in halves]
    names = "centres", "locality", "match", "used", "energy", "pixels", "source"
    got = run(
        scripts, SEARCH, calls=calls, weight=weight, fall=fall, radius=radius, height=level.hole.shape[0],
        width=level.hole.shape[1], guide=level.guide, slope=level.slope, reuse=level.reuse,
        detail=level.detail[..., :3], low=level.low[..., :3], **{name: getattr(level, name) for name in names},
    )  # fmt: skip
    before = level.match.copy()
    level.cost[:] = kernel.costs(level, 0, len(level.centres), level.match.ravel()[level.centres])
    for first, stop, reach, seed in calls:
        kernel.improve(level, first, stop, (1, 3), reach, seed)
    kernel.vote(level, weight, fall)
    assert (level.match != before).mean() > 0.1
    expected = {"match": level.match, "used": level.used, "cost": level.cost, "energy": level.energy,
                "detail": level.detail[..., :3]}  # fmt: skip
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array.ravel(), err_msg=name)


def test_filters_are_opencvs(scripts):
    """Gaussians, sizes, distances and colours, to a thousandth or a hundredth of the range."""
    height, width = 74, 87
    rng = np.random.default_rng(0)
    plane = rng.uniform(size=(height, width)).astype(np.float32)
    hole = np.zeros((height, width), np.uint8)
    hole[:, 5:] = np.hypot(*(np.mgrid[:74, 5:87] - np.array([40, 70])[:, None, None])) < 30
    rgba = opaque(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
    box = {"top": 3, "bottom": 60, "left": 5, "right": 70}
    got = run(scripts, FILTERS, plane=plane, hole=hole, rgba=rgba, width=width, height=height, **box)
    expected = {
        "fine": cv2.GaussianBlur(plane, (0, 0), 2), "wide": _smooth(plane, 19),
        "area": cv2.resize(plane, (22, 19), interpolation=cv2.INTER_AREA),
        "linear": cv2.resize(plane, (99, 150)), "cubic": cv2.resize(plane, (200, 111), interpolation=cv2.INTER_CUBIC),
        "depth": cv2.distanceTransform(np.pad(hole, 1), cv2.DIST_L2, 3)[1:-1, 1:-1],
    }  # fmt: skip
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array.ravel(), atol=2e-3, err_msg=name)
    lab = to_lab(np.ascontiguousarray(rgba[3:60, 5:70, :3])).transpose(2, 0, 1).ravel()
    np.testing.assert_allclose(got["lab"], lab, atol=1)  # OpenCV interpolates in a table


@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_level_is_the_librarys(scripts, step):
    """Centres and sources are equal, costs and details to rounding; so is the contrast that a mean gets back."""
    image = np.ascontiguousarray(photograph("gravel")[:191, :230])
    hole = np.zeros(image.shape[:2], bool)
    hole[30:75, 40:101] = hole[180:, :20] = True
    lab = to_lab(image)
    level = _build(lab, _smooth(lab, 7), hole, hole, step, 4, Weights(), 1, 0.5)
    rng, frame = np.random.default_rng(0), level.hole.shape
    voted = rng.integers(-90, 91, (*frame, 4)).astype(np.int16)
    level.energy[:] = rng.integers(1, 60000, frame)
    got = run(scripts, LEVEL, rgba=opaque(image), hole=hole.astype(np.uint8), width=230, height=191, step=step,
              voted=voted[..., :3], energy=level.energy)  # fmt: skip
    for name in ("radius", "boundary", "guide", "slope", "reuse", "centres", "pixels", "source"):
        np.testing.assert_array_equal(got[name], np.ravel(getattr(level, name)), err_msg=name)
    for name in ("locality", "trust"):
        np.testing.assert_allclose(got[name], getattr(level, name), rtol=1e-3, err_msg=name)
    for name in ("detail", "low"):
        assert np.abs(np.subtract(got[name], getattr(level, name)[..., :3].ravel())).mean() < UNIT / 10, name
    level.detail = voted
    np.testing.assert_allclose(got["sharp"], sharpened(level).ravel(), rtol=1e-3, atol=1e-3)


def fill(scripts, guide, hole, texture=True):
    """The filled image (H, W, 3) and the reports of progress."""
    rgba, (height, width) = opaque(guide), hole.shape
    got = run(scripts, FILL, rgba=rgba, hole=hole.astype(np.uint8), width=width, height=height, texture=texture)
    return np.array(got["rgba"], np.uint8).reshape(rgba.shape)[..., :3], got["told"]


def opaque(image):
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


def blurred(image, hole):
    """The image with a hole that is eight times too coarse and too bright."""
    guide = image.copy()
    guide[hole] = np.clip(cv2.GaussianBlur(image, (0, 0), 8)[hole].astype(int) + 12, 0, 255)
    return guide


def sharpness(image, hole):
    grey = image.astype(np.float32).mean(2)
    return float(np.sqrt(np.square(grey - cv2.GaussianBlur(grey, (0, 0), 1.5))[hole].mean()))


def psnr(a, b, hole):
    return float(10 * np.log10(255**2 / np.square(a[hole].astype(float) - b[hole]).mean()))


def test_the_result_is_like_the_librarys(scripts):
    """As near to it as the library's results with other seeds; known pixels keep their bytes."""
    image = np.ascontiguousarray(photograph("gravel")[:200, :240])
    hole = np.hypot(*(np.mgrid[:200, :240] - np.array([90, 120])[:, None, None])) < 30
    hole[150:160, 200:] = True  # a second one, at the edge of the image
    guide = blurred(image, hole)
    got, told = fill(scripts, guide, hole)
    some = [synthesize(image, hole, guide, seed) for seed in range(3)]
    np.testing.assert_array_equal(got[~hole], image[~hole])
    least = min(psnr(one, other, hole) for one, other in itertools.combinations(some, 2))
    assert min(psnr(got, one, hole) for one in some) > least - 2
    assert psnr(got, image, hole) > min(psnr(one, image, hole) for one in some) - 0.5
    fine = [sharpness(one, hole) for one in some]
    assert 0.9 < sharpness(got, hole) / np.mean(fine) < 1.1
    assert min(fine) > 2 * sharpness(guide, hole)
    assert told[-1] == [told[-1][1] - 1, told[-1][1]]


def test_a_sharp_guide_is_kept_and_a_stain_is_not(scripts):
    image = np.repeat(photograph("gravel")[:100, :110, :1], 3, 2)  # grey
    hole = np.zeros(image.shape[:2], bool)
    hole[35:65, 35:65] = True
    sharp, stained = image.copy(), blurred(image, hole)
    sharp[hole] = image[5:35, 5:35].reshape(-1, 3)
    stained[44:56, 44:56] = 200, 40, 40
    np.testing.assert_array_equal(fill(scripts, sharp, hole)[0], fill(scripts, sharp, hole, texture=False)[0])
    assert np.ptp(fill(scripts, stained, hole, texture=False)[0].astype(int), axis=2).max() > 80
    assert np.ptp(fill(scripts, stained, hole)[0].astype(int), axis=2).max() < 25


def photograph(name, short_side=240):
    photos = BuiltinPhotos("train", short_side)
    return photos[photos.names.index(name)][1]


@pytest.mark.parametrize("box", [(40, 90, 50, 110), (20, 180, 30, 190), (0, 150, 0, 60)], ids=str)
def test_the_membrane_is_the_librarys(scripts, box):
    """Exactly solved, by the pyramid, and at the edge of the image: within 2 of 255."""
    y, x = np.mgrid[:200, :220]
    image = np.stack([x, y, (x + y) // 2], 2).astype(np.uint8)
    hole = np.zeros(image.shape[:2], bool)
    hole[box[0] : box[1], box[2] : box[3]] = True
    guide = image.copy()
    guide[hole] = 200 - guide[hole] // 2
    got, _ = fill(scripts, guide, hole, texture=False)
    expected = synthesize(image, hole, guide, texture=False)
    assert np.abs(got.astype(int) - expected).max() <= 2
    assert np.abs(expected.astype(int) - guide).max() > 20


@pytest.mark.parametrize(("size", "boxes"), [
    ((300, 400), [(10, 20, 10, 20), (50, 60, 30, 90), (290, 300, 380, 400)]),
    ((3000, 2600), [(900, 1700, 800, 1500), (0, 40, 0, 40)]),  # fewer known pixels than the hole's side asks for
    ((4000, 3600), [(at, at + 30, at % 3500, at % 3500 + 30) for at in range(0, 3970, 61)]),  # one very large hole
], ids=["small", "large", "specks"])  # fmt: skip
def test_windows_are_the_librarys(scripts, size, boxes):
    hole = np.zeros(size, bool)
    for top, bottom, left, right in boxes:
        hole[top:bottom, left:right] = True
    got = run(scripts, WINDOWS, height=size[0], width=size[1], boxes=boxes)
    windows = [piece.window for piece in texture_pieces(hole)]
    assert sorted(got) == sorted([each.top, each.bottom, each.left, each.right] for each in windows)


def test_odd_holes(scripts):
    """Nothing known, a window without room for patches, and a constant image: no pixel is wrong, and it ends."""
    flat = np.full((40, 40, 3), 90, np.uint8)
    everything = np.ones((40, 40), bool)
    assert (fill(scripts, flat, everything)[0] == 90).all()
    narrow = np.zeros((8, 60), bool)
    narrow[2:5, 20:30] = True
    assert (fill(scripts, np.full((8, 60, 3), 90, np.uint8), narrow)[0] == 90).all()
    some = np.zeros((40, 40), bool)
    some[10:20, 10:20] = True
    assert (fill(scripts, flat, some)[0] == 90).all()


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width", "share"), [(512, 512, 0.1), (3000, 4000, 0.04)])
def test_time_beside_the_library(scripts, height, width, share, capsys):
    """Seconds of one processor; the page's scripts take less than ten times as many as C++."""
    piece = photograph("gravel", 512)
    image = np.tile(piece, (-(-height // 512), -(-width // 512), 1))[:height, :width]
    y, x = np.ogrid[:height, :width]
    hole = ((y / height - 0.5) ** 2 + (x / width - 0.5) ** 2) < share / np.pi
    guide = blurred(image, hole)
    synthesize(image[:64, :64], np.eye(64) > 0, guide[:64, :64])  # loads, or compiles, the search
    started = time.process_time()
    synthesize(image, hole, guide)
    library = time.process_time() - started
    got = run(scripts, TIME, rgba=opaque(guide), hole=hole.astype(np.uint8), width=width, height=height)
    with capsys.disabled():
        times = f"{got['seconds']:.1f} s in Node.js, {library:.1f} s in the library"
        print(f"\n{width} x {height}, hole of {share:.0%}: {times}, peak {got['peak']:.2f} GB")
    assert got["seconds"] < 10 * library
