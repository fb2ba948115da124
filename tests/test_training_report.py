"""The page about a training: several runs, and the objects that lama-small removes."""

import json

import numpy as np
import pytest
from PIL import Image
from trainings import make_data, make_module, run_into

from lama.data.removals import REMOVALS
from lama.evaluation.baselines import telea
from lama.runs import report


@pytest.fixture
def quick(monkeypatch):
    """Telea in place of lama-small."""
    real = report.load
    monkeypatch.setattr(
        report, "load", lambda path, *a, real=real, **k: telea if path == "small" else real(path, *a, **k)
    )


def test_objects_are_removed_and_nothing_else_changes(tmp_path, quick):
    for removal, result in report.remove_all(tmp_path):
        image, mask = removal.image(), removal.mask()
        assert 0.005 < mask.mean() < 0.2
        np.testing.assert_array_equal(result[~mask], image[~mask])
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{removal.photograph}.png")), result)


def test_two_trainings_and_lama_small_stand_side_by_side(tmp_path, quick):
    data = make_data()
    runs = [run_into(tmp_path / name, make_module(), data=data, trainer={"max_epochs": 1}) for name in ("a", "b")]
    page = report.make_report(runs[0], data, "cpu", [runs[1]], report.remove_all(tmp_path / "removed"))
    methods = json.loads((runs[0] / "metrics.json").read_text())["methods"]
    networks = ["LaMa (this run)", "LaMa (b)", "lama-small", "lama-small with detail"]
    assert list(methods)[:4] == networks
    assert methods[networks[0]] == methods[networks[1]]  # the same seed
    text = page.read_text(encoding="utf-8")
    assert all(f"<td>{name}</td>" in text for name in networks)
    assert text.index(REMOVALS[0].title) < text.index("<table")
