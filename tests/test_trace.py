"""Where a number comes from: what an evaluation and a run record, and the chain that is printed."""

import json
import subprocess

import numpy as np
import pytest
import torch
from trainings import make_data, make_module, run_into

from lama.checkpoints.identity import identify
from lama.commands.evaluate import main as evaluate
from lama.data.evaluation_set import write_pairs
from lama.files import sha256_of
from lama.interfaces import EvaluationPair
from lama.machine.provenance import commit, packages
from lama.runs.provenance import read_provenance
from lama.runs.trace import trace


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A training, and an evaluation of its last weights."""
    folder, mask = tmp_path_factory.mktemp("chain"), np.zeros((32, 32), bool)
    mask[8:16, 8:16] = True
    module = make_module()
    run = run_into(folder / "run", module, data=make_data(), trainer={"max_epochs": 1})
    write_pairs([EvaluationPair("a_mask000", np.full((32, 32, 3), 90, np.uint8), mask)], folder / "faces")
    model = run / "models" / "last.safetensors"
    evaluate([f"indir={folder / 'faces'}", f"model={model}", f"outdir={folder / 'out'}", "metrics=[l1]", "device=cpu"])
    return folder, run, model, sum(p.numel() for p in module.generator.parameters())


def test_an_evaluation_records_weights_code_configuration_and_machine(chain):
    folder, _, model, parameters = chain
    about = json.loads((folder / "out" / "metrics.json").read_text())
    assert about["model"]["file"] == str(model.resolve())
    assert about["model"]["sha256"] == sha256_of(model)
    assert about["model"]["iteration"] > 0
    assert about["model"]["parameters"] == parameters
    assert about["predictions_by"] == "model.path"
    assert about["configuration"]["metrics"] == ["l1"]
    assert about["commit"] == commit()
    assert about["environment"]["torch"] == torch.__version__


def test_the_chain_leads_from_the_numbers_to_the_images(chain, capsys):
    from lama.commands.trace import main

    folder, run, model, _ = chain
    main([str(folder / "out" / "metrics.json")])
    printed = capsys.readouterr().out
    about = json.loads((folder / "out" / "metrics.json").read_text())
    data = read_provenance(run)["data"]
    expected = [sha256_of(model), about["evaluation_set"][0], str(run), f"{data['images']} images"]
    places = [printed.index(text) for text in (expected[1], expected[0], expected[2] + ":", expected[3])]
    assert places == sorted(places)
    assert "CHANGED" not in printed
    assert "GONE" not in printed
    assert "".join(trace(run)) in printed.replace("\n", "")


def test_weights_that_changed_or_are_gone_are_named(chain, tmp_path):
    folder, *_ = chain
    about = json.loads((folder / "out" / "metrics.json").read_text())
    for file, word in ((tmp_path / "w.safetensors", "CHANGED"), (tmp_path / "none", "GONE")):
        (tmp_path / "w.safetensors").write_bytes(b"other")
        (tmp_path / "metrics.json").write_text(json.dumps(about | {"model": about["model"] | {"file": str(file)}}))
        assert any(line.startswith("weights") and word in line for line in trace(tmp_path))
    (tmp_path / "metrics.json").write_text(json.dumps(about | {"model": None, "predictions_by": "predictdir"}))
    assert any("predictdir=" in line and "not recorded" in line for line in trace(tmp_path / "metrics.json"))


def test_what_cannot_be_traced_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        list(trace(tmp_path / "nothing"))
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"metrics\.json"):
        list(trace(tmp_path))


def test_a_commit_with_changes_is_not_clean(tmp_path):
    assert commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("1")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit(tmp_path) == {"hash": head, "clean": True}
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path) == {"hash": head, "clean": False}


def test_packages_of_the_user_are_identified(tmp_path, chain):
    (tmp_path / "mine" / "inner").mkdir(parents=True)
    for file in ("__init__", "inner/part"):
        (tmp_path / "mine" / f"{file}.py").write_text("x = 1\n")
    place = {"mine": tmp_path / "mine"}
    before = packages(place)["mine"]
    assert (before["path"], before["commit"]) == (str(tmp_path / "mine"), None)
    (tmp_path / "mine" / "data.txt").write_text("no code")
    assert packages(place)["mine"] == before
    (tmp_path / "mine" / "inner" / "part.py").write_text("x = 2\n")
    now = packages(place)["mine"]
    assert now["sha256"] != before["sha256"]
    about = json.loads((chain[0] / "out" / "metrics.json").read_text())
    assert about["plugins"] == read_provenance(chain[1])["starts"][0]["plugins"] == {}
    now["commit"] = {"hash": "a" * 40, "clean": False}
    (tmp_path / "metrics.json").write_text(json.dumps(about | {"plugins": {"mine": now}}))
    line = next(line for line in trace(tmp_path) if line.startswith("  package"))
    assert all(text in line for text in (now["path"], now["sha256"], "a" * 40, "not committed"))


def test_a_file_of_another_format_is_identified_by_its_content(tmp_path):
    (tmp_path / "net.ckpt").write_bytes(b"anything")
    about = identify(tmp_path / "net.ckpt")
    assert about["sha256"] == sha256_of(tmp_path / "net.ckpt")
    assert (about["iteration"], about["parameters"]) == (None, None)
