"""The endpoint under requests that schemathesis makes from the endpoint's own OpenAPI description."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import wire
from cases import tiny_model
from watched import ROOT, start

pytest.importorskip("schemathesis", reason="pip install schemathesis")

# 502 is the documented answer if a released network cannot be fetched
CONFIGURATION = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "502"]\n'
PROGRAM = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
OPTIONS = [
    "--checks", "all",
    "--exclude-checks", "positive_data_acceptance",  # a schema cannot say that a string holds an image
    "--phases", "examples,coverage,fuzzing", "--max-examples", "150", "--seed", "1", "--generation-deterministic",
    "--continue-on-failure", "--no-color",
]  # fmt: skip


@pytest.mark.slow
def test_every_answer_is_as_the_description_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMA_OFFLINE", "1")
    monkeypatch.setenv("SCHEMATHESIS_HOOKS", "hooks")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}:{Path(__file__).parent}")
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    server = start(f"model.path={tiny_model(tmp_path)}", "port=0", f"token={wire.TOKEN}", "max_mb=3",
                   "max_megapixels=0.5", cwd=tmp_path)  # fmt: skip
    try:
        port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
        command = [sys.executable, "-c", PROGRAM, "run", f"http://127.0.0.1:{port}/openapi.json", *OPTIONS,
                   "--header", f"Authorization: Bearer {wire.TOKEN}"]  # fmt: skip
        run = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=1200)
        print(run.stdout)
        assert wire.ask(port, "GET", "/health").content["jobs"] == 0
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=60)
    assert run.returncode == 0, run.stdout[-8000:]
    assert "Traceback" not in errors
