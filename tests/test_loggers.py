"""``logger=``: every logger holds the numbers of metrics.csv; a resumed run goes on in it."""

import csv
import importlib.util
import json
import os
import struct
import time
from functools import partial

import numpy as np
import pytest
import torch
from commands import command, last_line
from composing import composed
from trainings import make_data, make_module, run_into

from lama.config import build, preflight
from lama.runs import Checkpoints, Csv, MLflow, TensorBoard, Wandb, callbacks
from lama.runs.callbacks import read_metrics

TINY = ["-cn", "demo", "augment.size=64", "data.epoch_size=4", "data.batch_size=2", "data.num_workers=0",
        "data.val_size=64", "trainer.accelerator=cpu", "trainer.max_epochs=1", "run_dir=run"]  # fmt: skip


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """A function that trains two epochs of two batches, or as many as it is told, with loggers, into tmp_path/run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(callbacks, "draw_curves", lambda *_: None)
    torch.set_num_threads(1)

    def start(*loggers, epochs=2, **settings):
        trainer = {"max_epochs": epochs, "log_every_n_steps": 1}
        settings = {"resume": "auto", "config": "trainer:\n  max_epochs: 2\nseed: 7\n"} | settings
        return run_into(
            tmp_path / "run", make_module(), data=make_data(epoch_size=4), trainer=trainer, loggers=loggers, **settings
        )

    return start


def expected(run):
    """{name: {iteration: value}} of metrics.csv; it has six digits."""
    return {
        name: dict(zip(iterations, values, strict=True))
        for name, (iterations, values) in read_metrics(run / "metrics.csv").items()
    }


def assert_same_numbers(found, run, own=(), without=""):
    """``found``: {name: {iteration: value}} of a logger. ``own``: its own names; ``without``: it drops this letter."""
    numbers = {name.replace(without, "") if without else name: values for name, values in expected(run).items()}
    assert set(numbers) <= set(found)
    assert {name for name in set(found) - set(numbers) if not name.startswith("speed_")} <= set(own)
    for name, values in numbers.items():
        assert found[name].keys() == values.keys(), name
        np.testing.assert_allclose([found[name][i] for i in values], list(values.values()), rtol=1e-5, err_msg=name)


def csv_numbers(run):
    found = {}
    with (run / "csv/metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name != "step":
                    found.setdefault(name, {})[int(row["step"])] = float(value)
    return found


def test_csv_and_tensorboard_hold_the_numbers_of_the_metrics_and_a_resumed_run_keeps_them(begin):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    begin(TensorBoard, Csv, epochs=1)
    run = begin(TensorBoard, Csv)
    assert len(expected(run)["train_gen_total"]) == 4
    assert_same_numbers(csv_numbers(run), run)
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    found = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    assert_same_numbers(found, run)
    assert [image.step for image in events.Images("samples")] == [2, 4]


def test_without_loggers_the_metrics_are_written_all_the_same(begin):
    run = begin(epochs=1)
    assert len(expected(run)["train_gen_total"]) == 2
    assert (run / "summary.json").is_file()
    assert not (run / "tensorboard").exists()


def test_rows_of_csv_after_the_checkpoint_are_dropped(begin, tmp_path):
    run = begin(Csv, epochs=1)
    text = (run / "csv/metrics.csv").read_text()
    header = text.splitlines()[0].split(",")
    late = ",".join("9" if name == "step" else "" for name in header)
    (run / "csv/metrics.csv").write_text(f"{text}{late}\n")
    begin(Csv)
    assert_same_numbers(csv_numbers(run), run)
    begin(Csv, overwrite=True, epochs=1, resume=None)
    assert max(csv_numbers(run)["train_gen_total"]) == 2


def wandb_records(run):
    """The records of the offline runs in RUN/wandb: blocks of 32 kB with pieces of records, as in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
        content, place, record = file.read_bytes(), 7, b""
        assert content[:4] == b":W&B"
        while place + 7 <= len(content):
            left = 32768 - place % 32768
            if left < 7:
                place += left
                continue
            _, length, kind = struct.unpack("<IHB", content[place : place + 7])
            record += content[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # whole, or the last piece
                one = Record()
                one.ParseFromString(record)
                record = b""
                yield one


def whole_records(run, starts):
    """All records, once W&B's own process has written the last of each start."""
    end = time.monotonic() + 60
    while True:
        records = list(wandb_records(run))
        if sum(one.WhichOneof("record_type") == "exit" for one in records) == starts:
            return records
        assert time.monotonic() < end
        time.sleep(0.1)


def test_wandb_offline_holds_the_numbers_of_the_metrics_and_a_resumed_run_goes_on_in_its_run(begin, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for epochs in (1, 2):
        run = begin(partial(Wandb, project="holes", group="tests"), epochs=epochs)
        wandb.finish()
    found, runs, config = {}, [], {}
    for record in whole_records(run, starts=2):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            runs.append((record.run.run_id, record.run.project, record.run.run_group))
        if kind in ("run", "config"):
            new = record.run.config if kind == "run" else record.config
            config |= {one.key: json.loads(one.value_json) for one in new.update}
        if kind == "history":
            row = {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
            step = row.pop("trainer/global_step")
            for name, value in row.items():
                found.setdefault(name, {})[step] = value
    assert set(runs) == {(json.loads((run / "logged_to.json").read_text())["wandb"], "holes", "tests")}
    assert config["seed"] == 7
    images = {name: found.pop(name) for name in sorted(found) if name.startswith("samples/")}
    assert sorted(images["samples/filenames"]) == [2, 4]
    assert all((run / "wandb").glob(f"*/files/{name}") for [name] in images["samples/filenames"].values())
    assert_same_numbers(found, run, own=("_step", "_runtime", "_timestamp"))


def test_mlflow_holds_the_numbers_of_the_metrics_and_a_resumed_run_goes_on_in_its_run(begin, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = f"sqlite:///{tmp_path}/here.db"
    make = partial(MLflow, experiment="holes", tracking_uri=place)
    begin(make, epochs=1)
    run = begin(make)
    client = mlflow.MlflowClient(place)
    experiment = client.get_experiment_by_name("holes").experiment_id
    [logged] = client.search_runs([experiment])
    assert logged.info.run_id == json.loads((run / "logged_to.json").read_text())["mlflow"]
    assert logged.info.status == "FINISHED"
    assert logged.data.params["trainer/max_epochs"] == "2"
    history = {name: client.get_metric_history(logged.info.run_id, name) for name in logged.data.metrics}
    found = {name: {one.step: one.value for one in each} for name, each in history.items()}
    assert_same_numbers(found, run, without="%")
    images = [one.path for one in client.list_artifacts(logged.info.run_id, "samples")]
    assert len(images) == 2
    with pytest.raises(ValueError, match=r"logger\.mlflow.*tracking_uri.*nowhere:///") as caught:
        begin(partial(MLflow, tracking_uri="nowhere:///"), resume=None, overwrite=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_line_before_anything_is_built(name, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one, *a: None if one == name else real(one, *a))
    with pytest.raises(ValueError, match=rf"^logger={name}: .*pip install '\.\[{name}\]'$"):
        preflight(composed("demo", f"logger=[tensorboard,{name}]"))


@pytest.mark.parametrize(
    ("choice", "names"),
    [("logger=csv", ["csv"]), ("logger=[tensorboard,csv]", ["tensorboard", "csv"]), ("logger=[]", []),
     ("data.batch_size=3", ["tensorboard"]), ("logger=[wandb,mlflow]", ["wandb", "mlflow"])],
)  # fmt: skip
def test_loggers_are_chosen_by_name(choice, names):
    config = composed("demo", choice)
    assert list(config.logger) == names
    assert list(build(config.logger, "logger")) == names


def test_wrong_loggers_are_one_line_and_leave_no_run(root, tmp_path):
    for words, message in (
        (["+trainer.logger=wandb"], r"trainer.logger=wandb"),
        (["logger=wanbd"], "logger=wanbd"),
        (["logger=csv", "logger.csv.b=3"], "logger.csv.b"),
    ):
        code, _, error = command(root, "train.py", *TINY, *words, cwd=tmp_path)
        assert code == 2
        assert message in last_line(error)
        assert not (tmp_path / "run").exists()


def test_an_older_run_without_the_key_goes_on_with_other_loggers(begin):
    begin(TensorBoard, epochs=1)
    run = begin(Csv, checkpoints=Checkpoints, config="trainer:\n  max_epochs: 2\nseed: 7\nlogger: {csv: {}}\n")
    assert min(csv_numbers(run)["train_gen_total"]) == 3
    assert os.listdir(run / "tensorboard")
