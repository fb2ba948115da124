"""The kinds of requests: each sends one, judges the answer and says how it ended."""

import json
import random
import re
import time
from dataclasses import dataclass

import numpy as np
import wire
from cases import file_of, noise, pixels_in

REFUSALS = {  # name: (method, path, body, changed headers, status); all but the first four may be refused as busy too
    "unknown address": ("GET", "/nowhere", b"", {}, 404),
    "wrong method": ("GET", "/api/inpaint", b"", {}, 405),
    "no token": ("POST", "/api/inpaint", b"{}", {"Authorization": None}, 401),
    "name of another site": ("GET", "/health", b"", {"Host": "evil.example"}, 400),
    "no JSON": ("POST", "/api/inpaint", b"{", {}, 400),
    "not the type of JSON": ("POST", "/api/inpaint", b"{}", {"Content_Type": "text/plain"}, 415),
    "a field missing": ("POST", "/api/open", b"{}", {}, 422),
    "half a character": ("POST", "/api/open", b'{"\\ud800": 1}', {}, 422),
    "no image": ("POST", "/api/convert", b'{"image": "aGVsbG8=", "like": "aGVsbG8="}', {}, 422),
    "too many bytes": ("POST", "/api/inpaint", b" " * 4_000_000, {}, 413),
}  # fmt: skip
PAGES = ["/", "/api", "/openapi.json", "/health", "/static/main.js", "/examples", "/api/jobs/none", "/api/released"]
SHARES = {"inpaint": 46, "open": 10, "convert": 6, "page": 10, "cancel": 8, "slow": 3, "half": 5, "wrong": 12}  # %


@dataclass(frozen=True)
class Outcome:
    """How one request ended."""

    kind: str
    status: int | str  # "left": the client closed the connection
    seconds: float
    wrong: str = ""  # what was not right about the answer
    reason: str = ""  # of a refusal, its numbers left out


class Soak:
    """The requests to the server at ``port``, on ``cases``."""

    def __init__(self, port, cases):
        self.port, self.cases = port, cases
        photo, mask = noise(408, 612), np.zeros((408, 612), np.uint8)
        mask[100:130, 100:140] = 255
        heavy = json.dumps({"image": file_of(photo), "mask": file_of(mask), "detail": "off"}).encode()
        self.heavy = heavy + b" " * (2_900_000 - len(heavy))  # nearly the server's max_mb
        large = {"image": file_of(np.zeros((1000, 501), np.uint8)), "mask": file_of(mask)}
        pixels = ("POST", "/api/inpaint", json.dumps(large).encode(), {}, 413)
        self._refusals = REFUSALS | {"too many pixels": pixels}

    def one(self, kind, seed):
        """Send a request of ``kind``; every choice in it follows from ``seed``."""
        draw = random.Random(seed)
        begun = time.monotonic()
        try:
            status, wrong, reason = getattr(self, f"_{kind}")(draw)
        except Exception as error:  # a connection that breaks is an outcome too
            status, wrong, reason = "broken", f"{type(error).__name__}: {error}", ""
        return Outcome(kind, status, time.monotonic() - begun, wrong, reason)

    def _inpaint(self, draw, pieces=1, seconds=0.0):
        case = draw.choice(self.cases)
        answer = wire.ask(self.port, "POST", "/api/inpaint", case.body, pieces, seconds)
        return self._judged(answer, case.is_right)

    def _slow(self, draw):
        return self._inpaint(draw, pieces=draw.randint(5, 40), seconds=draw.uniform(0.2, 2))

    def _open(self, draw):
        case = draw.choice(self.cases)
        answer = wire.ask(self.port, "POST", "/api/open", json.dumps({"image": case.image}).encode())
        return self._judged(answer, lambda content: np.array_equal(pixels_in(content["preview"]), case.photo))

    def _convert(self, draw):
        case = draw.choice(self.cases)
        body = json.dumps({"image": case.image, "like": case.image, "format": "bmp"}).encode()
        answer = wire.ask(self.port, "POST", "/api/convert", body)
        return self._judged(answer, lambda content: np.array_equal(pixels_in(content["image"]), case.photo))

    def _page(self, draw):
        answer = wire.ask(self.port, "GET", draw.choice(PAGES))
        return answer.status, "" if answer.status == 200 else f"status {answer.status}", ""

    def _cancel(self, draw):
        case = draw.choice(self.cases)
        wire.leave(self.port, "/api/inpaint", case.body, len(case.body), draw.uniform(0, 0.2))
        return "left", "", ""

    def _half(self, draw):
        case = draw.choice(self.cases)
        wire.leave(self.port, "/api/inpaint", case.body, draw.randrange(len(case.body)), draw.uniform(0, 0.1))
        return "left", "", ""

    def _stalled(self, draw):
        answer = wire.stall(self.port, "/api/inpaint", draw.choice(self.cases).body)
        return self._refused(answer, {408, 503})

    def _wrong(self, draw):
        method, path, body, headers, status = self._refusals[draw.choice(sorted(self._refusals))]
        busy = {503} if method == "POST" else set()
        return self._refused(wire.ask(self.port, method, path, body, **headers), {status} | busy)

    def _flood(self, draw):
        if draw.random() < 0.3:
            return self._inpaint(draw)
        answer = wire.ask(self.port, "POST", "/api/inpaint", self.heavy)
        return self._judged(answer, lambda content: content["width"] == 612)

    def _judged(self, answer, is_right):
        if answer.status == 200:
            return 200, "" if is_right(answer.content) else "another result than the Inpainter's", ""
        return self._refused(answer, {503})

    def _refused(self, answer, expected):
        text = answer.content.get("error", "") if isinstance(answer.content, dict) else ""
        wrong = ""
        if answer.status not in expected:
            wrong = f"status {answer.status}, expected {sorted(expected)}: {text}"
        elif not text or "\n" in text:
            wrong = f"status {answer.status} without one line about it"
        elif answer.status == 503 and "retry-after" not in answer.headers:
            wrong = "status 503 without Retry-After"
        return answer.status, wrong, f"{answer.status} {re.sub(r'[0-9][0-9.]*', 'N', text)[:60]}"


def plan(count, seed):
    """``count`` kinds in random order, by their shares."""
    return random.Random(seed).choices(list(SHARES), list(SHARES.values()), k=count)
