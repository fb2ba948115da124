"""Sweeps: started and untouched trainings, messages; local jobs with commands of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import hydra
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from submitit.core.utils import DelayedSubmission

from lama.config import CONFIGS
from lama.paper.tables import make_tables
from lama.sweeps import slurm, state
from lama.sweeps.collect import collect
from lama.sweeps.job import Job, last_line
from lama.sweeps.launch import PYTHON, Task, launch, resources
from lama.sweeps.plan import Sweep, Work, check_same, load, save
from lama.sweeps.start import compose, compose_row, start, train_those
from lama.sweeps.state import (
    DONE,
    FAILED,
    LOST,
    MISSING,
    RUNNING,
    STOPPED,
    UNFINISHED,
    State,
    record,
    say_next,
    states,
    submitted,
    table,
)

LOCAL = {"name": "local", "devices": 1, "nodes": 1}
TRAINING = Work("train", "lama-regular", 0)


def a_sweep(folder, **settings):
    base = {"name": "toy", "dir": str(folder), "rows": ["lama-fourier", "lama-regular"], "seeds": [0, 1],
            "overrides": [], "own": {}, "retries": 1, "launcher": LOCAL,
            "evaluation": {"sets": None, "metrics": ["psnr"], "size": None, "overrides": []}}  # fmt: skip
    return Sweep(**(base | settings))


class Scripted(Sweep):
    """A sweep whose jobs are lines of shell; they find their title in $1."""

    script = ""

    def command(self, work):
        return ["sh", "-c", self.script, "sh", work.title]


def scripted(folder, script, **settings):
    sweep = Scripted(**vars(a_sweep(folder, **settings)))
    object.__setattr__(sweep, "script", script)
    return sweep


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "sweep/sweep").glob("*.yaml")))
def test_every_sweep_composes_and_its_rows_exist(name):
    sweep = compose([f"sweep={name}"], ["data.batch_size=3"])
    assert all((CONFIGS / "training" / f"{row}.yaml").is_file() for row in sweep.rows)
    assert sweep.overrides[-1] == "data.batch_size=3"
    assert sweep.launcher == LOCAL


def test_the_rows_of_the_tables_are_those_of_the_paper():
    from lama.paper.published import read_paper

    ours = {number: compose([f"sweep=table{number}_{name}"], []).rows
            for number, name in ((2, "generators"), (3, "perceptual"), (4, "masks"))}  # fmt: skip
    known = {path.stem for path in (CONFIGS / "training").glob("*.yaml")}
    for paper in read_paper().tables:
        if paper.number in ours:
            assert {row.run for row in paper.rows} & known == set(ours[paper.number])


def test_rows_of_the_claims_differ_in_one_setting():
    """The rows of docs/findings.md have the same data, budget and losses, except their own, and similar parameters."""
    sweep = compose(["sweep=claims"], [])
    with hydra.initialize_config_dir(str(CONFIGS / "training"), version_base="1.3"):
        rows = {row: hydra.compose(row, sweep.training_overrides(Work("train", row, 0))) for row in sweep.rows}
    plain = {row: OmegaConf.to_container(config) for row, config in rows.items()}
    first = plain["lama-regular"]
    differing = {
        row: {key for key in first if config[key] != first[key]} - {"run_title", "run_dir"}
        for row, config in plain.items()
    }
    assert differing["lama-fourier"] == {"generator"}
    assert differing["lama_small_train_masks"] == {"masks"}
    assert differing["lama-regular-no-perceptual"] == {"losses"}
    sizes = {row: sum(p.numel() for p in instantiate(config.generator).parameters()) for row, config in rows.items()}
    assert sizes["lama-fourier"] < sizes["lama-regular"] < 1.06 * sizes["lama-fourier"]


def test_the_command_of_a_training_can_be_typed(tmp_path):
    sweep = a_sweep(
        tmp_path, overrides=["a=1"], own={"lama-regular": ["b=2"]}, launcher=LOCAL | {"devices": 4, "nodes": 2}
    )
    command = sweep.command(Work("train", "lama-regular", 1))
    assert command[:4] == [sys.executable, "-m", "lama", "train"]
    assert command[4:] == ["-cn", "lama-regular", "a=1", "b=2", "trainer.devices=4", "trainer.num_nodes=2", "seed=1",
                           f"run_dir='{tmp_path}/runs/lama-regular/seed1'"]  # fmt: skip
    assert "b=2" not in sweep.command(Work("train", "lama-fourier", 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": [0, 0]}, r"seeds=\[0, 0\]"),
        ({"rows": []}, r"rows=\[\]"),
        ({"overrides": ["seed=3"]}, r"seed=3.*seeds="),
        ({"own": {"lama-regular": ["++trainer.devices=3"]}}, r"trainer\.devices=3.*launcher\.devices=N"),
        ({"launcher": LOCAL | {"devices": 0}}, r"launcher\.devices=0"),
        ({"retries": -1}, r"retries=-1"),
    ],
)
def test_invalid_sweeps_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        a_sweep(tmp_path, **settings)


def test_a_folder_keeps_its_sweep_and_refuses_another(tmp_path):
    sweep = a_sweep(tmp_path, overrides=["same=1", "a=1"])
    save(sweep)
    assert load(tmp_path) == sweep
    check_same(load(tmp_path), replace(sweep, seeds=[0, 1, 2], retries=3))  # more of the same
    with pytest.raises(ValueError, match=r"dir=.* toy.* other"):
        check_same(load(tmp_path), replace(sweep, name="other"))
    with pytest.raises(ValueError, match=r"a=1 \(now: a=2\)"):
        check_same(load(tmp_path), replace(sweep, overrides=["same=1", "a=2"]))
    with pytest.raises(FileNotFoundError, match=r"nothing.*sweep\.yaml"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m"], r"-m: expected sweep=NAME, one of claims, search, seeds, table1_lama"),
        (["-m", "sweep=tabel2"], r"sweep=tabel2: no such configuration"),
        (["-m", "sweep=table4_masks", "losses=no_perceptual", "data.batchsize=3"],
         r"lama_small_train_masks: data\.batchsize: unknown config key; did you mean data\.batch_size"),
        (["-m", "sweep=table4_masks", "evaluation.metrics=[psnr_hle]"], r"evaluation\.metrics: unknown 'psnr_hle'"),
        (["-m", "sweep=table4_masks", "launcher.device=3"], r"launcher\.device: unknown config key"),
        (["-m", "sweep=table2_generators", "data=builtin"], r"weights\.ade20k_encoder: .* is missing"),
        (["-m", "sweep=table4_masks", "losses=no_perceptual", "data=folder", "data.path=/no/images"],
         r"data\.path, the images to train on: .*/no/images"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_anything_is_written(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("LAMA_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        start([*arguments, f"dir={tmp_path}/sweep"])
    assert not (tmp_path / "sweep").exists()


def test_without_a_slurm_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"launcher=slurm.*sbatch"):
        start(
            [
                "-m",
                "sweep=table4_masks",
                "losses=no_perceptual",
                "data=builtin",
                "launcher=slurm",
                f"dir={tmp_path}/sweep",
            ]
        )
    assert not (tmp_path / "sweep").exists()


def test_resources_become_those_of_submitit():
    launcher = compose(["sweep=table1_lama", "launcher=slurm", "launcher.devices=4", "launcher.nodes=2",
                        "launcher.additional_parameters={account: me}"], []).launcher  # fmt: skip
    got = resources(launcher, alone=False)
    expected = {"tasks_per_node": 4, "gpus_per_node": 4, "nodes": 2, "cpus_per_task": 8, "timeout_min": 1440,
                "slurm_additional_parameters": {"account": "me"}, "slurm_signal_delay_s": 120}  # fmt: skip
    assert {name: got[name] for name in expected} == expected
    assert resources(launcher, alone=True)["tasks_per_node"] == 1
    assert not {"slurm_partition", "mem_gb"} & got.keys()


def a_cluster(folder, monkeypatch):
    """Commands that stand in for a SLURM; ``sbatch`` keeps the script that it is given."""
    scripts = {"srun": "true", "sbatch": f'cp "$1" {folder}/script.sh; echo Submitted batch job 12'}
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_jobs_are_submitted_as_one_array_with_their_resources_and_not_waited_for(tmp_path, monkeypatch):
    a_cluster(tmp_path, monkeypatch)
    launcher = compose(["sweep=table1_lama", "launcher=slurm", "launcher.gpus=false", "launcher.partition=fast",
                        "launcher.additional_parameters={account: me}"], []).launcher  # fmt: skip
    sweep = a_sweep(tmp_path / "sweep", launcher=launcher)
    save(sweep)
    launch(sweep, sweep.trainings())
    jobs = sorted(path.read_text().strip() for path in (tmp_path / "sweep/jobs").glob("*.job"))
    assert jobs == ["12_0", "12_1", "12_2", "12_3"]
    script = (tmp_path / "script.sh").read_text()
    for option in ("array=0-3%4", "partition=fast", "account=me", "time=1440", "cpus-per-task=8", "signal=USR2@120"):
        assert f"#SBATCH --{option}" in script, option
    assert f"{PYTHON} -u -m submitit" in script
    pickles = sorted((tmp_path / "sweep/jobs/.submitit").rglob("*submitted.pkl"))
    delayed = DelayedSubmission.load(pickles[0])
    assert delayed.args == (str(tmp_path / "sweep"), str(sweep.trainings()[0]))
    assert delayed.function.checkpoint(*delayed.args).args == delayed.args  # queued again as it was


def test_a_task_runs_its_work(tmp_path, monkeypatch):
    save(a_sweep(tmp_path))
    ran = []
    monkeypatch.setattr(Job, "run", lambda self: ran.append((self.sweep.name, self.work)))
    Task()(str(tmp_path), str(TRAINING))
    assert ran == [("toy", TRAINING)]


def test_a_job_says_that_it_is_done_and_keeps_what_was_printed(tmp_path):
    sweep = scripted(tmp_path, "echo trained $1")
    Job(sweep, TRAINING).run()
    assert states(sweep, [TRAINING])[0].state == DONE
    assert state.log_file(sweep, TRAINING).read_text() == "trained lama-regular/seed0\n"


def test_a_crash_is_tried_again_and_then_failed_with_its_last_line(tmp_path):
    sweep = scripted(tmp_path, "echo start; echo 'error: no such thing' >&2; exit 2")
    Job(sweep, TRAINING).run()
    assert states(sweep, [TRAINING])[0] == state.State(TRAINING, FAILED, "error: no such thing")
    assert state.log_file(sweep, TRAINING).read_text().count("start") == 2
    sweep = scripted(tmp_path, "kill -9 $$", retries=0)
    Job(sweep, TRAINING).run()
    assert states(sweep, [TRAINING])[0].note.startswith("killed by SIGKILL")


def test_a_job_does_not_make_a_moved_folder_again(tmp_path):
    there, moved = tmp_path / "sweep", tmp_path / "moved"
    there.mkdir()
    sweep = scripted(there, f"echo start; mv {there} {moved}; exit 75", retries=1)
    Job(sweep, TRAINING).run()
    assert not there.exists()
    assert state.log_file(a_sweep(moved), TRAINING).read_text() == "start\n"
    assert states(a_sweep(moved), [TRAINING])[0].state == RUNNING  # of this process, which has not ended


def test_a_training_that_asks_for_another_try_gets_it(tmp_path):
    sweep = scripted(
        tmp_path, f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -ge 4 ] || exit 75", retries=0
    )
    Job(sweep, TRAINING).run()
    assert states(sweep, [TRAINING])[0].state == DONE
    assert (tmp_path / "tries").read_text().count("x") == 4


def test_a_signal_before_the_first_command_starts_none(tmp_path):
    job = Job(scripted(tmp_path, "echo started"), TRAINING)
    job.asked = signal.SIGTERM
    with pytest.raises(SystemExit):
        job.run()
    assert not state.log_file(job.sweep, TRAINING).exists()
    assert states(job.sweep, [TRAINING])[0].state == STOPPED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_reaches_the_training_and_the_job_asks_to_be_queued_again(tmp_path, number):
    """SIGUSR2 is submitit's: its handler is called when the checkpoint is written, not before."""
    sweep = scripted(tmp_path, "trap 'echo saved; exit 75' TERM; echo ready; while :; do sleep 0.05; done")
    called = []
    before = {one: signal.signal(one, lambda n, _: called.append((n, state.log_file(sweep, TRAINING).read_text())))
              for one in (signal.SIGUSR2, signal.SIGTERM)}  # fmt: skip

    def send():
        while "ready" not in (log.read_text() if (log := state.log_file(sweep, TRAINING)).is_file() else ""):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    try:
        with pytest.raises(SystemExit) as ended:
            Job(sweep, TRAINING).run()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert ended.value.code == 75
    assert called == ([(signal.SIGUSR2, "ready\nsaved\n")] if number == signal.SIGUSR2 else [])
    assert states(sweep, [TRAINING])[0].state == STOPPED


