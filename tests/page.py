"""A served page in this process, and requests to it."""

import base64
import http.client
import io
import json
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import torch
import uvicorn
from PIL import Image

from lama.demo.app import Limits, create_app
from lama.demo.work import Worker
from lama.progress_bar import bar


@contextmanager
def served(models, most=8, limits=None, most_mb=1000, **options):
    """Serve ``models`` on a free port; gives a ``Client``."""
    worker = Worker(most, most_mb)
    with running(create_app(models, worker, limits or Limits(), **options)) as port:
        yield Client(port, worker)


@contextmanager
def running(app):
    """Serve an application on a free port, which it gives."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class Client:
    """Requests to a server on this machine."""

    def __init__(self, port, worker=None):
        self.port, self.worker = port, worker

    def ask(self, method, path, body=None, headers=None, timeout=60):
        """(status, content as JSON or bytes, headers)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
            kind = answer.headers.get("content-type", "")
            return answer.status, json.loads(content) if "json" in kind else content, dict(answer.headers)
        finally:
            connection.close()

    def get(self, path, **options):
        return self.ask("GET", path, **options)[:2]

    def post(self, path, content, headers=(), **options):
        """(status, answer); ``content`` is sent as JSON unless it is bytes."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, {"Content-Type": "application/json"} | dict(headers), **options)[:2]

    def wait_for(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.01)


def file_of(image, kind="PNG", **options):
    """The bytes of a file, in base64; ``image`` is an array or a PIL photo."""
    file = io.BytesIO()
    photo = image if isinstance(image, Image.Image) else Image.fromarray(image)
    photo.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


def image_in(text):
    """The PIL image that base64 holds."""
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def photo(height=60, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def hole(height=60, width=80):
    mask = np.zeros((height, width), np.uint8)
    mask[10:30, 20:50] = 255
    return mask


def request(image=None, mask=None, **more):
    return {
        "image": file_of(photo() if image is None else image),
        "mask": file_of(hole() if mask is None else mask),
    } | more


class Slow:
    """Models whose one network computes for a minute, a layer every hundredth of a second."""

    names = ("slow",)

    def known(self, name):
        return "slow"

    def __init__(self):
        self.begun = threading.Event()
        self.layer = torch.nn.Identity()

    def offered(self):
        return []

    def inpainter(self, name, **options):
        def compute(pixels, hole, ignore):
            self.begun.set()
            with bar(6000, "pieces", disable=True) as progress:
                for _ in range(6000):
                    time.sleep(0.01)
                    self.layer(torch.zeros(1))
                    progress.update()
            return pixels, None

        return SimpleNamespace(with_guide=compute)
