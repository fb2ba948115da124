"""Start the server of the page."""

import re
from collections.abc import Callable, Sequence

from lama.demo.models import Models
from lama.serving.address import needs_server, reserve, run
from lama.verbs import typed


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
        import uvicorn  # noqa: F401

        from lama.demo.app import Limits, create_app
    except ModuleNotFoundError as error:
        raise needs_server(error, typed("demo")) from None
    from lama.demo.work import Worker
    from lama.pictures.images import allow_megapixels

    allow_megapixels(max(max_megapixels, 179))  # below, the page refuses by itself
    limits, worker = Limits(max_mb, max_megapixels), Worker(queue, queue_mb)
    if frames is not None and not re.fullmatch(r"[\w.:/*\[\] -]+", frames):
        raise ValueError(f"frames={frames}: expected addresses such as http://localhost:8888, separated by spaces")
    address = reserve(host, port, token, hosts, "run predictions")
    app = create_app(models(), worker, limits, address.token, address.hosts, frames or "'none'")
    if address.warning:
        say(address.warning)
    say(f"open {address.url} in a browser (documentation of the endpoint: /api); Ctrl-C stops")
    run(app, address, worker.close)  # closing cancels the jobs and answers their requests
