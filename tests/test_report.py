"""The page of an evaluation, and the command that writes it, on real pairs if they are available."""

import base64
import csv
import html.parser
import io
import json
import re

import lpips
import numpy as np
import pytest
import torch
from commands import command, last_line
from PIL import Image

from lama.data.evaluation_set import PairFolder, batches_by_size, write_pairs
from lama.evaluation import Evaluator
from lama.evaluation.baselines import BASELINES, find_baseline
from lama.evaluation.report import report_page
from lama.evaluation.tables import about, prepare, stamp
from lama.interfaces import EvaluationPair
from lama.pictures.images import write_image


class Page(html.parser.HTMLParser):
    """The content that a browser would load and show."""

    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.headings, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "img":
            self.images.append(given["src"])
        self.links += [value for name, value in given.items() if name in ("src", "href") and "://" in (value or "")]
        if tag not in ("img", "meta", "link", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def decoded(url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def evaluated(errors, metrics="quick"):
    """A page about images of one colour, each off by its error, in grey levels."""
    mask = np.zeros((20, 24), bool)
    mask[5:15, 5:15] = True
    truth, completed = {}, {}
    evaluator = Evaluator(metrics, min_images=2)
    pairs = []
    for i, error in enumerate(errors):
        name = f"image{i:02d}"
        truth[name] = np.full((20, 24, 3), 100, np.uint8)
        completed[name] = np.where(mask[..., None], np.uint8(100 + error), truth[name])
        pairs.append(EvaluationPair(name, truth[name], mask))
    for names, *tensors in batches_by_size(pairs, lambda batch: [completed[pair.name] for pair in batch], 4):
        evaluator.update(names, *tensors)
    what = {"indir": "sets/<thick>", "predictions": "runs/x", "images": len(errors), "evaluation_set": ["5e7"]}
    described = about(what, evaluator)
    results, groups, rows = evaluator.compute(), evaluator.compute_groups(), evaluator.per_image()
    return report_page(results, groups, rows, described, lambda name: (truth[name], mask, completed[name]))


def test_a_page_shows_worst_best_and_random_images_none_twice():
    errors = [(7 * i) % 23 + 1 for i in range(20)]
    text = evaluated(errors)
    page = Page(text)
    kinds = ["Worst images by psnr_hole", "Best images by psnr_hole", "Random images"]
    assert [heading for heading in page.headings if "images" in heading][1:] == kinds
    shown = re.findall(r"<figcaption><span>image(\d+)</span>", text)
    assert len(shown) == len(set(shown)) == 12
    by_error = sorted(range(20), key=lambda i: -errors[i])
    assert [int(name) for name in shown[:4]] == by_error[:4]
    assert [int(name) for name in shown[4:8]] == by_error[::-1][:4]


def test_a_page_is_one_file_without_connections_and_well_formed():
    page = Page(evaluated([3, 5, 9]))
    assert page.links == []
    assert page.open == []
    assert all(url.startswith("data:image/") for url in page.images)
    assert "sets/&lt;thick&gt;" in evaluated([3, 5, 9])


def test_an_example_is_image_hole_prediction_and_difference():
    image, masked, prediction, difference = (decoded(url) for url in Page(evaluated([50])).images[-4:])
    assert abs(int(image[8, 8, 0]) - 100) < 6
    assert masked[10, 10, 0] > 200 > masked[10, 10, 1]
    assert abs(int(prediction[10, 10, 0]) - 150) < 6
    assert abs(int(difference[10, 10, 0]) - (255 - 50)) < 6
    assert difference[2, 20, 0] > 240


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_images_make_a_page_too(n):
    text = evaluated(range(1, n + 1))
    assert len(re.findall("<figure", text)) == n


def test_metrics_that_could_not_be_measured_are_on_the_page_with_the_reason():
    text = evaluated([1, 2, 3], ["psnr", "fid", "lpips_vgg"])
    assert "pt_inception-2015-12-05-6726825d.pth is missing" in text
    assert "vgg16-397923af.pth is missing" in text


def test_metrics_of_sets_alone_make_a_page_without_examples():
    assert "Worst" not in evaluated([1, 2], ["fid"])


@pytest.mark.slow
def test_the_command_measures_forty_real_pairs_as_the_reference_does(shared, root, tmp_path):
    """LPIPS-squeeze, PSNR and both SSIM of ``expected_metrics.csv``, through files and bin/evaluate.py."""
    with (shared / "metrics" / "expected_metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        ref = shared / row["ref"]
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / f"{i:02d}{ref.suffix}").write_bytes(ref.read_bytes())
        height, width = Image.open(ref).size[::-1]
        mask = np.ones((height, width), bool)
        if row["mask"]:
            mask = np.asarray(Image.open(shared / row["mask"]).convert("L")) > 127
        write_image(tmp_path / "set" / f"{i:02d}_mask000.png", mask if row["hole_is"] != "black" else ~mask)
        prediction = Image.open(shared / row["pred"]).convert("RGB")
        write_image(tmp_path / "predictions" / f"{i:02d}_mask000.png", np.asarray(prediction))
    code, _, errors = command(
        root, "evaluate.py", "indir=set", "predictdir=predictions", "outdir=out",
        "metrics=[lpips_squeeze,psnr,ssim,ssim_skimage]", f"weights.lpips_squeeze={shared}/weights/lpips_squeeze.pt",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, errors
    with (tmp_path / "out" / "per_image.csv").open() as file:
        measured = {row["name"]: row for row in csv.DictReader(file)}
    assert len(measured) == len(rows) == 40
    columns = {"lpips_squeeze": ("lpips_squeeze_v0.1", 1e-4), "psnr": ("psnr_rgb_db", 0.01),
               "ssim": ("ssim_zero_pad_rgb", 1e-4), "ssim_skimage": ("ssim_skimage_gauss_rgb", 1e-4)}  # fmt: skip
    for i, row in enumerate(rows):
        got = measured[f"{i:02d}_mask000"]
        jpeg = 10 if row["ref"].endswith(".jpg") else 1  # decoders differ by a grey level
        for name, (column, tolerance) in columns.items():
            assert float(got[name]) == pytest.approx(float(row[column]), abs=jpeg * tolerance), (row["pred"], name)
        if row["hole_fraction"]:
            assert float(got["mask_area"]) == pytest.approx(float(row["hole_fraction"]), abs=1e-5)
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["overall"]["lpips_squeeze"]["n"] == content["images"] == 40
    assert set(content["weights_sha256"]) == {"lpips_squeeze"}
    assert content["evaluation_set"] == PairFolder(tmp_path / "set").hashes()
    assert Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).links == []


def test_classical_methods_are_measured_like_a_model(root, tmp_path):
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 50), bool)
    mask[10:20, 10:30] = True
    write_pairs([EvaluationPair("a_mask000", rng.integers(0, 256, (40, 50, 3), np.uint8), mask)], tmp_path / "set")
    arguments = ["indir=set", "outdir=out", "metrics=[psnr_hole]"]
    code, printed, errors = command(root, "evaluate.py", *arguments, "baseline=telea", cwd=tmp_path)
    assert code == 0, errors
    assert "report.html" in printed
    code, _, errors = command(root, "evaluate.py", *arguments, "baseline=magic", cwd=tmp_path)
    assert code == 2
    assert last_line(errors) == "error: baseline=magic: unknown; known: telea, navier_stokes, mean_colour"


