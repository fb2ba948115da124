"""A Starlette application that answers only whom it should: policy for browsers, names of the server, token, errors."""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lama.serving.refused import RefusedError

LONGEST = 2000  # characters of an error
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors {frames}",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def guarded(
    routes: Sequence[Route],
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),  # accepted values of the Host header; *: any
    frames: str = "'none'",  # the pages that may show this one in a frame: "frame-ancestors" of its policy
    lifespan: Any = None,
    worded: Callable[[str], str] = str,  # the message of a ValueError, in the words of a request
    advice: str = "",  # after the message of an unknown address
) -> Starlette:
    """The application of ``routes``. A RefusedError has its own status, a ValueError 422: a mistake in the request."""

    async def wrong(request: Request, error: Exception) -> Response:
        return _error(worded(str(error)), 422)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = f"{request.method} {request.url.path[:80]}: {str(error.detail).lower()}{advice}"
        return _error(what, error.status_code, error.headers)

    handlers: dict[Any, Any] = {
        RefusedError: _refused,
        ValueError: wrong,
        HTTPException: http_error,
        Exception: _failed,
    }
    middleware = [Middleware(_Headers, frames=frames), Middleware(_Hosts, hosts=hosts)]
    return Starlette(routes=routes, exception_handlers=handlers, middleware=middleware, lifespan=lifespan)


def has_token(request: Request, token: str | None) -> bool:
    """Whether the request carries ``token``; True too if the server has none."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    return token is None or hmac.compare_digest(given.encode(), token.encode())


def authorise(request: Request, token: str | None) -> None:
    """Raise RefusedError (401) if the request does not carry ``token``."""
    if not has_token(request, token):
        raise RefusedError(401, "expected the header 'Authorization: Bearer TOKEN' with the token that the server "
                                "printed at its start", {"WWW-Authenticate": "Bearer"})  # fmt: skip


class _Headers:
    """Adds ``HEADERS`` to every response."""

    def __init__(self, app: Any, frames: str) -> None:
        self.app = app
        self.headers = [(k.lower().encode(), v.format(frames=frames).encode()) for k, v in HEADERS.items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.headers]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class _Hosts:
    """Refuses requests for other names than ``hosts``: a page of another site may have made its name point here."""

    def __init__(self, app: Any, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = self.app
        if scope["type"] == "http" and "*" not in self.hosts:
            asked = Request(scope).headers.get("host", "")
            name = re.sub(r":\d*$", "", asked).strip("[]").lower()
            if name not in self.hosts:
                error = (
                    f"Host: this server is not known as {name[:80]!r}; start it with hosts=[{name[:80]}] to allow it"
                )
                app = _error(error, 400)
        await app(scope, receive, send)


async def _refused(request: Request, error: RefusedError) -> Response:
    return _error(error.message, error.status, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return _error("internal error; see the terminal of the server", 500)


def _error(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """One line of at most ``LONGEST`` characters, whatever values of the request it names."""
    line = " ".join(text[:LONGEST].split())
    sendable = line.encode("utf-8", "backslashreplace").decode()  # JSON can hold half of a surrogate pair, UTF-8 cannot
    return JSONResponse({"error": sendable}, status, headers)
