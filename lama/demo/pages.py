"""Content for browsers: the page, its scripts and style, the documentation of the endpoint, built-in images."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from lama.data import BuiltinPhotos
from lama.demo import fields
from lama.demo.refused import RefusedError
from lama.demo.work import RETRY_AFTER
from lama.pages import render
from lama.pictures.encode import encode
from lama.pictures.reading import ImageFile

TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
EXAMPLES = {"coffee": "held_out", "chelsea": "held_out", "astronaut": "train", "rocket": "train",
            "motorcycle_left": "train", "retina": "held_out"}  # fmt: skip
SHORT_SIDE = 480  # pixels, of the built-in images


class Pages:
    """Serves files of the package, read at the start: no name in a request is used as a path."""

    def __init__(self) -> None:
        folder = files("lama.demo") / "static"
        self._files = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}
        tables = {"inpaint": fields.INPAINT, "open": fields.OPEN, "convert": fields.CONVERT}
        rows = {name: _rows(table) for name, table in tables.items()}
        self._api = render("endpoint", tables=rows, retry_after=RETRY_AFTER)

    async def index(self, request: Request) -> Response:
        return HTMLResponse(self._files["index.html"])

    async def api(self, request: Request) -> Response:
        return HTMLResponse(self._api)

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        kind = next((kind for suffix, kind in TYPES.items() if name.endswith(suffix)), None)
        if kind is None or name not in self._files:
            raise RefusedError(404, f"no such file: {name[:80]}")
        return Response(self._files[name], media_type=kind)

    async def examples(self, request: Request) -> Response:
        return JSONResponse(list(EXAMPLES))

    async def example(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in EXAMPLES:
            raise RefusedError(404, f"no built-in image {name[:80]!r}; known: {', '.join(EXAMPLES)}")
        return Response(await run_in_threadpool(_example, name), media_type="image/png")


def _rows(table: Mapping[str, fields.Field]) -> list[dict[str, str]]:
    kinds = {str: "string", int: "number", bool: "true / false"}
    return [
        {"key": key, "kind": kinds[field.kind], "meaning": field.meaning,
         "range": "" if field.range is None else "{} to {}".format(*field.range),
         "default": "required" if field.default is fields.REQUIRED else json.dumps(field.default)}
        for key, field in table.items()
    ]  # fmt: skip


@cache
def _example(name: str) -> bytes:
    source = BuiltinPhotos(EXAMPLES[name], SHORT_SIDE)
    _, image = source[source.names.index(name)]
    return encode(ImageFile(image), ".png")