def test_every_baseline_has_a_name_for_the_command():
    for fill in BASELINES.values():
        assert find_baseline(fill.__name__) is fill


def test_an_evaluation_is_not_replaced_unasked_nor_mixed_with_its_images(root, tmp_path):
    mask = np.zeros((40, 50), bool)
    mask[10:20, 10:30] = True
    write_pairs([EvaluationPair("a_mask000", np.full((40, 50, 3), 9, np.uint8), mask)], tmp_path / "set")
    prepare(tmp_path / "out", False, (tmp_path / "set", None))
    (tmp_path / "out" / "metrics.json").write_text("{}")
    with pytest.raises(FileExistsError, match=rf"outdir={tmp_path / 'out'}: .*overwrite=true"):
        prepare(tmp_path / "out", False, ())
    prepare(tmp_path / "out", True, ())
    with pytest.raises(ValueError, match=rf"outdir={tmp_path / 'set'}: .*images"):
        prepare(tmp_path / "set", False, (tmp_path / "set",))
    with pytest.raises(NotADirectoryError, match=rf"outdir={tmp_path}.*/x"):
        prepare(tmp_path / "out" / "metrics.json" / "x", False, ())
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "a.png", "a_mask000.png", "metrics.json",
    ]  # fmt: skip


@pytest.mark.parametrize("fill", BASELINES.values(), ids=BASELINES)
def test_a_baseline_never_sees_the_hole(fill):
    rng = np.random.default_rng(0)
    image, other = (rng.integers(0, 256, (20, 20, 3), np.uint8) for _ in range(2))
    for mask in (np.ones((20, 20), bool), np.eye(20, dtype=bool)):
        hidden = np.where(mask[..., None], other, image)
        np.testing.assert_array_equal(fill(image, mask)[mask], fill(hidden, mask)[mask])
        assert (fill(image, mask)[mask] != image[mask]).any()


def test_remarks_on_weights_and_images(caplog, tmp_path):
    torch.save(lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).state_dict(), tmp_path / "other.pth")
    evaluator = Evaluator(["lpips_squeeze"], {"lpips_squeeze": str(tmp_path / "other.pth"), "lpips_alex": "unused.pth"})
    assert evaluator.unpublished == ["lpips_squeeze"]
    assert "squeezenet1_1-b8a52dc0.pth" in caplog.text
    assert str(tmp_path / "other.pth") in caplog.text
    assert evaluator.unread == ["lpips_alex"]
    image = torch.rand(1, 3, 32, 40)
    evaluator.update(["a"], image, image, torch.zeros(1, 1, 32, 40))
    evaluator.compute()
    assert re.search("1 of 1 images.*empty mask", caplog.text)
    what = {"indir": "x", "predictions": "y", "images": 1, "evaluation_set": ["5e7"]}
    assert "weights that are not the published ones: lpips_squeeze" in stamp(about(what, evaluator))


@pytest.mark.parametrize(
    ("metrics", "message"), [([], r"metrics=\[\].*psnr_hole"), ("psnrr", r"metrics=psnrr.*\[psnr,ssim\].*psnr_hole")]
)
def test_invalid_metrics_are_refused_at_the_start(metrics, message):
    with pytest.raises(ValueError, match=message):
        Evaluator(metrics)
    assert Evaluator("psnr").metrics == ["psnr"]
