"""``lama publish``: the folder, its card, and the upload to a server that answers like the hub."""

import base64
import hashlib
import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from trainings import make_data, make_module, run_into

import lama
from lama import plugins
from lama.commands.evaluate import main as evaluate
from lama.commands.publish import main
from lama.data.evaluation_set import write_pairs
from lama.evaluation import METRICS
from lama.files import sha256_of
from lama.interfaces import EvaluationPair
from lama.publishing.card import card
from lama.runs import callbacks


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, an evaluation of its best weights and one of other weights."""
    folder, mask = tmp_path_factory.mktemp("publish"), np.zeros((32, 32), bool)
    mask[8:16, 8:16] = True
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "draw_curves", lambda *_: None)
        config = f"plugins: [of_a_loss]\nplace: {Path.home()}/photos\n"
        for name in ("run", "other"):
            module = make_module()
            module.generator.model[1].ffc.convl2l.weight.data += name == "other"
            run_into(folder / name, module, data=make_data(), config=config, trainer={"max_epochs": 1})
    write_pairs([EvaluationPair("a_mask000", np.full((32, 32, 3), 90, np.uint8), mask)], folder / "faces")
    for run, out in (("run", "out"), ("other", "wrong")):
        evaluate([f"indir={folder / 'faces'}", f"model={folder / run}", f"outdir={folder / out}", "metrics=[l1,psnr]",
                  "device=cpu"])  # fmt: skip
    return folder


def publish(trained, *words):
    main([str(trained / "run"), "repo=user/holes", "license=cc-by-nc-4.0", *words])
    return trained / "run" / "publish"


def test_a_dry_run_writes_weights_configuration_numbers_and_a_card(trained, capsys):
    folder = publish(trained, "dry_run=true", f"evaluations=[{trained / 'out'}]")
    assert "not uploaded" in capsys.readouterr().out
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"README.md", "model.safetensors", "config.yaml", "provenance.json", "evaluations/faces.json"}
    assert sha256_of(folder / "model.safetensors") == sha256_of(trained / "run/models/best.safetensors")
    assert lama.load(folder / "model.safetensors", "cpu", detail="off") is not None
    text = (folder / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "cc-by-nc-4.0"
    about = json.loads((trained / "out" / "metrics.json").read_text())
    for metric in ("l1", "psnr"):
        assert f"{about['overall'][metric]['mean']:.4g}"[:5] in text
    for expected in (
        "FFCResNetGenerator",
        "for 2\niterations",
        about["evaluation_set"][0][:12],
        "11 images",
        "l1, adversarial",
    ):
        assert expected in text, expected
    everything = "".join((folder / name).read_text() for name in files if not name.endswith("safetensors"))
    assert "plugins=" not in text  # the network is a class of lama
    assert "~/photos" in everything
    assert f"{Path.home()}/" not in everything
    publish(trained, "dry_run=true")  # without evaluations
    assert not (folder / "evaluations").exists()
    assert "Not evaluated" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["RUN"], "repo"),
        (["RUN", "repo=holes", "license=other"], "repo=holes.*USER/NAME"),
        (["RUN", "repo=u/holes"], "license"),
        (["repo=u/holes", "license=other"], "expected one run"),
        (["nowhere", "repo=u/holes", "license=other"], "nowhere"),
        (["RUN", "repo=u/holes", "license=other", "evaluations=[WRONG]"], "WRONG.*not these weights"),
        (["RUN", "repo=u/holes", "license=other", "evaluations=[nowhere]"], "nowhere"),
        (["RUN", "repo=u/holes", "license=other", "dry_run=perhaps"], "dry_run=perhaps"),
    ],
)
def test_wrong_requests_are_one_line_and_write_nothing(trained, tmp_path, words, what):
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run, ignore=shutil.ignore_patterns("publish"))
    places = {"RUN": str(run), "WRONG": str(trained / "wrong")}
    words = [re.sub("RUN|WRONG", lambda found: places[found[0]], word) for word in words]
    what = what.replace("WRONG", re.escape(places["WRONG"]))
    with pytest.raises(Exception, match=what) as caught:
        main([*words, *([] if any(word.startswith("dry_run") for word in words) else ["dry_run=true"])])
    from lama.config import is_user_error, one_line

    assert is_user_error(caught.value)
    assert "\n" not in one_line(caught.value)
    assert not (run / "publish").exists()


def test_the_card_names_the_package_of_a_network():
    network = {"class": "paper.networks.Plain", "parameters": None, "iteration": 3, "info": {}}
    text = card("user/holes", "other", network, {}, {}, [])
    assert 'out=result.png "plugins=[paper]"\n' in text


def test_a_metric_of_a_package_needs_its_package(trained, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_used", {})
    monkeypatch.setitem(METRICS, "rough_of_paper", None)
    del METRICS["rough_of_paper"]  # and again at the end
    (tmp_path / "paper_of_a_test.py").write_text(
        "from lama.interfaces import ImageMetric\nclass Rough(ImageMetric):\n"
        "    label, higher_is_better, bounds = 'Rough', False, (0.0, 2.0)\n    def score(self, *images): pass\n"
        "METRICS = {'rough_of_paper': Rough}\n"
    )
    shutil.copytree(trained / "out", tmp_path / "out")
    about = json.loads((tmp_path / "out/metrics.json").read_text())
    about["overall"]["rough_of_paper"] = {"mean": 0.1234, "n": 1}
    about["configuration"]["plugins"] = ["paper_of_a_test"]
    (tmp_path / "out/metrics.json").write_text(json.dumps(about))
    words = ["dry_run=true", f"evaluations=[{tmp_path / 'out'}]"]
    with pytest.raises(ValueError, match=r"out: rough_of_paper .*plugins=\[paper_of_a_test\]") as caught:
        publish(trained, *words)
    assert "\n" not in str(caught.value)
    folder = publish(trained, *words, "plugins=[paper_of_a_test]")
    assert "0.1234" in (folder / "README.md").read_text()


def test_a_missing_package_is_one_line(trained, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None)
    with pytest.raises(ValueError, match=r"huggingface_hub.*pip install '\.\[hub\]'"):
        publish(trained)


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's API that one upload needs: create the repository, ask how to send, store, commit."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"sha": "0" * 40, "id": "user/holes"} if "/api/models/" in self.path else {})

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.stored[hashlib.sha256(body).hexdigest()] = body
        self.answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        here = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.server.asked.append((self.path.partition("?")[0], self.headers.get("Authorization")))
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.answer({"error": "Invalid token"}, 401)
        elif self.path.startswith("/api/repos/create"):
            self.server.made = json.loads(body)
            self.answer({"url": f"{here}/user/holes"})
        elif "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(body)["files"]]
            kind = {True: "lfs", False: "regular"}
            self.answer({"files": [{"path": p, "uploadMode": kind[p.endswith("safetensors")], "shouldIgnore": False,
                                    "oid": None} for p in files]})  # fmt: skip
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{here}/store/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            self.server.commit = [json.loads(line) for line in body.decode().splitlines()]
            self.answer({"commitUrl": f"{here}/user/holes/commit/{'1' * 40}", "commitOid": "1" * 40, "success": True})
        else:
            self.answer({"valid": True})

    def answer(self, content, code=200):
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    """The server; ``huggingface_hub`` talks to it."""
    constants = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed").constants
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.stored, server.asked, server.commit, server.made = {}, [], [], None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_an_upload_is_one_commit_with_every_file(trained, hub, capsys):
    folder = publish(trained, f"evaluations=[{trained / 'out'}]", "private=true")
    printed = capsys.readouterr().out
    assert f"uploaded: http://127.0.0.1:{hub.server_address[1]}/user/holes/commit/" in printed
    assert (hub.made["name"], hub.made["organization"]) == ("holes", "user")
    assert hub.made.get("private") or hub.made.get("visibility") == "private"
    assert any(path.startswith("/api/models/user/holes/commit/main") for path, _ in hub.asked)
    sent = {one["value"]["path"]: one for one in hub.commit if one["key"] in ("file", "lfsFile")}
    assert set(sent) == {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    weights = sent.pop("model.safetensors")
    assert weights["value"]["oid"] == sha256_of(folder / "model.safetensors")
    assert hub.stored[weights["value"]["oid"]] == (folder / "model.safetensors").read_bytes()
    for name, one in sent.items():
        assert base64.b64decode(one["value"]["content"]) == (folder / name).read_bytes()


def test_a_refused_token_and_a_missing_server_are_one_line(trained, hub, monkeypatch):
    import huggingface_hub

    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ValueError, match=r"^repo=user/holes: .*401.*hf auth login") as caught:
        publish(trained)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"^repo=user/holes: .*hf auth login") as caught:
        publish(trained)
    assert "\n" not in str(caught.value)
