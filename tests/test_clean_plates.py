"""Removal sets: a photograph with an object, a mask of the object, and the same scene without it."""

import json

import cv2
import numpy as np
import pytest
import torch
from commands import command, last_line

from lama.data.evaluation_set import PairFolder
from lama.evaluation.compare import compare
from lama.evaluation.pixel import PSNR, PSNRBackground, PSNRHole
from lama.paper.tables import make_own_table


@pytest.fixture
def removals(tmp_path):
    """Two scenes with a box and its shadow, which lies outside the mask."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        scene = cv2.GaussianBlur(rng.integers(0, 256, (40, 48, 3), np.uint8), (0, 0), 3)
        mask = np.zeros((40, 48), np.uint8)
        mask[10:20, 12:30] = 255
        photo = scene.copy()
        photo[mask > 0] = 250
        photo[20:24, 12:30] //= 2
        for ending, image in (("", photo), ("_mask", mask), ("_gt", scene)):
            cv2.imwrite(str(folder / f"{name}{ending}.png"), image)
    return folder


def predictions_of(removals, folder, ending):
    """Copies of the photographs or of the clean plates, under the names of predictions."""
    for mask in removals.rglob("*_mask.png"):
        out = folder / mask.relative_to(removals)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(mask.with_name(mask.name.replace("_mask", ending)).read_bytes())
    return folder


def evaluate(root, removals, predictions, out, *more):
    metrics = "metrics=[psnr_hole,psnr_background,psnr]"
    arguments = [f"indir={removals}", f"predictdir={predictions}", f"outdir={out}", metrics]
    code, _, log = command(root, "evaluate.py", *arguments, *more)
    assert code == 0, log
    return json.loads((out / "metrics.json").read_text()), log


def means(content):
    return {name: result["mean"] for name, result in content["overall"].items()}


def test_a_result_is_compared_with_the_clean_plate(root, removals, tmp_path):
    perfect, _ = evaluate(
        root, removals, predictions_of(removals, tmp_path / "truth", "_gt"), tmp_path / "perfect", "truth=_gt"
    )
    assert means(perfect) == {"psnr_hole": 100, "psnr_background": 100, "psnr": 100}
    assert perfect["truth"] == "_gt"
    kept, _ = evaluate(root, removals, predictions_of(removals, tmp_path / "same", ""), tmp_path / "kept", "truth=_gt")
    assert means(kept)["psnr_hole"] < 20  # the object is still there
    assert means(kept)["psnr_background"] < 40  # and so is its shadow
    without, log = evaluate(root, removals, tmp_path / "same", tmp_path / "without")
    assert means(without)["psnr"] == 100  # compared with the photograph itself, and a line says so
    assert "truth=_gt" in log
    assert without["evaluation_set"] != kept["evaluation_set"]
    for name in ("table.md", "table.tex", "report.html"):
        texts = [(tmp_path / out / name).read_text() for out in ("kept", "without")]
        assert ["clean plates NAME_gt" in text for text in texts] == [True, False], name
        assert all("predictions in" in text and "/same" in text for text in texts), name
    with pytest.raises(ValueError, match="differ in truth: _gt and null"):
        compare(tmp_path / "kept", tmp_path / "without")
    rows = [str(tmp_path / "kept"), str(tmp_path / "without")]
    _, warnings = make_own_table(tmp_path / "tables", rows)
    assert any("the rows differ in truth: kept and without" in line for line in warnings)
    table = (tmp_path / "tables/tables.md").read_text()
    assert "some rows: the clean plates NAME_gt" in table
    titles = [make_own_table(tmp_path / "one", [row])[0].layout.columns[0].title for row in rows]
    assert ["NAME_gt" in title for title in titles] == [True, False]
    assert "Methods: kept: predictions in" in table


def test_the_regions_are_disjoint_and_make_the_image():
    generator = torch.Generator().manual_seed(0)
    truth, result = torch.rand(2, 2, 3, 9, 11, generator=generator)
    mask = (torch.rand(2, 1, 9, 11, generator=generator) > 0.6).float()
    errors = {each: 10 ** (-each().score(result, truth, mask) / 10) for each in (PSNR, PSNRHole, PSNRBackground)}
    share = mask.mean(dim=(1, 2, 3))
    together = share * errors[PSNRHole] + (1 - share) * errors[PSNRBackground]
    torch.testing.assert_close(together, errors[PSNR])
    outside = (result - truth).square().mean(dim=1)[1][mask[1, 0] == 0].mean()
    torch.testing.assert_close(errors[PSNRBackground][1].float(), outside)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "a_gt.png").unlink(), ("a.png", "truth=_gt", "a_gt.png")),
        (lambda folder: cv2.imwrite(str(folder / "a_gt.png"), np.zeros((9, 8, 3), np.uint8)), ("a_gt.png", "8 x 9")),
        (lambda folder: (folder / "a_gt.png").write_bytes(b"no image"), ("a_gt.png",)),
    ],
)
def test_a_missing_or_wrong_clean_plate_is_one_line(root, removals, tmp_path, spoil, words):
    spoil(removals)
    out = tmp_path / "out"
    arguments = [f"indir={removals}", "baseline=mean_colour", f"outdir={out}", "metrics=quick", "truth=_gt"]
    code, _, log = command(root, "evaluate.py", *arguments)
    assert code == 2
    assert all(word in last_line(log) for word in words)
    assert "Traceback" not in log
    assert not (out / "metrics.json").exists()


def test_a_clean_plate_may_have_another_suffix(removals):
    scene = cv2.imread(str(removals / "a_gt.png"))
    (removals / "a_gt.png").unlink()
    cv2.imwrite(str(removals / "a_gt.webp"), scene, [cv2.IMWRITE_WEBP_QUALITY, 101])
    pairs = PairFolder(removals, truth="_gt")
    assert len(pairs) == 2
    np.testing.assert_array_equal(pairs[0].truth, cv2.cvtColor(scene, cv2.COLOR_BGR2RGB))
    assert (pairs[0].image != pairs[0].truth).any()
