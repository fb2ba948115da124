"""Tables of one's own rows and sets: differences to a baseline, Holm's correction, costs, warnings, every format."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from latex import PDFLATEX, compile_page
from scipy import stats

from lama.evaluation.compare import compare_all
from lama.evaluation.comparison_files import write_comparison
from lama.evaluation.protocol import find_protocol
from lama.evaluation.statistics import mean_interval
from lama.pages.table import TIMES
from lama.paper.tables import make_own_table

N = 40


def evaluation(folder, shift=0.0, noise=0.2, images="sets/faces", run=None, seed=0, **other):
    """Write an evaluation of 40 images whose PSNR is ``shift`` above 20 dB; the images have an order of difficulty."""
    easy = np.random.default_rng(0).normal(0, 2, N)
    psnr = 20 + easy + shift + np.random.default_rng(seed + 1).normal(0, noise, N)
    results = {
        "psnr_hole": {"mean": float(psnr.mean()), "std": float(psnr.std()), "n": N, "ci95": mean_interval(psnr)},
        "fid": {"mean": 30.0 - shift, "n": N, "ci95": [29.0 - shift, 31.0 - shift]},
    }
    content = {
        "protocol": find_protocol("lama").describe(), "indir": images, "images": N, "predictions": str(run),
        "evaluation_set": ["set"], "sizes": [[256, 256]], "unpublished_weights": [], "weights_sha256": {"fid": "a"},
        "versions": {"lama": "2"}, "overall": results, "bins": {},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(content | other))
    with (folder / "per_image.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "mask_area", "psnr_hole"])
        writer.writerows([f"image{i:02}", 0.2, value] for i, value in enumerate(psnr))
    return folder


def training(folder, parameters=1_200_000, seconds=5400, device="2 CPU threads"):
    folder.mkdir(parents=True)
    summary = {"parameters": parameters, "seconds": seconds, "iterations": 10, "device": device}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def three(tmp_path):
    """Three rows in a folder of runs: thin is as good as the baseline, grad is better."""
    for seed, (name, shift) in enumerate({"base": 0.0, "thin": 0.0, "grad": 0.4}.items()):
        run = training(tmp_path / "trainings" / name)
        evaluation(tmp_path / "runs" / name / "faces", shift, run=run, seed=seed)
    return tmp_path / "runs"


def table(out, *arguments, **options):
    _, warnings = make_own_table(out, *arguments, **options)
    content = json.loads((out / "tables.json").read_text())
    assert content["warnings"] == warnings
    rows = {row["run"]: row for row in content["tables"][0]["rows"]}
    return {run: {c["metric"]: c for c in row["cells"]} for run, row in rows.items()}, rows, warnings


def test_a_table_has_differences_with_paired_intervals_and_corrected_p(three, tmp_path):
    cells, rows, warnings = table(tmp_path / "out", ["base", "thin", "grad"], three, baseline="base")
    assert warnings == []
    better = cells["grad"]["psnr_hole"]
    scores = {
        run: np.loadtxt(three / run / "faces" / "per_image.csv", delimiter=",", skiprows=1, usecols=2) for run in rows
    }
    difference = scores["grad"] - scores["base"]
    assert better["difference"]["mean"] == pytest.approx(difference.mean())
    assert better["difference"]["ci95"] == pytest.approx(mean_interval(difference))
    p = {run: stats.ttest_rel(scores[run], scores["base"]).pvalue for run in ("thin", "grad")}
    assert better["difference"]["p"] == pytest.approx(p["grad"])
    assert better["difference"]["p_holm"] == pytest.approx(2 * p["grad"])  # the smaller of two
    assert cells["thin"]["psnr_hole"]["difference"]["p_holm"] == pytest.approx(p["thin"])
    assert cells["base"]["psnr_hole"]["difference"] is None
    fid = cells["grad"]["fid"]["difference"]  # a set has no pairs
    assert (fid["mean"], fid["ci95"], fid["p_holm"]) == (pytest.approx(-0.4), None, None)
    assert [cells[run]["psnr_hole"]["ours_rank"] for run in ("grad", "base")] == [1, None]
    assert rows["grad"]["about"] == ["grad", "1.2 M", "1.5 h"]
    assert rows["grad"]["cost"]["parameters"] == 1200000


def test_a_table_names_the_metrics_of_packages_that_are_not_imported(tmp_path):
    result = {"mean": 0.5, "n": N}
    about = {"configuration": {"plugins": ["paper"]}}
    a = evaluation(tmp_path / "a", **about, overall={"psnr_hole": result, "rough_of_paper": result})
    assert table(tmp_path / "out", [str(a)])[2] == ["rough_of_paper left out; add plugins=[paper]"]
    assert table(tmp_path / "out", [str(a)], metrics=["psnr_hole"])[2] == []
    with pytest.raises(ValueError, match=r"'rough_of_paper'.*add plugins=\[paper\]"):
        table(tmp_path / "out", [str(a)], metrics=["rough_of_paper"])
    b = evaluation(tmp_path / "b", **about, overall={"rough_of_paper": result})
    with pytest.raises(ValueError, match=r"rough_of_paper left out; add plugins=\[paper\]"):
        table(tmp_path / "out", [str(b)])


def test_every_format_shows_the_same_numbers(three, tmp_path):
    cells, _, _ = table(tmp_path / "out", ["base", "thin", "grad"], three, baseline="base", title="Ablation")
    one = cells["grad"]["psnr_hole"]
    low, high = one["difference"]["ci95"]
    shown = f"Δ {one['difference']['mean']:+.2f} [{low:+.2f}, {high:+.2f}]*"
    delta = r"$\Delta$"
    text = {kind: (tmp_path / "out" / f"tables.{kind}").read_text() for kind in ("md", "tex", "html", "csv")}
    assert f"**{one['ours']['mean']:.2f}** {shown}" in text["md"]
    assert f"faces (256 {TIMES} 256, 40 images): PSNR (hole) ↑" in text["md"]
    assert rf"\textbf{{{one['ours']['mean']:.2f}}}\\{{\scriptsize {shown.replace('Δ', delta)}}}" in text["tex"]
    assert r"\caption{Ablation; baseline: base.}" in text["tex"]
    assert "p $<$ 0.05" in text["tex"]  # a plain < prints as another character
    assert shown in text["html"]
    assert "paper" not in text["html"].split("</style>")[1].replace("paper-rows", "")
    lines = list(csv.DictReader((tmp_path / "out" / "tables.csv").open()))
    line = next(one for one in lines if (one["row"], one["metric"]) == ("grad", "psnr_hole"))
    assert (line["set"], line["n"]) == ("faces", str(N))
    assert float(line["p_holm"]) == one["difference"]["p_holm"]


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")
def test_latex_compiles(three, tmp_path):
    table(tmp_path / "out", None, three, baseline="base", title="100 % & more_of_it")
    folders = [three / name / "faces" for name in ("base", "grad", "thin")]
    write_comparison(tmp_path / "out", compare_all(folders), "baseline", "100 % of it")
    assert "& $-$0." in (tmp_path / "out" / "comparison.tex").read_text()  # a minus, no hyphen
    compile_page(tmp_path, "out/tables", "out/comparison")


def test_rows_are_evaluations_or_folders_of_them_with_names_of_their_own(three, tmp_path):
    cells, _, _ = table(tmp_path / "out", [str(three / "base" / "faces" / "metrics.json"), str(three / "grad")])
    assert list(cells) == ["faces", "grad"]
    other = evaluation(tmp_path / "other", images="sets/streets", evaluation_set=["streets"])
    rows = {"Ours (gradient)": [str(three / "grad"), str(other)], "Base": "base"}
    _, named, _ = table(tmp_path / "out", rows, three, metrics=["psnr_hole"])
    assert list(named) == list(rows)
    found = {c["evaluation_set"]: c["ours"] is not None for c in named["Base"]["cells"]}
    assert found == {"faces": True, "streets": False}
    _, named, _ = table(tmp_path / "out", rows, three, metrics=["psnr_hole"], sets=["streets"])
    assert len(named["Base"]["cells"]) == 1


def test_seeds_are_tested_over_trainings_too(tmp_path):
    for name, shift in {"base": 0.0, "grad": 0.4}.items():
        for seed, extra in enumerate((0.0, 0.5, -0.5)):
            evaluation(tmp_path / "runs" / name / f"seed{seed}" / "faces", shift + extra, seed=seed)
    cells, _, _ = table(tmp_path / "out", None, tmp_path / "runs", baseline="base", metrics=["psnr_hole"])
    one = cells["grad"]["psnr_hole"]
    assert one["ours"]["std"] == pytest.approx(0.5, abs=0.1)
    assert one["difference"]["ci95"][0] > 0  # over images it is established
    assert one["difference"]["seeds_ci95"][0] < 0  # over trainings it is not
    assert one["difference"]["p_holm"] > 0.05
    page = (tmp_path / "out" / "tables.md").read_text()
    assert "]*" not in page
    assert "one over trainings" in page  # or a reader would miss the star
    assert "the row minus base" in page
    assert "<sup>" not in page  # three seeds everywhere: said once
    assert page.count("3 seeds") == 1
    decimals = re.search(r"\d+\.(\d+)\*\* ± \d+\.(\d+) ", page)
    assert len(decimals[1]) == len(decimals[2])
    evaluation(tmp_path / "runs" / "other" / "faces")
    table(tmp_path / "out", None, tmp_path / "runs", metrics=["psnr_hole"])
    assert "<sup>1</sup>" in (tmp_path / "out" / "tables.md").read_text()


def test_a_difference_that_rounds_to_zero_has_no_sign(three, tmp_path):
    evaluation(three / "thin" / "faces", -1e-5, noise=0.2, seed=0)
    table(tmp_path / "out", ["base", "thin"], three, baseline="base", metrics=["psnr_hole"])
    assert "Δ 0.00 [0.00, 0.00]" in (tmp_path / "out" / "tables.md").read_text()


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"protocol": find_protocol("clean").describe()}, "protocol"),
        ({"evaluation_set": ["another"]}, "evaluation set"),
        ({"weights_sha256": {"fid": "b"}}, "weight files of metrics"),
        ({"versions": {"lama": "1"}}, "version of lama"),
        ({"commit": "abc"}, "commit"),
    ],
)
def test_rows_that_differ_in_what_should_be_equal_are_named(three, tmp_path, other, what):
    evaluation(three / "thin" / "faces", **other)
    _, _, warnings = table(tmp_path / "out", None, three, baseline="base")
    line = next(line for line in warnings if line.startswith(f"faces: the rows differ in {what}: "))
    assert line.endswith("base, grad and thin")
    assert f"- {line}" in (tmp_path / "out" / "tables.md").read_text()


def test_times_of_different_machines_are_named(three, tmp_path):
    run = training(tmp_path / "trainings" / "gpu", device="H100")
    evaluation(three / "thin" / "faces", run=run)
    _, _, warnings = table(tmp_path / "out", None, three)
    assert warnings == ["times of training are of different machines: 2 CPU threads, H100"]


def test_images_that_differ_have_no_paired_difference(three, tmp_path):
    (three / "thin" / "faces" / "per_image.csv").unlink()
    cells, _, warnings = table(tmp_path / "out", None, three, baseline="base")
    assert cells["grad"]["psnr_hole"]["difference"]["p_holm"] is not None
    assert any("thin" in line and "per_image.csv" in line for line in warnings)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"rows": ["base", "none"]}, "none"), ({"rows": []}, "rows"), ({"rows": "base"}, "rows=base"),
        ({"rows": ["base"], "baseline": "thin"}, "baseline=thin"), ({"sets": ["streets"]}, "streets"),
        ({"sets": "faces"}, "sets=faces"), ({"metrics": ["lpips"]}, "lpips"), ({"rows": ["base", "base"]}, "base"),
    ],
)  # fmt: skip
def test_bad_options(three, tmp_path, options, what):
    with pytest.raises((ValueError, FileNotFoundError), match=what):
        make_own_table(tmp_path / "out", **{"rows": None, "runs": three} | options)
    assert not (tmp_path / "out").exists()


def test_the_command(three, tmp_path, capsys):
    from lama.commands.tables import main

    evaluation(three / "thin" / "faces", commit="abc")
    main(["layout=own", f"runs={three}", "rows=[base,thin]", "baseline=base", f"out={tmp_path / 'out'}"])
    assert "differ in commit" in capsys.readouterr().err
    assert (tmp_path / "out" / "tables.tex").is_file()
    main(["layout=own", f"rows={{Base:{three}/base,Ours:{three}/grad}}", f"out={tmp_path / 'out'}"])
    assert "| Ours | 1.2 M |" in (tmp_path / "out" / "tables.md").read_text()
    for wrong, key in (("layout=mine", "layout=mine"), ("size=256", "size=256"), ("rows=[a]", "rows=")):
        with pytest.raises(ValueError, match=key):
            main([f"runs={three}", f"out={tmp_path / 'out'}", *(["layout=own"] if "size" in wrong else []), wrong])


def test_the_documented_names_of_rows_are_accepted(three, tmp_path, monkeypatch):
    from lama.commands.tables import main

    page = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()
    documented = re.search(r"^lama tables (layout=own .*names=.*)$", page, re.MULTILINE)[1]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OUT_A").symlink_to(three / "base")
    (tmp_path / "OUT_B").symlink_to(three / "grad")
    main(shlex.split(documented))
    rows = json.loads((tmp_path / "table5" / "tables.json").read_text())["tables"][0]["rows"]
    assert [row["run"] for row in rows] == ["Base", "Ours (gradient)"]
    assert rows[1]["cells"][0]["difference"]["mean"] > 0
    main(["layout=own", "rows=[[OUT_A],OUT_B]", "names=[A,'B & (c), d']", "out=two"])
    assert r"B \& (c), d" in (tmp_path / "two" / "tables.tex").read_text()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["rows=[OUT_A,OUT_B]", "names=[A]"], "names="), (["rows=[OUT_A,OUT_B]", "names=[A,A]"], "names="),
        (["runs=OUT", "names=[A]"], "names="), (["rows=[[OUT_A,OUT_C],OUT_B]"], "names="),
        (["rows={Base:OUT_A,'Ours (g)':OUT_B}"], r"names=\[A,'B \(c\)'\]"),
        (["rows=[OUT_A,OUT_B]", "names=[A,B (c)]"], r"names=\[A,'B \(c\)'\]"),
    ],
)  # fmt: skip
def test_wrong_names_of_rows(tmp_path, words, what):
    from lama.commands.tables import main

    with pytest.raises(ValueError, match=what):
        main(["layout=own", *words, f"out={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()
