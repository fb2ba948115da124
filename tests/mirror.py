"""A local server that plays GitHub and Hugging Face: redirects, ranges, and every way to fail."""

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mirror:
    """``files[path] = bytes``; ``faults[path]``: a list of faults, each used by one request, the last by all others.

    /hub/... redirects to /storage/..., as Hugging Face does, and announces the ``sums`` of its files. ``asked`` lists
    (path, Range header) of the requests.
    """

    def __init__(self):
        self.files, self.faults, self.sums, self.asked = {}, {}, {}, []

    def fault(self, path):
        faults = self.faults.get(path, [""])
        return faults.pop(0) if len(faults) > 1 else faults[0]


def _handler(mirror):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, code, content=b"", **headers):
            self.send_response(code)
            for name, value in ({"Content_Length": str(len(content))} | headers).items():
                if value:
                    self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            mirror.asked.append((self.path, self.headers.get("Range")))
            fault = mirror.fault(self.path)
            if fault == "loop":
                return self.answer(302, Location=self.path)
            if self.path.startswith("/hub/"):
                sums = {"X_Linked_Etag": f'"{mirror.sums[self.path]}"'} if self.path in mirror.sums else {}
                return self.answer(302, Location=self.path.replace("/hub/", "/storage/", 1), **sums)
            if fault.isdecimal():
                return self.answer(int(fault))
            if fault in ("portal", "sly portal"):
                kind = "text/html" if fault == "portal" else "application/octet-stream"
                return self.answer(200, b"<!DOCTYPE html><p>Please log in", Content_Type=kind, Content_Length="")
            content = mirror.files.get(self.path)
            if content is None:
                return self.answer(404)
            begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            first = int(begin[1]) if begin and fault != "no ranges" else 0
            if first >= len(content):
                return self.answer(416)
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            rest = content[first:]
            if fault == "break":
                rest = rest[: len(rest) // 2]
            if fault == "wrong":
                rest = bytes(len(rest))
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            if fault == "stall":
                time.sleep(1)
            if fault == "slow":
                time.sleep(0.5)
            for begin in range(len(rest) // 2, len(rest), 1000) if fault == "trickle" else ():
                self.wfile.write(rest[begin : begin + 1000])
                time.sleep(0.05)
            if fault != "trickle":
                self.wfile.write(rest[len(rest) // 2 :])
            return None

    return Handler


@contextmanager
def serve():
    """Yield a ``Mirror`` with its address as ``url``."""
    mirror = Mirror()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(mirror))
    server.handle_error = lambda *_: None  # a client that hangs up
    mirror.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
