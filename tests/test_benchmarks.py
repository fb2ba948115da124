"""Published protocols and the layouts of their sets: prepared, evaluated, and in a table with the published rows."""

import functools
import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from lama.commands import evaluate, prepare, tables
from lama.config import choices
from lama.config import load_protocol as load
from lama.data.evaluation_set import PairFolder
from lama.data.layouts import LAYOUTS, OBER, prepare_layout
from lama.evaluation import METRICS, Benchmark, Evaluator
from lama.evaluation.tables import write_results
from lama.paper.benchmark_table import make_benchmark_table
from lama.pictures.images import image_to_tensor, mask_to_tensor, read_image

load_protocol = functools.cache(load)
PROTOCOLS = choices("evaluation", "protocol")
OF_SETS = [name for name in PROTOCOLS if name not in ("lama", "pytorch-fid", "mat", "clean")]


def picture(seed, height=48, width=64):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def hole(height=48, width=64):
    mask = np.zeros((height, width), bool)
    mask[10:24, 12:34] = True
    return mask


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array).save(path, **options)
    return path.read_bytes()


def encoded(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array).save(buffer, kind)
    return buffer.getvalue()


# A small set of each layout


def removalbench(root, names="abc"):
    for i, name in enumerate(names):
        save(root / "images" / f"{name}.png", picture(i))
        save(root / "masks" / f"{name}.png", hole())
        save(root / "gt" / f"{name}.png", picture(i + 10))
    return root


def smarteraser(root):
    for i, name in enumerate(("I-210614_O04019_W01_F0109", "x")):
        save(root / "paste" / f"{name}.jpg", picture(i))
        save(root / "mask" / f"{name}.jpg", hole())  # JPEG: not only black and white
        save(root / "gt" / f"{name}.jpg", picture(i + 10))
    return root


def mat(root):
    for i, (height, width) in enumerate(((512, 512), (600, 700), (480, 530))):
        save(root / "images" / f"Places365_val_{i}.png", picture(i, height, width))
        mask = np.ones((512, 512), bool)
        mask[50 * i : 50 * i + 40, 30:90] = False  # black = hole
        save(root / "masks" / f"{7 + i:06d}.png", mask)
    return root


def brushbench(root):
    entries = {}
    for i in range(2):
        save(root / "images" / f"{i:09d}.jpg", picture(i, 512, 512))
        mask = hole(512, 512).ravel()
        edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0]))
        runs = np.stack([edges[::2] + 1, edges[1::2] - edges[::2]], 1).ravel().tolist()
        entries[f"{i:09d}"] = {"image": f"images/{i:09d}.jpg", "caption": "a thing", "inpainting_mask": runs}
    (root / "mapping_file.json").write_text(json.dumps(entries))
    return root


def ffhq(root):
    for number in (59999, 60000, 69999):
        folder = root / "images1024x1024" / f"{number // 1000 * 1000:05d}"
        save(folder / f"{number:05d}.png", np.full((1024, 1024, 3), number % 256, np.uint8))
    return root


def ober(root):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    rows = []
    for i, subset in enumerate(("OBER-Test", "OBER-Wild", "RORD-Val-343", "OBER-Test")):
        mask, effects = hole(), hole()
        effects[24:30, 12:34] = True
        gt = None if subset == "OBER-Wild" else {"bytes": encoded(picture(i + 10)), "path": f"{i:04d}.png"}
        rows.append({"input": {"bytes": encoded(picture(i), "JPEG"), "path": f"{i:04d}_1.jpg"}, "subset": subset,
                     "split": "Test", "gt": gt, "object_mask": {"bytes": encoded(mask), "path": None},
                     "object_effect_mask": {"bytes": encoded(effects), "path": None}})  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    file = root / "test-00000-of-00001.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=2)
    return file


MADE = {"removalbench": removalbench, "smarteraser": smarteraser, "mat": mat, "brushbench": brushbench, "ffhq": ffhq}
MADE |= dict.fromkeys(OBER, ober)


def test_every_layout_has_a_small_set_here_and_every_protocol_a_known_layout():
    assert set(MADE) == {*LAYOUTS, *OBER}
    assert {load_protocol(name).layout for name in OF_SETS} - {None} <= set(MADE)


# Preparing


def test_removalbench_leaves_incomplete_images_out(tmp_path):
    source = removalbench(tmp_path / "source")
    (source / "gt" / "b.png").unlink()
    lines = prepare_layout("removalbench", source, tmp_path / "set")
    pairs = PairFolder(tmp_path / "set", truth="_gt")
    assert [pair.name for pair in pairs] == ["a_mask", "c_mask"]
    np.testing.assert_array_equal(pairs[1].image, picture(2))
    np.testing.assert_array_equal(pairs[1].truth, picture(12))
    np.testing.assert_array_equal(pairs[1].mask, hole())
    assert any("1 without" in line and "b" in line for line in lines)


