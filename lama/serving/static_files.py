"""The files of a page: those that every page shares, and its own."""

from collections.abc import Sequence
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lama.serving.refused import RefusedError

TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class StaticFiles:
    """The folders ``static`` of ``packages``, read at the start: no name in a request is used as a path."""

    def __init__(self, packages: Sequence[str]) -> None:
        folders = [files(package) / "static" for package in ("lama.serving", *packages)]
        every = [file for folder in folders for file in folder.iterdir() if file.is_file()]
        self._files = {file.name: file.read_text(encoding="utf-8") for file in every}

    async def index(self, request: Request) -> Response:
        return HTMLResponse(self._files["index.html"])

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        kind = next((kind for suffix, kind in TYPES.items() if name.endswith(suffix)), None)
        if kind is None or name not in self._files:
            raise RefusedError(404, f"no such file: {name[:80]}")
        return Response(self._files[name], media_type=kind)
