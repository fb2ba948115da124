"""The body of a request, read up to a limit."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from lama.demo.refused import RefusedError

SECONDS = 60.0  # it has to have arrived by then


class Body:
    """JSON that is still arriving."""

    def __init__(self, request: Request, max_mb: float) -> None:
        self._request = request
        self._max_mb = max_mb
        self._more = True

    async def read(self) -> bytes:
        """All of it. Raises RefusedError where it is no JSON (415), too large (413) or too slow (408)."""
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a foreign page in the same browser can send others, but not this
            raise RefusedError(415, f"Content-Type: expected application/json, got {kind[:40] or 'none'}; see /api")
        content = bytearray()
        try:
            async with asyncio.timeout(SECONDS):
                while self._more:
                    content += await self._next()
                    if len(content) > self._max_mb * 1e6:
                        raise RefusedError(413, f"the request has more than {self._max_mb:g} MB, the most allowed")
        except TimeoutError:
            raise RefusedError(408, f"the request had not arrived after {SECONDS:g} seconds") from None
        return bytes(content)

    async def drop(self) -> None:
        """Read the rest and keep nothing of it: who is still sending would not read the answer."""
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