@pytest.mark.parametrize("zipped", [False, True])
def test_smarteraser_keeps_jpegs_and_cleans_masks(tmp_path, zipped):
    source = smarteraser(tmp_path / "source")
    bytes_of = (source / "paste" / "x.jpg").read_bytes()
    if zipped:
        with zipfile.ZipFile(tmp_path / "val_rord.zip", "w") as archive:
            for path in source.rglob("*.jpg"):
                archive.write(path, path.relative_to(source).as_posix())
        source = tmp_path / "val_rord.zip"
    for _ in range(2):  # a repeated command changes nothing
        prepare_layout("smarteraser", source, tmp_path / "set")
    assert (tmp_path / "set" / "x.jpg").read_bytes() == bytes_of
    pairs = PairFolder(tmp_path / "set", truth="_gt")
    assert len(pairs) == 2
    assert set(np.unique(read_image(tmp_path / "set" / "x_mask.png"))) == {0, 255}
    assert (pairs.named("x_mask").mask != hole()).mean() < 0.02


def test_mats_masks_belong_to_images_by_their_order_and_are_black(tmp_path):
    source = mat(tmp_path / "source")
    prepare_layout("mat", source, tmp_path / "set")
    pairs = PairFolder(tmp_path / "set")
    assert [pair.name for pair in pairs] == [f"Places365_val_{i}_mask" for i in range(3)]
    for i, pair in enumerate(pairs):
        assert pair.mask.sum() == 40 * 60
        assert pair.mask[50 * i, 30]
    image = picture(2, 480, 530)
    expected = cv2.copyMakeBorder(image, 0, 32, 0, 0, cv2.BORDER_REFLECT)[:, 9 : 9 + 512]
    np.testing.assert_array_equal(pairs[2].image, expected)
    np.testing.assert_array_equal(pairs[1].image, picture(1, 600, 700)[44:556, 94:606])


def test_brushbenchs_runs_are_masks(tmp_path):
    prepare_layout("brushbench", brushbench(tmp_path / "source"), tmp_path / "set")
    pairs = PairFolder(tmp_path / "set")
    assert len(pairs) == 2
    np.testing.assert_array_equal(pairs[0].mask, hole(512, 512))