@pytest.mark.slow
def test_a_job_whose_time_is_up_during_its_imports_asks_to_be_queued_again(tmp_path):
    script = tmp_path / "task.py"
    script.write_text(f"""if True:
        import os, signal, sys; os.kill(os.getpid(), signal.SIGUSR2)
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_sweeps import Job, TRAINING, scripted
        signal.signal(signal.SIGUSR2, lambda *_: print("queued again"))  # as submitit does
        Job(scripted({str(tmp_path)!r}, "echo started"), TRAINING).run()
    """)
    done = subprocess.run(f"{PYTHON} -u {script}", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (75, "queued again\n"), done.stderr
    sweep = a_sweep(tmp_path)
    assert states(sweep, [TRAINING])[0].state == STOPPED
    assert not state.log_file(sweep, TRAINING).exists()


@pytest.mark.slow
def test_a_training_whose_job_is_killed_ends_too(tmp_path):
    code = f"""if True:
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_sweeps import Job, TRAINING, scripted
        script = "trap 'echo saved; exit 75' TERM; echo ready; while :; do sleep 0.05; done"
        Job(scripted({str(tmp_path)!r}, script), TRAINING).run()
    """
    job = subprocess.Popen([sys.executable, "-c", code])
    log = state.log_file(a_sweep(tmp_path), TRAINING)
    while not log.is_file() or not log.read_text():
        time.sleep(0.05)
        assert job.poll() is None
    job.kill()
    job.wait()
    end = time.monotonic() + 10
    while "saved" not in log.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_states_are_told_from_what_jobs_have_left_and_what_the_cluster_has(tmp_path, monkeypatch):
    sweep = a_sweep(tmp_path, seeds=[0, 1, 2, 3, 4], rows=["lama-regular"], launcher=LOCAL | {"name": "slurm"})
    works = sweep.trainings()
    for work, job in zip(works[:4], ("7_0", "7_1", "7_2", "7_3"), strict=True):
        submitted(sweep, {work: job})
    record(sweep, works[0], state=RUNNING, pid=1, host="x")
    record(sweep, works[1], state=DONE, pid=1, host="x")
    record(sweep, works[3], state=RUNNING, pid=1, host="x")
    monkeypatch.setattr(state, "queue", lambda: {"7_0": "RUNNING", "7_2": "PENDING"})
    state.log_file(sweep, works[0]).write_text("epoch 3 of 40, batch 1 of 2: ...\n")
    found = states(sweep, works)
    assert [one.state for one in found] == [RUNNING, DONE, "queued", LOST, MISSING]
    assert found[0].note == "epoch 3 of 40"
    assert "job 7_3" in found[3].note
    assert table(found).splitlines()[-1] == "5 in all: 1 done, 1 running, 1 queued, 1 lost, 1 not started"


def test_a_job_that_slurm_holds_is_named_with_the_command_that_releases_it(tmp_path, monkeypatch):
    (tmp_path / "squeue").write_text(
        "#!/bin/sh\necho '7_0 PENDING (launch failed requeued held)'\necho '7_1 PENDING (Priority)'\n"
        "echo '7_2 RUNNING None'\n"
    )
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert slurm.queue() == {"7_0": "HELD", "7_1": "PENDING", "7_2": "RUNNING"}
    sweep = a_sweep(tmp_path / "sweep", launcher=LOCAL | {"name": "slurm"})
    submitted(sweep, {TRAINING: "7_0"})
    found = states(sweep, [TRAINING])[0]
    assert found.state == "queued"
    assert "scontrol release 7_0" in found.note


def test_only_what_is_missing_is_started(tmp_path, monkeypatch, caplog):
    sweep = a_sweep(tmp_path)
    works = sweep.trainings()
    record(sweep, works[0], state=DONE, pid=1, host="x")
    record(sweep, works[1], state=FAILED, pid=1, host="x", error="boom")
    record(sweep, works[2], state=STOPPED, pid=1, host="x")
    launched = []
    module = sys.modules[train_those.__module__]
    monkeypatch.setattr(module, "launch", lambda sweep, works: launched.append(list(works)))
    with caplog.at_level("INFO"):
        train_those(sweep, UNFINISHED)
    assert launched == [works[2:]]
    assert "resubmit" in caplog.text
    with pytest.raises(ValueError, match=r"1 of 1 trainings failed"):  # the exit code is 2
        train_those(sweep, (FAILED,))
    assert launched[1] == [works[1]]


def test_an_evaluation_that_fails_is_not_for_resubmit(tmp_path, caplog):
    (tmp_path / "sets/one").mkdir(parents=True)
    (tmp_path / "sets/one/manifest.json").write_text("{}")
    evaluation = {"sets": str(tmp_path / "sets"), "metrics": ["psnr"], "size": None, "overrides": []}
    sweep = a_sweep(tmp_path / "sweep", rows=["lama-regular"], seeds=[0], retries=0, evaluation=evaluation)
    save(sweep)
    record(sweep, TRAINING, state=DONE, pid=1, host="x")
    message = r"1 of 1 evaluations failed, first lama-regular/seed0/one: error: .*; collect again tries them again"
    with caplog.at_level("INFO"), pytest.raises(ValueError, match=message):
        collect(sweep)
    assert "resubmit" not in caplog.text


@pytest.mark.parametrize(("folder", "error"), [("file/sweep", NotADirectoryError), ("/proc/sweep", PermissionError)])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, folder, error):
    (tmp_path / "file").write_text("")
    with pytest.raises(error, match=r"dir=.*sweep: "):
        start(["-m", "sweep=table4_masks", "losses=no_perceptual", "data=builtin", f"dir={tmp_path / folder}"])


