"""The page of a study in a real browser: thirty votes by keyboard, interrupted and resumed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_page import CHROMIUM, QUIET, SHOTS, until
from votes import STRENGTHS, choice, write_set

from lama.study.folder import stored_study
from lama.study.plan import order_of
from lama.study.report import write_report
from lama.study.votes import read_votes, standing

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: chromium)"),
]
KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "equal": "ArrowDown"}


class Server:
    """The command in a process of its own."""

    def __init__(self, root, *arguments):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([sys.executable, str(root / "bin" / "study.py"), *arguments], env=environment,
                                        text=True, stdout=subprocess.PIPE)  # fmt: skip
        self.process.stdout.readline()
        self.port = int(self.process.stdout.readline().split("127.0.0.1:")[1].split("/")[0])

    def stop(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.communicate(timeout=20)


@pytest.fixture
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


def begin(page, rater):
    page.fill("#rater", rater)
    page.press("#rater", "Enter")
    ready(page)


def ready(page):
    until(page, "!document.getElementById('end').hidden || (!document.getElementById('work').hidden"
                " && !document.body.classList.contains('loading'))")  # fmt: skip


def count(page):
    return [int(number) for number in page.inner_text("#count").split(" of ")]


def press(page, key):
    """Press a key that votes or undoes, and wait until the count has changed."""
    before = page.inner_text("#count")
    page.keyboard.press(key)
    until(page, f"document.getElementById('count').textContent !== '{before}'")
    ready(page)


def shot(page, name):
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def test_thirty_votes_interrupted_and_resumed(root, browser, tmp_path):
    """The person follows the planted strengths; the sides are known to the test from the seed and the name only."""
    indir, methods = write_set(tmp_path, images=10, size=(120, 160))
    given = ", ".join(f"{name}: {folder}" for name, folder in methods.items())
    out = tmp_path / "out"
    arguments = [f"indir={indir}", f"methods={{{given}}}", f"out={out}"]
    server = Server(root, *arguments, "port=0")
    study, rng = stored_study(out), np.random.default_rng(4)
    plan = order_of(study.images, study.methods, study.seed, "Ada")
    wanted = [choice(rng, trial.left, trial.right) for trial in plan]
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page, asked, received = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: received.append(response))
    try:
        page.goto(f"http://127.0.0.1:{server.port}/")
        shot(page, "study-start")
        begin(page, "Ada")
        assert count(page) == [0, 30]
        for vote in wanted[:11]:
            press(page, KEYS[vote])
        shot(page, "study-work")
        page.keyboard.press("Space")
        assert page.locator("#original").is_hidden()
        shot(page, "study-without-original")
        page.keyboard.press("Space")
        assert page.locator("#original").is_visible()
        press(page, "z")
        assert count(page) == [10, 30]
        press(page, KEYS[wanted[10]])
        page.keyboard.down("ArrowLeft")  # held down: one vote
        for _ in range(5):
            page.keyboard.down("ArrowLeft")
        page.keyboard.up("ArrowLeft")
        until(page, "document.getElementById('count').textContent !== '11 of 30'")
        ready(page)
        assert count(page) == [12, 30]
        press(page, "z")
        bodies = [response.body() for response in received if "image/png" not in response.headers["content-type"]]
        text = b" ".join(bodies) + " ".join(asked).encode()
        assert not [name for name in (*STRENGTHS, "holiday", "results_") if name.encode() in text]

        server.stop()
        page.keyboard.press(KEYS[wanted[11]])
        until(page, "!document.getElementById('toast').hidden")
        assert "does not answer" in page.inner_text("#toast")
        server = Server(root, *arguments, f"port={server.port}")
        page.keyboard.press(KEYS[wanted[11]])  # of a screen of the earlier server: shown again, not counted
        until(page, "document.getElementById('toast').textContent.includes('again')")
        ready(page)
        assert count(page) == [11, 30]
        for vote in wanted[11:20]:
            press(page, KEYS[vote])
        server.stop(signal.SIGTERM)

        server = Server(root, *arguments, "port=0")
        page.goto(f"http://127.0.0.1:{server.port}/")
        begin(page, "Ada")
        assert count(page) == [20, 30]
        for vote in wanted[20:]:
            press(page, KEYS[vote])
        assert page.locator("#end").is_visible()
        shot(page, "study-end")
        assert {url for url in asked if not url.startswith(("http://127.0.0.1:", "blob:"))} == set()
    finally:
        server.stop()
        context.close()
    votes = standing(read_votes(out / "votes.csv", study.images, study.methods))
    assert [(vote.trial, vote.vote) for vote in votes] == list(zip(plan, wanted, strict=True))
    write_report(out)
    scores = json.loads((out / "scores.json").read_text())["scores"]
    assert list(scores) == sorted(STRENGTHS, key=STRENGTHS.get, reverse=True)