def test_ffhqs_validation_images_are_reduced(tmp_path):
    lines = prepare_layout("ffhq", ffhq(tmp_path / "source"), tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["60000.png", "69999.png"]
    assert read_image(tmp_path / "set" / "60000.png").shape == (256, 256, 3)
    assert any("lama masks" in line for line in lines)


@pytest.mark.parametrize(("layout", "names"), [("ober-test", ["0000_1", "0003_1"]), ("ober-wild", ["0001_1"]),
                                               ("rord-343", ["0002_1"])])  # fmt: skip
@pytest.mark.parametrize("effects", [False, True])
def test_obers_subsets(tmp_path, layout, names, effects):
    prepare_layout(layout, ober(tmp_path / "source"), tmp_path / "set", effects)
    pairs = PairFolder(tmp_path / "set", truth=None if layout == "ober-wild" else "_gt")
    assert [pair.name for pair in pairs] == [f"{name}_mask" for name in names]
    assert pairs[0].mask[26, 20] == effects
    assert pairs[0].mask[:24].sum() == hole().sum()
    if layout != "ober-wild":
        np.testing.assert_array_equal(pairs[0].truth, picture(int(names[0][:4]) + 10))


def spoil_mask(source):
    save(source / "masks" / "a.png", hole(40, 64))


@pytest.mark.parametrize(
    ("layout", "spoil", "words"),
    [
        ("removalbench", spoil_mask, ("a.png", "64 x 40", "64 x 48")),
        ("smarteraser", lambda _: None, ("paste/", "0 images")),
        ("mat", lambda source: (source / "masks" / "a.png").unlink(), ("3 images", "2 masks")),
        ("mine", lambda _: None, ("mine", "removalbench")),
    ],
)
def test_a_source_of_another_form_is_one_line(tmp_path, layout, spoil, words):
    source = removalbench(tmp_path / "source")
    spoil(source)
    with pytest.raises(ValueError, match=r"expected|unknown|is 64") as caught:
        prepare_layout(layout, source, tmp_path / "set")
    assert all(word in str(caught.value) for word in words)


def test_another_set_is_not_mixed_in_and_effects_are_obers(tmp_path):
    source = removalbench(tmp_path / "source")
    prepare_layout("removalbench", source, tmp_path / "set")
    (source / "images" / "a.png").unlink()
    with pytest.raises(FileExistsError, match="a"):
        prepare_layout("removalbench", source, tmp_path / "set")
    with pytest.raises(ValueError, match="--effects"):
        prepare_layout("removalbench", source, tmp_path / "other", effects=True)
    with pytest.raises(FileNotFoundError):
        prepare_layout("removalbench", tmp_path / "nothing", tmp_path / "other")


# Protocols


def evaluated(benchmark, pairs, out):
    """What ``lama evaluate`` writes, without its page; the results are the photographs with a grey hole."""
    evaluator = Evaluator(benchmark.available(benchmark.metrics), protocol=benchmark.fid, intervals=False)
    for pair in pairs:
        image, mask = image_to_tensor(pair.image), mask_to_tensor(pair.mask)
        filled = image * (1 - mask) + 0.5 * mask
        evaluator.update([pair.name], filled[None], image_to_tensor(pair.truth)[None], mask[None])
    lines = benchmark.not_followed(pairs, evaluator)
    about = {"protocol": evaluator.protocol.describe(), "images": len(pairs), "truth": pairs.truth, "predictions": "",
             "unpublished_weights": [], "sizes": [list(size) for size in evaluator.sizes], "evaluation_set": ["x"],
             "versions": {}, "not_followed": lines}  # fmt: skip
    write_results(out, evaluator.compute(), {}, evaluator.per_image(), about, "")
    return lines


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("removals")
    prepare_layout("removalbench", removalbench(folder / "source"), folder / "set")
    return folder / "set"


@pytest.mark.parametrize("name", OF_SETS)
def test_a_protocol_evaluates_a_small_set_and_prints_its_table(name, small_set, tmp_path):
    benchmark = load_protocol(name)
    rows = None
    if set(benchmark.metrics) & set(METRICS):
        lines = evaluated(benchmark, PairFolder(small_set, truth=benchmark.truth), tmp_path / "Grey")
        rows = [str(tmp_path / "Grey")]
        assert any("3 images" in line for line in lines)
        assert any("hash" in line for line in lines)
        for metric in set(benchmark.metrics) - set(METRICS):
            assert f"{metric}: not available in this version" in lines
    else:  # of metrics that this version lacks
        with pytest.raises(ValueError, match=benchmark.metrics[0]):
            benchmark.available(benchmark.metrics)
    text = make_benchmark_table(benchmark, tmp_path / "out", rows)
    for row in benchmark.rows:
        assert f"| {row.method} | " in text
        assert all(number in text for number in row.numbers.values())
    if rows:
        assert "| Grey | here | " in text
        content = json.loads((tmp_path / "out" / "tables.json").read_text())["tables"][0]
        [ours] = content["other_runs"]
        for cell in ours["cells"]:  # each cell is a number with the differences, or says why it is none
            assert cell["ours"]["notes"]
            assert cell["ours"]["mean"] is None or any("3 images" in note for note in cell["ours"]["notes"])


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("removalbench", "99.88 0.351 0.156 18.72 4.55"),
        ("rord-omnieraser", "100.21 0.294 0.229 20.50 4.23"),
        ("rord-smarteraser", "24.24 0.216 0.916 0.348 0.557 16.38"),
        ("defacto-smarteraser", "0.201 0.926 0.351 0.683 21.74"),
        ("celebahq-mat", "8.15 0.143"),
        ("ffhq-pixelhacker", "52.17 0.366"),
        ("places-40-50", "21.07 0.2133"),
        ("places-migan-256", "22.00 0.378"),
        ("places-migan-512", "12.36 0.314"),
    ],
)
def test_lamas_published_row(name, numbers):
    [row] = [row for row in load_protocol(name).rows if row.method == "LaMa"]
    assert list(row.numbers.values()) == numbers.split()


@pytest.mark.parametrize("name", OF_SETS)
def test_published_numbers_are_in_the_range_of_their_metric(name):
    benchmark = load_protocol(name)
    assert all(row.source for row in benchmark.rows)
    for row in benchmark.rows:
        for metric, text in row.numbers.items():
            low, high = METRICS[metric].bounds if metric in METRICS else (0, 1000)
            assert low <= float(text) <= high


@pytest.mark.parametrize("name", ["lama", "pytorch-fid", "mat", "clean"])
def test_a_protocol_of_fid_alone_holds_for_any_set(name, small_set, tmp_path):
    benchmark = load_protocol(name)
    assert benchmark.fid == name
    assert benchmark.available("paper") == "paper"
    assert benchmark.not_followed(PairFolder(small_set, truth="_gt"), None) == []
    with pytest.raises(ValueError, match="any set"):
        make_benchmark_table(benchmark, tmp_path / "out", None)


# The commands


