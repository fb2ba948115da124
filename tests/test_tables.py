"""The paper's tables from a folder of evaluations: published numbers, cells, marks."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from commands import command

from lama.evaluation import METRICS
from lama.evaluation.protocol import find_protocol
from lama.paper.formats import change
from lama.paper.published import read_paper
from lama.paper.tables import make_tables

REST = '"evaluation_set": [], "sizes": [], "unpublished_weights": []'


def evaluate(runs, where, n=30000, set_hash="set", protocol="lama", size=None, unpublished=(), **scores):
    """Write what bin/evaluate.py writes into ``runs/where``; a score of None is one that is not available."""
    overall = {
        name: {"mean": None, "n": 0, "note": "not available: w.pth is missing"} if value is None
        else {"mean": value, "std": 0.1, "n": n, "ci95": [value * 0.9, value * 1.1]}
        for name, value in scores.items()
    }  # fmt: skip
    content = {"protocol": find_protocol(protocol).describe(), "indir": "sets/x", "bins": {}, "overall": overall}
    size = size or int(where.rpartition("_")[2] or 0) if where[-1].isdigit() else 0
    content |= {"evaluation_set": [set_hash], "sizes": [[size, size]], "unpublished_weights": list(unpublished)}
    file = runs / where / "metrics.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def tables(runs, tmp_path):
    """A function that makes the tables and returns tables.json, its tables by number."""

    def make(**options):
        make_tables(runs, tmp_path / "out", **options)
        content = json.loads((tmp_path / "out" / "tables.json").read_text())
        return {**content, "tables": {table["number"]: table for table in content["tables"]}}

    return make


def cell(content, table, run, column, metric="fid"):
    rows = [*content["tables"][table]["rows"], *content["tables"][table]["other_runs"]]
    row = next(row for row in rows if row["run"] == run)
    return next(c for c in row["cells"] if (c["column"], c["metric"]) == (column, metric))


# Published numbers


def test_every_published_number_has_a_source():
    paper = read_paper()
    cells = [c for table in paper.tables for row in table.rows for c in row.cells.values()]
    assert len(cells) == 84 + 20 + 10 + 32  # table 1 lacks CelebA-HQ for four methods
    assert all("2109.07161" in c.source and "Table" in c.source and c.value > 0 for c in cells)


def test_the_published_numbers_of_the_configurations_are_those_of_the_docs(root):
    """docs/configs.md was written apart from published.yaml; rows in both are equal."""
    documented = (root / "docs" / "configs.md").read_text()
    first = documented.split("## Cost")[0].splitlines()
    lines = {line.split("`")[1]: line for line in first if line.startswith("| `")}
    compared = 0
    for table in read_paper().tables:
        for row in (row for row in table.rows if row.run in lines):
            for column in (c for c in table.columns if not c.run_suffix):
                name = {"narrow": "narrow", "wide": "wide", "segm": "segmentation"}[column.key]
                values = [row.cells[column.key, metric].text for metric in ("fid", "lpips_vgg")]
                assert f"{name} {' / '.join(v.removeprefix('0') for v in values)}" in lines[row.run]
                compared += 1
    assert compared == 3 + 5 * 2 + 5 + 2 * 2


def test_differences_are_those_that_the_paper_prints(tables, runs):
    evaluate(runs, "lama-fourier/random_thick_512", fid=2.2)
    content = tables()
    printed = {  # the paper's own, of numbers before rounding
        (1, "comodgan", "wide"): -18, (1, "comodgan", "celeba-wide"): 250, (1, "madf", "narrow"): -10,
        (1, "hifill", "wide"): 479, (1, "edgeconnect", "segm"): 76, (2, "lama-regular", "wide"): 59,
        (2, "big-lama-regular", "wide"): 18, (3, "lama-regular-vgg", "segm"): 11, (2, "big-lama-regular", "narrow"): 0,
    }  # fmt: skip
    for where, percent in printed.items():
        assert cell(content, *where)["paper_change"] == pytest.approx(percent, abs=1.5)
    # Table 4 compares wide training masks to narrow ones of the same method.
    assert cell(content, 4, "lama-regular", "narrow")["paper_change"] == pytest.approx(100 * (0.60 - 0.68) / 0.68)
    assert cell(content, 4, "regionwise-wide", "wide")["paper_change"] == pytest.approx(100 * (3.56 - 4.75) / 4.75)
    assert cell(content, 4, "regionwise", "wide")["paper_change"] is None


def test_best_and_second_of_the_paper(tables, runs):
    evaluate(runs, "lama-fourier/random_thick_512", fid=2.2)
    content = tables()
    assert cell(content, 1, "comodgan", "wide")["paper_rank"] == 1
    assert cell(content, 1, "lama-fourier", "wide")["paper_rank"] == 2
    # equal numbers share their rank
    assert cell(content, 2, "lama-dilated", "narrow", "lpips_vgg")["paper_rank"] == 1
    assert cell(content, 2, "lama-regular", "narrow", "lpips_vgg")["paper_rank"] == 1


# The cell of each evaluation


def test_an_evaluation_fills_its_cell_in_every_table(tables, runs):
    evaluate(runs, "lama-regular/random_thick_512", fid=3.4, lpips_vgg=0.14)
    evaluate(runs, "lama-fourier/random_thick_512", fid=2.0, lpips_vgg=0.13)
    evaluate(runs, "lama-fourier-celeba/random_thick_256", n=2000, fid=7.0, lpips_vgg=0.1)
    content = tables()
    for table in (2, 4):
        ours = cell(content, table, "lama-regular", "wide")["ours"]
        assert (ours["mean"], ours["files"]) == (3.4, ["lama-regular/random_thick_512/metrics.json"])
        assert (ours["n"], ours["ci95"], ours["evaluation_set"]) == (30000, pytest.approx([3.06, 3.74]), "set")
        assert not ours["notes"]
    assert cell(content, 2, "lama-regular", "wide")["ours_change"] == pytest.approx(70)
    assert cell(content, 1, "lama-fourier", "celeba-wide")["ours"]["mean"] == 7.0
    assert cell(content, 1, "lama-fourier", "narrow")["ours"] is None
    assert content["unplaced"] == []


def test_runs_without_a_row_in_the_paper_are_listed_below(tables, runs):
    evaluate(runs, "mine/random_thin_512", fid=0.5)
    evaluate(runs, "lama-fourier/random_thin_512", fid=1.0)
    content = tables()
    assert [row["run"] for row in content["tables"][1]["other_runs"]] == ["mine"]
    assert content["tables"][3]["other_runs"] == []  # it has none of its columns
    mine = cell(content, 1, "mine", "narrow")
    assert (mine["ours"]["mean"], mine["ours_change"], mine["paper"]) == (0.5, -50, None)
    assert cell(content, 4, "mine", "narrow")["ours_change"] is None  # no row with the same method


def test_evaluations_without_a_cell_are_listed(tables, runs, tmp_path):
    evaluate(runs, "lama-fourier/random_thick_512", fid=1.0)
    evaluate(runs, "mine/random_medium_512", fid=1.0)
    evaluate(runs, "lama-dilated/segm_512", fid=1.0)  # table 3 has no such row
    (runs / "demo").mkdir()
    (runs / "demo" / "metrics.json").write_text("what bin/report.py writes is not read")
    content = tables()
    names = ["demo/metrics.json", "lama-dilated/segm_512/metrics.json", "mine/random_medium_512/metrics.json"]
    assert sorted(name.split(":")[0] for name in content["unplaced"]) == names
    for file in ("tables.md", "tables.html"):
        assert "mine/random_medium_512" in (tmp_path / "out" / file).read_text()


def test_the_plot_shows_every_seed_where_two_rows_compare(tables, runs, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn, plot = [], Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda axis, x, y, *a, **k: (drawn.append(x), plot(axis, x, y, *a, **k))[1])
    evaluate(runs, "lama-fourier/random_thick_512", fid=1.0)
    tables()
    assert not (tmp_path / "out" / "tables.png").exists()  # one row: nothing to look at
    for seed, fid in enumerate((2.0, 2.5)):
        evaluate(runs, f"lama-regular/seed{seed}/random_thick_512", fid=fid)
    tables()
    assert (tmp_path / "out" / "tables.png").read_bytes().startswith(b"\x89PNG")
    assert (2.0, 2.5) in drawn
    assert (0.9, 1.1) in drawn  # the interval of a single evaluation
    assert "data:image/png" in (tmp_path / "out" / "tables.html").read_text()


def test_seeds_are_a_mean_with_its_deviation(tables, runs, tmp_path):
    for seed, fid in enumerate((2.0, 2.2, 2.4)):
        evaluate(runs, f"lama-fourier/seed{seed}/random_thick_512", fid=fid)
    ours = cell(tables(), 1, "lama-fourier", "wide")["ours"]
    assert (ours["mean"], ours["std"], ours["ci95"]) == (pytest.approx(2.2), pytest.approx(0.2), None)
    assert ours["seeds"] == [2.0, 2.2, 2.4]
    assert ours["notes"] == ["mean ± standard deviation of 3 seeds"]
    assert len(ours["files"]) == 3
    assert "2.20 ± 0.2" in (tmp_path / "out" / "tables.md").read_text()
    evaluate(runs, "lama-fourier/seed1/random_thick_512", fid=2.2, set_hash="another")
    ours = cell(tables(), 1, "lama-fourier", "wide")["ours"]
    assert ours["mean"] is None
    assert "seeds differ" in ours["notes"][0]


# Marks


def test_best_and_second_of_ours(tables, runs):
    for run, psnr in {"lama-fourier": 21.0, "lama-dilated": 20.0, "lama-regular": 19.0}.items():
        evaluate(runs, f"{run}/random_thick_512", psnr_hole=psnr, lpips_squeeze=1 / psnr)
    content = tables(metrics=["psnr_hole", "lpips_squeeze"])
    for metric in ("psnr_hole", "lpips_squeeze"):
        rows = [cell(content, 2, run, "wide", metric) for run in ("lama-fourier", "lama-dilated", "lama-regular")]
        assert [row["ours_rank"] for row in rows] == [1, 2, None]
        assert all(row["paper"] is None for row in rows)
    assert rows[1]["ours_change"] == pytest.approx(5)
    other = [cell(content, 4, run, "wide", "psnr_hole") for run in ("lama-regular", "lama_small_train_masks")]
    assert [c["ours_rank"] for c in other] == [None, None]  # a single number is not the best of anything
    evaluate(runs, "lama_small_train_masks/random_thick_512", psnr_hole=18.0)
    content = tables(metrics=["psnr_hole"])
    other = [cell(content, 4, run, "wide", "psnr_hole") for run in ("lama-regular", "lama_small_train_masks")]
    assert [c["ours_rank"] for c in other] == [1, None]  # nor one of two the second
    assert cell(content, 2, "lama-dilated", "wide", "psnr_hole")["ours_change"] == -1.0  # decibels


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"set_hash": "another"}, "evaluation set"),
        ({"protocol": "clean"}, "protocol"),
        ({"n": 29999}, "number of images"),
    ],
)
def test_numbers_of_other_conditions_are_not_ranked_or_compared(tables, runs, other, what):
    evaluate(runs, "lama-fourier/random_thick_512", fid=2.0)
    evaluate(runs, "lama-regular/random_thick_512", fid=3.0)
    evaluate(runs, "lama-dilated/random_thick_512", fid=1.0, **other)
    content = tables()
    cells = [cell(content, 2, run, "wide") for run in ("lama-fourier", "lama-regular", "lama-dilated")]
    assert [c["ours_rank"] for c in cells] == [None] * 3
    assert all(f"differ in {what}" in c["ours"]["notes"][-1] for c in cells)
    assert [c["ours_change"] for c in cells] == [None, 50, None]  # two of the three do compare
    assert cells[0]["paper_rank"] == 1


@pytest.mark.parametrize(
    ("where", "settings", "options", "note"),
    [
        ("random_thick_512", {"n": 200}, {}, "200 images (published: 30 000)"),
        ("random_thick_512", {"protocol": "mat"}, {}, "protocol mat (published: lama)"),
        ("random_thick_512", {"size": 256}, {}, "images of 256 pixels (published: 512 pixels)"),
        ("random_thick_512", {"unpublished": ["fid_inception"]}, {}, "weights of fid are not the published file"),
        ("random_thick_256", {}, {"size": 256}, "images of 256 pixels (published: 512 pixels)"),
    ],
)
def test_differences_from_the_published_conditions_are_noted(tables, runs, tmp_path, where, settings, options, note):
    evaluate(runs, f"lama-fourier/{where}", fid=2.0, **settings)
    ours = cell(tables(**options), 2, "lama-fourier", "wide")["ours"]
    assert [note in n for n in ours["notes"]].count(True) == 1
    assert f"1. {note}" in (tmp_path / "out" / "tables.md").read_text()
    assert "2.00 [1.80, 2.20]<sup>1</sup> / **2.21**" in (tmp_path / "out" / "tables.md").read_text()


def test_segmentation_masks_are_never_the_published_ones(tables, runs):
    evaluate(runs, "lama-fourier/segm_512", fid=2.0)
    assert any("detector" in note for note in cell(tables(), 1, "lama-fourier", "segm")["ours"]["notes"])


def test_missing_and_not_available_differ(tables, runs, tmp_path):
    evaluate(runs, "lama-fourier/random_thick_512", fid=None, lpips_squeeze=0.1)
    content = tables()
    fid, lpips = (cell(content, 1, "lama-fourier", "wide", metric) for metric in ("fid", "lpips_vgg"))
    assert fid["ours"]["notes"] == ["fid: not available: w.pth is missing"]
    assert lpips["ours"]["notes"] == ["lpips_vgg: not measured; was: fid, lpips_squeeze"]  # squeeze is another metric
    row = (tmp_path / "out" / "tables.md").read_text().split("| LaMa-Fourier ")[1].splitlines()[0]
    assert "| — / _0.63_ |" in row
    assert "| n/a<sup>1</sup> / _2.21_ | n/a<sup>2</sup> / **0.135** |" in row


def test_numbers_look_as_in_the_paper():
    assert [METRICS["fid"].text(x) for x in (0.631, 9.994, 9.996, 16.83)] == ["0.63", "9.99", "10.0", "16.8"]
    assert METRICS["lpips_vgg"].text(0.09) == "0.090"
    assert [change("fid", x) for x in (29.6, -4.7, 0.2, None)] == ["▲30 %", "▼5 %", "", ""]
    assert change("psnr_hole", -0.514) == "▼0.51 dB"


# The files


class _Tags(HTMLParser):
    """Fails where a tag is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], 0

    def handle_starttag(self, tag, attributes):
        self.cells += tag == "td"
        if tag not in ("meta", "img"):
            self.open.append(tag)
        for name, value in attributes:
            assert name not in ("src", "href") or value.startswith("data:"), f"{tag} needs {value}"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def files(tables, runs, tmp_path):
    evaluate(runs, "my_own & {big} 100%|<b>/random_thick_512", fid=2.0, lpips_vgg=0.1)
    evaluate(runs, "lama-fourier/random_thick_512", n=200, fid=2.0, lpips_vgg=0.1)
    tables()
    return {kind: (tmp_path / "out" / f"tables.{kind}").read_text() for kind in ("md", "tex", "html")}