def test_a_sweep_that_has_trained_nothing_is_replaced_and_another_is_not(tmp_path, monkeypatch):
    launched = []
    monkeypatch.setattr(sys.modules[train_those.__module__], "launch", lambda _, works: launched.append(list(works)))
    asked = ["sweep=table4_masks", "losses=no_perceptual", "data=builtin", f"dir={tmp_path}"]
    start([*asked, "data.batch_size=1000"])
    sweep = load(tmp_path)
    for work in sweep.trainings():
        record(sweep, work, state=FAILED, pid=1, host="x", error="out of memory")
    before = len(launched)
    start([*asked, "data.batch_size=1000"])  # the same: what failed waits for resubmit
    assert len(launched) == before
    start([*asked, "data.batch_size=10"])
    assert load(tmp_path).overrides[-1] == "data.batch_size=10"
    assert launched[-1] == sweep.trainings()

    checkpoint = sweep.run_dir(sweep.trainings()[0]) / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(ValueError, match=r"begun with .*batch_size=10 \(now: .*batch_size=3"):
        start([*asked, "data.batch_size=3"])
    assert load(tmp_path).overrides[-1] == "data.batch_size=10"


def test_a_stopped_training_continues_only_from_a_checkpoint(tmp_path):
    sweep = a_sweep(tmp_path)
    record(sweep, TRAINING, state=STOPPED, pid=1, host="x")
    assert states(sweep, [TRAINING])[0].note == "starts anew"
    (sweep.run_dir(TRAINING) / "checkpoints").mkdir(parents=True)
    (sweep.run_dir(TRAINING) / "checkpoints" / "last.ckpt").touch()
    assert states(sweep, [TRAINING])[0].note == "continues from its checkpoint"