def test_from_the_published_folder_to_the_table(tmp_path, capsys, monkeypatch):
    prepare.main(["removalbench", str(removalbench(tmp_path / "source")), str(tmp_path / "set")])
    common = [f"indir={tmp_path}/set", "baseline=mean_colour"]
    evaluate.main([*common, f"outdir={tmp_path}/mean", "protocol=removalbench"])
    content = json.loads((tmp_path / "mean" / "metrics.json").read_text())
    assert (content["benchmark"], content["truth"], content["protocol"]["name"]) == (
        "removalbench",
        "_gt",
        "pytorch-fid",
    )
    assert "3 images (published: 69)" in content["not_followed"]
    assert set(content["overall"]) == {"fid", "cmmd", "lpips_squeeze", "psnr"} & set(METRICS)
    evaluate.main([*common, f"outdir={tmp_path}/own", "protocol=removalbench", "metrics=[psnr]", "mask.dilate=3"])
    content = json.loads((tmp_path / "own" / "metrics.json").read_text())
    assert list(content["overall"]) == ["psnr"]
    assert "fid: not measured" in content["not_followed"]
    assert any("dilate" in line for line in content["not_followed"])
    rows = f"rows=[{tmp_path}/mean,{tmp_path}/own]"
    tables.main(["protocol=removalbench", rows, "names=[Mean,Grown]", f"out={tmp_path}/out"])
    printed = capsys.readouterr().out
    assert "| LaMa | a | 99.88 | 0.351 | 0.156 | 18.72 | 4.55 |" in printed
    assert "| Mean | here |" in printed
    assert "| Grown | here |" in printed
    notes = json.loads((tmp_path / "out" / "tables.json").read_text())["tables"][0]["other_runs"]
    of = [{note for cell in row["cells"] for note in cell["ours"]["notes"]} for row in notes]
    assert [any("dilate" in note for note in each) for each in of] == [False, True]
    assert (tmp_path / "out" / "tables.html").read_text().count("99.88") == 1


def test_a_protocol_of_ones_own_may_know_its_hash(small_set, tmp_path, capsys):
    known = PairFolder(small_set, truth="_gt").hashes()[0]
    file = tmp_path / "protocol" / "mine.yaml"
    file.parent.mkdir()
    text = "defaults: [lama, _self_]\nname: mine\ndataset: Mine\nimages: 3\ntruth: _gt\nmetrics: [psnr]\nsha256: {}\n"
    found = []
    for i, sha256 in enumerate((known, "0" * 64)):
        file.write_text(text.format(sha256 if i == 0 else f"'{sha256}'"))
        arguments = [f"indir={small_set}", "baseline=mean_colour", f"outdir={tmp_path}/{i}", "protocol=mine"]
        evaluate.main([*arguments, "-cd", str(tmp_path)])
        found.append(json.loads((tmp_path / str(i) / "metrics.json").read_text())["not_followed"])
    assert found[0] == []
    assert [line for line in found[1] if known[:12] in line and "0" * 12 in line] == found[1]
    tables.main([f"protocol={file}", f"rows=[{tmp_path}/0]", f"out={tmp_path}/out"])
    assert "| 0 | here |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fid": "mine"}, "protocol=mine"),
        ({"metrics": "paper"}, "metrics=paper"),
        ({"labels": {"psnr": "PSNR"}}, "psnr"),
        ({"labels": {"fid": "FID ↓"}}, "labels: fid"),
        ({"published": [{"source": "s", "read": "source", "rows": {"A": "1 / 2"}}]}, "A: expected 1"),
        ({"published": [{"source": "s", "read": "heard", "rows": {"A": "1"}}]}, "read=heard"),
        ({"published": [{"source": "s", "read": "source", "rows": {"A": "one"}}]}, "A, fid: expected a number"),
    ],
)
def test_a_wrong_protocol_is_refused(change, words):
    right = {"name": "x", "fid": "lama", "metrics": ["fid"], "dataset": "X"}
    Benchmark(**right)
    with pytest.raises(ValueError, match=words):
        Benchmark(**{**right, **change})


def test_a_table_of_a_protocol_has_no_own_columns(tmp_path):
    with pytest.raises(ValueError, match="metrics="):
        tables.main(["protocol=removalbench", "metrics=[psnr]", f"out={tmp_path}/out"])
    for wrong in ("nothing.yaml", __file__.replace("py", "yaml")):
        with pytest.raises(FileNotFoundError):
            tables.main([f"protocol={wrong}", f"out={tmp_path}/out"])
    assert not (tmp_path / "out").exists()


def test_a_row_of_several_sets_is_refused(small_set, tmp_path):
    for name in ("a", "b"):
        evaluated(load_protocol("removalbench"), PairFolder(small_set, truth="_gt"), tmp_path / "row" / name)
    with pytest.raises(ValueError, match=r"row: .*a, b"):
        make_benchmark_table(load_protocol("removalbench"), tmp_path / "out", [str(tmp_path / "row")])
