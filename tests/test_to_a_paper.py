"""From photographs to a results section: check, freeze, train rows with own code, evaluate, table, figures, trace."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from latex import PDFLATEX, compile_page

from lama import plugins
from lama.data import BuiltinPhotos
from lama.evaluation import METRICS
from lama.pictures.images import write_image

TINY = ["data=folder", "data.path=photos", "discriminator.ndf=4", "augment.size=64", "data.epoch_size=4",
        "data.batch_size=2", "data.num_workers=0", "data.val_per_image=1", "data.val_size=64",
        "trainer.accelerator=cpu", "trainer.max_epochs=1"]  # fmt: skip


@pytest.mark.slow
def test_from_photographs_to_a_table_a_figure_and_the_origin_of_each_number(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_used", {})
    before = dict(METRICS)

    def lama(verb, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [f"{verb}.py", *arguments])
            codes = [0]
            try:
                importlib.import_module(f"lama.commands.{verb.replace('-', '_')}").main(list(arguments))
            except SystemExit as end:
                codes.append(end.code or 0)
        assert codes[-1] == 0, capsys.readouterr()
        return capsys.readouterr().out

    try:
        _walk(lama)
    finally:
        METRICS.clear()
        METRICS.update(before)


def _walk(lama):
    for split, folder in (("train", "photos"), ("held_out", "held_out")):
        for name, image in BuiltinPhotos(split, 256):
            write_image(f"{folder}/{name}.png", image)
    assert "problem" not in lama("check-data", "photos", "--crop", "64")
    lama("masks", "random_thick_256", "held_out", "sets/faces")
    lama("new", "mine")
    own = ["--config-dir", "mine/configs", "plugins=[mine]", *TINY]
    sys.path.insert(0, "mine")
    for row, choice in {"base": ["losses=demo"], "edges": ["losses=mine_edges"]}.items():
        for seed in (0, 1):
            run = f"runs/{row}/seed{seed}"
            lama(
                "train",
                "-cn",
                "demo",
                *own,
                *choice,
                "generator=mine",
                "masks=mine_stripes",
                f"seed={seed}",
                f"run_dir={run}",
            )
            out = f"outdir=results/{row}/seed{seed}/faces"
            metrics = "metrics=[psnr_hole,mine_roughness]"
            lama("evaluate", "indir=sets/faces", f"model={run}", out, metrics, "plugins=[mine]", "device=cpu")
    rows = ["layout=own", "runs=results", "rows=[base,edges]", "baseline=base", "plugins=[mine]"]
    lama("tables", *rows, "out=table")
    content = json.loads(Path("table/tables.json").read_text())
    assert content["warnings"] == []
    edges = content["tables"][0]["rows"][1]
    assert [cell["metric"] for cell in edges["cells"]] == ["psnr_hole", "mine_roughness"]
    assert all(cell["difference"]["seeds_ci95"] for cell in edges["cells"])
    assert edges["about"][1].endswith(" M")
    outs = [f"results/{row}/seed0/faces" for row in ("base", "edges")]
    assert "differ most by PSNR (hole)" in lama(
        "figure", *outs, "names=[Base,Edges]", "plugins=[mine]", "out=figure.pdf"
    )
    lama("figure", "curves", "runs/base", "runs/edges", "out=curves.pdf")
    lama("figure", "area", *outs, "out=area.pdf")
    printed = lama("trace", f"{outs[1]}/metrics.json")
    for text in ("psnr_hole, mine_roughness", "set ", "seed0/models/", "losses=mine_edges", "fingerprint"):
        assert text in printed
    lama("compare", "results/base", "results/edges", "--set", "faces", "--plugins", "mine", "outdir=comparison")
    assert json.loads(Path("comparison/comparison.json").read_text())["first"] == "base"
    if PDFLATEX:
        compile_page(Path(), "table/tables", "comparison/comparison")
    lama("publish", "runs/edges/seed0", "repo=user/edges", "license=other", "dry_run=true", f"evaluations=[{outs[1]}]")
    assert "plugins=[mine]" in Path("runs/edges/seed0/publish/README.md").read_text()