def test_a_running_local_job_is_known_by_its_process(tmp_path):
    sweep = a_sweep(tmp_path)
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid, expected in ((os.getpid(), RUNNING), (dead.pid, LOST)):
        record(sweep, TRAINING, state=RUNNING, pid=pid, host=os.uname().nodename)
        assert states(sweep, [TRAINING])[0].state == expected


def test_collect_wants_finished_trainings_and_sets(tmp_path):
    sweep = a_sweep(tmp_path)
    with pytest.raises(ValueError, match=r"no training has finished yet"):
        collect(sweep)
    record(sweep, TRAINING, state=DONE, pid=1, host="x")
    with pytest.raises(ValueError, match=r"evaluation\.sets: "):
        collect(sweep)
    with pytest.raises(FileNotFoundError, match=r"evaluation\.sets=.*manifest\.json"):
        collect(replace(sweep, evaluation=sweep.evaluation | {"sets": str(tmp_path)}))
    frozen = tmp_path / "sets" / "thick"
    for where, error, what in (
        (frozen, FileNotFoundError, "no such folder"), (frozen, ValueError, f"parent folder {frozen.parent}$"),
    ):  # fmt: skip
        with pytest.raises(error, match=rf"evaluation\.sets={where}.*{what}"):
            collect(replace(sweep, evaluation=sweep.evaluation | {"sets": str(where)}))
        frozen.mkdir(parents=True, exist_ok=True)
        (frozen / "manifest.json").write_text("{}")


