"""The routes of the page for raters, on Starlette."""

import io
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lama.interfaces import ImageArray, MaskArray
from lama.pages.page import PINK
from lama.serving.body import Body
from lama.serving.guarded import authorise, guarded
from lama.serving.refused import RefusedError
from lama.serving.static_files import StaticFiles
from lama.study.folder import Pictures
from lama.study.session import Session, rater_of

logger = logging.getLogger(__name__)
MAX_MB = 0.01  # of a request


class Service:
    """The endpoints. No answer holds a name of an image, a method or a file."""

    def __init__(self, session: Session, pictures: Pictures, token: str | None) -> None:
        self.session, self.pictures, self.token = session, pictures, token

    async def state(self, request: Request) -> Response:
        """POST /api/state {rater}: what to judge next."""
        return await self._answer(request, lambda rater, asked: self.session.state(rater))

    async def vote(self, request: Request) -> Response:
        """POST /api/vote {rater, trial, vote}: record a vote; answers when it is on the disk."""
        return await self._answer(
            request, lambda rater, asked: self.session.vote(rater, str(asked.get("trial")), str(asked.get("vote")))
        )

    async def undo(self, request: Request) -> Response:
        """POST /api/undo {rater}: take back the last vote."""
        return await self._answer(request, lambda rater, asked: self.session.undo(rater))

    async def picture(self, request: Request) -> Response:
        """GET /api/pictures/NAME: a PNG without metadata."""
        authorise(request, self.token)
        trial, side = self.session.picture(request.path_params["name"])
        try:
            content = await run_in_threadpool(
                self._png, trial.image, None if side == "original" else getattr(trial, side)
            )
        except Exception as error:  # its message would name the file
            logger.error("%s", error)
            reason = "a picture cannot be read; tell the person who runs the study"
            raise RefusedError(500, reason) from error
        return Response(content, media_type="image/png")

    def _png(self, name: str, method: str | None) -> bytes:
        """The result of a method or, for None, the image with the outline of its hole."""
        pair = self.pictures.pairs.named(name)
        if method is None:
            return _png_of(outlined(pair.image, pair.mask))
        return _png_of(self.pictures.predictions[method].read([pair])[0])

    async def _answer(self, request: Request, work: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Response:
        authorise(request, self.token)
        try:
            asked = json.loads(await Body(request, MAX_MB).read())
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            raise RefusedError(400, "expected a JSON object")
        return JSONResponse(await run_in_threadpool(work, rater_of(asked.get("rater")), asked))


def create_app(
    session: Session,
    pictures: Pictures,
    token: str | None = None,  # required in requests to /api/...; None: no token
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),  # accepted values of the Host header; *: any
) -> Starlette:
    """The application: the page at /, its endpoints below /api."""
    service, page = Service(session, pictures, token), StaticFiles(["lama.study"])
    routes = [
        Route("/", page.index),
        Route("/static/{name}", page.static),
        Route("/api/state", service.state, methods=["POST"]),
        Route("/api/vote", service.vote, methods=["POST"]),
        Route("/api/undo", service.undo, methods=["POST"]),
        Route("/api/pictures/{name}", service.picture),
    ]
    return guarded(routes, hosts)


def outlined(image: ImageArray, mask: MaskArray) -> ImageArray:
    """The image (H, W, 3) with a line of two colours around its hole (H, W); the hole itself stays as it is."""
    width = max(1, round(max(mask.shape) / 400))
    hole = mask.astype(np.uint8)
    inner, outer = (
        cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * n + 1, 2 * n + 1))).astype(bool)
        for n in (width, 2 * width)
    )
    drawn = image.copy()
    drawn[outer & ~inner] = 255
    drawn[inner & ~mask] = PINK
    return drawn


def _png_of(image: ImageArray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
