"""Start the server of the page: address, access, end."""

import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from lama.demo.models import Models
from lama.verbs import typed

logger = logging.getLogger(__name__)


def serve(
    models: Callable[[], Models],  # called after the address has been reserved
    host: str = "127.0.0.1",  # or 0.0.0.0 for access from other machines
    port: int = 7860,  # 0: any free port
    token: str | int | None = None,  # None: generated if other machines have access, else none
    queue: int = 8,  # largest number of running and waiting requests
    queue_mb: float = 1000,  # largest size of all requests and images in memory
    max_mb: float = 100,  # of a request
    max_megapixels: float = 50,  # of an image
    hosts: Sequence[str] = (),  # further names of this server, behind a proxy
    frames: str | None = None,  # addresses of pages that may show this one in a frame, such as http://localhost:8888
    say: Callable[[str], None] = print,
) -> None:
    """Serve until Ctrl-C. Raises ValueError for an unusable address or token, or if the extra ``demo`` is missing."""
    try:
        import uvicorn

        from lama.demo.app import Limits, create_app
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ValueError(f"{typed('demo')} needs Starlette and uvicorn: pip install starlette uvicorn") from None
    from lama.demo.work import Worker
    from lama.pictures.images import allow_megapixels

    allow_megapixels(max(max_megapixels, 179))  # below, the page refuses by itself
    limits, worker, local = Limits(max_mb, max_megapixels), Worker(queue, queue_mb), is_local(host)
    if frames is not None and not re.fullmatch(r"[\w.:/*\[\] -]+", frames):
        raise ValueError(f"frames={frames}: expected addresses such as http://localhost:8888, separated by spaces")
    for name in hosts:
        if not re.fullmatch(r"[\w.-]+|\*", name):
            raise ValueError(f"hosts={name}: expected names such as lama.example.org, without http:// and port")
    token = None if token is None else str(token)
    if token is not None and not (token.isascii() and token.isprintable() and token):
        raise ValueError("token: expected printable ASCII characters")
    if token is None:
        token = None if local and not hosts else secrets.token_urlsafe(16)  # a proxy lets others in
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    known = ["127.0.0.1", "localhost", host, *(name.lower() for name in hosts)] if local else ["*"]
    app = create_app(models(), worker, limits, token, known, frames or "'none'")
    if not local:
        say(f"warning: {host} is open to every machine in the network. Everyone with the token can run predictions "
            "here, and the connection is not encrypted; host=127.0.0.1 allows this machine only. On other machines, "
            "open the address below with the name of this machine in place of 127.0.0.1")  # fmt: skip
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    shown = f"[{shown}]" if ":" in shown else shown
    address = f"http://{shown}:{port}/{f'#token={quote(token)}' if token else ''}"
    say(f"open {address} in a browser (documentation of the endpoint: /api); Ctrl-C stops")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1,
                            server_header=False, h11_max_incomplete_event_size=64 << 10)  # fmt: skip
    server = uvicorn.Server(config)
    leave = server.handle_exit

    def stop(number: int, frame: Any) -> None:
        worker.close()  # cancels the jobs and answers their requests
        leave(number, frame)

    server.handle_exit = stop  # type: ignore[method-assign,assignment]
    server.run(sockets=[listening])


def is_local(host: str) -> bool:
    """Whether ``host`` is reachable from this machine only. Raises ValueError if it is no address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ValueError(f"host={host}: expected 127.0.0.1, 0.0.0.0 or an address of this machine") from None


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"host={host} port={port}: {why.lower()}; choose another with port=") from None
