"""The address of a page: who can reach it, under which names, with which token; and the server itself."""

import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Address:
    """A reserved address, and what a visitor needs to reach it."""

    socket: socket.socket
    token: str | None  # that requests must carry; None: no token
    hosts: tuple[str, ...]  # accepted values of the Host header; *: any
    url: str  # for a browser on this machine, with the token
    warning: str = ""  # about an address that other machines reach


def reserve(
    host: str = "127.0.0.1",  # or 0.0.0.0 for access from other machines
    port: int = 7860,  # 0: any free port
    token: str | int | None = None,  # None: generated if other machines have access, else none
    hosts: Sequence[str] = (),  # further names of this server, behind a proxy
    power: str = "use this page",  # of everyone with the token, for the warning
) -> Address:
    """Listen at an address. Raises ValueError for one that cannot be used, for a wrong name and for a wrong token."""
    local = is_local(host)
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
    known = ("127.0.0.1", "localhost", host, *(name.lower() for name in hosts)) if local else ("*",)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    shown = f"[{shown}]" if ":" in shown else shown
    warning = "" if local else (
        f"warning: {host} is open to every machine in the network. Everyone with the token can {power} here, and the "
        "connection is not encrypted; host=127.0.0.1 allows this machine only. On other machines, open the address "
        "below with the name of this machine in place of 127.0.0.1")  # fmt: skip
    url = f"http://{shown}:{port}/{f'#token={quote(token)}' if token else ''}"
    return Address(listening, token, known, url, warning)


def run(app: Any, address: Address, stopping: Callable[[], None] = lambda: None) -> None:
    """Serve ``app`` until Ctrl-C or SIGTERM; ``stopping`` is called first then."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1,
                            server_header=False, h11_max_incomplete_event_size=64 << 10)  # fmt: skip
    server = uvicorn.Server(config)
    leave = server.handle_exit

    def stop(number: int, frame: Any) -> None:
        stopping()
        leave(number, frame)

    server.handle_exit = stop  # type: ignore[method-assign,assignment]
    server.run(sockets=[address.socket])


def needs_server(error: ModuleNotFoundError, command: str) -> ValueError:
    """The error about a missing extra ``demo``; ``error`` itself is raised if another module is missing."""
    if error.name not in ("starlette", "uvicorn"):
        raise error
    return ValueError(f"{command} needs Starlette and uvicorn: pip install starlette uvicorn")


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