def test_the_command_that_is_named_next_has_every_argument(tmp_path, caplog):
    caplog.set_level("INFO")
    sweep = a_sweep(tmp_path)
    for sets, arguments in ((None, f"collect {sweep.dir} SETS "), ("sets", f"collect {sweep.dir} evaluates")):
        caplog.clear()
        say_next(replace(sweep, evaluation=sweep.evaluation | {"sets": sets}), [State(TRAINING, DONE)])
        assert arguments in caplog.text


def test_rows_and_sets_of_the_user_are_collected_in_a_table_of_their_own(tmp_path, monkeypatch):
    from test_own_tables import evaluation

    (tmp_path / "sets" / "faces").mkdir(parents=True)
    (tmp_path / "sets" / "faces" / "manifest.json").write_text("{}")
    settings = {"sets": str(tmp_path / "sets"), "metrics": ["psnr_hole"], "size": None, "overrides": []}
    sweep = a_sweep(tmp_path / "sweep", rows=["mine", "mine,losses=other"], evaluation=settings)
    for work in sweep.trainings():
        record(sweep, work, state=DONE)

    def evaluate(sweep, works, which):
        for work in works:
            out = sweep.folder / "evaluations" / work.row / f"seed{work.seed}" / work.set_name
            evaluation(out, shift=0.4 * (work.row != "mine"), seed=work.seed)
            record(sweep, work, state=DONE)

    monkeypatch.setattr("lama.sweeps.collect.begin", evaluate)
    collect(sweep)
    table = json.loads((sweep.folder / "tables" / "tables.json").read_text())["tables"][0]
    assert [row["run"] for row in table["rows"]] == sweep.rows
    assert table["rows"][1]["cells"][0]["difference"]["mean"] == pytest.approx(0.4, abs=0.1)


