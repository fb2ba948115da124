"""The routes of the page and of its endpoint, on Starlette."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import lama
from lama.demo import exchange, fields, openapi
from lama.demo.models import Models
from lama.demo.pages import Pages
from lama.demo.work import CancelledJobError, Job, Result, Worker, closing
from lama.interfaces import MaskArray
from lama.pictures.masks import MaskReader
from lama.pictures.reading import ImageFile
from lama.serving.body import Body
from lama.serving.guarded import authorise, guarded, has_token
from lama.serving.refused import RefusedError

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1  # seconds between two checks that the client is still connected
CLIENT_GONE = 499  # the code of nginx for a client that has disconnected


@dataclass(frozen=True)
class Limits:
    """Limits of a request. Raises ValueError unless they are positive."""

    max_mb: float = 100  # size of a request; base64 adds a third to files
    max_megapixels: float = 50  # of an image or mask

    def __post_init__(self) -> None:
        if min(self.max_mb, self.max_megapixels) <= 0:
            raise ValueError(f"max_mb={self.max_mb}, max_megapixels={self.max_megapixels}: expected more than 0")


class Service:
    """The endpoints."""

    def __init__(self, models: Models, worker: Worker, limits: Limits, token: str | None) -> None:
        self.models, self.worker, self.limits, self.token = models, worker, limits, token

    async def health(self, request: Request) -> Response:
        """GET /health: version, models, load and limits; without the token, only that the server runs."""
        if not has_token(request, self.token):
            return JSONResponse({"status": "ok", "token": True})
        jobs = self.worker.jobs
        return JSONResponse(
            {
                "status": "ok",
                "version": lama.__version__,
                "models": self.models.names,
                "jobs": len(jobs),
                "computing": sum(job.state == "computing" for job in jobs),
                "most_jobs": self.worker.most,
                "max_mb": self.limits.max_mb,
                "max_megapixels": self.limits.max_megapixels,
                "token": self.token is not None,
            }
        )

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json: the addresses, fields and answers, for programs."""
        return JSONResponse(openapi.document(self.token is not None))

    async def job(self, request: Request) -> Response:
        """GET /api/jobs/NAME: the progress of the request with that name."""
        authorise(request, self.token)
        job = self.worker.find(request.path_params["name"])
        if job is None:
            return JSONResponse({"state": "unknown"})
        seconds = round(time.monotonic() - job.since, 1)
        before = self.worker.position(job) if job.state == "waiting" else 0
        return JSONResponse({"state": job.state, "seconds": seconds, "before": before, "what": job.what,
                             "done": job.done, "of": job.of})  # fmt: skip

    async def inpaint(self, request: Request) -> Response:
        """POST /api/inpaint: fill the hole of an image."""
        return await self._answer(request, self._inpaint)

    async def open(self, request: Request) -> Response:
        """POST /api/open: the properties of an image or mask, and a preview for the browser."""
        return await self._answer(request, self._open)

    async def convert(self, request: Request) -> Response:
        """POST /api/convert: an image in the format and with the metadata of another file."""
        return await self._answer(request, self._convert)

    async def released(self, request: Request) -> Response:
        """GET /api/released: the networks that the page offers to fetch."""
        authorise(request, self.token)
        return JSONResponse(await run_in_threadpool(self.models.offered))

    async def fetch(self, request: Request) -> Response:
        """POST /api/released/NAME: fetch and load a released network; answers with the names of all models."""
        authorise(request, self.token)
        try:
            await run_in_threadpool(self.models.fetch, request.path_params["name"])
        except OSError as error:
            raise RefusedError(502, str(error)) from error
        return JSONResponse({"models": self.models.names})

    async def _answer(self, request: Request, work: Callable[[bytes, Job], Awaitable[dict[str, Any]]]) -> Response:
        """Answer ``request`` with ``work``; cancel the job if the client disconnects."""
        job = Job()
        body = Body(request, self.limits.max_mb, lambda count: self.worker.hold(job, count))
        try:
            authorise(request, self.token)
            with self.worker.admitted(job):
                content = await self._while_open(body.read())
                self.worker.arrived(job)
                task = asyncio.ensure_future(work(content, job))
                while not task.done():
                    await asyncio.wait({task}, timeout=POLL_SECONDS)
                    if self.worker.closed:  # the computation stops at its next layer; do not wait for it
                        task.add_done_callback(lambda task: task.cancelled() or task.exception())
                        raise closing()
                    if not task.done() and await request.is_disconnected():
                        job.cancel()
                        await asyncio.wait({task})
                return JSONResponse(task.result())
        except (CancelledJobError, ClientDisconnect):
            logger.info("cancelled: the client has disconnected")
            return Response(status_code=CLIENT_GONE)
        except RefusedError as error:
            if error.status != 408:  # no more time for a body that has had its time
                await self._while_open(body.drop())
            raise

    async def _while_open(self, arriving: Coroutine[Any, Any, Result]) -> Result:
        """The result of ``arriving``, which waits for the client. Raises RefusedError (503) once the server stops."""
        task = asyncio.ensure_future(arriving)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=POLL_SECONDS)
                if self.worker.closed and not task.done():
                    raise closing()
            return task.result()
        finally:
            task.cancel()

    async def _inpaint(self, body: bytes, job: Job) -> dict[str, Any]:
        values, upload, hole, ignored, notes = await self.worker.image_work(self._read, body, job)
        options = {key: values[key] for key in fields.OPTION_FIELDS}

        def compute() -> tuple[ImageFile, ImageFile | None, float]:
            started = time.monotonic()
            hidden = upload.image.no_context(ignored)
            inpainter = self.models.inpainter(values["model"], **options)
            filled, guide = inpainter.with_guide(upload.image.pixels, hole, hidden)
            alone = None if guide is None else replace(upload.image, pixels=guide)
            return replace(upload.image, pixels=filled), alone, time.monotonic() - started

        result, guide, seconds = await self.worker.compute(job, compute)
        job.enter("writing")
        answer = await self.worker.image_work(self._written, result, upload, values, guide)
        logger.info("%d x %d pixels, %s: %.1f s", *result.size, values["model"], seconds)
        return answer | {"seconds": round(seconds, 2), "notes": list(dict.fromkeys([*notes, *answer["notes"]]))}

    def _read(
        self, body: bytes, job: Job
    ) -> tuple[dict[str, Any], exchange.Upload, MaskArray, MaskArray | None, list[str]]:
        """(fields, image, hole (H, W), ignored (H, W), notes) of a request. Raises ValueError for every mistake."""
        values = fields.parse(body, fields.INPAINT)
        job.name = values["job"]
        values["model"] = self.models.known(values["model"])
        reader = MaskReader(**{key: values[key] for key in fields.MASK_FIELDS})
        upload = self._upload(values, "image")
        exchange.suffix_of(values["format"], upload)
        mask = exchange.from_base64(values.pop("mask"), "mask")
        self.worker.hold(job, 2 * upload.image.nbytes)  # and the result
        hole, remarks = exchange.open_mask(mask, upload.image, reader, self.limits.max_megapixels)
        ignored = None
        if values["ignore"]:
            file = exchange.from_base64(values.pop("ignore"), "ignore")
            ignored, _ = exchange.open_mask(file, upload.image, MaskReader(key="ignore"), self.limits.max_megapixels)
        return values, upload, hole, ignored, [*upload.image.notes, *remarks]

    def _written(
        self, image: ImageFile, upload: exchange.Upload, values: dict[str, Any], guide: ImageFile | None = None
    ) -> dict[str, Any]:
        suffix = exchange.suffix_of(values["format"], upload)
        content, notes = exchange.written(image, suffix, values["quality"])
        width, height = image.size
        answer: dict[str, Any] = {"image": exchange.to_base64(content), "format": suffix[1:], "width": width,
                                  "height": height, "notes": notes}  # fmt: skip
        if values.get("preview"):
            shown = {"preview": image} | ({"guide": guide} if guide is not None else {})
            answer |= {name: exchange.to_base64(exchange.preview(of, values["preview"])) for name, of in shown.items()}
        return answer

    async def _open(self, body: bytes, job: Job) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            values = fields.parse(body, fields.OPEN)
            content = exchange.from_base64(values["image"], "image")
            upload = exchange.open_upload(content, "image", self.limits.max_megapixels)
            image, (width, height) = upload.image, upload.image.size
            shown, notes = exchange.mask_alone(content, "image") if values["mask"] else (image, list(image.notes))
            return {
                "format": upload.suffix[1:], "width": width, "height": height,
                "bits": 8 * image.pixels.dtype.itemsize, "alpha": image.alpha is not None, "notes": notes,
                "preview": exchange.to_base64(exchange.preview(shown, values["preview"])),
            }  # fmt: skip

        return await self.worker.image_work(work)

    async def _convert(self, body: bytes, job: Job) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            values = fields.parse(body, fields.CONVERT)
            image, original = self._upload(values, "image"), self._upload(values, "like")
            return self._written(exchange.like(image.image, original.image), original, values)

        return await self.worker.image_work(work)

    def _upload(self, values: dict[str, Any], key: str) -> exchange.Upload:
        content = exchange.from_base64(values.pop(key), key)
        return exchange.open_upload(content, key, self.limits.max_megapixels)


def create_app(
    models: Models,
    worker: Worker,
    limits: Limits = Limits(),
    token: str | None = None,  # required in requests to /api/...; None: no token
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),  # accepted values of the Host header; *: any
    frames: str = "'none'",  # the pages that may show this one in a frame: "frame-ancestors" of its policy
) -> Starlette:
    """The application: the page at /, its documentation at /api, the endpoints below /api."""
    service, pages = Service(models, worker, limits, token), Pages()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        worker.close()

    routes = [
        Route("/", pages.index),
        Route("/api", pages.api),
        Route("/openapi.json", service.openapi),
        Route("/static/{name}", pages.static),
        Route("/examples", pages.examples),
        Route("/examples/{name}", pages.example),
        Route("/health", service.health),
        Route("/api/inpaint", service.inpaint, methods=["POST"]),
        Route("/api/open", service.open, methods=["POST"]),
        Route("/api/convert", service.convert, methods=["POST"]),
        Route("/api/jobs/{name}", service.job),
        Route("/api/released", service.released),
        Route("/api/released/{name}", service.fetch, methods=["POST"]),
    ]
    return guarded(routes, hosts, frames, lifespan, exchange.in_our_words, "; see /api")