def test_the_page_is_well_formed_and_needs_no_other_file(files):
    tags = _Tags()
    tags.feed(files["html"])
    assert tags.open == []
    assert tags.cells == 11 * 12 + 6 * 8 + 5 * 6 + 9 * 6
    assert "my_own &amp; {big} 100%|&lt;b&gt;" in files["html"]
    assert files["html"].count("200 images (published: 30 000)") == 2  # below tables 1 and 2


def test_markdown_keeps_its_columns(files):
    rows = [line for line in files["md"].splitlines() if line.startswith("|")]
    assert len(rows) == 4 * 2 + 11 + 6 + 5 + 9
    assert {row.replace(r"\|", "").count("|") for row in rows} == {13, 9, 7}


def test_latex_escapes_what_is_special(files):
    assert r"my\_own \& \{big\} 100\%" in files["tex"]
    assert all(ord(c) < 128 for c in files["tex"])
    assert files["tex"].count(r"\begin{tabular}") == files["tex"].count(r"\end{tabular}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(files, tmp_path):
    packages = r"\usepackage{booktabs,graphicx,amssymb}"
    page = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{out/tables}}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    arguments = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


# Bad input


def test_a_folder_without_evaluations_says_what_was_expected(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"runs={runs}: .*RUN/SET/metrics\.json"):
        make_tables(runs, tmp_path / "out")
    runs.mkdir()
    with pytest.raises(ValueError, match=rf"runs={runs}: .*RUN/SET/metrics\.json"):
        make_tables(runs, tmp_path / "out")
    evaluate(runs, "demo", fid=1.0)
    with pytest.raises(ValueError, match=rf"runs={runs}: .*demo/metrics\.json.*RUN/SET/metrics\.json"):
        make_tables(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "Expecting value"),
        ("[]", "list indices"),
        ('{"protocol": {"name": "lama"}, "evaluation_set": []}', "lacks 'overall'"),
        (f'{{"protocol": {{}}, "overall": {{}}, {REST}}}', "lacks 'name'"),
        (f'{{"protocol": {{"name": "lama"}}, "overall": {{"fid": {{"mean": NaN, "n": 1}}}}, {REST}}}', "finite"),
        (f'{{"protocol": {{"name": "lama"}}, "overall": {{"fid": {{"mean": 1.0, "n": "1"}}}}, {REST}}}', "fid.n"),
    ],
)
def test_a_malformed_file_is_named(runs, tmp_path, content, what):
    evaluate(runs, "lama-fourier/random_thick_512").write_text(content)
    with pytest.raises(ValueError, match=f"lama-fourier/random_thick_512/metrics.json: .*{what}"):
        make_tables(runs, tmp_path / "out")