def test_slurm_is_asked_in_its_own_words(tmp_path, monkeypatch):
    for name, text in (("squeue", "echo '12_0 RUNNING'; echo '12_1 PENDING'"), ("sinfo", "echo 'debug*'"),
                       ("sbatch", "true")):  # fmt: skip
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert slurm.queue() == {"12_0": "RUNNING", "12_1": "PENDING"}
    slurm.check({"partition": "debug"})
    with pytest.raises(ValueError, match=r"launcher\.partition=fast.*debug"):
        slurm.check({"partition": "fast"})
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: down' >&2; exit 1\n")
    with pytest.raises(ValueError, match=r"SLURM: squeue failed: slurm_load_jobs error: down"):
        slurm.queue()


def test_the_last_line_of_a_log_is_that_of_its_progress_bar_too(tmp_path):
    (tmp_path / "log").write_text("a\n10%\r20%\r\n\n")
    assert last_line(tmp_path / "log") == "20%"
    assert last_line(tmp_path / "none") == ""


def test_work_is_written_and_read_alike():
    for work in (TRAINING, Work("evaluate", "lama_small_train_masks", 3, "random_thick_256")):
        assert Work.of(str(work)) == work


def test_records_appear_whole(tmp_path):
    sweep = a_sweep(tmp_path)
    record(sweep, TRAINING, state=DONE, pid=1, host="x")
    (only,) = (tmp_path / "jobs").iterdir()
    assert json.loads(only.read_text())["state"] == DONE


