"""Fetch a released file: mirrors in turn, a partial file resumed, size and sha256 checked before anything reads it."""

import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from lama.files import check_writable, sha256_of
from lama.pretrained.misfits import is_web_page
from lama.pretrained.places import cache_dir, find_copy, noted_sha256
from lama.pretrained.table import ReleasedFile

logger = logging.getLogger(__name__)

STALL = 30.0  # seconds without a byte, after which a server is given up
SLOWEST = 1000  # bytes a second over that time; a slower server is given up too
BREAKS = 5  # connections to one server that may break, each after some progress
PIECE = 1 << 20  # bytes
WEB_PAGE = "a web page instead of the file (a portal that asks for a login?)"


class CannotFetchError(Exception):
    """No mirror gave the file; ``reasons`` says why, mirror by mirror."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(", ".join(reasons))
        self.reasons = reasons


class _BrokenError(Exception):
    """The connection ended before the file did."""


class _RefusedError(Exception):
    """This server does not give the file."""


def host(url: str) -> str:
    """The server in an address, for messages; an address without one as it is."""
    return url.split("/")[2] if url.count("/") > 2 else url


_FORBIDDEN = ContextVar("forbidden", default="")  # a reason why this program fetches nothing now


@contextmanager
def fetching(unless: str = "") -> Iterator[None]:
    """Fetch nothing in this context if there is a reason, ``unless``, which the error then states."""
    token = _FORBIDDEN.set(unless)
    try:
        yield
    finally:
        _FORBIDDEN.reset(token)


def offline() -> str:
    """The variable that forbids the network, as ``LAMA_OFFLINE=1``, or an empty string."""
    for name in ("LAMA_OFFLINE", "HF_HUB_OFFLINE"):
        value = os.environ.get(name, "")
        if value.lower() not in ("", "0", "false", "no", "off"):
            return f"{name}={value}"
    return ""


def fetch(spec: ReleasedFile) -> Path:
    """The file ``spec`` in the cache folder, fetched from the first mirror that gives it.

    Two processes fetch once: the second waits. A partial file stays after a failure or a kill, and the next call goes
    on from there, also from another mirror. Raises CannotFetchError where no mirror gives the file, OSError where the
    cache folder cannot be written.
    """
    if _FORBIDDEN.get():
        raise CannotFetchError([_FORBIDDEN.get()])
    if offline():
        raise CannotFetchError([f"{offline()} forbids the network"])
    partial = cache_dir() / "partial" / f"{(spec.sha256 or 'unknown')[:16]}-{spec.filename.replace('/', '-')}"
    try:
        check_writable(cache_dir())
        partial.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else error
        where = f"{cache_dir()}, the folder for weights"
        raise type(error)(f"{where}: {reason}; LAMA_WEIGHTS=FOLDER names another one") from error
    logger.info("fetching %s%s into %s", spec.filename, f" ({spec.format})" * bool(spec.format), cache_dir())
    target = cache_dir() / spec.filename
    with _alone(partial.with_name(partial.name + ".lock")):
        found = find_copy(spec)
        if found is not None:  # another process was faster
            return found[1]
        reasons = []
        for url in spec.addresses():
            try:
                sha256 = _get(url, spec, partial)
            except OSError as error:  # of this machine: a full disk, which names no file, or no write access
                error.filename = error.filename or str(partial)
                raise
            except _RefusedError as error:
                reasons.append(f"{host(url)}: {error}")
                continue
            if target.exists():
                aside = target.with_name(target.name + ".other")
                logger.warning("%s: has another sha256 than %s; renamed to %s", target, spec.sha256, aside.name)
                os.replace(target, aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial, target)
            if not spec.sha256:
                noted_sha256(target).write_text(sha256, encoding="utf-8")
            return target
    raise CannotFetchError(list(dict.fromkeys(reasons)))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        logger.info("waiting for another process that fetches %s", path.stem.partition("-")[2])
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _get(url: str, spec: ReleasedFile, partial: Path) -> str:
    """Complete ``partial`` from ``url`` and check it; returns its sha256. Raises _RefusedError."""
    breaks = 0
    while True:
        have = partial.stat().st_size if partial.is_file() else 0
        announced = ""
        try:
            if have == 0 or spec.size is None or have < spec.size:
                announced = _transfer(url, spec, partial, have)
        except _BrokenError as error:
            breaks += 1
            grown = partial.is_file() and partial.stat().st_size > have
            if grown and breaks < BREAKS:
                continue
            raise _RefusedError(str(error)) from error
        expected = spec.sha256 or announced
        if not expected:
            partial.unlink()
            raise _RefusedError("neither the table nor the server states a sha256 to check the file with")
        got = sha256_of(partial)
        if got == expected:
            if not spec.sha256:
                logger.info("%s: sha256 %s, as the server announced; the table knows none", spec.filename, got)
            return got
        partial.unlink()
        if have == 0:  # else the part that lay here may have been wrong: once more, from the beginning
            raise _RefusedError(f"sha256 is {got}, expected {expected}")


def _transfer(url: str, spec: ReleasedFile, partial: Path, have: int) -> str:
    """Append to ``partial`` what is missing after ``have`` bytes; returns the sha256 that the server announced."""
    with _answer(url, have) as (response, announced):
        if response is None:  # the server has nothing after these bytes
            return announced
        total = _check_answer(response, spec, have)
        size = have if response.status == 206 else 0
        piece = _read(response)
        if size == 0 and is_web_page(piece[:64]):
            raise _RefusedError(WEB_PAGE)
        since, before = time.monotonic(), size
        with partial.open("ab" if size else "wb") as out, _bar(spec, total, size) as progress:
            while piece:
                out.write(piece)
                size += len(piece)
                progress.update(len(piece))
                if total is not None and size > total:
                    break
                if time.monotonic() - since > STALL:
                    if size - before < STALL * SLOWEST:
                        raise _BrokenError(f"less than {SLOWEST} bytes a second")
                    since, before = time.monotonic(), size
                piece = _read(response)
    if total is not None and size != total:
        raise _BrokenError(f"{size} bytes, expected {total}")
    return announced


def _check_answer(response: Any, spec: ReleasedFile, have: int) -> int | None:
    """The size of the whole file, from this answer; None if unknown. Raises _RefusedError for another file."""
    if response.headers.get_content_type() == "text/html":
        raise _RefusedError(WEB_PAGE)
    length = response.headers.get("Content-Length", "")
    total = int(length) + (have if response.status == 206 else 0) if length.isdecimal() else None
    if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise _RefusedError(f"answers with another part than bytes {have}-")
    if spec.size and total and total != spec.size:
        raise _RefusedError(f"{total} bytes, expected {spec.size}")
    return spec.size or total


def _read(response: Any) -> bytes:
    try:
        return response.read1(PIECE)
    except TimeoutError as error:
        raise _BrokenError(f"no byte for {STALL:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_first_line(error)) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps the sha256 that Hugging Face announces before it sends on to its storage."""

    announced = ""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self.announced = self.announced or announced_sha256(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def announced_sha256(headers: Any) -> str:
    """The sha256 that a header of Hugging Face names, or an empty string."""
    tag = (headers.get("X-Linked-Etag") or "").strip('"')
    return tag if re.fullmatch(r"[0-9a-f]{64}", tag) else ""


@contextmanager
def _answer(url: str, have: int) -> Iterator[tuple[Any, str]]:
    """(answer with what follows ``have`` bytes if the server can, sha256 that it announced).

    The answer is None if nothing follows. It uses the proxy and the certificates of the system: HTTPS_PROXY, NO_PROXY,
    SSL_CERT_FILE. Raises _RefusedError.
    """
    redirects = _Redirects()
    headers = {"User-Agent": "lama", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.build_opener(redirects).open(request, timeout=STALL)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            yield None, redirects.announced or announced_sha256(error.headers)
            return
        raise _RefusedError(_first_line(f"{error.code} {error.reason}")) from error
    except (TimeoutError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        hint = "; SSL_CERT_FILE=FILE names other certificates" if "CERTIFICATE" in str(reason) else ""
        slow = isinstance(reason, TimeoutError)
        raise _RefusedError(f"no answer for {STALL:g} s" if slow else f"{_first_line(reason)}{hint}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _RefusedError(_first_line(error)) from error
    with response:
        yield response, redirects.announced or announced_sha256(response.headers)


def _bar(spec: ReleasedFile, total: int | None, begin: int) -> Any:
    return tqdm(total=total, initial=begin, unit="B", unit_scale=True, desc=spec.filename)


def _first_line(error: object) -> str:
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^\[Errno -?\d+\] ", "", line) or type(error).__name__