@pytest.mark.parametrize("second", ["random_thick_512", "seed00/random_thick_512"])
def test_two_evaluations_of_one_cell_are_named(runs, tmp_path, second):
    evaluate(runs, "lama-fourier/seed0/random_thick_512", fid=1.0)
    evaluate(runs, f"lama-fourier/{second}", fid=1.0)
    with pytest.raises(ValueError, match="same cell") as caught:
        make_tables(runs, tmp_path / "out")
    for where in ("seed0/random_thick_512", second):
        assert f"lama-fourier/{where}/metrics.json" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "what"),
    [({"metrics": ["lpips"]}, "unknown 'lpips'"), ({"metrics": "fid"}, "a list"), ({"metrics": []}, "a list"),
     ({"size": "big"}, "number of pixels"), ({"size": 0}, "number of pixels")],
)  # fmt: skip
def test_bad_options(runs, tmp_path, options, what):
    evaluate(runs, "lama-fourier/random_thick_512", fid=1.0)
    with pytest.raises(ValueError, match=what):
        make_tables(runs, tmp_path / "out", **options)


def test_the_command(root, runs, tmp_path):
    evaluate(runs, "lama-fourier/random_thick_256", n=3, psnr_hole=20.0, lpips_squeeze=0.1)
    out = f"out={tmp_path / 'out'}"
    code, said, errors = command(
        root, "make_tables.py", out, f"runs={runs}", "metrics=[psnr_hole,lpips_squeeze]", "size=256"
    )
    assert code == 0, errors
    assert "table 2: 2 numbers of ours, 0 n/a" in said
    assert "LPIPS (squeeze) ↓" in (tmp_path / "out" / "tables.md").read_text()
    code, _, errors = command(root, "make_tables.py", out, f"runs={tmp_path}/none")
    assert code == 2
    assert errors.startswith("error: runs=")
    assert len(errors.splitlines()) == 1


def test_numbers_on_the_axes_of_the_plot_are_few(runs, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    few = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: few.append(len(figure.axes[0].get_xticks())))
    for run, value in (("lama-fourier", 0.02962), ("lama-regular", 0.02969)):
        evaluate(runs, f"{run}/random_thick_256", l1=value)
    make_tables(runs, tmp_path / "out", ["l1"], 256)
    assert 2 <= few[0] <= 4 + 2  # matplotlib counts one outside each end