def test_several_values_give_a_row_each(tmp_path):
    sweep = compose(
        ["sweep=seeds", "row=demo", "seeds=[0,1]", f"dir={tmp_path}"],
        ["optimizers.generator.lr=1e-3,1e-4", "losses=lama,no_perceptual", "data.batch_size=3"],
    )
    first, *_, last = sweep.rows
    assert len(sweep.rows) == 4
    assert first == "demo,optimizers.generator.lr=0.001,losses=lama"
    assert last == "demo,optimizers.generator.lr=0.0001,losses=no_perceptual"
    assert sweep.overrides == ["data.batch_size=3"]
    work = sweep.trainings()[0]
    assert Work.of(str(work)) == work
    command = sweep.command(work)
    assert command[command.index("-cn") + 1] == "demo"
    assert {"optimizers.generator.lr=0.001", "losses=lama", "data.batch_size=3"} < set(command)
    assert command[-1] == f"run_dir='{tmp_path}/runs/{first}/seed0'"
    assert compose_row(sweep, last).optimizers.generator.lr == 1e-4
    save(sweep)
    assert load(tmp_path) == sweep


def test_more_values_add_rows_to_a_sweep(tmp_path):
    def asked(values, *more):
        return compose(["sweep=seeds", "row=demo", f"dir={tmp_path}"], [f"optimizers.generator.lr={values}", *more])

    check_same(asked("1e-3,1e-4"), asked("1e-3,1e-4,1e-5"))
    with pytest.raises(ValueError, match=r"batch_size=3"):
        check_same(asked("1e-3,1e-4"), asked("1e-3,1e-4", "data.batch_size=3"))


def test_rows_can_have_names_and_settings_of_their_own(tmp_path):
    rows = "rows={shallow: [lama-fourier, 'generator.n_blocks=6'], deep: [lama-fourier, 'generator.n_blocks=12']}"
    sweep = compose(["sweep=seeds", rows, f"dir={tmp_path}", "own={deep: ['data.batch_size=1']}"], ["seed_=1,2"])
    assert sweep.rows == ["shallow,seed_=1", "shallow,seed_=2", "deep,seed_=1", "deep,seed_=2"]
    assert sweep.own["deep,seed_=1"] == ["generator.n_blocks=12", "data.batch_size=1", "seed_=1"]
    assert set(sweep.configurations.values()) == {"lama-fourier"}
    with pytest.raises(ValueError, match=r"rows\.a=\[\]"):
        compose(["sweep=seeds", "rows={a: []}"], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["row=demo,lama-fourier"], r"row=demo,lama-fourier: .*rows=\[A,B\]"),
        (["row=demo", "data.batch_size=interval(1,3)"], r"data\.batch_size=interval"),
        (["row=demo", "optimizers.generator.lr=1e-3,-1"], r"^optimizers\.generator: "),
        (["row=demo", "seed=1,2"], r"seed=1: a sweep sets seed itself"),
    ],
)
def test_values_that_cannot_be_rows_are_one_line(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        start(["-m", "sweep=seeds", *arguments, f"dir={tmp_path}/sweep"])
    assert not (tmp_path / "sweep").exists()


def test_rows_of_values_are_rows_of_the_tables(tmp_path):
    sweep = compose(["sweep=seeds", "row=demo", f"dir={tmp_path}"], ["losses.l1.weight_known=1,10"])
    for row, psnr in zip(sweep.rows, (20.0, 25.0), strict=True):
        folder = tmp_path / "evaluations" / row / "seed0" / "random_thick_256"
        folder.mkdir(parents=True)
        content = {"protocol": {"name": "plain"}, "overall": {"psnr_hole": {"mean": psnr, "n": 3}},
                   "evaluation_set": ["a"], "sizes": [[256, 256]], "unpublished_weights": []}  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(content))
    make_tables(tmp_path / "evaluations", tmp_path / "tables", ["psnr_hole"], 256)
    text = (tmp_path / "tables" / "tables.md").read_text()
    assert all(row in text for row in sweep.rows)


