"""``sweep=search``: trials that Optuna proposes, going on after a stop, failed trials, wrong settings."""

import sys

import pytest
from omegaconf import OmegaConf

from lama.sweeps.plan import load
from lama.sweeps.start import start
from lama.sweeps.state import record

SPACE = ["optimizers.generator.lr=interval(1e-4,1e-2)", "losses.l1.weight_known=10,60"]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trials that are "trained": a PSNR that is best at a rate of 0.004, and the titles in the order of their start."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra optuna is not installed")
    monkeypatch.chdir(tmp_path)
    titles, broken = [], set()

    def launch(sweep, works):
        for work in works:
            titles.append(work.title)
            rate = float(sweep.own[work.row][0].partition("=")[2])
            lines = [f"{i},val_psnr_hole_total_mean,{20 - abs(rate - 0.004) - 0.001 * i + work.seed}" for i in (1, 2)]
            sweep.run_dir(work).mkdir(parents=True)
            (sweep.run_dir(work) / "metrics.csv").write_text("\n".join(["iteration,name,value", *lines, ""]))
            if work.row in broken:
                record(sweep, work, state="failed", error="it broke")
            else:
                record(sweep, work, state="done")

    monkeypatch.setattr(sys.modules["lama.sweeps.start"], "launch", launch)
    return titles, broken


def search(*words):
    start(["-m", "sweep=search", "row=demo", "seeds=[0,2]", *SPACE, *words])
    return load("runs/search-demo"), OmegaConf.load("runs/search-demo/optimization_results.yaml")


def test_trials_are_rows_and_the_best_value_is_found(trained):
    titles, _ = trained
    sweep, results = search("search.trials=8")
    assert titles == [f"trial{i:03d}/seed{seed}" for i in range(8) for seed in (0, 2)]
    rates = {row: float(sweep.own[row][0].partition("=")[2]) for row in sweep.rows}
    assert all(1e-4 <= rate <= 1e-2 for rate in rates.values())
    assert len(set(rates.values())) == 8
    assert {sweep.own[row][1] for row in sweep.rows} == {"losses.l1.weight_known=10", "losses.l1.weight_known=60"}
    best = min(rates.values(), key=lambda rate: abs(rate - 0.004))
    assert results.best_params["optimizers.generator.lr"] == best
    assert results.best_value == pytest.approx(
        20 - abs(best - 0.004) - 0.001 + 1
    )  # the better validation, mean of seeds
    assert sweep.configuration("trial003") == "demo"


def test_the_same_command_goes_on_and_more_trials_continue(trained):
    titles, _ = trained
    before, _ = search("search.trials=3")
    del titles[:]
    after, _ = search("search.trials=5")
    assert titles == [f"trial{i:03d}/seed{seed}" for i in (3, 4) for seed in (0, 2)]
    assert {row: after.own[row] for row in before.rows} == before.own


def test_a_failed_trial_is_left_out(trained):
    _, broken = trained
    broken |= {"trial000", "trial002"}
    sweep, results = search("search.trials=4")
    assert results.best_params["optimizers.generator.lr"] in [
        float(sweep.own[row][0].partition("=")[2]) for row in ("trial001", "trial003")
    ]


def test_only_failed_trials_are_one_line(trained):
    _, broken = trained
    broken |= {"trial000"}
    with pytest.raises(ValueError, match=r"runs/search-demo: all 1 trials .*status") as caught:
        search("search.trials=1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["row=demo"], r"search: .*interval"),
        (["row=demo", *SPACE, "search.trials=0"], r"search\.trials=0"),
        (["row=demo", *SPACE, "search.metric=val_nothing"], r"search\.metric=val_nothing.*val_psnr_hole_total_mean"),
        (["row=demo", *SPACE, "launcher=slurm"], "launcher=local"),
        (["row=demo", "optimizers.generator.rate=interval(1,2)"], r"optimizers\.generator\.rate"),
        (["row=demo", "monitor=auto", *SPACE], r"search\.metric=auto"),
    ],
)
def test_wrong_searches_are_one_line_and_leave_no_folder(trained, tmp_path, words, what):
    with pytest.raises(ValueError, match=what) as caught:
        start(["-m", "sweep=search", *words])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None)
    with pytest.raises(ValueError, match=r"hydra-optuna-sweeper.*pip install '\.\[optuna\]'"):
        start(["-m", "sweep=search", "row=demo", *SPACE])
