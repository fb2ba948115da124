"""Content for browsers: the page, its scripts and style, the documentation of the endpoint, built-in images."""

import json
from collections.abc import Mapping
from functools import cache

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from lama.data import BuiltinPhotos
from lama.demo import fields
from lama.demo.work import RETRY_AFTER
from lama.pages import render
from lama.pictures.encode import encode
from lama.pictures.reading import ImageFile
from lama.serving.refused import RefusedError
from lama.serving.static_files import StaticFiles

EXAMPLES = {"coffee": "held_out", "chelsea": "held_out", "astronaut": "train", "rocket": "train",
            "motorcycle_left": "train", "retina": "held_out"}  # fmt: skip
SHORT_SIDE = 480  # pixels, of the built-in images


class Pages(StaticFiles):
    """The page with its files, the documentation, the built-in images."""

    def __init__(self) -> None:
        super().__init__(["lama.demo"])
        tables = {"inpaint": fields.INPAINT, "open": fields.OPEN, "convert": fields.CONVERT}
        rows = {name: _rows(table) for name, table in tables.items()}
        self._api = render("endpoint", tables=rows, retry_after=RETRY_AFTER)

    async def api(self, request: Request) -> Response:
        return HTMLResponse(self._api)

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