def test_a_sweep_takes_configurations_and_packages_of_the_user(tmp_path, monkeypatch, capsys):
    from lama import plugins
    from lama.evaluation import METRICS

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_used", {})
    before = dict(METRICS)
    for name, text in {
        "own/mine.yaml": "defaults: [demo, losses: twice, _self_]\nplugins: [swept]\n".replace(
            "losses:", "override losses:"
        ),
        "own/losses/twice.yaml": "defaults: [demo, _self_]\ntwice: {_target_: swept.Twice}\n",
        "own/sweep/both.yaml": "# @package _global_\nname: both\nrows: [mine, demo]\nseeds: [4]\n",
        "swept/__init__.py": PACKAGE,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    launched = []
    module = sys.modules["lama.sweeps.start"]
    monkeypatch.setattr(module, "launch", lambda sweep, works: launched.extend(sweep.command(work) for work in works))
    try:
        start(["-m", "--config-dir", "own", "sweep=seeds", "row=mine", "seeds=[3]", "evaluation.metrics=[swept_zero]"])
        start(["-m", "-cd", "own", "sweep=both", "data.batch_size=3"])
        folder = str(tmp_path / "own")
        assert [command[4:8] for command in launched] == [
            ["-cn", row, "--config-dir", folder] for row in ("mine", "mine", "demo")
        ]
        sweep = load(tmp_path / "runs" / "seeds-mine")
        assert (sweep.plugins, sweep.config_dir) == (["swept"], folder)
        evaluated = sweep.command(Work("evaluate", "mine", 3, "faces"))
        assert {"plugins=[swept]", "metrics=[swept_zero]"} <= set(evaluated)
        plugins._used.clear()
        METRICS.pop("swept_zero")
        from lama.commands.sweep import main

        main(["status", "runs/seeds-mine"])
        assert "swept_zero" in METRICS
        start(["-m", "sweep=seeds", "row=demo", "plugins=[swept]", "+losses.twice={_target_: swept.Twice}"])
        assert load("runs/seeds-demo").plugins == ["swept"]
    finally:
        METRICS.clear()
        METRICS.update(before)
        for name in [name for name in sys.modules if name.partition(".")[0] == "swept"]:
            del sys.modules[name]


PACKAGE = """
from torch import nn
from lama.interfaces import ImageMetric

class Twice(nn.Module):
    def forward(self, context):
        return 2 * context.predicted.mean()

class Zero(ImageMetric):
    label, higher_is_better, bounds = "Zero", True, (0.0, 1.0)
    def score(self, completed, target, mask):
        return completed.flatten(1).mean(dim=1) * 0

METRICS = {"swept_zero": Zero}
"""


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--config-dir", "nowhere", "sweep=seeds", "row=demo"], "--config-dir nowhere: no such folder"),
        (["--confg-dir=x", "sweep=seeds"], "--confg-dir=x"),
        (["sweep=seeds", "row=demo", "plugins=[not_there]"], "plugins: not_there"),
        (["-cn", "demo", "sweep=seeds"], "-cn demo"),
        (["--config-dir", ".", "sweep=nine"], "sweep=nine"),
    ],
)
def test_wrong_options_of_a_sweep_are_one_line(tmp_path, monkeypatch, words, what):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=what) as caught:
        start(["-m", *words])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()
