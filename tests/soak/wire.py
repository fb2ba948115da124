"""Requests as bytes on a socket, so that a client may send slowly, stop half-way or leave."""

import http.client
import json
import socket
import time
from dataclasses import dataclass, field

TOKEN = "soak"


@dataclass(frozen=True)
class Answer:
    """A status, its content (JSON or bytes) and headers in small letters."""

    status: int
    content: object
    headers: dict[str, str] = field(default_factory=dict)


def head(method, path, body=b"", **headers):
    """The first bytes of a request. ``Content_Type="x"`` replaces a header, ``None`` leaves it out."""
    given = {"Host": "127.0.0.1", "Authorization": f"Bearer {TOKEN}", "Content-Length": str(len(body))}
    given |= {"Content-Type": "application/json"} if method == "POST" else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "Connection: close", "\r\n"]).encode()


def connect(port, timeout=180):
    return socket.create_connection(("127.0.0.1", port), timeout)


def answer_from(connection):
    """Read the answer to a request that was sent."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    content = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    is_json = headers.get("content-type", "").startswith("application/json")
    return Answer(response.status, json.loads(content) if is_json else content, headers)


def ask(port, method, path, body=b"", pieces=1, seconds=0.0, **headers):
    """Send a request, its body in ``pieces`` over ``seconds``, and read the answer."""
    with connect(port) as connection:
        connection.sendall(head(method, path, body, **headers))
        for number in range(pieces):
            connection.sendall(body[len(body) * number // pieces : len(body) * (number + 1) // pieces])
            if number < pieces - 1:
                time.sleep(seconds / pieces)
        return answer_from(connection)


def leave(port, path, body, sent, seconds):
    """Send the head and ``sent`` bytes of the body, wait, and close the connection without reading."""
    with connect(port) as connection:
        connection.sendall(head("POST", path, body) + body[:sent])
        time.sleep(seconds)


def stall(port, path, body):
    """Send half the body and wait for the answer."""
    with connect(port) as connection:
        connection.sendall(head("POST", path, body) + body[: len(body) // 2])
        return answer_from(connection)
