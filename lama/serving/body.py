"""Reading the body of a request up to a limit."""

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from lama.serving.refused import RefusedError

SECONDS = 60.0  # time limit for a body to arrive


class Body:
    """The JSON body of a request that is still arriving."""

    def __init__(self, request: Request, max_mb: float, hold: Callable[[int], None] = lambda count: None) -> None:
        self._request = request
        self._hold = hold  # called with the number of bytes that arrive; may raise RefusedError
        self._max_mb = max_mb
        self._more = True

    async def read(self) -> bytes:
        """The whole body. Raises RefusedError if it is no JSON (415), too large (413) or too slow (408), or by hold."""
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # pages of other sites cannot send this type
            raise RefusedError(415, f"Content-Type: expected application/json, got {kind[:40] or 'none'}; see /api")
        content = bytearray()
        try:
            async with asyncio.timeout(SECONDS):
                while self._more:
                    part = await self._next()
                    self._hold(len(part))
                    content += part
                    if len(content) > self._max_mb * 1e6:
                        raise RefusedError(413, f"the request has more than {self._max_mb:g} MB, the limit")
        except TimeoutError:
            raise RefusedError(408, f"the request did not arrive within {SECONDS:g} seconds") from None
        return bytes(content)

    async def drop(self) -> None:
        """Read and discard the rest: a client that is still sending does not read the answer."""
        try:
            async with asyncio.timeout(SECONDS):
                while self._more:
                    await self._next()
        except (TimeoutError, ClientDisconnect):
            pass

    async def _next(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._more = message.get("more_body", False)
        return bytes(message.get("body", b""))
